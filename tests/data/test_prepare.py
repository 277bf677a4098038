"""`gantrain prepare`: what is packed, what is left out and said, and what is never touched."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gantrain.data.batch import normalise
from gantrain.data.decode import decode, decode_sample, encode
from gantrain.data.field import MOST_CHANNELS, MOST_SIDE
from gantrain.data.open_dataset import open_domains, open_set
from gantrain.data.pictures import viewable
from gantrain.data.prepare.pack import pack_once, prepare
from gantrain.data.prepare.where_to_get import HOW_TO
from gantrain.data.request import DataRequest, InputRequest
from gantrain.data.resize import resize_nearest
from gantrain.data.shards import Shards

ROOT = Path(__file__).resolve().parents[2]
REAL = ROOT.parent / "shared" / "data"


def _image(seed, height=20, width=40, channels=3):
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (height, width, channels), dtype=np.uint8)


def _put(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(array, path.suffix[1:]))
    return path


def _run(source, out, **options):
    return prepare(source, out, progress=False, **options)


@pytest.fixture
def pairs(tmp_path):
    for i in range(12):
        _put(tmp_path / "pairs" / f"{i}.{'jpg' if i % 2 else 'png'}", _image(i))
    return tmp_path / "pairs"


@pytest.fixture
def labelled(tmp_path):
    for i in range(5):
        _put(tmp_path / "set" / "image" / f"f{i}.jpg", _image(i, 20, 30))
        ids = np.random.default_rng(i).integers(0, 4, (20, 30, 1), dtype=np.uint8)
        _put(tmp_path / "set" / "label" / f"f{i}.png", ids)
    return tmp_path / "set"


@pytest.fixture
def cityscapes(tmp_path):
    source = tmp_path / "cityscapes"
    for split, cities in (("train", ("aachen", "ulm")), ("val", ("lindau",))):
        for city in cities:
            for i in (19, 20):
                stem = f"{city}_000000_{i:06d}"
                photo = source / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png"
                _put(photo, _image(i, 32, 64))
                fine = source / "gtFine" / split / city / f"{stem}_gtFine"
                ids = np.random.default_rng(i).integers(0, 34, (32, 64, 1), dtype=np.uint8)
                _put(fine.with_name(fine.name + "_labelIds.png"), ids)
                _put(fine.with_name(fine.name + "_color.png"), _image(i, 32, 64))
    return source


def _left_behind(folder, *known):
    return sorted(f.name for f in folder.iterdir() if f.name not in known)


def test_pairs_are_kept_byte_for_byte_in_the_order_of_their_names(pairs, tmp_path):
    report = _run(pairs, tmp_path / "out")
    shards = Shards.open(tmp_path / "out")
    assert (report.layout, report.samples, len(shards)) == ("pairs", 12, 12)
    keys = [shards.key(i) for i in range(12)]
    assert keys == sorted(str(i) for i in range(12))
    for i, key in enumerate(keys):
        (file,) = pairs.glob(f"{key}.*")
        assert shards.read(i, "pair") == file.read_bytes()
        whole = decode(file.read_bytes())
        sample = decode_sample(shards, i, ["left", "right"])
        np.testing.assert_array_equal(sample["left"], whole[:, :20])
        np.testing.assert_array_equal(sample["right"], whole[:, 20:])
    assert shards.fields["left"].min_size == (20, 20)
    assert "12 samples (pairs)" in (tmp_path / "out" / "report.txt").read_text()
    assert _left_behind(tmp_path, "pairs", "out") == []


def test_the_number_of_workers_changes_nothing(pairs, tmp_path):
    for workers in (1, 5):
        _run(pairs, tmp_path / f"out{workers}", workers=workers)
    one, five = (Shards.open(tmp_path / f"out{workers}") for workers in (1, 5))
    assert one.fingerprint == five.fingerprint


def test_folders_match_by_name_and_say_what_is_left(labelled, tmp_path):
    _put(labelled / "image" / "alone.jpg", _image(0))
    (labelled / "label" / "notes.txt").write_text("x")
    (labelled / "label" / ".hidden").write_text("x")
    _put(labelled / "image" / "f1.png", _image(0))
    report = _run(labelled, tmp_path / "out", labels=["label"])
    assert report.samples == 5
    left = "\n".join(report.unmatched)
    assert len(report.unmatched) == 3
    assert "alone.jpg: no label" in left
    assert "notes.txt: not one of jpg" in left
    assert "f1.png: has the same name as f1.jpg" in left
    field = Shards.open(tmp_path / "out").fields["label"]
    assert (field.kind, field.channels, field.classes) == ("label", 1, 4)
    assert sum(field.label_counts.values()) == 5 * 20 * 30
    assert "3 unmatched" in "\n".join(report.lines())


def test_bad_files_are_named_and_left_out(pairs, tmp_path):
    (pairs / "20.jpg").write_bytes((pairs / "1.jpg").read_bytes()[:300])
    (pairs / "21.png").write_bytes(b"")
    _put(pairs / "22.png", _image(0, 20, 41))
    _put(pairs / "23.png", _image(0, 20, 40, 1).astype(np.uint16))
    _put(pairs / "24.png", _image(0, 10, 20))
    report = _run(pairs, tmp_path / "out", layout="pairs")
    assert report.samples == 12
    reasons = {Path(line.split(": ")[0]).name: line for line in report.unreadable}
    assert set(reasons) == {"20.jpg", "21.png", "22.png", "23.png", "24.png"}
    assert "does not decode" in reasons["20.jpg"]
    assert "width 41 is odd" in reasons["22.png"]
    assert "left has 1 channel of uint16, most have 3 channels of uint8" in reasons["23.png"]
    assert "10x10, the smallest is 16x16" in reasons["24.png"]
    assert all(line in (tmp_path / "out" / "report.txt").read_text() for line in report.unreadable)


def test_many_left_over_files_are_shortened(pairs, tmp_path):
    for i in range(30, 45):
        (pairs / f"{i}.png").write_bytes(b"x")
    lines = _run(pairs, tmp_path / "out", max_left_out=1).lines()
    assert "15 left out:" in lines
    assert "  ... and 5 more, all in report.txt" in lines
    assert len((tmp_path / "out" / "report.txt").read_text().splitlines()) == len(lines) + 4


def test_fields_of_unequal_size_are_left_out(labelled, tmp_path):
    _put(labelled / "label" / "f2.png", np.zeros((30, 20, 1), np.uint8))
    report = _run(labelled, tmp_path / "out", labels=["label"])
    assert report.samples == 4
    assert "differ in height x width: image 20x30, label 30x20" in report.unreadable[0]


def test_resize_changes_the_size_and_keeps_the_format(labelled, pairs, tmp_path):
    report = _run(labelled, tmp_path / "out", labels=["label"], resize=(16, 48))
    shards = Shards.open(tmp_path / "out")
    assert report.fields["image"].max_size == (16, 48)
    sample = decode_sample(shards, 3, ["image", "label"])
    assert sample["image"].shape == (16, 48, 3)
    assert shards.read(3, "image")[:2] == b"\xff\xd8"
    assert set(np.unique(sample["label"])) <= {0, 1, 2, 3}
    assert sum(shards.fields["label"].label_counts.values()) == 5 * 16 * 48
    _run(pairs, tmp_path / "halves", resize=(16, 24))
    halves = Shards.open(tmp_path / "halves")
    assert decode_sample(halves, 0, ["left"])["left"].shape == (16, 24, 3)
    assert decode(halves.read(0, "pair")).shape == (16, 48, 3)


def test_resized_halves_do_not_mix(tmp_path):
    array = np.zeros((64, 128, 3), np.uint8)
    array[:, 64:] = 255
    _put(tmp_path / "in" / "a.png", array)
    _run(tmp_path / "in", tmp_path / "out", resize=(20, 20))
    sample = decode_sample(Shards.open(tmp_path / "out"), 0, ["left", "right"])
    assert sample["left"].max() == 0
    assert sample["right"].min() == 255


def test_16_bit_and_many_channels_are_resized_losslessly_stored(tmp_path):
    deep = np.full((32, 32, 1), 40000, np.uint16)
    _put(tmp_path / "in" / "depth" / "a.png", deep)
    _put(tmp_path / "in" / "bands" / "a.npy", np.full((32, 32, 6), 0.25, np.float32))
    ranges = {"depth": (0, 65535)}
    _run(tmp_path / "in", tmp_path / "out", resize=(16, 16), ranges=ranges)
    sample = decode_sample(Shards.open(tmp_path / "out"), 0, ["depth", "bands"])
    assert (sample["depth"].dtype, sample["bands"].shape) == (np.uint16, (16, 16, 6))
    assert (sample["depth"] == 40000).all()
    np.testing.assert_allclose(sample["bands"], 0.25)


def test_floats_beyond_one_are_named(tmp_path):
    _put(tmp_path / "in" / "a.npy", np.full((32, 32, 1), 7, np.float32))
    with pytest.raises(
        ValueError, match=r"image holds values 7\.\.7 .* outside 0\.\.1, the usual range"
    ):
        _run(tmp_path / "in", tmp_path / "out", layout="images")
    edge = np.zeros((32, 32, 1), np.float32)
    edge[:, 16:] = 1  # where bicubic would overshoot
    _put(tmp_path / "in" / "a.npy", edge)
    _run(tmp_path / "in", tmp_path / "out", layout="images", resize=(20, 20))
    found = decode_sample(Shards.open(tmp_path / "out"), 0, ["image"])["image"]
    assert (found.min(), found.max()) == (0, 1)


def test_single_images(tmp_path):
    _put(tmp_path / "in" / "a.b.png", _image(0, 32, 48))
    with pytest.raises(ValueError, match=r"say which with --as pairs, .* --as images"):
        _run(tmp_path / "in", tmp_path / "out")
    _run(tmp_path / "in", tmp_path / "out", layout="images")
    shards = Shards.open(tmp_path / "out")
    assert (list(shards.fields), shards.key(0)) == (["image"], "a_b")


def test_cyclegan_folders_go_by_split(tmp_path):
    for folder in ("trainA", "trainB", "testA", "testB"):
        for i in range(2 if "train" in folder else 1):
            _put(tmp_path / "in" / folder / f"{i}.png", _image(i))
    assert _run(tmp_path / "in", tmp_path / "train").samples == 2
    report = _run(tmp_path / "in", tmp_path / "test", split="test")
    assert (report.samples, list(report.fields)) == (1, ["A", "B"])
    wanted = DataRequest("mine", "A", "B", {}, (16, 16), None)
    assert [
        len(open_set(key, str(tmp_path / "in"), wanted)) for key in ("train", "validation")
    ] == [2, 1]
    (tmp_path / "in" / "testA").rename(tmp_path / "in" / "valA")
    with pytest.raises(
        ValueError, match=r"data\.validation: .*/in holds trainA but no testA and testB"
    ):
        open_set("validation", str(tmp_path / "in"), wanted)


def test_cityscapes(cityscapes, tmp_path):
    (cityscapes / "gtFine/train/ulm/ulm_000000_000020_gtFine_labelIds.png").unlink()
    report = _run(cityscapes, tmp_path / "out")
    shards = Shards.open(tmp_path / "out")
    keys = [shards.key(i) for i in range(len(shards))]
    assert keys == ["aachen_000000_000019", "aachen_000000_000020", "ulm_000000_000019"]
    assert ["ulm_000000_000020_leftImg8bit.png: no label" in line for line in report.unmatched] == [
        True
    ]
    label = shards.fields["label"]
    assert (label.kind, label.classes) == ("label", 35)
    assert (
        shards.read(0, "image")
        == next(cityscapes.glob("leftImg8bit/train/aachen/*19_leftImg8bit.png")).read_bytes()
    )
    assert _run(cityscapes, tmp_path / "val", split="val").samples == 2
    with pytest.raises(ValueError, match=r"found no images like leftImg8bit/test/.*--split"):
        _run(cityscapes, tmp_path / "none", split="test")


def test_cityscapes_brings_its_instances_where_they_are(cityscapes, tmp_path):
    for photo in cityscapes.glob("leftImg8bit/*/*/*.png"):
        stem, city = photo.name.removesuffix("_leftImg8bit.png"), photo.parent
        ids = np.random.default_rng(len(stem)).choice(
            np.array([7, 26000, 26001], np.uint16), (32, 64, 1)
        )
        _put(
            cityscapes / "gtFine" / city.parent.name / city.name / f"{stem}_gtFine_instanceIds.png",
            ids,
        )
    report = _run(cityscapes, tmp_path / "out", resize=(16, 32))
    assert "  instance: instances, 1 channel, uint16, height x width 16x32" in report.lines()
    found = decode_sample(Shards.open(tmp_path / "out"), 0, ["instance"])["instance"]
    assert set(np.unique(found)) == {7, 26000, 26001}
    next(cityscapes.glob("gtFine/val/*/*_instanceIds.png")).unlink()
    assert "no instance" in _run(cityscapes, tmp_path / "val", split="val").unmatched[0]


def test_folders_with_instances(labelled, tmp_path):
    for i in range(5):  # maps of few instances have 8 bits
        ids = np.random.default_rng(i).integers(0, 4 if i else 999, (20, 30, 1))
        _put(labelled / "ids" / f"f{i}.png", ids.astype(np.uint8 if i else np.uint16))
    report = _run(labelled, tmp_path / "out", labels=["label"], kinds={"ids": "instances"})
    assert (report.samples, report.unreadable) == (5, [])
    field = Shards.open(tmp_path / "out").fields["ids"]
    assert (field.kind, field.classes, field.label_counts, field.dtype) == (
        "instances",
        None,
        None,
        "uint16",
    )
    wanted = DataRequest(
        "mine",
        "label",
        "image",
        {"label": 4},
        (16, 16),
        None,
        inputs={"instances": InputRequest("ids", "instances")},
    )
    for folder in (labelled, tmp_path / "out"):  # packed when it is first used, and prepared
        (shards,) = open_domains("train", str(folder), wanted)
        assert decode_sample(shards, 0, wanted.names.values())["ids"].max() > 255
    wrong = {
        "ids holds 1-channel images in data.train; prepare it with --instances ids": {
            "labels": ["label"]
        },
        "data.inputs.instances: found 'ids', allowed: image, label .*or data.inputs.instances=null": None,
    }
    for i, (says, options) in enumerate(wrong.items()):
        if options is None:
            (labelled / "ids").rename(tmp_path / "away")
        _run(labelled, tmp_path / f"wrong{i}", **options or {"labels": ["label"]})
        with pytest.raises(ValueError, match=says):
            open_domains("train", str(tmp_path / f"wrong{i}"), wanted)
    with pytest.raises(
        ValueError, match=r"data\.source: ids holds ids of instances .*for data\.inputs"
    ):
        open_domains(
            "train", str(tmp_path / "out"), DataRequest("mine", "ids", "image", {}, (16, 16), None)
        )
    _put(tmp_path / "away" / "f3.jpg", _image(0, 20, 30))
    (tmp_path / "away" / "f3.png").unlink()
    (tmp_path / "away").rename(labelled / "ids")
    with pytest.raises(ValueError, match=r"f3\.jpg: a JPEG where ids of instances are expected"):
        _run(labelled, tmp_path / "jpeg", labels=["label"], kinds={"ids": "instances"})


# A photograph and its class ids as published, their highest id, and the number of classes.
PUBLISHED = {
    "camvid": ("{}/0001TP_{}.png", "{}annot/0001TP_{}.png", {}, 11, 12),
    "ade20k": (
        "images/{}/ADE_{}.jpg", "annotations/{}/ADE_{}.png", {"train": "training", "val": "validation"}, 150, 151
    ),
    "coco": (
        "images/{}/00{}.jpg", "annotations/{}/00{}.png", {"train": "train2017", "val": "val2017"}, 255, 183
    ),
}  # fmt: skip


@pytest.fixture(params=PUBLISHED)
def published(request, tmp_path):
    *patterns, called, highest, classes = PUBLISHED[request.param]
    for split, samples in (("train", 3), ("val", 2)):
        for i in range(samples):
            photo, label = (
                tmp_path / "in" / pattern.format(called.get(split, split), i)
                for pattern in patterns
            )
            _put(photo, _image(i, 20, 30))
            ids = [*(row % highest for row in range(19)), highest]
            _put(label, np.array(ids, np.uint8).repeat(30).reshape(20, 30))
    return request.param, tmp_path / "in", classes, label


def test_published_layouts(published, tmp_path):
    name, source, classes, label = published
    for split, samples in (("train", 3), ("val", 2)):
        report = _run(source, tmp_path / split, layout=name, split=split)
        assert (report.samples, report.unmatched, report.unreadable) == (samples, [], [])
        assert (report.fields["label"].classes, report.fields["image"].channels) == (classes, 3)
    with pytest.raises(ValueError, match=f"found no images like .*test.*--as {name} --split test"):
        _run(source, tmp_path / "test", layout=name, split="test")
    label.rename(label.with_name("other.png"))
    report = _run(source, tmp_path / "missing", layout=name, split="val")
    assert re.search(r"1\.(jpg|png): no label.*other\.png: no image", " ".join(report.unmatched))


@pytest.mark.parametrize(
    ("wrong", "reason"), [(200, "label holds ids beyond .*: 200;"), (None, "RGB where class ids")]
)
def test_wrong_maps_in_published_layouts_are_refused_by_name(published, wrong, reason, tmp_path):
    name, source, _, label = published
    _put(label, _image(0, 20, 30) if wrong is None else np.full((20, 30), wrong, np.uint8))
    with pytest.raises(ValueError, match=f"{re.escape(str(label))}: {reason}"):
        _run(source, tmp_path / "out", layout=name, split="val")
    assert _left_behind(tmp_path, "in") == []


def test_a_whole_cityscapes_folder_gives_each_split_to_its_key(cityscapes):
    wanted = DataRequest("cityscapes", "label", "image", {"label": 35}, (32, 64), None)
    assert len(open_set("train", str(cityscapes), wanted)) == 4
    held_out = open_set("validation", str(cityscapes), wanted)
    assert [held_out.key(i) for i in range(len(held_out))] == [
        "lindau_000000_000019",
        "lindau_000000_000020",
    ]


@pytest.mark.parametrize("name", ["cityscapes", *PUBLISHED])
def test_how_to_names_the_place_and_fits_the_split(name):
    assert "https://www.cityscapes-dataset.com/" in HOW_TO["cityscapes"]
    assert re.search("https?://", HOW_TO[name])
    wanted = DataRequest(f"{name}_spade", "label", "image", {"label": 35}, (64, 64), None)
    for key, split in (("train", "train"), ("validation", "val")):
        command = f"`gantrain prepare FOLDER --out no/{split} --as {name} --split {split}`"
        with pytest.raises(ValueError, match=re.escape(command)):
            open_set(key, f"no/{split}", wanted)


def test_label_files_that_hold_no_ids_are_refused_by_name(labelled, tmp_path):
    _put(labelled / "label" / "f3.png", _image(0, 20, 30))
    with pytest.raises(ValueError, match=r"f3\.png: RGB where class ids are expected"):
        _run(labelled, tmp_path / "out", labels=["label"])
    assert _left_behind(tmp_path, "set") == []


def test_ids_beyond_the_classes_are_refused_by_name(labelled, tmp_path):
    ids = np.zeros((20, 30, 1), np.uint8)
    ids[0, :2, 0] = 9, 255
    _put(labelled / "label" / "f3.png", ids)
    with pytest.raises(
        ValueError,
        match=r"1 file does not hold the ids or the mask that it should: .*f3\.png: label holds ids beyond 4 classes: 9, 255;",
    ):
        _run(labelled, tmp_path / "out", labels=["label"], classes=4)
    assert _left_behind(tmp_path, "set") == []
    report = _run(labelled, tmp_path / "out", labels=["label"])
    assert report.fields["label"].classes == 256


def test_pixels_of_no_class_are_one_more(labelled, tmp_path):
    file = labelled / "label" / "f3.png"
    ids = decode(file.read_bytes(), "label")
    ids[0] = 255
    _put(file, ids)
    for name, classes in (("counted", None), ("said", 5)):
        report = _run(labelled, tmp_path / name, labels=["label"], classes=classes, ignore=255)
        assert "label: label, 5 classes, the last of them id 255, uint8" in "\n".join(
            report.lines()
        )
        shards = Shards.open(tmp_path / name)
        label = shards.fields["label"]
        assert (label.classes, label.ignore, label.label_counts[255]) == (5, 255, 30)
        assert shards.fields["image"].ignore is None
        assert shards.read(3, "label") == file.read_bytes()
    with pytest.raises(
        ValueError, match="holds ids beyond 4 classes, the last of which is 255: 3;"
    ):
        _run(labelled, tmp_path / "few", labels=["label"], classes=4, ignore=255)


def test_palette_files_hold_ids_or_colours(labelled, tmp_path):
    for file in (labelled / "label").iterdir():
        image = Image.fromarray(decode(file.read_bytes())[..., 0])
        palette = Image.new("P", image.size)
        palette.putdata(list(image.tobytes()))
        palette.putpalette([0, 0, 0, 200, 0, 0, 0, 200, 0, 0, 0, 200])
        palette.save(file)
    report = _run(labelled, tmp_path / "out", labels=["label"], classes=5)
    label = report.fields["label"]
    assert (label.kind, label.classes, max(label.label_counts)) == ("label", 5, 3)
    images = _run(labelled, tmp_path / "colours").fields["label"]
    assert (images.kind, images.channels) == ("image", 3)


TABLE = """\ufeff# as CamVid's
64 128 64\tAnimal
192 0 128\tArchway

0 128 192 Bicyclist  # on a road
0 0 0
"""
COLOURS = [(64, 128, 64), (192, 0, 128), (0, 128, 192), (0, 0, 0)]


@pytest.fixture
def coloured(labelled, tmp_path):
    """The same set with its ids in colours: RGB, RGBA and a palette."""
    (tmp_path / "colours.txt").write_text(TABLE)
    for i, file in enumerate(sorted((labelled / "label").iterdir())):
        rgb = np.array(COLOURS, np.uint8)[decode(file.read_bytes(), "label")[..., 0]]
        image = Image.fromarray(rgb)
        (image.convert("RGBA") if i == 1 else image.quantize(4) if i == 2 else image).save(file)
    return labelled, tmp_path / "colours.txt"


@pytest.mark.parametrize("resize", [None, (16, 24)])
@pytest.mark.parametrize("ignore", [None, 3])
def test_label_maps_in_colours_become_ids(coloured, tmp_path, resize, ignore):
    source, table = coloured
    report = _run(
        source, tmp_path / "out", labels=["label"], colors=table, resize=resize, ignore=ignore
    )
    assert (report.samples, report.unreadable) == (5, [])
    shards = Shards.open(tmp_path / "out")
    field = shards.fields["label"]
    assert (field.kind, field.classes, field.palette, field.channels) == ("label", 4, COLOURS, 1)
    assert shards.fields["image"].palette is None
    for i in range(5):
        ids = np.random.default_rng(i).integers(0, 4, (20, 30, 1), dtype=np.uint8)
        expected = ids if resize is None else resize_nearest(ids, *resize)
        found = decode_sample(shards, i, ["label", "image"])["label"]
        np.testing.assert_array_equal(found, expected)
        assert viewable(
            normalise(torch.from_numpy(found)[None], field, torch.float32, torch.device("cpu")),
            field,
        )[0, 3, 5].tolist() == list(COLOURS[expected[3, 5, 0]])
    if resize is None:
        assert shards.read(0, "image") == (source / "image" / "f0.jpg").read_bytes()


def test_wrong_colours_are_refused_by_name(coloured, tmp_path):
    source, table = coloured
    wrong = decode((source / "label" / "f3.png").read_bytes())
    wrong[0, :7], wrong[1, :2] = (1, 2, 3), (255, 0, 255)
    cases = {
        r"f3\.png: colours of no class: 1 2 3 \(7 pixels\), 255 0 255 \(2 pixels\);": wrong,
        r"f3\.png: uint8 with 1 channel, the colours of --colors are RGB": wrong[..., :1],
    }
    for says, array in cases.items():
        _put(source / "label" / "f3.png", array)
        with pytest.raises(ValueError, match=says):
            _run(source, tmp_path / "out", labels=["label"], colors=table)
    (source / "label" / "f3.png").unlink()
    _put(source / "label" / "f3.jpg", wrong)
    with pytest.raises(ValueError, match=r"f3\.jpg: a JPEG where class ids are expected"):
        _run(source, tmp_path / "out", labels=["label"], colors=table)
    with pytest.raises(
        ValueError, match=r"RGB where class ids are expected.*or the table of colours to --colors"
    ):
        _run(source, tmp_path / "out", labels=["label"])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "options", "says"),
    [
        (
            "1 2 3 a\n4 5\n",
            {},
            r"colours\.txt, line 2: found '4 5', allowed: R G B \[name\], each in 0\.\.255",
        ),
        ("1 2 3\n4 5 256 b\n", {}, "line 2: found '4 5 256 b'"),
        ("1 2 -3\n", {}, "line 1: found '1 2 -3'"),
        ("1,2,3\n", {}, "line 1: found '1,2,3'"),
        ("# x\n1 2 3\n\n1 2 3 b\n", {}, "line 4: 1 2 3 is the colour of line 2 too"),
        ("1 2 3\n", {}, "has 1 colours, allowed: 2 to 65536"),
        (None, {}, "cannot be read as text .*No such file"),
        (TABLE, {"classes": 4}, "--colors: found --classes 4 too"),
        (
            TABLE,
            {"labels": []},
            "--colors: no field holds class ids; name label fields with --labels",
        ),
        (
            TABLE,
            {"ignore": 0},
            "--ignore 0: with --colors it is the table's last, 3; move its line",
        ),
    ],
)
def test_wrong_tables_of_colours(labelled, tmp_path, content, options, says):
    if content is not None:
        (tmp_path / "colours.txt").write_text(content)
    with pytest.raises(ValueError, match=says) as caught:
        _run(
            labelled,
            tmp_path / "out",
            **{"labels": ["label"], "colors": tmp_path / "colours.txt", **options},
        )
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


MISTAKES = {
    "missing": ({}, "nowhere", {}, "does not exist"),
    "a file": ({"file": b"x"}, "file", {}, "is a file, not a folder"),
    "empty": ({"in/.keep": b""}, "in", {}, r"holds neither images .*\(found: \.keep\)"),
    "no images": ({"in/a.txt": b""}, "in", {"layout": "pairs"}, r"like \* \(.*not one of jpg"),
    "one folder": ({"in/a/0.png": None}, "in", {"layout": "folders"}, "two or more .* found a"),
    "nothing common": (
        {"in/a/0.png": None, "in/b/1.png": None},
        "in",
        {},
        "prepare unpaired images folder by folder with --as images",
    ),
    "splits": ({"in/train/0.png": None, "in/val/0.png": None}, "in", {}, "splits, not fields"),
    "odd name": ({"in/a b/0.png": None, "in/b/0.png": None}, "in", {}, "rename it"),
    "ambiguous": (
        {"in/a/0.png": None, "in/b/0.png": None, "in/0.png": None},
        "in",
        {},
        "could hold side-by-side pairs, folders or single images; say which with --as pairs, --as fol",
    ),
    "all broken": ({"in/a.png": b"x"}, "in", {}, "none of 1 sample is usable; the first: .*a.png"),
    "odd widths": ({"in/a.png": b""}, "in", {"layout": "pairs"}, "none of 1 sample"),
    "layout": ({"in/a.png": None}, "in", {"layout": "zip"}, "'zip' is not known; choose one of"),
    "small": ({"in/a.png": None}, "in", {"resize": (8, 99)}, r"8x99 \(height x width\) is too sma"),
    "classes": ({"in/a.png": None}, "in", {"classes": 4}, "name one with --labels"),
    "ignored id": (
        {"in/a.png": None},
        "in",
        {"ignore": 255},
        "--ignore 255: no field holds class ids",
    ),
    "one class": ({"in/a.png": None}, "in", {"classes": 1}, r"2\.\.65536"),
    "label": ({"in/a.png": None}, "in", {"labels": ["x"]}, "--labels x: not a field"),
    "instances": (
        {"in/a.png": None},
        "in",
        {"kinds": {"x": "instances"}},
        "--instances x: not a field that can hold ids of inst",
    ),
    "labels and instances": (
        {"in/a/0.png": None, "in/b/0.png": None},
        "in",
        {"kinds": {"a": "instances"}, "labels": ["a"]},
        "--instances a: it holds class ids already",
    ),
    "half": ({"in/a.png": None}, "in", {"labels": ["left"]}, "a folder of their own"),
    "cityscapes": ({"in/a.png": None}, "in", {"layout": "cityscapes"}, "like leftImg8bit/train"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_users_mistake_is_one_line_and_leaves_nothing(tmp_path, name):
    files, source, options, reason = MISTAKES[name]
    for path, content in files.items():
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encode(_image(0), "png") if content is None else content)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=reason) as caught:
        _run(tmp_path / source, tmp_path / "new" / "out", **options)
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_nothing_is_overwritten(pairs, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="never overwritten"):
        _run(pairs, tmp_path / "out")
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"


def test_an_unwritable_place_is_said(pairs, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match="not a folder that you can write to"):
        _run(pairs, tmp_path / "file" / "out")
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(ValueError, match="not a folder that you can write to"):
        _run(pairs, tmp_path / "closed" / "out")


def test_a_killed_run_leaves_no_data_set_and_the_next_one_is_clean(pairs, tmp_path):
    # Packing is slowed down, so that the kill surely falls into it.
    program = (
        "import sys, time; from pathlib import Path; import gantrain.data.prepare.pack as p\n"
        "pack = p._pack\n"
        "p._pack = lambda *a: (time.sleep(0.2), pack(*a))[1]\n"
        "p.prepare(sys.argv[1], sys.argv[2], workers=1, progress=False)\n"
    )
    out = tmp_path / "out"
    process = subprocess.Popen([sys.executable, "-c", program, str(pairs), str(out)], cwd=ROOT)
    try:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(".out.partial/s-000000.tar")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with pytest.raises(ValueError, match="another process"):
            _run(pairs, out)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not out.exists()
    assert _left_behind(tmp_path, "pairs")  # what the kill left
    _run(pairs, out)
    assert len(Shards.open(out)) == 12
    assert _left_behind(tmp_path, "pairs", "out") == []


def test_a_folder_is_packed_once(pairs, labelled, tmp_path):
    cache = tmp_path / "cache"
    packed = pack_once(pairs, cache)
    made = (packed / "index.json").stat().st_mtime_ns
    assert pack_once(pairs, cache) == packed
    assert (packed / "index.json").stat().st_mtime_ns == made
    assert pack_once(labelled, cache) != pack_once(labelled, cache, labels=["label"])
    _put(pairs / "new.png", _image(99))
    in_use = Shards.open(packed)
    again = pack_once(pairs, cache)
    assert (len(in_use), len(Shards.open(again))) == (12, 13)
    assert in_use.read(11, "pair")  # a pack that a process reads is not removed
    assert _left_behind(cache) == sorted(f.name for f in cache.iterdir() if f.name[0] != ".")
    with pytest.raises(ValueError, match="nowhere does not exist"):
        pack_once(tmp_path / "nowhere", cache)


def _pack(source, cache, answers):
    answers.put(str(pack_once(source, cache)))


def test_racing_processes_pack_once(pairs, tmp_path):
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    racers = [
        context.Process(target=_pack, args=(pairs, tmp_path / "cache", answers)) for _ in range(3)
    ]
    for racer in racers:
        racer.start()
    found = {answers.get(timeout=60) for _ in racers}
    for racer in racers:
        racer.join()
    assert len(found) == 1
    assert len(Shards.open(found.pop())) == 12
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_facades(tmp_path):
    source = REAL / "facades" / "train"
    if not source.is_dir():
        pytest.skip(f"no real data at {source}")
    report = _run(source, tmp_path / "out")
    assert (report.samples, report.unmatched, report.unreadable) == (350, [], [])
    shards = Shards.open(tmp_path / "out")
    assert shards.fields["left"].min_size == shards.fields["right"].max_size == (256, 256)
    i = [shards.key(i) for i in range(350)].index("10")
    assert shards.read(i, "pair") == (source / "10.jpg").read_bytes()


def test_camvid(tmp_path):
    source = REAL / "camvid" / "val"
    if not source.is_dir():
        pytest.skip(f"no real data at {source}")
    report = _run(source, tmp_path / "out", labels=["label"], classes=12)
    assert (report.samples, report.unmatched, report.unreadable) == (101, [], [])
    assert sum(report.fields["label"].label_counts.values()) == 101 * 360 * 480
    with pytest.raises(ValueError, match="holds ids beyond 11 classes"):
        _run(source, tmp_path / "few", labels=["label"], classes=11)


def test_files_past_an_index_bounds_are_left_out_with_the_reason(tmp_path: Path) -> None:
    """One strip or stack among the images must not refuse the whole data set when it is written."""
    source = tmp_path / "in"
    source.mkdir()
    for number in range(3):
        (source / f"{number}.png").write_bytes(encode(np.zeros((16, 16, 1), np.uint8), "png"))
    (source / "strip.png").write_bytes(encode(np.zeros((16, MOST_SIDE + 1, 1), np.uint8), "png"))
    (source / "stack.npy").write_bytes(
        encode(np.zeros((16, 16, MOST_CHANNELS + 1), np.uint8), "npy")
    )
    report = prepare(source, tmp_path / "out", layout="images", progress=False)
    assert report.samples == 3
    assert f"strip.png: 16x{MOST_SIDE + 1}, the largest is {MOST_SIDE}x{MOST_SIDE}" in " ".join(
        report.unreadable
    )
    assert f"{MOST_CHANNELS + 1} channels, allowed: at most {MOST_CHANNELS}" in " ".join(
        report.unreadable
    )
