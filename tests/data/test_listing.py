"""Which files of a folder are images, what is passed over and why, and the keys of their samples."""

import os
import socket
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import webdataset
from PIL import Image

from gantrain.data import listing
from gantrain.data.decode import decode, decode_sample, encode
from gantrain.data.formats.format_table import extensions
from gantrain.data.listing import list_images
from gantrain.data.open_dataset import open_domains, open_set
from gantrain.data.prepare.matching import sample_key
from gantrain.data.prepare.pack import prepare
from gantrain.data.request import DataRequest, UnpairedRequest
from gantrain.data.shard_writer import PackedSample, write_shards
from gantrain.data.shards import Field, Shards


def put(path: Path, seed: int = 0, size: tuple[int, int] = (20, 24)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    path.write_bytes(encode(random.integers(0, 256, (*size, 3), dtype=np.uint8), "png"))
    return path


def fifo(path: Path) -> None:
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        here = Path.cwd()
        os.chdir(path.parent)  # a socket's path is short
        one.bind(path.name)
        os.chdir(here)


SKIPPED: dict[str, tuple[Callable[[Path], object], str]] = {
    "notes.txt": (lambda path: path.write_text("x"), "not one of jpg"),
    "no_extension": (lambda path: path.write_text("x"), "not one of jpg"),
    "fifo.png": (fifo, "a FIFO"),
    "socket.png": (unix_socket, "a socket"),
    "device.png": (lambda path: path.symlink_to("/dev/zero"), "a device"),
    "annex.png": (
        lambda path: path.symlink_to(".git/annex/x"),
        "a dangling link to .git/annex/x (fetch the file fi",
    ),
}
IGNORED = (".hidden.png", "._0.png", ".DS_Store", "Thumbs.db", "desktop.ini", "Desktop.INI")
IGNORED_FOLDERS = (".ipynb_checkpoints", "__MACOSX", ".git", "@eaDir")


@pytest.mark.parametrize("name", SKIPPED)
@pytest.mark.parametrize("inside", ["", "cam1/"])
def test_what_is_no_image_is_skipped_with_its_reason(
    tmp_path: Path, name: str, inside: str
) -> None:
    make, reason = SKIPPED[name]
    image = put(tmp_path / inside / "0.png")
    make(tmp_path / inside / name)
    found = list_images(tmp_path)
    assert list(found.images.items()) == [(f"{inside}0.png", image)]
    (line,) = found.skipped
    assert line.startswith(f"{tmp_path / inside / name}: ")
    assert reason in line


@pytest.mark.parametrize("name", [*IGNORED, *(f"{folder}/x.png" for folder in IGNORED_FOLDERS)])
def test_hidden_and_system_files_are_ignored(tmp_path: Path, name: str) -> None:
    put(tmp_path / "a" / "0.png")
    put(tmp_path / "a" / name)
    assert list_images(tmp_path) == ({"a/0.png": tmp_path / "a/0.png"}, [])


@pytest.mark.parametrize("extension", [*extensions(), *map(str.upper, extensions())])
def test_every_extension_is_an_image(tmp_path: Path, extension: str) -> None:
    (tmp_path / f"0.{extension}").touch()
    assert list(list_images(tmp_path).images) == [f"0.{extension}"]


def test_links_are_followed_and_the_order_is_that_of_names(tmp_path: Path) -> None:
    put(tmp_path / "far" / "b" / "1.png")
    put(tmp_path / "far" / "0.png")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "z").symlink_to(tmp_path / "far")
    (tmp_path / "in" / "a").symlink_to(tmp_path / "far" / "b")
    (tmp_path / "in" / "k.png").symlink_to(tmp_path / "far" / "0.png")
    assert list(list_images(tmp_path / "in").images) == ["a/1.png", "k.png", "z/0.png", "z/b/1.png"]
    assert list(list_images(tmp_path / "in", recursive=False).images) == ["k.png"]


@pytest.mark.parametrize(
    ("link", "target"),
    [("a/up", ".."), ("a/b/top", "../.."), ("a/self", "self"), ("a/x.png", "x.png")],
)
def test_a_loop_of_links_is_refused(tmp_path: Path, link: str, target: str) -> None:
    put(tmp_path / "in" / "a" / "b" / "0.png")
    (tmp_path / "in" / link).symlink_to(target)
    with pytest.raises(ValueError, match=r"is a loop of links.*remove the link") as caught:
        list_images(tmp_path / "in")
    assert "\n" not in str(caught.value)


def test_links_that_multiply_without_end_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "_MOST_REPEATS", 100)
    for i in range(20):
        (tmp_path / f"{i}").mkdir()
        for name in "ab":
            (tmp_path / f"{i}" / name).symlink_to(f"../{i + 1}")
    with pytest.raises(ValueError, match="more than 100 times; remove some"):
        list_images(tmp_path / "0")


NFD = unicodedata.normalize("NFD", "café/Zoë")
KEYS = {
    "0": "0",
    "cam1/0": "cam1/0",
    "cam.1/a.b": "cam.1/a_b",
    NFD: "café/Zoë",
    "a b/c d": "a_b/c_d",
    "a\\b/c\\d": "a_b/c_d",
    "a\x1b[31m/\x07b": "a_[31m/_b",
    "__a__/b": "a__/b",
    "__/b": "_/b",
    "__meta__": "meta__",
    "...": "_",
}


@pytest.mark.parametrize(("name", "key"), KEYS.items())
def test_keys_keep_the_sub_path_and_lead_nowhere_else(tmp_path: Path, name: str, key: str) -> None:
    assert sample_key(name) == key
    field = Field(member="image", channels=3, min_size=(1, 1), max_size=(1, 1))
    write_shards([PackedSample(key, {"image": ("png", b"x")})], tmp_path / "set", {"image": field})


@pytest.fixture
def nested(tmp_path: Path) -> Path:
    """CycleGAN's two sides with folders inside them, one of which has a dot in its name."""
    for side in ("trainA", "trainB"):
        for i, name in enumerate(
            ("0.png", "1.png", "cam.1/0.png", "cam.1/1.png", "cam2/deep/0.png")
        ):
            put(tmp_path / "nested" / side / name, seed=i)
        put(tmp_path / "nested" / side / ".ipynb_checkpoints" / "0.png")
        (tmp_path / "nested" / side / "Thumbs.db").write_bytes(b"x")
    return tmp_path / "nested"


NESTED_KEYS = ["0", "1", "cam.1/0", "cam.1/1", "cam2/deep/0"]


@pytest.mark.parametrize("inside", ["", "trainA"])
def test_images_in_folders_inside_are_packed_with_their_sub_path(
    nested: Path, tmp_path: Path, inside: str
) -> None:
    options = {"layout": "images"} if inside else {}
    report = prepare(nested / inside, tmp_path / "out", progress=False, **options)  # type: ignore[arg-type]
    assert (report.samples, report.unmatched, report.unreadable) == (5, [], [])
    shards = Shards.open(tmp_path / "out")
    assert [shards.key(i) for i in range(5)] == NESTED_KEYS
    for i, key in enumerate(NESTED_KEYS):
        for field in shards.fields:
            assert shards.read(i, field) == (nested / "trainA" / f"{key}.png").read_bytes()
    # WebDataset itself finds the same samples.
    read = list(webdataset.WebDataset(str(tmp_path / "out" / "s-000000.tar"), shardshuffle=False))
    assert [sample["__key__"] for sample in read] == NESTED_KEYS
    files = {name for name in read[2] if not name.startswith("__")}
    assert files == {f"{field.lower()}.png" for field in shards.fields}


def test_training_on_two_sets_reads_folders_inside_and_ignores_hidden_ones(nested: Path) -> None:
    for train, train_target in ((nested, None), (nested / "trainA", str(nested / "trainA"))):
        apart = UnpairedRequest("image", "image", train_target, None)
        wanted = DataRequest("mine", "source", "target", {}, (16, 16), None, unpaired=apart)
        assert [len(shards) for shards in open_domains("train", str(train), wanted)] == [5, 5]


@pytest.mark.parametrize("layout", ["images", "pairs", "folders"])
def test_splits_are_not_mixed(tmp_path: Path, layout: str) -> None:
    """Nor those inside the folder of each field."""
    for split in ("train", "val"):
        for field in ("A/", "B/") if layout == "folders" else ("",):
            put(tmp_path / "in" / field / split / "0.png")
    says = r"holds the splits train, val, which would be mixed; give one of them, such as .*/train"
    with pytest.raises(ValueError, match=says):
        prepare(tmp_path / "in", tmp_path / "out", layout=layout, progress=False)


@pytest.mark.parametrize(
    ("names", "fields"),
    [
        (("{}A", "{}B"), ["A", "B"]),
        (("{}_A", "{}_B"), ["A", "B"]),
        (("{}_label", "{}_img"), ["label", "img"]),
        (("{}_label", "{}_img", "{}_inst"), ["label", "img", "inst"]),
    ],
)
def test_sides_are_recognised_by_split(
    tmp_path: Path, names: tuple[str, ...], fields: list[str]
) -> None:
    for split, count in (("train", 3), ("test", 2)):
        for name in names:
            for i in range(count):
                put(tmp_path / "in" / name.format(split) / f"{i}.png", seed=i)
    wanted = DataRequest("mine", fields[0], fields[1], {}, (16, 16), None)
    for key, count in (("train", 3), ("validation", 2)):
        shards = open_set(key, str(tmp_path / "in"), wanted)
        assert (len(shards), list(shards.fields)) == (count, fields)


SAVED = {"bmp": "BMP", "ppm": "PPM", "gif": "GIF", "jfif": "JPEG", "tif": "TIFF", "webp": "WEBP"}
PACKED_AS = {"bmp": "png", "ppm": "png", "gif": "png", "jfif": "jpg", "tif": "tif", "webp": "webp"}


@pytest.mark.parametrize("extension", SAVED)
def test_formats_are_read_and_packed_as_webdataset_has_them(tmp_path: Path, extension: str) -> None:
    for i in range(3):
        grey = np.random.default_rng(i).integers(0, 256, (20, 24), dtype=np.uint8)
        image = Image.fromarray(np.stack([grey] * 3, axis=2))
        (tmp_path / "in").mkdir(exist_ok=True)
        image.save(tmp_path / "in" / f"{i}.{extension}", SAVED[extension])
    report = prepare(tmp_path / "in", tmp_path / "out", layout="images", progress=False)
    shards = Shards.open(tmp_path / "out")
    assert (report.samples, report.unreadable) == (3, [])
    for i in range(3):
        data = (tmp_path / "in" / f"{i}.{extension}").read_bytes()
        np.testing.assert_array_equal(decode_sample(shards, i, ["image"])["image"], decode(data))
        assert (shards.read(i, "image") == data) == (PACKED_AS[extension] != "png")
    (sample, *_) = webdataset.WebDataset(str(tmp_path / "out" / "s-000000.tar"), shardshuffle=False)
    assert f"image.{PACKED_AS[extension]}" in sample
    palettes = ["note: image: 3 files with a palette: converted to RGB"]
    assert report.notes == (palettes if extension == "gif" else [])


def test_a_file_is_converted_by_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(np.full((20, 24, 3), 9, np.uint8)).save(tmp_path / "in" / "0.png", "BMP")
    prepare(tmp_path / "in", tmp_path / "out", layout="images", progress=False)
    assert Shards.open(tmp_path / "out").read(0, "image").startswith(b"\x89PNG")


def test_ids_in_a_bitmap_stay_ids(tmp_path: Path) -> None:
    ids = np.random.default_rng(0).integers(0, 4, (20, 24), dtype=np.uint8)
    for folder in ("photo", "label"):
        (tmp_path / "in" / folder).mkdir(parents=True)
    put(tmp_path / "in" / "photo" / "0.png")
    palette = Image.fromarray(ids, "L")
    palette = palette.convert("P")
    palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    palette.save(tmp_path / "in" / "label" / "0.bmp")
    expected = decode((tmp_path / "in" / "label" / "0.bmp").read_bytes(), "label")
    prepare(tmp_path / "in", tmp_path / "out", labels=["label"], progress=False)
    np.testing.assert_array_equal(
        decode_sample(Shards.open(tmp_path / "out"), 0, ["label"])["label"], expected
    )


def test_what_prepare_passes_over_is_named_in_its_report(tmp_path: Path) -> None:
    put(tmp_path / "in" / "0.png")
    put(tmp_path / "in" / "0.jpg")
    for name, (make, _) in SKIPPED.items():
        make(tmp_path / "in" / name)
    report = prepare(tmp_path / "in", tmp_path / "out", layout="images", progress=False)
    text = (tmp_path / "out" / "report.txt").read_text()
    assert report.samples == 1
    assert [
        name for name in (*SKIPPED, "0.png: has the same name as 0.jpg") if name not in text
    ] == []
