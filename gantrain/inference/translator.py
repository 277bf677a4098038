"""Translates images by a trained model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gantrain.core.amounts import count_text
from gantrain.core.console import say
from gantrain.core.errors import UserError
from gantrain.core.out_of_memory import naming_argument
from gantrain.core.paths import check_not_special
from gantrain.core.rng import seed_all
from gantrain.core.wording import option
from gantrain.data.batch import as_batch, data_dims, normalise, split_inputs, to_files
from gantrain.data.resize import resize_smoothly
from gantrain.data.scale import Choice, TrainedScale, text_of, trained_scale
from gantrain.data.shards import Field
from gantrain.data.transforms import Sample
from gantrain.inference.input_images import (
    Given,
    describe_values,
    image_array,
    list_of_inputs,
)
from gantrain.inference.loaded_model import load_model
from gantrain.inference.sizes import OutputSize, check_choice, result_size
from gantrain.inference.source_reader import SourceReader
from gantrain.inference.translation_precision import choose_precision
from gantrain.methods.base import Batch, is_random_at_test
from gantrain.methods.style_check import check_style, describe_methods_with_styles
from gantrain.recipe.degradation_sizes import hole_fill, source_resize, source_size


class Translator:
    """A trained model that translates images. `load` makes it.

    It uses the averaged (EMA) weights if the run kept them. back: translate from target to source,
    by a model that learned both directions (CycleGAN). style: the style of all translations
    (SPADE), a seed or an image file. precision: `fp32`, `bf16`, or `auto`, which is bf16 on GPUs
    that have it, and on CPUs where it is at least 1.2 times as fast. Raises UserError.
    """

    def __init__(
        self,
        folder: Path,
        device: torch.device,
        *,
        back: bool = False,
        style: str | None = None,
        precision: str = "fp32",
    ) -> None:
        model = load_model(folder, device)
        self.precision = choose_precision(precision, model, device)
        self._has_reported_precision = False
        self.recipe = model.recipe
        self.method = model.method
        self.images_seen = model.images_seen
        self.identity = model.identity_of_translations(back, style, self.precision.name)
        self.checkpoint = folder
        self.device = device
        self.back = back
        source = model.fields["source"]
        self.target = model.fields["target"]
        if back:
            model.check_reversible()
            source, self.target = self.target, source
        data = self.recipe.data
        scale = trained_scale(
            source,
            self.target,
            paired=not data.unpaired,
            size=source_size(data),
            resize=source_resize(data),
        )
        self.reader = SourceReader(source, model.further_fields, scale, hole_fill(data))
        self.style = {} if style is None else {"style": self._encode_style(style)}
        # Where an image's result would depend on the other images of its batch.
        self.one_by_one = is_random_at_test(**self.recipe.test_time.model_dump())

    @property
    def fields(self) -> dict[str, Field]:
        """The fields of the data, by role."""
        return {"source": self.source, "target": self.target, **self.reader.inputs}

    @property
    def source(self) -> Field:
        """The field of the images that the model takes."""
        return self.reader.source

    @property
    def scale(self) -> TrainedScale:
        """The scale at which the model has seen its sources in training."""
        return self.reader.scale

    def __repr__(self) -> str:
        trained = f"{self.images_seen:,} images seen, {text_of(self.recipe.data.size)}"
        kinds = f"{describe_values(self.source)} -> {describe_values(self.target)}"
        return (
            f"Translator({self.recipe.method['name']} from {self.checkpoint}: {trained}, {kinds},"
            f" in {self.precision.name} on {self.device})"
        )

    def translate(
        self,
        image: Given | Sequence[Given],
        *,
        size: Choice | None = None,
        output_size: OutputSize = "input",
        **inputs: object,
    ) -> Any:
        """Translate an image, and return the result in the image's own type.

        A file gives a PIL image, and a list gives a list. Paths, PIL images and arrays are read and
        converted as `gantrain translate` reads files. What was converted is reported once. A tensor
        is in the space of the networks and is never resized.

        Args:
            image: The path of a file; a PIL image; a numpy array, HWC or HW, in the dtype of the
                training files (a label map holds class ids); or a tensor, (N, C, H, W) or
                (C, H, W) in [-1, 1] (a label map is one-hot; the channels of further inputs, such
                as a mask or a boundary map of instances, 0 or 1, are the last ones). A list or
                tuple may mix types and sizes.
            inputs: What the model takes besides, by role, such as `mask=` or `instances=`: a path,
                a PIL image or an array (H, W). A list of images takes lists of them.
            size: What the networks see of the image: `native`, its own size; `trained`, the scale
                of training; or (height, width). None means `trained` where training resized its
                files, else `native` (see the page Data).
            output_size: `input` resizes the result to the size of the image, times the factor of
                networks that change the size. `network` leaves it as the networks make it.

        Raises:
            UserError: The channels do not fit, or an input is missing or not wanted.
            OutOfMemory: The image needs more memory than there is. It is a UserError too.
        """
        check_choice(size, output_size)
        if isinstance(image, list | tuple):
            return self._translate_several(image, inputs, size, output_size)
        if isinstance(image, Tensor):
            if size is not None:
                raise UserError(
                    f"size: found {size!r} beside a tensor, allowed: none; it is never resized"
                )
            for role in inputs:
                raise UserError(
                    f"{role}: found an input beside a tensor, allowed: none; the tensor's last"
                    " channels are those of further inputs"
                )
            with naming_argument(image.shape[-2:], self.device):
                return self._translate_tensor(image)
        self.reader.check_inputs(inputs)
        notes: list[str] = []
        with naming_argument(None, self.device):
            sample = self.reader.read(image, inputs, notes)
        self.reader.report_notes(notes)
        self.reader.report_clipped()
        with naming_argument(sample["source"].shape[:2], self.device):
            seen = self.reader.at_size(sample, size)
            self.reader.report_size(sample, seen, size, output_size)
            (fake,) = self.translate_arrays([seen])
            result = at_output_size(fake, sample, seen, output_size)
        if isinstance(image, np.ndarray):
            return result
        if result.shape[2] > (4 if result.dtype == np.uint8 else 1):
            raise UserError(
                f"image: PIL can't hold {result.shape[2]} channels of {result.dtype}; give numpy"
            )
        return Image.fromarray(result[..., 0] if result.shape[2] == 1 else result)

    def _translate_several(
        self,
        images: Sequence[Given],
        inputs: Mapping[str, object],
        size: Choice | None,
        output_size: OutputSize,
    ) -> list[Any]:
        """Translate each image by itself, since their sizes may differ."""
        lists = {role: list_of_inputs(role, given, len(images)) for role, given in inputs.items()}
        results: list[Any] = []
        for number, image in enumerate(images, 1):
            further = {role: given[number - 1] for role, given in lists.items()}
            try:
                if isinstance(image, list | tuple):
                    raise UserError("found a list inside a list, allowed: an image")
                results.append(self.translate(image, size=size, output_size=output_size, **further))
            except ValueError as error:
                error.args = (f"image {number} of {len(images)}: {error}",)
                raise
        return results

    @torch.no_grad()
    def _translate_tensor(self, image: Tensor) -> Tensor:
        wanted = data_dims(self.fields)["source_channels"]
        batch = image if image.ndim == 4 else image[None]
        if batch.ndim != 4 or batch.shape[1] != wanted or not image.is_floating_point():
            raise UserError(
                f"image: found {image.dtype} of shape {tuple(image.shape)}, allowed: floats in "
                f"[-1, 1], (N, C, H, W) or (C, H, W) with C = {wanted}; give files' values as numpy"
            )
        seed_all(self.recipe.seed)
        source = batch.to(self.device, torch.float32)
        inputs = split_inputs(source, self.fields)
        fakes = self._apply({"source": source, **inputs, **self.style})
        fakes = fakes.to(image.device, image.dtype)
        return fakes if image.ndim == 4 else fakes[0]

    def report_precision(self) -> None:
        """Print once what `precision: auto` means here."""
        if self.precision.line and not self._has_reported_precision:
            say(self.precision.line)
        self._has_reported_precision = True

    def _apply(self, batch: Batch) -> Tensor:
        """Return the translations, float32. They differ a little in bf16 (see the page Data)."""
        self.report_precision()
        bf16 = self.precision.name == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            if self.back:
                fakes = self.method.translate_back(batch)
            else:
                fakes = self.method.translate(batch)
        return fakes.float()

    @torch.no_grad()
    def translate_arrays(self, samples: list[Sample]) -> list[np.ndarray]:
        """Translate samples of one size at once, HWC to HWC, in the dtypes of the training files.

        samples: arrays by role.
        """
        seed_all(self.recipe.seed)
        raw = {
            role: torch.from_numpy(np.stack([sample[role] for sample in samples]))
            for role in samples[0]
        }
        batch = as_batch(raw, {role: self.fields[role] for role in raw}, torch.float32, self.device)
        fakes = self._apply(batch | self.style)
        return list(to_files(fakes, self.target).cpu().numpy())

    @torch.no_grad()
    def _encode_style(self, text: str) -> Tensor:
        """Return the style that a seed draws, or that of an image file."""
        method = self.method
        key = option("style")
        if not method.has_style:
            raise UserError(
                f"{key}: found a {self.recipe.method['name']} model that has learnt none,"
                f" allowed: one of {describe_methods_with_styles()}"
            )
        if text.isdecimal() and int(text) < 2**63:
            return check_style(method, int(text))
        check_not_special(text, key)
        try:
            target = self.target
            notes: list[str] = []
            array = image_array(Path(text), target, notes)
            self.reader.report_notes(notes)
            if (array.shape[2], array.dtype.name) != (target.channels, target.dtype):
                what = f"{array.dtype} with {count_text(array.shape[2], 'channel')}"
                raise UserError(f"{what}, this model makes {target.dtype} with {target.channels}")
        except (OSError, ValueError) as e:
            raise UserError(
                f"{key}: found {text} ({e}), allowed: a seed, or an image such as it makes"
            ) from None
        # A style of training is one of its targets, so an image has their scale.
        data = self.recipe.data
        scale = trained_scale(target, target, paired=True, size=data.size, resize=data.resize)
        for after in scale.sizes(array.shape[:2]):
            array = resize_smoothly(array, *after)
        image = normalise(torch.from_numpy(array)[None], target, torch.float32, self.device)
        return check_style(method, image)


def at_output_size(
    fake: np.ndarray, sample: Sample, seen: Sample, output_size: OutputSize
) -> np.ndarray:
    """Resize what the networks made of `seen` to the size of the result.

    fake: HWC. sample: the image as it was given. seen: the image as the networks saw it.
    """
    if output_size == "network":
        return fake
    wanted = result_size(sample["source"].shape[:2], seen["source"].shape[:2], fake.shape[:2])
    return fake if wanted == fake.shape[:2] else resize_smoothly(fake, *wanted)
