"""Names that only look alike stay apart, and large images meet gantrain's own bound."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gantrain.data import headers
from gantrain.data.decode import decode, encode, open_picture, to_array
from gantrain.data.open_dataset import open_set
from gantrain.data.prepare.layouts import common_endings
from gantrain.data.prepare.pack import prepare
from gantrain.data.request import DataRequest
from gantrain.data.shards import Shards


def save(path: Path, height: int = 16, width: int = 16) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(np.full((height, width, 3), len(path.name), np.uint8), "png"))


def test_names_that_give_one_key_are_no_pair(tmp_path: Path) -> None:
    """`v1.0` and `v1_0` have one key in a tar, but they are two names."""
    for name in ("1", "2", "3", "4"):
        save(tmp_path / "in" / "src" / f"{name}.png")
        save(tmp_path / "in" / "dst" / f"{name}.png")
    save(tmp_path / "in" / "src" / "v1.0.png")
    save(tmp_path / "in" / "dst" / "v1_0.png")
    report = prepare(tmp_path / "in", tmp_path / "out", progress=False)
    assert report.samples == 4
    assert len(report.unmatched) == 2


def test_two_samples_of_one_key_are_both_packed(tmp_path: Path) -> None:
    for name in ("v1.0", "v1_0", "v1 0"):
        save(tmp_path / "in" / f"{name}.png")
    report = prepare(tmp_path / "in", tmp_path / "out", layout="images", progress=False)
    assert report.samples == 3
    shards = Shards.open(tmp_path / "out")
    assert sorted(shards.key(i) for i in range(3)) == ["v1_0", "v1_0_2", "v1_0_3"]
    assert sum("since another name has the key v1_0" in note for note in report.notes) == 2


ENDINGS = {
    "labels and photographs": (
        ["0_label.png", "0_photo.jpg", "1_label.png", "1_photo.jpg"],
        ["label", "photo"],
    ),
    "numbers": (["a_0.png", "a_1.png", "b_0.png"], []),
    "one field": (["0_label.png", "1_label.png"], []),
    "no underscore": (["0.png", "1.png"], []),
}


@pytest.mark.parametrize("case", ENDINGS)
def test_endings_that_all_names_share_are_suggested(case: str, tmp_path: Path) -> None:
    names, endings = ENDINGS[case]
    assert common_endings(names) == endings


def test_the_suggested_patterns_work(tmp_path: Path) -> None:
    """The line about a folder, and that about two folders, name patterns that match the files."""
    for number in range(3):
        for ending in ("label", "photo"):
            save(tmp_path / "flat" / f"{number}_{ending}.png")
            save(tmp_path / "two" / ending[:3] / f"{number}_{ending}.png")
    with pytest.raises(ValueError, match=r"--pattern label=\{\}_label --pattern photo=\{\}_photo"):
        prepare(tmp_path / "flat", tmp_path / "a", progress=False)
    patterns = {"label": "{}_label", "photo": "{}_photo"}
    assert (
        prepare(tmp_path / "flat", tmp_path / "b", patterns=patterns, progress=False).samples == 3
    )
    with pytest.raises(ValueError, match=r"--pattern lab=\{\}_label --pattern pho=\{\}_photo"):
        prepare(tmp_path / "two", tmp_path / "c", progress=False)
    patterns = {"lab": "{}_label", "pho": "{}_photo"}
    assert prepare(tmp_path / "two", tmp_path / "d", patterns=patterns, progress=False).samples == 3


def test_a_split_that_is_not_there_is_named(tmp_path: Path) -> None:
    for folder in ("trainA", "trainB", "valA", "valB"):
        save(tmp_path / "in" / folder / "0.png")
    with pytest.raises(ValueError, match="found no split test, but train, val"):
        prepare(tmp_path / "in", tmp_path / "out", layout="folders", split="test", progress=False)
    held_out = open_set(
        "validation", str(tmp_path / "in"), DataRequest("mine", "A", "B", {}, (16, 16), None)
    )
    assert len(held_out) == 1


@pytest.mark.filterwarnings("error")
def test_pillows_limits_are_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small limit stands for Pillow's and for ours, since real ones take seconds to decode."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    monkeypatch.setattr(headers, "MOST_PIXELS", 300)
    assert decode(encode(np.zeros((17, 17, 1), np.uint8), "png")).shape == (17, 17, 1)
    large = encode(np.zeros((18, 18, 1), np.uint8), "png")
    with pytest.raises(ValueError, match="18x18, allowed: at most 300 pixels; cut it into tiles"):
        decode(large)
    assert Image.MAX_IMAGE_PIXELS == 100
    save(tmp_path / "in" / "small.png", 16, 16)
    (tmp_path / "in" / "large.png").write_bytes(large)
    report = prepare(tmp_path / "in", tmp_path / "out", layout="images", progress=False)
    assert report.samples == 1
    assert "large.png: does not decode: 18x18, allowed" in report.unreadable[0]


@pytest.mark.parametrize("image_format", ["TIFF", "WEBP", "PNG"])
def test_a_pillow_image_with_several_frames_is_read_as_its_file_is(
    image_format: str, tmp_path: Path
) -> None:
    frames = [Image.new("RGB", (16, 16), (shade, 0, 0)) for shade in (50, 150)]
    path = tmp_path / "frames"
    frames[0].save(path, image_format, save_all=True, append_images=frames[1:])
    for content in (open_picture(path.read_bytes()), Image.open(path)):
        with pytest.raises(ValueError, match="several images in one file"):
            to_array(content)
    with Image.open(path) as image:
        image.seek(1)
        assert abs(int(to_array(image)[0, 0, 0]) - 150) < 5, "the caller has chosen this frame"
