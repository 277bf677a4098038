"""A data set as loose files, and a loader of them as research code has it: by Pillow.

`benchmarks/loaders.py` measures side-by-side files by the same functions.
"""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gantrain.core.errors import UserError
from gantrain.data.field import Field
from gantrain.data.scale import Size
from gantrain.training.setup import RunSetup

MOST_FILES = 64  # samples that are written; a loader reads them again and again


class View(NamedTuple):
    """How an image is shown. size, resize: height and width. left, top: of the crop, pixels."""

    size: Size
    resize: Size | None
    left: int
    top: int
    is_mirrored: bool


def draw_view(native: Size, size: Size, resize: Size | None) -> View:
    """Draw a crop and a flip at random. native: height and width of the file's image."""
    height, width = resize or native
    left = random.randint(0, width - size[1])
    top = random.randint(0, height - size[0])
    return View(size, resize, left, top, random.random() > 0.5)


def show_image(
    image: Image.Image, view: View, resampling: Image.Resampling = Image.Resampling.BICUBIC
) -> Image.Image:
    """Return the image resized, cropped and mirrored."""
    if view.resize is not None:
        image = image.resize((view.resize[1], view.resize[0]), resampling)
    height, width = view.size
    if image.size != (width, height):
        image = image.crop((view.left, view.top, view.left + width, view.top + height))
    if view.is_mirrored:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return image


def to_floats(image: Image.Image, highest: int = 255) -> Tensor:
    """Return the values of an image in [-1, 1], CHW. highest: the value that becomes 1."""
    array = np.array(image)
    values = torch.from_numpy(array.reshape(*array.shape[:2], -1)).permute(2, 0, 1).contiguous()
    return values.float().div(highest).sub_(0.5).div_(0.5)


class LooseFiles:
    """Samples as loose files. fields: by role. members: the file of a sample by member's name."""

    def __init__(
        self,
        members: list[dict[str, Path]],
        fields: dict[str, Field],
        size: Size,
        resize: Size | None,
    ) -> None:
        self.members = members
        self.fields = fields
        self.size = size
        self.resize = resize

    def load(self, index: int) -> dict[str, Tensor]:
        """Return the float images of a sample by role, CHW in [-1, 1], and label maps one-hot."""
        opened = {name: Image.open(path) for name, path in self.members[index].items()}
        parts = {
            role: cut_field(opened[field.member], field) for role, field in self.fields.items()
        }
        target = parts["target"]
        view = draw_view((target.height, target.width), self.size, self.resize)
        images: dict[str, Tensor] = {}
        for role, field in self.fields.items():
            if field.kind == "label":
                shown = show_image(parts[role], view, Image.Resampling.NEAREST)
                ids = torch.from_numpy(np.array(shown)).long()
                assert field.classes is not None
                images[role] = F.one_hot(ids, field.classes).permute(2, 0, 1).float()
            else:
                mode = "L" if field.channels == 1 else "RGB"
                images[role] = to_floats(show_image(parts[role].convert(mode), view))
        return images


def cut_field(image: Image.Image, field: Field) -> Image.Image:
    """Return the part of a file's image that is a field: all of it, or one half."""
    if field.half is None:
        return image
    middle = image.width // 2
    if field.half == 0:
        return image.crop((0, 0, middle, image.height))
    return image.crop((middle, 0, image.width, image.height))


def check_loose(setup: RunSetup) -> None:
    """Raise UserError where the data are other than 8-bit images and label maps by Pillow."""
    data = setup.recipe.data
    if (
        data.degrade
        or isinstance(data.source, list)
        or set(setup.data.fields) != {"source", "target"}
    ):
        raise UserError("the samples are no files of one source and one target each")
    for role, field in setup.data.fields.items():
        is_image = field.kind == "image" and field.channels in (1, 3)
        is_label = field.kind == "label" and field.ignore is None
        if field.dtype != "uint8" or field.range is not None or not (is_image or is_label):
            raise UserError(f"{role} is no grey or RGB image of 8 bits, and no plain label map")


def write_loose_files(setup: RunSetup, folder: Path) -> LooseFiles:
    """Write samples of the training set as the files that its shards hold.

    Raises UserError where the plain loader cannot read them.
    """
    check_loose(setup)
    (shards,) = setup.data.train.domains
    fields = setup.data.fields
    members: list[dict[str, Path]] = []
    for index in range(min(len(shards), MOST_FILES)):
        paths: dict[str, Path] = {}
        for name in {field.member for field in fields.values()}:
            paths[name] = folder / f"{index:06d}.{name}"
            paths[name].write_bytes(shards.read(index, name))
        members.append(paths)
    return LooseFiles(members, fields, setup.recipe.data.size, setup.recipe.data.resize)


class _Samples(Dataset[dict[str, Tensor]]):
    def __init__(self, files: LooseFiles, samples: int) -> None:
        self.files = files
        self.samples = samples

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return self.files.load(index % len(self.files.members))


def plain_loader(
    files: LooseFiles, samples: int, batch_size: int, workers: int
) -> Iterator[dict[str, Tensor]]:
    """Return batches of float images by role, NCHW, from PyTorch's loader with its defaults."""
    data = _Samples(files, samples)
    yield from DataLoader(data, batch_size, shuffle=True, num_workers=workers, drop_last=True)
