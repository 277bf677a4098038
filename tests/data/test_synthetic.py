"""Drawn street fronts: deterministic, of any size, and true to their labels."""

import time

import numpy as np
import pytest

from gantrain.data.decode import decode_sample
from gantrain.data.shards import Shards
from gantrain.data.synthetic import (
    CLASS_COLOURS,
    CLASSES,
    PALETTE,
    describe_synthetic,
    draw,
    write_synthetic,
)

PAIR = {"right": None, "left": None}


def _nearest(photograph):
    colours = np.array(CLASS_COLOURS, float)
    return ((photograph[..., None, :] - colours) ** 2).sum(-1).argmin(-1)


@pytest.mark.parametrize("size", [(128, 128), (128, 320), (256, 256)])
def test_a_photograph_tells_its_labels(size):
    right = []
    for index in range(12):
        label, photograph, _ = draw(index, *size, seed=0)
        right.append((_nearest(photograph) == label).mean())
    assert min(right) >= 0.97


def test_class_colours_are_the_photographs_means():
    pictures = [draw(index, 128, 128, seed=1) for index in range(30)]
    labels = np.stack([label for label, _, _ in pictures])
    photographs = np.stack([photograph for _, photograph, _ in pictures])
    assert set(np.unique(labels)) == set(range(len(CLASSES)))
    for number, colour in enumerate(CLASS_COLOURS):
        mean = photographs[labels == number].mean(0)
        assert np.abs(mean - colour).max() < 16, CLASSES[number]
    assert len(set(PALETTE)) == len(set(CLASS_COLOURS)) == len(CLASSES)


def test_the_same_arguments_give_the_same_picture():
    one, again = draw(3, 64, 96, 7), draw(3, 64, 96, 7)
    for a, b in zip(one, again, strict=True):
        np.testing.assert_array_equal(a, b)
    for other in (draw(4, 64, 96, 7), draw(3, 64, 96, 8)):
        assert (other[0] != one[0]).mean() > 0.1


@pytest.mark.parametrize("size", [(16, 16), (17, 61), (200, 16), (64, 64), (16, 2000), (333, 100)])
def test_any_size(size):
    label, photograph, _ = draw(0, *size, seed=0)
    assert (label.shape, label.dtype) == (size, np.uint8)
    assert (photograph.shape, photograph.dtype) == ((*size, 3), np.uint8)
    assert label.max() < len(CLASSES)


def test_too_small_is_refused():
    with pytest.raises(ValueError, match="8x64 is too small"):
        draw(0, 8, 64, 0)


def test_a_pair_of_images(tmp_path):
    began = time.perf_counter()
    write_synthetic(tmp_path / "set", 40, 64, 96, PAIR, seed=5)
    assert time.perf_counter() - began < 10
    shards = Shards.open(tmp_path / "set")
    assert len(shards) == 40
    label, photograph, _ = draw(17, 64, 96, 5)
    sample = decode_sample(shards, 17, ["left", "right"])
    np.testing.assert_array_equal(sample["left"], photograph)
    np.testing.assert_array_equal(sample["right"], np.array(PALETTE, np.uint8)[label])


@pytest.mark.parametrize("classes", [4, 10, 35, 300])
def test_class_ids(tmp_path, classes):
    write_synthetic(tmp_path / "set", 6, 32, 48, {"label": classes, "image": None}, seed=0)
    shards = Shards.open(tmp_path / "set")
    field = shards.fields["label"]
    assert (field.kind, field.classes, len(field.palette)) == ("label", classes, classes)
    ids, _, _ = draw(2, 32, 48, 0)
    found = decode_sample(shards, 2, ["label"])["label"][..., 0]
    np.testing.assert_array_equal(found, ids % min(classes, len(CLASSES)))


def test_each_shape_is_an_instance_of_one_class(tmp_path):
    write_synthetic(
        tmp_path / "set", 3, 64, 96, {"label": 10, "photo": None}, 0, inputs={"ids": "instances"}
    )
    shards = Shards.open(tmp_path / "set")
    field = shards.fields["ids"]
    assert (field.kind, field.channels, field.dtype) == ("instances", 1, "uint16")
    for i in range(3):
        sample = {name: x[..., 0] for name, x in decode_sample(shards, i, ["label", "ids"]).items()}
        np.testing.assert_array_equal(sample["ids"], draw(i, 64, 96, 0)[2])
        numbers = np.unique(sample["ids"])
        assert all(
            len(np.unique(sample["label"][sample["ids"] == number])) == 1 for number in numbers
        )
        assert len(numbers) > 2 * len(
            np.unique(sample["label"])
        )  # several windows, a house's or more


def test_labels_as_the_target(tmp_path):
    write_synthetic(tmp_path / "set", 3, 32, 32, {"photo": None, "ids": 10}, seed=0)
    sample = decode_sample(Shards.open(tmp_path / "set"), 1, ["photo", "ids"])
    ids, photograph, _ = draw(1, 32, 32, 0)
    np.testing.assert_array_equal(sample["ids"][..., 0], ids)
    np.testing.assert_array_equal(sample["photo"], photograph)


def test_written_once_and_alike(tmp_path):
    for name in ("one", "two"):
        write_synthetic(tmp_path / name, 4, 32, 32, PAIR, seed=1)
    one, two = (Shards.open(tmp_path / name) for name in ("one", "two"))
    assert one.fingerprint == two.fingerprint
    write_synthetic(tmp_path / "one", 9, 32, 32, PAIR, seed=2)
    assert len(Shards.open(tmp_path / "one")) == 4
    assert sorted(f.name for f in tmp_path.iterdir()) == ["one", "two"]


def test_a_description_is_that_of_the_written_set(tmp_path):
    fields = {"label": 7, "photo": None}
    write_synthetic(tmp_path / "set", 3, 32, 48, fields, seed=0, inputs={"ids": "instances"})
    written = Shards.open(tmp_path / "set").index
    described = describe_synthetic(3, 32, 48, fields, inputs={"ids": "instances"})
    assert described.fields == written.fields
    assert described.samples == written.samples
    assert len(described.shards) == len(written.shards)


@pytest.mark.parametrize("size", [(8, 64), (8192, 8192)])
def test_what_cannot_be_drawn_is_not_described(size):
    with pytest.raises(ValueError, match="to draw"):
        describe_synthetic(3, *size, PAIR)
