"""A trained model by itself: load it, translate images."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gantrain import checkpoint, recipe
from gantrain.assembly import make_method
from gantrain.data.batch import channels, normalise, to_files
from gantrain.data.decode import decode
from gantrain.data.shards import Field
from gantrain.engine import seed_all
from gantrain.method import is_random_at_test, set_inference
from gantrain.overrides import parse_yaml


def find_checkpoint(path: str | Path) -> Path:
    """A checkpoint's folder, from it or from its run (then the latest one). Raises ValueError."""
    path = Path(path)
    if (path / "state.json").is_file():
        return path
    folders = checkpoint.found(path / "checkpoints")
    if not folders:
        raise ValueError(
            f"checkpoint: found none at {path}; give runs/NAME or runs/NAME/checkpoints/IMAGES"
        )
    return folders[-1]


class Translator:
    """A generator with all that its use needs: value range, channels, test-time modes.

    Uses the averaged (EMA) weights where the run kept them.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        state = checkpoint.state(folder)
        try:
            saved = (folder / "recipe.yaml").read_text(encoding="utf-8")
            self.source = Field.model_validate(state["fields"]["source"])
            self.target = Field.model_validate(state["fields"]["target"])
        except (OSError, KeyError, ValueError) as e:
            raise ValueError(
                f"checkpoint: {folder} is not whole ({type(e).__name__}); take another checkpoint"
            ) from None
        self.recipe = recipe.from_dict(parse_yaml(saved, str(folder / "recipe.yaml")))
        self.device = device
        self.method = make_method(self.recipe, state["facts"])
        kind = "networks" if self.recipe.ema.half_life is None else "ema"
        for name in self.method.inference:
            weights = checkpoint.tensors(folder, f"{kind}/{name}")
            try:
                self.method.networks[name].load_state_dict(weights)
            except RuntimeError:
                raise ValueError(
                    f"checkpoint: the {name} in {folder} is not the one of its recipe.yaml; "
                    "take another checkpoint"
                ) from None
        self.method = self.method.to(device).requires_grad_(False)
        set_inference(self.method, **self.recipe.test_time.model_dump())

    @property
    def one_by_one(self) -> bool:
        """Whether an image's result would depend on the others of its batch."""
        return is_random_at_test(**self.recipe.test_time.model_dump())

    @torch.no_grad()
    def translate(self, image: Any) -> Any:
        """The translation of an image, in its own type and at its own size.

        image: a PIL image; a numpy array, HWC or HW (a label map: class ids), in the dtype of the
        training files; or a tensor, (N, C, H, W) or (C, H, W) in [-1, 1] (a label map: one-hot).
        Raises ValueError where the channels don't fit.
        """
        if not isinstance(image, Tensor | np.ndarray | Image.Image):
            raise ValueError(f"image: found {type(image).__name__}, allowed: PIL, numpy, tensor")
        if isinstance(image, Tensor):
            if not image.is_floating_point():
                raise ValueError(
                    f"image: found a tensor of {image.dtype}, allowed: floats in [-1, 1]; files' "
                    "values go in as numpy"
                )
            batch = image if image.ndim == 4 else image[None]
            if batch.ndim != 4 or batch.shape[1] != channels(self.source):
                raise ValueError(
                    f"image: found shape {tuple(image.shape)}, allowed: (N, C, H, W) or "
                    f"(C, H, W) with C = {channels(self.source)}"
                )
            seed_all(self.recipe.seed)
            fakes = self.method.translate({"source": batch.to(self.device, torch.float32)})
            fakes = fakes.to(image.device, image.dtype)
            return fakes if image.ndim == 4 else fakes[0]
        if isinstance(image, Image.Image):
            result = self.translate_array(self._from_pil(image))
            if result.dtype != np.uint8 and result.shape[2] > 1:
                raise ValueError(
                    f"image: PIL can't hold {result.shape[2]} channels of {result.dtype}; "
                    "give numpy"
                )
            return Image.fromarray(result[..., 0] if result.shape[2] == 1 else result)
        if image.ndim not in (2, 3):
            raise ValueError(f"image: found shape {image.shape}, allowed: (H, W, C) or (H, W)")
        return self.translate_array(image if image.ndim == 3 else image[..., None])

    def _from_pil(self, image: Image.Image) -> np.ndarray:
        if self.source.kind == "label":
            ids = image if image.mode in ("P", "L", "I;16") else None
            if ids is None:
                raise ValueError(
                    f"image: found mode {image.mode}, this model's source holds class ids: "
                    "give mode L or P"
                )
            return np.asarray(ids)[..., None]
        if self.source.dtype == "uint16" and image.mode.startswith("I"):
            return np.asarray(image).astype(np.uint16)[..., None]
        wanted = {1: "L", 3: "RGB", 4: "RGBA"}.get(self.source.channels)
        return np.atleast_3d(np.asarray(image.convert(wanted) if wanted else image))

    def translate_array(self, image: np.ndarray) -> np.ndarray:
        """HWC to HWC, in the training files' dtypes."""
        return self.translate_arrays([image])[0]

    @torch.no_grad()
    def translate_arrays(self, images: list[np.ndarray]) -> list[np.ndarray]:
        """Several images of one size at once."""
        for image in images:
            check_source(image, self.source)
        raw = torch.from_numpy(np.stack(images))
        seed_all(self.recipe.seed)
        source = normalise(raw, self.source, torch.float32, self.device)
        fakes = self.method.translate({"source": source})
        return list(to_files(fakes, self.target.dtype).cpu().numpy())

    def read(self, path: Path) -> np.ndarray:
        """A file as the generator's source, HWC. Raises ValueError, naming the file."""
        try:
            image = decode(path.read_bytes(), self.source.kind)
            eight_bit = self.source.kind == "image" and image.dtype == np.uint8
            # Files a user has at hand are often grey, or carry alpha.
            if eight_bit and self.source.channels == 3 and image.shape[2] in (1, 2, 4):
                image = np.repeat(image[..., :1], 3, 2) if image.shape[2] < 3 else image[..., :3]
            check_source(image, self.source)
        except (OSError, ValueError) as e:
            raise ValueError(f"{path}: {e}") from None
        return image


def check_source(image: np.ndarray, field: Field) -> None:
    """Raises ValueError where an HWC array isn't what the model was trained on."""
    found = f"{image.dtype} with {image.shape[2]} channels"
    if image.shape[2] != field.channels or image.dtype != field.dtype:
        raise ValueError(
            f"found {found}, this model's source is {field.dtype} with {field.channels}"
        )
    if field.kind == "label" and field.classes and image.max() >= field.classes:
        raise ValueError(
            f"found class id {image.max()}, this model knows ids 0 to {field.classes - 1}"
        )


def load(path: str | Path, device: str | None = None) -> Translator:
    """The model of a run (its latest checkpoint) or of one checkpoint; nothing is unpickled.

    Raises ValueError where there is none.
    """
    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    here = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if chosen not in here and not (chosen == "cuda" and len(here) > 1):
        raise ValueError(f"device: found {chosen!r}, allowed here: {', '.join(here)}")
    return Translator(find_checkpoint(path), torch.device(chosen))
