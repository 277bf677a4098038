"""A trained model by itself: load it, translate images."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gantrain import checkpoint, costs, recipe
from gantrain.data.batch import as_batch, facts, normalise, to_files
from gantrain.data.decode import NotLabels, decode, refuse_lossy
from gantrain.data.prepare.colours import class_ids
from gantrain.data.shards import Field
from gantrain.data.transforms import Sample
from gantrain.engine import seed_all
from gantrain.importing import opened
from gantrain.instantiate import make_method, sketch_method
from gantrain.method import is_random_at_test, set_inference
from gantrain.yaml12 import read_mapping

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # of Pillow, by 8-bit channels


class Translator:
    """A generator with all that its use needs: value range, channels, test-time modes.

    Uses the averaged (EMA) weights where the run kept them. back: from target to source, by a model that learnt
    both ways (CycleGAN). style: of all translations, drawn with a seed or an image file's (SPADE). Raises ValueError.
    """

    def __init__(self, folder: Path, device: torch.device, back: bool = False, style: str | None = None) -> None:
        state = checkpoint.state(folder)
        try:
            fields = {role: Field.model_validate(field) for role, field in state["fields"].items()}
            self.source, self.target, self.instances = fields["source"], fields["target"], fields.get("instances")
        except (OSError, KeyError, ValueError) as e:
            raise ValueError(f"checkpoint: {folder} is not whole ({type(e).__name__}); take another") from None
        self.recipe = recipe.from_dict(read_mapping(folder / "recipe.yaml"))
        self.device = device
        costs.check_memory(costs.count_weights(sketch_method(self.recipe, state["facts"])), device)
        self.method = make_method(self.recipe, state["facts"])
        kind = "networks" if self.recipe.ema.half_life is None else "ema"
        for name in self.method.inference:
            weights = checkpoint.tensors(folder, f"{kind}/{name}")
            try:
                self.method.networks[name].load_state_dict(weights)
            except RuntimeError:
                found = f"checkpoint: the {name} in {folder}"
                raise ValueError(f"{found} is not the one of its recipe.yaml; take another checkpoint") from None
        if back:
            if "generator_back" not in self.method.networks or self.source.kind == "label" or self.instances:
                found = f"found a {self.recipe.method['name']} model from {self.source.kind}s"
                raise ValueError(f"--back: {found}, allowed: one of cyclegan between images")
            self.source, self.target = self.target, self.source
            self.method.networks["generator"] = self.method.networks["generator_back"]
        self.method = self.method.to(device).requires_grad_(False)
        set_inference(self.method, **self.recipe.test_time.model_dump())
        self.style = {} if style is None else {"style": self._style(style)}
        # Whether an image's result would depend on the others of its batch.
        self.one_by_one = is_random_at_test(**self.recipe.test_time.model_dump())

    @property
    def fields(self) -> dict[str, Field]:
        """The data's, by role."""
        fields = {"source": self.source, "target": self.target}
        return fields | {"instances": self.instances} if self.instances else fields

    def translate(self, image: Any, instances: Any = None) -> Any:
        """The translation of an image, in its own type and at its own size.

        image: a PIL image; a numpy array, HWC or HW (a label map: class ids), in the dtype of the
        training files; or a tensor, (N, C, H, W) or (C, H, W) in [-1, 1] (a label map: one-hot), whose
        last channel are the edges of instances (0 or 1), where the model has learnt with them.
        instances: else the ids of such a model's instances, PIL or numpy, (H, W).
        Raises ValueError where the channels don't fit, and for ids that are missing or not wanted.
        """
        if isinstance(image, Tensor):
            if instances is not None:
                raise ValueError(
                    "instances: found ids beside a tensor, allowed: none; its last channel are their edges"
                )
            return self._translate_tensor(image)
        self.check_instances(instances is not None)
        picture = isinstance(image, Image.Image)
        array = self._from_pil(image) if picture else image
        if not isinstance(array, np.ndarray) or array.ndim not in (2, 3):
            found = f"{type(image).__name__} of shape {getattr(array, 'shape', None)}"
            raise ValueError(f"image: found {found}, allowed: PIL; numpy, (H, W, C) or (H, W); tensor")
        sample = {"source": self._fitted(np.atleast_3d(array))}
        if instances is not None:
            sample["instances"] = _of_size(np.atleast_3d(np.asarray(instances)), sample["source"])
        (result,) = self.translate_arrays([sample])
        if picture and result.shape[2] > (4 if result.dtype == np.uint8 else 1):
            raise ValueError(f"image: PIL can't hold {result.shape[2]} channels of {result.dtype}; give numpy")
        return _to_pil(result) if picture else result

    @torch.no_grad()
    def _translate_tensor(self, image: Tensor) -> Tensor:
        wanted, batch = facts(self.fields)["source_channels"], image if image.ndim == 4 else image[None]
        if batch.ndim != 4 or batch.shape[1] != wanted or not image.is_floating_point():
            raise ValueError(
                f"image: found {image.dtype} of shape {tuple(image.shape)}, allowed: floats in "
                f"[-1, 1], (N, C, H, W) or (C, H, W) with C = {wanted}; give files' values as numpy"
            )
        seed_all(self.recipe.seed)
        source = batch.to(self.device, torch.float32)
        fakes = self.method.translate({"source": source, **self.style}).to(image.device, image.dtype)
        return fakes if image.ndim == 4 else fakes[0]

    @torch.no_grad()
    def translate_arrays(self, samples: list[Sample]) -> list[np.ndarray]:
        """Several samples (by role) of one size at once, HWC to HWC, in the training files' dtypes."""
        seed_all(self.recipe.seed)
        raw = {role: torch.from_numpy(np.stack([sample[role] for sample in samples])) for role in samples[0]}
        batch = as_batch(raw, {role: self.fields[role] for role in raw}, torch.float32, self.device)
        fakes = self.method.translate(batch | self.style)
        return list(to_files(fakes, self.target.dtype).cpu().numpy())

    @torch.no_grad()
    def _style(self, text: str) -> Tensor:
        method: Any = self.method
        if "encoder" not in method.networks:
            found = f"a {self.recipe.method['name']} model that has learnt none"
            raise ValueError(f"--style: found {found}, allowed: one of spade with method.style=vae")
        if text.isdecimal() and int(text) < 2**63:
            return method.style(int(text))  # type: ignore[no-any-return]
        try:
            array, target = decode(Path(text).read_bytes()), self.target
            if (array.shape[2], array.dtype.name) != (target.channels, target.dtype):
                what = f"{array.dtype} with {array.shape[2]} channels"
                raise ValueError(f"{what}, this model makes {target.dtype} with {target.channels}")
        except (OSError, ValueError) as e:
            raise ValueError(f"--style: found {text} ({e}), allowed: a seed, or an image such as it makes") from None
        image = normalise(torch.from_numpy(array)[None], target, torch.float32, self.device)
        return method.style(image)  # type: ignore[no-any-return]

    def read(self, path: Path, instances: Path | None = None) -> Sample:
        """A file as the model's source, and its map of instances; HWC by role. Raises ValueError, naming the file."""
        file = path
        try:
            sample = {"source": self._fitted(self._decoded(file.read_bytes()))}
            if instances:
                file = instances
                sample["instances"] = _of_size(decode(file.read_bytes(), "instances"), sample["source"])
            return sample
        except (OSError, ValueError) as e:
            raise ValueError(f"{file}: {e}") from None

    def _decoded(self, data: bytes) -> np.ndarray:
        if not self.source.palette:
            return decode(data, self.source.kind)
        refuse_lossy(data, "label")
        return decode(data)  # as it was prepared: a palette file's colours, not its numbers

    def check_instances(self, given: bool) -> None:
        """Raises ValueError where ids of instances are missing, or given to a model without."""
        if given and not self.instances:
            raise ValueError("instances: found ids, allowed: none, since this model has learnt without; leave them out")
        if self.instances and not given:
            where = "--instances FOLDER to `gantrain translate`, instances= in Python"
            raise ValueError(f"instances: found none, this model sees the edges of instances; give their ids: {where}")

    def _from_pil(self, image: Image.Image) -> np.ndarray:
        if image.mode.startswith("I"):
            return np.asarray(image).astype(np.uint16)
        if image.mode == "P" and self.source.palette:
            return np.asarray(image.convert("RGB"))
        as_it_is = self.source.kind == "label" or image.mode in (*_MODES.values(), "F")
        return np.asarray(image if as_it_is else image.convert("RGB"))

    def _fitted(self, image: np.ndarray) -> np.ndarray:
        """An HWC array as the model was trained on; raises ValueError where it can't be."""
        source, mode = self.source, _MODES.get(self.source.channels)
        eight_bit = source.kind == "image" and image.dtype == np.uint8 and image.shape[2] <= 4
        # Pictures that a user has at hand are often grey, or carry alpha.
        if eight_bit and mode and image.shape[2] != source.channels:
            image = np.atleast_3d(np.asarray(_to_pil(image).convert(mode)))
        kind = "class ids" if source.kind == "label" else "an image"
        wanted = f"this model's source is {kind}, {source.dtype} with {source.channels}"
        found = f"found {image.dtype} with {image.shape[2]} channels"
        if source.kind == "label" and source.palette and image.dtype == np.uint8 and image.shape[2] in (3, 4):
            try:
                image = class_ids(image, source.palette)
            except NotLabels as e:
                raise ValueError(f"{found} ({e}), {wanted}") from None
        if image.shape[2] != source.channels or image.dtype != source.dtype:
            raise ValueError(f"{found}, {wanted}")
        highest = image[image != source.ignore].max(initial=0)
        if source.kind == "label" and source.classes and highest >= source.classes:
            also = "" if source.ignore is None else f", and {source.ignore}"
            raise ValueError(f"found class id {highest}, this model knows ids 0 to {source.classes - 1}{also}")
        return image


def _of_size(instances: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Both HWC. Raises ValueError for what aren't ids of that image's instances."""
    wanted = (*source.shape[:2], 1)
    if instances.shape != wanted or instances.dtype.kind not in "iu":
        found = f"{instances.dtype} of shape {instances.shape}"
        raise ValueError(f"instances: found {found}, allowed: whole numbers of shape {wanted}, the image's")
    return instances


def _to_pil(array: np.ndarray) -> Image.Image:
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)


def load(path: str | Path, device: str | None = None, *, back: bool = False, style: str | None = None) -> Translator:
    """The model of a run (its latest checkpoint), of one checkpoint, or of a file that `gantrain import` knows.

    back, style: as a Translator's. No code in it is run. Raises ValueError where there is none.
    """
    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    here = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if chosen not in here and not (chosen == "cuda" and len(here) > 1):
        raise ValueError(f"device: found {chosen!r}, allowed here: {', '.join(here)}")
    with opened(path) as folder:
        return Translator(folder, torch.device(chosen), back, style)
