"""The training images of a recipe, as the folders that pytorch-CycleGAN-and-pix2pix reads."""

import io
import os
from pathlib import Path

from PIL import Image

from gantrain.bench.loose_files import MOST_FILES, check_loose, cut_field
from gantrain.core.errors import UserError
from gantrain.data.field import Field
from gantrain.data.shards import Shards
from gantrain.training.setup import RunSetup

_JPEG_QUALITY = 95


def write_peer_files(setup: RunSetup, folder: Path, samples: int) -> None:
    """Write `train`, or `trainA` and `trainB`, into a folder.

    samples: the number of files of an epoch. At most 64 are written, and the others are links to
    them. Raises UserError where the peer cannot read the data.
    """
    try:
        check_loose(setup)
    except UserError as error:
        raise UserError(f"--peer: {error}, which the peer could read") from None
    fields = setup.data.fields
    domains = setup.data.train.domains
    if len(domains) == 1:
        pair = [fields["source"], fields["target"]]
        _write_set(domains[0], pair, folder / "train", samples)
        return
    for shards, role, name in zip(domains, ("source", "target"), ("trainA", "trainB"), strict=True):
        _write_set(shards, [fields[role]], folder / name, samples)


def _write_set(shards: Shards, fields: list[Field], folder: Path, samples: int) -> None:
    """Write a folder whose images show the fields of a sample side by side."""
    folder.mkdir()
    written: list[Path] = []
    for index in range(min(len(shards), MOST_FILES, samples)):
        parts: list[Image.Image] = []
        is_jpeg = False
        for field in fields:
            image = Image.open(io.BytesIO(shards.read(index, field.member)))
            is_jpeg = image.format == "JPEG"  # the target's, which comes last
            parts.append(cut_field(image, field).convert("RGB"))
        path = folder / f"{index:06d}.{'jpg' if is_jpeg else 'png'}"
        _side_by_side(parts).save(path, quality=_JPEG_QUALITY)
        written.append(path)
    for index in range(len(written), samples):
        original = written[index % len(written)]
        os.link(original, folder / f"{index:06d}{original.suffix}")


def _side_by_side(parts: list[Image.Image]) -> Image.Image:
    joined = Image.new("RGB", (sum(part.width for part in parts), parts[0].height))
    left = 0
    for part in parts:
        joined.paste(part, (left, 0))
        left += part.width
    return joined
