"""The scale of training: the rule of held-out samples, and the sizes that it gives to files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gantrain.data.field import Field
from gantrain.data.kinds.table import KINDS
from gantrain.data.prepare.pack import prepare
from gantrain.data.scale import (
    Choice,
    Size,
    describe_held_out,
    held_out_notice,
    held_out_resize,
    is_lossy,
    trained_scale,
)
from gantrain.data.shards import Shards
from gantrain.data.transforms import SampleTransform

HELD_OUT: dict[str, tuple[Size, Size | None, Size | None, str]] = {
    "no resize": ((256, 256), None, None, "the centre 256x256 of each sample"),
    "the same": ((256, 512), (256, 512), (256, 512), "each sample resized to 256x512"),
    "augmentation": ((256, 256), (286, 286), (256, 256), "each sample resized to 256x256"),
    "just below the ratio": ((100, 100), (124, 124), (100, 100), "each sample resized to 100x100"),
    "at the ratio": (
        (100, 100),
        (125, 125),
        (125, 125),
        "the centre 100x100 of each sample resized to 125x125",
    ),
    "far above it": (
        (256, 256),
        (1024, 1024),
        (1024, 1024),
        "the centre 256x256 of each sample resized to 1024x1024",
    ),
    "in one axis": (
        (256, 256),
        (256, 512),
        (256, 512),
        "the centre 256x256 of each sample resized to 256x512",
    ),
}


@pytest.mark.parametrize(("size", "resize", "expected", "words"), HELD_OUT.values(), ids=HELD_OUT)
def test_held_out_samples_have_the_scale_of_training(
    size: Size, resize: Size | None, expected: Size | None, words: str
) -> None:
    assert held_out_resize(size, resize) == expected
    assert describe_held_out(size, resize) == words
    notice = held_out_notice(size, resize)
    if expected in (None, size):
        assert notice is None
    else:
        assert notice is not None
        assert words in notice


def test_a_view_takes_the_centre_at_the_scale_of_training() -> None:
    image = np.arange(64 * 48, dtype=np.float32).reshape(64, 48, 1) / (64 * 48)
    shown = SampleTransform({"x": KINDS["image"]}, (16, 16), (32, 24)).held_out({"x": image})["x"]
    whole = SampleTransform({"x": KINDS["image"]}, (32, 24), (32, 24)).held_out({"x": image})["x"]
    assert np.array_equal(shown, whole[8:24, 4:20])
    small = SampleTransform({"x": KINDS["image"]}, (16, 16), None).held_out({"x": image[:8]})["x"]
    assert small.shape == (16, 16, 1), "what is too small to crop is resized"


def field(
    smallest: Size,
    largest: Size | None = None,
    before: tuple[Size, Size] | None = None,
    **more: Any,
) -> Field:
    originals = (
        {} if before is None else {"original_min_size": before[0], "original_max_size": before[1]}
    )
    return Field(
        member="x", channels=3, min_size=smallest, max_size=largest or smallest, **originals, **more
    )


ONE = field((256, 256))
MANY = field((200, 300), (400, 600))
PACKED = field((64, 64), before=((256, 512), (256, 512)))
PACKED_MANY = field((64, 64), before=((200, 300), (400, 600)))
UNKNOWN_SIZES = field((1, 1))

# The source's field, data.size, data.resize, the default, and the sizes given to an image of some
# size.
TRAINED: dict[str, tuple[Field, Size, Size | None, str, Size, list[Size]]] = {
    "cropped alone": (ONE, (64, 64), None, "native", (256, 256), []),
    "cropped alone, varying": (MANY, (64, 64), None, "native", (400, 600), []),
    "resized": (ONE, (64, 64), (64, 64), "trained", (256, 256), [(64, 64)]),
    "resized with augmentation": (ONE, (64, 64), (70, 70), "trained", (256, 256), [(64, 64)]),
    "resized past the ratio": (ONE, (64, 64), (128, 128), "trained", (256, 256), [(128, 128)]),
    "larger scenes keep their scale": (
        ONE,
        (64, 64),
        (64, 64),
        "trained",
        (1024, 512),
        [(256, 128)],
    ),
    "each axis by its ratio": (ONE, (64, 128), (64, 128), "trained", (100, 100), [(25, 50)]),
    "a side of one pixel at least": (ONE, (16, 16), (16, 16), "trained", (3, 300), [(1, 19)]),
    "resized to what it was": (ONE, (256, 256), (256, 256), "native", (100, 300), []),
    "varying": (MANY, (64, 96), (64, 96), "trained", (300, 300), [(64, 96)]),
    "varying, past the ratio": (MANY, (64, 64), (128, 192), "trained", (300, 300), [(128, 192)]),
    "varying, of the right size": (MANY, (64, 96), (64, 96), "trained", (64, 96), []),
    "prepared": (PACKED, (64, 64), None, "trained", (256, 512), [(64, 64)]),
    "prepared, a larger scene": (PACKED, (64, 64), None, "trained", (512, 512), [(128, 64)]),
    "prepared and cropped": (PACKED, (32, 32), None, "trained", (256, 512), [(64, 64)]),
    "prepared, then resized": (
        PACKED,
        (32, 32),
        (36, 36),
        "trained",
        (256, 512),
        [(64, 64), (32, 32)],
    ),
    "prepared varying": (PACKED_MANY, (64, 64), None, "trained", (300, 300), [(64, 64)]),
    "prepared varying, then resized": (
        PACKED_MANY,
        (32, 32),
        (32, 32),
        "trained",
        (9, 9),
        [(64, 64), (32, 32)],
    ),
    "prepared to what it was": (
        field((64, 64), before=((64, 64), (64, 64))),
        (64, 64),
        None,
        "native",
        (99, 9),
        [],
    ),
    "imported": (UNKNOWN_SIZES, (256, 256), None, "native", (512, 512), []),
    "imported with a size": (UNKNOWN_SIZES, (64, 96), (64, 96), "trained", (512, 512), [(64, 96)]),
}


@pytest.mark.parametrize(
    ("source", "size", "resize", "default", "image", "expected"),
    TRAINED.values(),
    ids=list(TRAINED),
)
@pytest.mark.parametrize("paired", [True, False])
def test_the_trained_scale_of_an_image(
    source: Field,
    size: Size,
    resize: Size | None,
    default: str,
    image: Size,
    expected: list[Size],
    paired: bool,
) -> None:
    scale = trained_scale(source, source, paired=paired, size=size, resize=resize)
    assert scale.default == default
    assert scale.sizes(image) == expected
    assert scale.sizes(image, "native") == []
    assert scale.sizes(image, (7, 9)) == [(7, 9)]
    assert scale.sizes(image, image) == []


def test_trained_by_choice_where_an_importer_knows_no_sizes() -> None:
    """Never a ratio to the importer's 1x1."""
    scale = trained_scale(UNKNOWN_SIZES, ONE, paired=True, size=(64, 96), resize=None)
    assert scale.sizes((512, 512), "trained") == [(64, 96)]


@pytest.mark.parametrize(("paired", "default"), [(True, "native"), (False, "trained")])
def test_a_model_whose_pairs_differed_in_size_takes_files_as_they_are(
    paired: bool, default: str
) -> None:
    """Two unpaired sets have sizes of their own, which say nothing about the model."""
    small = field((64, 64), before=((16, 16), (16, 16)))
    large = field((64, 64), before=((64, 64), (64, 64)))
    scale = trained_scale(small, large, paired=paired, size=(64, 64), resize=None)
    assert scale.default == default
    assert scale.sizes((16, 16), "trained") == [(64, 64)]


HUGE = field((4096, 4096), before=((2, 2), (2, 2)))
REFUSED: dict[str, tuple[Field, Choice]] = {
    "a size past reason": (ONE, (99999, 64)),
    "a ratio past reason": (HUGE, "trained"),
}


@pytest.mark.parametrize(("source", "choice"), REFUSED.values(), ids=list(REFUSED))
def test_sizes_past_reason_are_refused(source: Field, choice: Choice) -> None:
    scale = trained_scale(source, source, paired=True, size=(64, 64), resize=None)
    says = r"^size: 64x64 would become .*, an image may be enlarged to 32768 pixels a side"
    with pytest.raises(ValueError, match=says):
        scale.sizes((64, 64), choice)
    assert scale.sizes((99999, 64), (99999, 32)) == [(99999, 32)], (
        "an image may be as large as it is"
    )


def test_a_reduction_by_two_in_an_axis_loses_detail() -> None:
    assert is_lossy((64, 64), (64, 32))
    assert not is_lossy((64, 64), (64, 33))
    assert not is_lossy((64, 64), (128, 128))


def write_images(folder: Path, sizes: list[Size]) -> Path:
    folder.mkdir(parents=True)
    for i, (height, width) in enumerate(sizes):
        pixels = np.random.default_rng(i).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


# Sizes of the files, the layout, and the smallest and largest size of each field.
ORIGINALS: dict[str, tuple[list[Size], str, Size, Size]] = {
    "one size": ([(40, 60), (40, 60)], "images", (40, 60), (40, 60)),
    "varying": ([(40, 60), (50, 30)], "images", (40, 30), (50, 60)),
    "halves": ([(40, 80), (44, 100)], "pairs", (40, 40), (44, 50)),
}


@pytest.mark.parametrize(
    ("sizes", "layout", "smallest", "largest"), ORIGINALS.values(), ids=list(ORIGINALS)
)
def test_an_index_holds_the_sizes_before_prepare_resized(
    sizes: list[Size], layout: str, smallest: Size, largest: Size
) -> None:
    folder = write_images(Path("files"), sizes)
    fields = prepare(folder, "packed", layout=layout, resize=(20, 32), progress=False).fields
    assert Shards.open("packed").fields == fields
    for packed in fields.values():
        assert (packed.min_size, packed.max_size) == ((20, 32), (20, 32))
        assert (packed.original_min_size, packed.original_max_size) == (smallest, largest)
    fields = prepare(folder, "whole", layout=layout, progress=False).fields
    for whole in fields.values():
        assert (whole.min_size, whole.max_size) == (smallest, largest)
        assert (whole.original_min_size, whole.original_max_size) == (None, None)


def test_sizes_before_prepare_are_no_part_of_the_fingerprint() -> None:
    """The fingerprint is that of the content, which is the same pixels here."""
    prepare(
        write_images(Path("files"), [(40, 60)]),
        "packed",
        layout="images",
        resize=(20, 32),
        progress=False,
    )
    path = Path("packed/index.json")
    content = json.loads(path.read_text())
    content["fields"]["image"].update(original_min_size=[80, 99], original_max_size=[90, 99])
    path.write_text(json.dumps(content))
    assert Shards.open("packed").fields["image"].original_max_size == (90, 99)
