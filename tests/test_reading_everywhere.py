"""One picture gives the same values through every entry, for models and data sets of every kind.

No network is needed: `Recorder` is a `Translator` that keeps what its network would have been
given.
"""

import io
import pickle
import tarfile
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from gantrain.data import field_checks
from gantrain.data.batch import normalise
from gantrain.data.decode import decode_sample, encode
from gantrain.data.index_tars import index_tars
from gantrain.data.open_dataset import open_set
from gantrain.data.pictures import viewable
from gantrain.data.prepare.pack import pack_once, prepare
from gantrain.data.request import DataRequest
from gantrain.data.scale import TrainedScale
from gantrain.data.shards import Field, Shards
from gantrain.data.unpaired import Unpaired
from gantrain.evaluation.folder_images import normalise_array, read_array
from gantrain.inference.input_images import image_array
from gantrain.inference.source_reader import SourceReader
from gantrain.inference.translate_files import translate_files
from gantrain.inference.translation_precision import ChosenPrecision
from gantrain.inference.translator import Translator

SIZE = (18, 22)  # height, width
REFUSED = None


def read_image(file: Path, notes: list[str]) -> torch.Tensor:
    """Return an image as `gantrain evaluate --real --fake` sees it."""
    return normalise_array(read_array(file, notes), None, torch.device("cpu"))


def field(channels=3, dtype="uint8", **more) -> Field:
    return Field(
        member="image", channels=channels, dtype=dtype, min_size=SIZE, max_size=SIZE, **more
    )


class Recorder(Translator):
    """A translator without networks, which answers with black pictures."""

    def __init__(self, source: Field, instances: Field | None = None) -> None:
        inputs = {} if instances is None else {"instances": instances}
        self.reader = SourceReader(source, inputs, TrainedScale((), "native"))
        self.target, self.one_by_one, self.seen = field(), False, []
        self.device = torch.device("cpu")
        self.identity = "black pictures"
        self.precision = ChosenPrecision("fp32")
        self.recipe = Namespace(data=Namespace(sources=["source"], target="target"))

    def translate_arrays(self, samples):
        self.seen += samples
        return [np.zeros((*sample["source"].shape[:2], 3), np.uint8) for sample in samples]


def random_bands(count: int) -> np.ndarray:
    bands = np.random.default_rng(count).integers(0, 256, (*SIZE, count), dtype=np.uint8)
    return bands[..., 0] if count == 1 else bands


IDS = np.random.default_rng(7).integers(0, 10, SIZE, dtype=np.uint8)
MASK = IDS > 4
COLOURS = np.array([(i * 15, 255 - i * 15, i * 7) for i in range(10)], np.uint8)


def palette_image(key: int | None = None) -> Image.Image:
    image = Image.fromarray(IDS)
    image.putpalette(COLOURS.ravel().tolist())
    if key is not None:
        image.info["transparency"] = key
    return image


def merged(mode: str) -> Image.Image:
    """An image in a mode that Pillow does not make of arrays."""
    bands = random_bands(len(Image.new(mode, (1, 1)).getbands()))
    return Image.merge(mode, [Image.fromarray(bands[..., i]) for i in range(bands.shape[2])])


def opaque(array: np.ndarray) -> np.ndarray:
    return np.concatenate([array, np.full((*array.shape[:2], 1), 255, np.uint8)], axis=2)


def tripled(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey.reshape(*SIZE, 1), 3, axis=2)


def luma(rgb: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(rgb).convert("L"))[..., None]


def over_white(array: np.ndarray) -> np.ndarray:
    opacity = array[..., -1:].astype(int)
    blended = array[..., :-1] * opacity + 255 * (255 - opacity)
    return (blended / 255).round().astype(np.uint8)


def of_rgb(rgb: np.ndarray) -> dict:
    return {
        "RGB": rgb,
        "grey": luma(rgb),
        "RGBA": opaque(rgb),
        "label": REFUSED,
        "instances": REFUSED,
    }


def of_grey(grey: np.ndarray, ids=REFUSED) -> dict:
    grey = grey.reshape(*SIZE, 1)
    rgb = tripled(grey)
    return {"RGB": rgb, "grey": grey, "RGBA": opaque(rgb), "label": ids, "instances": ids}


def of_rgba(rgba: np.ndarray, ids=REFUSED) -> dict:
    rgb = over_white(rgba)
    return {"RGB": rgb, "grey": luma(rgb), "RGBA": rgba, "label": ids, "instances": ids}


def of_numbers(ids) -> dict:
    """Values of more than 8 bits are ids, but no 8-bit image."""
    return {"RGB": REFUSED, "grey": REFUSED, "RGBA": REFUSED, "label": ids, "instances": ids}


GREY = random_bands(1)
GREY_ALPHA = random_bands(2)
RGB = random_bands(3)
RGBA = random_bands(4)
KEYED = np.concatenate(
    [COLOURS[IDS], np.where(IDS == 3, 0, 255).astype(np.uint8)[..., None]], axis=2
)

# Mode -> (the picture, the format of its file or None, what each kind of model sees).
# Greys that are ids of the models' ten classes are ids; other greys are no ids of theirs.
MODES = {
    "1": (Image.fromarray(MASK), "PNG", of_grey(MASK * np.uint8(255), MASK)),
    "P": (palette_image(), "PNG", of_rgb(COLOURS[IDS]) | {"label": IDS, "instances": IDS}),
    "P with a transparent colour": (palette_image(3), "PNG", of_rgba(KEYED, IDS)),
    "P of a GIF": (palette_image(), "GIF", of_rgb(COLOURS[IDS]) | {"label": IDS, "instances": IDS}),
    "P of a BMP": (palette_image(), "BMP", of_rgb(COLOURS[IDS]) | {"label": IDS, "instances": IDS}),
    "L": (Image.fromarray(GREY), "PNG", of_grey(GREY) | {"instances": GREY}),
    "L of a PGM": (Image.fromarray(GREY), "PPM", of_grey(GREY) | {"instances": GREY}),
    "L of ids": (Image.fromarray(IDS), "PNG", of_grey(IDS, IDS)),
    "LA": (
        Image.fromarray(GREY_ALPHA),
        "PNG",
        of_grey(over_white(GREY_ALPHA)) | {"RGBA": GREY_ALPHA[..., [0, 0, 0, 1]]},
    ),
    "RGB": (Image.fromarray(RGB), "PNG", of_rgb(RGB)),
    "RGB of a PPM": (Image.fromarray(RGB), "PPM", of_rgb(RGB)),
    "RGBA": (Image.fromarray(RGBA), "PNG", of_rgba(RGBA)),
    "CMYK": (merged("CMYK"), "TIFF", of_rgb(np.asarray(merged("CMYK").convert("RGB")))),
    "YCbCr": (merged("YCbCr"), "TIFF", of_rgb(np.asarray(merged("YCbCr").convert("RGB")))),
    "LAB": (merged("LAB"), "TIFF", of_rgb(np.asarray(merged("LAB").convert("RGB")))),
    "HSV": (merged("HSV"), None, of_rgb(np.asarray(merged("HSV").convert("RGB")))),
    "I;16": (Image.fromarray(IDS.astype(np.uint16)), "PNG", of_numbers(IDS)),
    "I": (Image.fromarray(IDS.astype(np.int32)), "TIFF", of_numbers(IDS)),
    "F": (Image.fromarray(IDS.astype(np.float32) / 10), "TIFF", of_numbers(REFUSED)),
}

SOURCES = {
    "RGB": field(3),
    "grey": field(1),
    "RGBA": field(4),
    "label": field(1, kind="label", classes=10),
}
MODELS = [*SOURCES, "instances"]


def recorder(model: str) -> Recorder:
    if model == "instances":
        return Recorder(SOURCES["RGB"], field(1, "uint16", kind="instances"))
    return Recorder(SOURCES[model])


def file_of(image: Image.Image, form: str, folder: str = "in", **options) -> Path:
    path = Path(folder) / f"x.{form.lower()}"
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, form, **options)
    return path


def by_python(model: str, picture) -> np.ndarray:
    """`load(RUN).translate`, of a path, a Pillow image or an array."""
    translator = recorder(model)
    if model == "instances":
        translator.translate(Image.fromarray(RGB), instances=picture)
        return translator.seen[0]["instances"]
    translator.translate(picture)
    return translator.seen[0]["source"]


def by_command(model: str, path: Path) -> np.ndarray:
    """`gantrain translate`."""
    translator = recorder(model)
    further = {}
    if model == "instances":
        further = {"instances": path.parent}
        path = file_of(Image.fromarray(RGB), "PNG", "sources")
    translate_files(translator, [path], Path("out"), 1, further)
    return translator.seen[0]["instances" if model == "instances" else "source"]


def usual_file(model: str) -> bytes:
    """A file of the kind that the training set of a model consists of."""
    of_kind = {"RGB": RGB, "grey": GREY, "RGBA": RGBA, "label": IDS, "instances": IDS}
    return encode(of_kind[model], "png")


def by_prepare(model: str, path: Path) -> np.ndarray:
    """`gantrain prepare`, and decoding as training does it, in a set whose other files are usual
    ones.
    """
    folder = Path("set")
    folder.mkdir()
    for number in range(2):
        (folder / f"a{number}.png").write_bytes(usual_file(model))
    (folder / path.name).write_bytes(path.read_bytes())
    options = {
        "label": {"labels": ["image"], "classes": 10},
        "instances": {"kinds": {"image": "instances"}},
    }
    report = prepare(folder, "packed", layout="images", progress=False, **options.get(model, {}))
    if report.samples < 3:
        raise ValueError(report.unreadable[0])
    return decode_sample(Shards.open("packed"), 2, ["image"])["image"]


def by_held_out_set(model: str, path: Path) -> np.ndarray:
    """`gantrain evaluate RUN --data FOLDER` and `data.validation`, whose folder holds nothing else."""
    options = {
        "label": {"labels": ["image"], "classes": 10},
        "instances": {"kinds": {"image": "instances"}},
    }
    packed = pack_once(path.parent, "cache", layout="images", **options.get(model, {}))
    learnt = SOURCES.get(model, field(1, "uint16", kind="instances"))
    shards, _ = field_checks.as_learnt({"image": learnt}, Shards.open(packed))
    field_checks.check_same_contents({"image": learnt}, shards.fields)
    return decode_sample(shards, 0, ["image"])["image"]


def by_style(model: str, path: Path) -> np.ndarray:
    """`--style FILE` of a model that makes such images."""
    target = SOURCES[model]
    array = image_array(path, target, [])
    if (array.shape[2], array.dtype.name) != (target.channels, target.dtype):
        raise ValueError("not such an image")
    return array


ENTRIES = {
    "path": by_python,
    "text": lambda model, path: by_python(model, str(path)),
    "opened": lambda model, path: by_python(model, Image.open(path)),
    "loaded": lambda model, path: by_python(model, Image.open(path).copy()),
    "command": by_command,
    "prepare": by_prepare,
    "held-out set": by_held_out_set,
    "style": by_style,
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_arrives_alike_by_every_entry(mode, model, tmp_path, monkeypatch):
    image, form, expected = MODES[mode]
    wanted = expected[model]
    results = {"pillow": lambda: by_python(model, image)}
    for entry, read in ENTRIES.items():
        styles_labels = entry == "style" and model in ("label", "instances")
        if form is not None and not styles_labels:
            results[entry] = lambda read=read: read(model, path)
    for entry, result in results.items():
        (tmp_path / entry).mkdir()
        monkeypatch.chdir(tmp_path / entry)
        if form is not None:
            # Pillow keeps a transparent colour that it is given by name.
            key = (
                {"transparency": image.info["transparency"]} if "transparency" in image.info else {}
            )
            path = file_of(image, form, **key)
        if wanted is REFUSED:
            with pytest.raises(ValueError, match=r".") as caught:
                result()
            assert "\n" not in str(caught.value), entry
            continue
        found = result()
        assert found.ndim == 3, entry
        np.testing.assert_array_equal(found.squeeze(), np.asarray(wanted).squeeze(), err_msg=entry)


def test_every_mode_of_pillow_is_in_the_table():
    tested = {mode.split()[0] for mode in MODES}
    assert tested >= {
        "1",
        "P",
        "L",
        "LA",
        "RGB",
        "RGBA",
        "CMYK",
        "YCbCr",
        "LAB",
        "HSV",
        "I;16",
        "I",
        "F",
    }


@pytest.mark.parametrize(
    "mode", [mode for mode, case in MODES.items() if case[2]["RGB"] is not REFUSED]
)
def test_folders_are_compared_by_the_same_values(mode, tmp_path, monkeypatch):
    """`gantrain evaluate --real --fake`: alpha over white, and grey stays grey beside grey."""
    image, form, expected = MODES[mode]
    if form is None:
        return
    monkeypatch.chdir(tmp_path)
    key = {"transparency": image.info["transparency"]} if "transparency" in image.info else {}
    notes = []
    found = read_image(file_of(image, form, **key), notes)
    rgb = torch.from_numpy(expected["RGB"].copy())[None]
    wanted = normalise(rgb, field(3), torch.float64, torch.device("cpu"))
    assert torch.equal(found.expand(-1, 3, -1, -1), wanted)
    assert bool(notes) == (image.mode in ("P", "LA", "RGBA", "CMYK", "YCbCr", "LAB") or bool(key))


# -- arrays ------------------------------------------------------------------------------------

ARRAYS = {
    "grey for RGB": ("RGB", GREY, tripled(GREY)),
    "alpha for RGB": ("RGB", RGBA, over_white(RGBA)),
    "RGB for grey": ("grey", RGB, luma(RGB)),
    "RGB for RGBA": ("RGBA", RGB, opaque(RGB)),
    "truth values for RGB": ("RGB", MASK, tripled(MASK * np.uint8(255))),
    "truth values as ids": ("label", MASK, MASK[..., None]),
    "wide integers as ids": ("label", IDS.astype(np.int64), IDS[..., None]),
    "16 bits as ids": ("label", IDS.astype(np.uint16), IDS[..., None]),
    "another byte order": ("label", IDS.astype(">i4"), IDS[..., None]),
    "wide integers as instances": (
        "instances",
        IDS.astype(np.int64) * 1000,
        IDS[..., None].astype(int) * 1000,
    ),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_are_converted_as_files_are(name):
    model, array, expected = ARRAYS[name]
    np.testing.assert_array_equal(by_python(model, array), expected)


WRONG_ARRAYS = {
    "wide integers": (
        "RGB",
        RGB.astype(np.int64),
        r"fit into uint8: give array\.astype\('uint8'\)",
    ),
    "ids of no class": (
        "label",
        IDS + np.uint8(9),
        "found class id 18, this model knows ids 0 to 9",
    ),
    "ids that do not fit": (
        "label",
        np.full(SIZE, 70000),
        r"values 70000\.\.70000, at most 0\.\.65535",
    ),
    "instances that do not fit": ("instances", np.full(SIZE, 70000), r"at most 0\.\.65535"),
    "negative ids": ("label", np.full(SIZE, -1), r"values -1\.\.-1"),
    "another depth": ("RGB", RGB.astype(np.uint16), "found uint16 with 3 channels"),
    "floats": ("RGB", RGB / 255, "array of float64, expected one of uint8, uint16, int16, float32"),
    "NaN": ("RGB", np.full((*SIZE, 3), np.nan, np.float32), "NaN or infinite"),
    "more channels": ("RGB", np.zeros((*SIZE, 5), np.uint8), "found uint8 with 5 channels"),
    "a number": (
        "RGB",
        [1],
        r"image 1 of 1: image: found int .*allowed: PIL; numpy, \(H, W, C\) or \(H, W\)",
    ),
    "a list in a list": ("RGB", [[1, 2]], "image 1 of 1: found a list inside a list"),
    "no file": ("RGB", "none.png", "none.png: .*No such file"),
    "another size": (
        "instances",
        IDS[1:],
        r"found uint16 of shape \(17, 22, 1\), allowed: ids of instances",
    ),
}


@pytest.mark.parametrize("name", WRONG_ARRAYS)
def test_wrong_arrays_are_refused_in_one_line(name):
    model, array, says = WRONG_ARRAYS[name]
    with pytest.raises(ValueError, match=says) as caught:
        by_python(model, array)
    assert "\n" not in str(caught.value)


# -- what a file says besides its pixels --------------------------------------------------------


def test_an_orientation_is_applied_by_every_entry(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    wide = Image.fromarray(RGB)
    path = file_of(wide, "PNG", exif=exif)
    upright = np.rot90(RGB, -1)
    for read in (path, str(path), Image.open(path)):
        np.testing.assert_array_equal(by_python("RGB", read), upright)
    np.testing.assert_array_equal(by_command("RGB", path), upright)
    np.testing.assert_array_equal(by_style("RGB", path), upright)
    assert read_image(path, []).shape == (1, 3, SIZE[1], SIZE[0])
    answer = Recorder(SOURCES["RGB"]).translate(Image.open(path))
    assert answer.size == (SIZE[0], SIZE[1])


def test_a_profile_is_applied_by_every_entry(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    some_profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    path = file_of(Image.fromarray(RGB), "PNG", icc_profile=some_profile)
    seen = []
    monkeypatch.setattr(
        "gantrain.data.icc.to_srgb", lambda image, profile, notes: seen.append(profile) or image
    )
    for entry, read in ENTRIES.items():
        (tmp_path / entry).mkdir()
        monkeypatch.chdir(tmp_path / entry)
        seen.clear()
        read("RGB", tmp_path / path)
        assert set(seen) == {some_profile}, entry
    for model in ("label", "instances"):
        seen.clear()
        np.testing.assert_array_equal(
            by_python(
                model, file_of(Image.fromarray(IDS), "PNG", "ids", icc_profile=some_profile)
            ).squeeze(),
            IDS,
        )
        assert not seen


def test_four_bit_ids_arrive_from_the_command_and_from_prepare(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    path = Path("in/x.png")
    low = palette_image()
    low.putpalette([i * 17 for i in range(10) for _ in range(3)])
    low.save(path, bits=4)
    np.testing.assert_array_equal(by_command("label", path).squeeze(), IDS)
    np.testing.assert_array_equal(by_prepare("label", path).squeeze(), IDS)
    assert path.read_bytes()[24] == 4


# -- what is reported ----------------------------------------------------------------------------


def test_the_command_reports_each_conversion_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    for number in range(3):
        Image.fromarray(RGBA).save(f"in/alpha{number}.png")
    Image.fromarray(GREY).save("in/grey.png")
    Image.fromarray(RGB).save("in/plain.png")
    frames = [palette_image(), palette_image()]
    frames[1].putpalette([9, 9, 9] * 10)
    frames[0].save("in/several.gif", save_all=True, append_images=frames[1:])
    translate_files(recorder("RGB"), [Path("in")], Path("out"), 2)
    printed = capsys.readouterr().out
    assert printed.count("3 files in RGB with alpha: composited over white") == 1
    assert printed.count("1 file in grey: converted to RGB") == 1
    assert printed.count("1 file with several frames: the first one is read") == 1
    assert "6 images in out" in printed


def test_python_reports_each_conversion_once(capsys):
    translator = recorder("RGB")
    for _ in range(3):
        translator.translate(Image.fromarray(RGBA))
        translator.translate(GREY)
    printed = capsys.readouterr().out
    assert printed.count("an image in RGB with alpha: composited over white") == 1
    assert printed.count("an image in grey: converted to RGB") == 1


def mixed_folder(counts: dict[str, int]) -> Path:
    arrays = {"grey": GREY, "RGB": RGB, "RGBA": RGBA, "deep": GREY.astype(np.uint16)}
    folder = Path("mixed")
    folder.mkdir()
    for kind, count in counts.items():
        for number in range(count):
            (folder / f"{kind}{number}.png").write_bytes(encode(arrays[kind], "png"))
    return folder


MIXTURES = [
    ({"grey": 4, "RGB": 6}, 3, ["image: 4 files in grey: converted to RGB"]),
    ({"RGB": 4, "grey": 6}, 1, ["image: 4 files in RGB: converted to grey"]),
    ({"RGB": 3, "grey": 3}, 3, ["image: 3 files in grey: converted to RGB"]),
    ({"RGB": 2, "RGBA": 3}, 4, ["image: 2 files in RGB: taken as opaque"]),
    (
        {"RGB": 3, "RGBA": 1, "grey": 2},
        3,
        ["image: 1 file in RGB with alpha: composited over white", "image: 2 files in grey: converted to RGB"],
    ),
    ({"deep": 4, "RGB": 3, "grey": 2}, 3, ["image: 2 files in grey: converted to RGB"]),
    ({"RGB": 5}, 3, []),
]  # fmt: skip


@pytest.mark.parametrize(("counts", "channels", "lines"), MIXTURES)
def test_prepare_converts_to_what_most_files_have(counts, channels, lines, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = mixed_folder(counts)
    report = prepare(folder, "out", layout="images", progress=False)
    usable = sum(counts.values()) - counts.get("deep", 0)
    assert report.samples == usable
    assert len(report.unreadable) == counts.get("deep", 0), "16 bits are never converted"
    assert sorted(report.notes) == sorted(f"note: {line}" for line in lines)
    text = Path("out/report.txt").read_text()
    assert all(line in text and f"note: {line}" in report.lines() for line in lines)
    shards = Shards.open("out")
    assert shards.fields["image"].channels == channels
    for i in range(len(shards)):
        assert decode_sample(shards, i, ["image"])["image"].shape == (*SIZE, channels)
        assert shards.read(i, "image") == (folder / f"{shards.key(i)}.png").read_bytes()


def test_a_pair_in_grey_is_converted_in_both_halves(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("pairs").mkdir()
    for number in range(3):
        Path(f"pairs/{number}.png").write_bytes(encode(RGB, "png"))
    Path("pairs/grey.png").write_bytes(encode(GREY, "png"))
    report = prepare("pairs", "out", layout="pairs", progress=False, resize=(16, 16))
    assert report.samples == 4
    assert "note: left: 1 file in grey: converted to RGB" in report.notes
    sample = decode_sample(Shards.open("out"), 3, ["left", "right"])
    assert {array.shape for array in sample.values()} == {(16, 16, 3)}


def test_label_maps_of_8_and_16_bits_are_one_field(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("maps").mkdir()
    for number, dtype in enumerate(("uint8", "uint8", "uint16")):
        Path(f"maps/{number}.png").write_bytes(encode(IDS.astype(dtype), "png"))
    report = prepare("maps", "out", layout="images", progress=False, labels=["image"])
    assert report.samples == 3
    shards = Shards.open("out")
    assert shards.fields["image"].dtype == "uint16"
    for i in range(3):
        np.testing.assert_array_equal(decode_sample(shards, i, ["image"])["image"][..., 0], IDS)


def test_foreign_tars_are_converted_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with tarfile.open("a.tar", "w") as tar:
        for number, array in enumerate((RGB, RGB, GREY)):
            data = encode(array, "png")
            entry = tarfile.TarInfo(f"{number}.png")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    report = index_tars([str(tmp_path / "a.tar")], tmp_path / "set", {"image": ["png"]})
    assert report.samples == 3
    assert report.notes == ["note: image: 1 file in grey: converted to RGB"]
    np.testing.assert_array_equal(
        decode_sample(Shards.open("set"), 2, ["image"])["image"], tripled(GREY)
    )


def test_the_first_run_reports_conversions(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = mixed_folder({"grey": 1, "RGB": 3})
    open_set("train", str(folder), DataRequest("x", "image", "", {}, SIZE, None))
    assert "data.train: image: 1 file in grey: converted to RGB" in capsys.readouterr().out


def test_held_out_sets_of_other_channels_have_a_fingerprint_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    prepare(mixed_folder({"grey": 2}), "out", layout="images", progress=False)
    shards = Shards.open("out")
    converted, lines = field_checks.as_learnt({"image": SOURCES["RGB"]}, shards)
    assert converted.fingerprint != shards.fingerprint
    assert lines == ["data.validation: image: files in grey: converted to RGB, as in data.train"]
    same, lines = field_checks.as_learnt({"image": SOURCES["grey"]}, shards)
    assert same is shards
    assert lines == []


def test_unpaired_held_out_sets_are_converted_on_their_side(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    prepare(mixed_folder({"grey": 2}), "greys", layout="images", progress=False)
    Path("mixed").rename("before")
    prepare(mixed_folder({"RGB": 3}), "colours", layout="images", progress=False)
    both = Unpaired([Shards.open("greys"), Shards.open("colours")], ["image", "image"])
    learnt = {"source": SOURCES["RGB"], "target": SOURCES["RGB"]}
    converted, lines = field_checks.as_learnt(learnt, both)
    assert len(lines) == 1
    assert [
        side.fields[name].channels for side, name in zip(converted.domains, learnt, strict=True)
    ] == [3, 3]
    assert converted.fields["source"].channels == 3
    assert both.fields["source"].channels == 1
    again = pickle.loads(pickle.dumps(converted.domains[0]))  # as a worker gets it
    assert decode_sample(again, 0, ["source"])["source"].shape == (*SIZE, 3)
    assert converted.fingerprint.split()[1] == both.fingerprint.split()[1]


# -- previews ------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_previews_show_colours_over_white(count):
    array = np.random.default_rng(count).integers(0, 256, (1, *SIZE, count), dtype=np.uint8)
    images = normalise(torch.from_numpy(array), field(count), torch.float32, torch.device("cpu"))
    shown = viewable(images, field(count))
    assert shown.shape == (1, *SIZE, 3)
    expected = over_white(array[0]) if count in (2, 4) else array[0]
    if count == 5:
        expected = array[0].mean(2, keepdims=True)
    assert np.abs(shown[0] - expected.astype(float)).max() <= 1
