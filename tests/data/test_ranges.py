"""Ranges of values: 12-bit cameras, Hounsfield units and reflectance, measured and chosen."""

import json
import pickle
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from conftest import SHARED
from typer.testing import CliRunner

from gantrain import UserError, evaluate
from gantrain.cli.app import app
from gantrain.core.world import World
from gantrain.data.batch import normalise, to_files
from gantrain.data.clip_counter import ClipCounter, clipping_ranges
from gantrain.data.decode import decode, encode
from gantrain.data.field import Field
from gantrain.data.index import load_index
from gantrain.data.index_tars import index_tars
from gantrain.data.kinds.table import KINDS
from gantrain.data.prepare.pack import prepare
from gantrain.data.ranges import Range, check_range, parse_range
from gantrain.data.shards import Shards
from gantrain.data.transforms import SampleTransform
from gantrain.data.value_statistics import ValueCounter
from gantrain.evaluation.folder_images import FolderImages


class Measured(NamedTuple):
    """Values of a measuring device: their dtype, their range, and their lowest and highest value."""

    dtype: str
    range: Range
    lowest: float
    highest: float


DEVICES = {
    "12 bits": Measured("uint16", (0, 4095), 0, 4095),
    "Hounsfield units": Measured("int16", (-1000, 1000), -1024, 3071),
    "reflectance": Measured("float32", (0, 0.4), -0.01, 1.3),
    "kelvin": Measured("float32", (250, 330), 240, 340),
}


def values_of(device: str, *, seed: int, shape: tuple[int, ...] = (32, 32, 1)) -> np.ndarray:
    """Draw an array whose first values are the lowest and the highest ones."""
    measured = DEVICES[device]
    random = np.random.default_rng(seed)
    drawn = random.uniform(measured.lowest, measured.highest, shape)
    drawn[0, 0] = measured.lowest
    drawn[0, 1] = measured.highest
    return (
        drawn.round().astype(measured.dtype) if measured.dtype != "float32" else np.float32(drawn)
    )


def scaled(values: np.ndarray, range: Range) -> np.ndarray:
    """Return the values as floats of 0 to 1, in float64 and then rounded."""
    low, high = range
    return ((values.astype(np.float64) - low) / (high - low)).clip(0, 1).astype(np.float32)


def write_pairs(folder: Path, device: str, count: int = 4, *, first: int = 0) -> Path:
    """Write pairs of a device's values as npy files."""
    for name in ("src", "dst"):
        (folder / name).mkdir(parents=True)
        for number in range(first, first + count):
            seed = 2 * number + (name == "dst")
            values = values_of(device, seed=seed)
            (folder / name / f"{number}.npy").write_bytes(encode(values, "npy"))
    return folder


def write_scaled(folder: Path, pairs: Path, range: Range) -> Path:
    """Write the same pairs as floats of 0 to 1."""
    for file in sorted(pairs.glob("*/*.npy")):
        target = folder / file.relative_to(pairs)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(encode(scaled(np.load(file), range), "npy"))
    return folder


def field_of(device: str, channels: int = 1) -> Field:
    measured = DEVICES[device]
    return Field(
        member="x",
        channels=channels,
        dtype=measured.dtype,
        min_size=(32, 32),
        max_size=(32, 32),
        range=measured.range,
    )


@pytest.mark.parametrize("device", DEVICES)
def test_networks_see_what_they_would_see_of_scaled_floats(device: str) -> None:
    values = values_of(device, seed=0, shape=(4, 32, 32, 2))
    field = field_of(device, 2)
    floats = field.model_copy(update={"dtype": "float32", "range": None})
    cpu = torch.device("cpu")
    seen = normalise(torch.from_numpy(values), field, torch.float32, cpu)
    expected = torch.from_numpy(scaled(values, DEVICES[device].range))
    assert seen.min() == -1
    assert seen.max() == 1
    torch.testing.assert_close(
        seen, normalise(expected, floats, torch.float32, cpu), atol=1e-6, rtol=0
    )
    low, high = DEVICES[device].range
    back = to_files(seen, field).numpy()
    assert back.dtype == values.dtype
    tolerance = 0.0 if field.dtype != "float32" else 1e-6 * (high - low) + 1e-7 * abs(high)
    np.testing.assert_allclose(back, values.clip(low, high), rtol=0, atol=tolerance)


@pytest.mark.parametrize("device", DEVICES)
def test_color_jitter_changes_values_within_their_range(device: str) -> None:
    values = values_of(device, seed=0)
    low, high = DEVICES[device].range
    kinds = {"x": KINDS["image"]}
    view = SampleTransform(kinds, (32, 32), None, color_jitter=0.5, ranges={"x": (low, high)})
    of_floats = SampleTransform(kinds, (32, 32), None, color_jitter=0.5)
    inside = values.clip(low, high).astype(values.dtype)
    jittered = view.augment({"x": inside}, np.random.default_rng(3))["x"]
    expected = of_floats.augment({"x": scaled(inside, (low, high))}, np.random.default_rng(3))["x"]
    step = 1 if values.dtype != np.float32 else 0
    assert not np.array_equal(jittered, inside)
    np.testing.assert_allclose(
        jittered, expected * (high - low) + low, rtol=0, atol=0.5 * step + 2e-5 * (high - low)
    )


@pytest.mark.parametrize("device", DEVICES)
def test_prepare_refuses_values_that_use_little_of_their_dtype(device: str, tmp_path: Path) -> None:
    """The line gives the measured values and the option, once for each field."""
    pairs = write_pairs(tmp_path / "pairs", device)
    with pytest.raises(UserError) as caught:
        prepare(pairs, tmp_path / "packed", progress=False)
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert not (tmp_path / "packed").exists()
    lowest = f"{DEVICES[device].lowest:.6g}"
    highest = f"{DEVICES[device].highest:.6g}"
    for name, line in zip(("dst", "src"), sorted(lines), strict=True):
        assert line.startswith(f"{name} holds values {lowest}..{highest} (99.8 % of them lie in ")
        assert f"--range {name}=auto" in line
    if device == "12 bits":
        assert "less than half of the range of uint16, 0..65535" in lines[0]
        assert "=0..4095" in lines[0]


def test_the_12_bit_case_is_refused_and_then_packed(tmp_path: Path) -> None:
    case = SHARED / "cases" / "c_12bit"
    if not case.is_dir():
        pytest.skip("the case of 12-bit files is not here (../shared/cases/c_12bit)")
    with pytest.raises(UserError, match=r"src holds values .*--range src=0\.\.4095"):
        prepare(case, tmp_path / "packed", progress=False)
    ranges: dict[str, Range] = {"src": (0, 4095), "dst": (0, 4095)}
    report = prepare(case, tmp_path / "packed", ranges=ranges, progress=False)
    assert report.fields["src"].range == (0, 4095)


FULL = {
    "uint16": lambda random: random.integers(0, 65536, (32, 32)).astype(np.uint16),
    "half of uint16": lambda random: random.integers(0, 32900, (32, 32)).astype(np.uint16),
    "int16": lambda random: random.integers(-32768, 32768, (32, 32)).astype(np.int16),
    "float32": lambda random: random.uniform(0, 1, (32, 32)).astype(np.float32),
    "little of 0 to 1": lambda random: random.uniform(0, 0.2, (32, 32)).astype(np.float32),
    "uint8": lambda random: random.integers(0, 20, (32, 32)).astype(np.uint8),
}


@pytest.mark.parametrize("values", FULL)
def test_values_that_suit_their_dtype_need_no_range(values: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    random = np.random.default_rng(0)
    for number in range(3):
        array = FULL[values](random)
        (tmp_path / "in" / f"{number}.npy").write_bytes(encode(array, "npy"))
    report = prepare(tmp_path / "in", tmp_path / "out", layout="images", progress=False)
    assert report.fields["image"].range is None
    assert (report.fields["image"].statistics is None) == (values == "uint8")


def test_a_range_is_stored_and_what_it_clips_is_counted(tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path / "pairs", "Hounsfield units")
    all_values = np.stack([np.load(file) for file in sorted((pairs / "src").glob("*.npy"))])
    percent = 100 * ((all_values < -1000) | (all_values > 1000)).mean()
    options = ["--range", "src=-1000..1000", "--range", "dst=auto"]
    done = CliRunner().invoke(app, ["prepare", str(pairs), "--out", "packed", *options])
    assert done.exit_code == 0, done.output
    output = " ".join(done.output.split())
    assert f"src: {percent:.3g} % of its values lie outside its range -1000..1000;" in output
    assert "int16, values -1024..3071, range -1000..1000" in output
    fields = load_index(Path("packed")).fields
    assert fields["src"].range == (-1000, 1000)
    targets = np.stack([np.load(file) for file in sorted((pairs / "dst").glob("*.npy"))])
    low, high = np.percentile(targets, [0.1, 99.9], method="nearest")
    assert fields["dst"].range == pytest.approx((low, high), abs=8)
    # The files keep their values.
    shards = Shards.open("packed")
    assert np.array_equal(decode(shards.read(0, "src")), np.load(pairs / "src" / "0.npy"))


@pytest.mark.parametrize(
    ("ranges", "says"),
    [
        (["photo=0..1"], "--range photo: found no such field, allowed: dst, src"),
        (["src=0..4095", "src=1..2"], "--range: found one name twice"),
        (["src"], "--range: found 'src', allowed: NAME=VALUE"),
        (["src=4095"], "--range src: found '4095', allowed: LOW..HIGH, such as -1000..1000, or"),
        (["src=9..9"], "--range src: found 9..9, allowed: a lower value, then a higher one"),
        (["src=nan..9"], "--range src: found 'nan..9', allowed: LOW..HIGH, such as"),
        (["src=0..1_0"], "--range src: found '0..1_0', allowed: LOW..HIGH"),
        (["src=0...3"], "--range src: found '0...3', allowed: LOW..HIGH"),
        (["src=0..1e300"], "--range src: found 0..1e300, allowed: numbers of up to 1e+30"),
        (["src=-1000..1000"], "--range src: found -1000..1000, allowed: values that uint16 can"),
        (["bytes=0..100"], "--range bytes: bytes holds 8 bits, whose range is always 0..255"),
        (["ids=0..100"], "--range ids: ids holds no images, allowed: fields of images"),
        (["flat=auto"], "--range flat: found auto, but nearly all values are 7; give LOW..HIGH"),
    ],
)
def test_wrong_ranges_are_one_line(ranges: list[str], says: str, tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path / "pairs", "12 bits", 2)
    if ranges[0].startswith(("bytes", "ids", "flat")):
        name = ranges[0].partition("=")[0]
        dtype = np.uint16 if name == "flat" else np.uint8
        (pairs / name).mkdir()
        for number in range(2):
            array = np.full((32, 32), 7, dtype)
            (pairs / name / f"{number}.npy").write_bytes(encode(array, "npy"))
    options = [text for range in ranges for text in ("--range", range)]
    labels = ["--labels", "ids"] if ranges[0].startswith("ids") else []
    done = CliRunner().invoke(app, ["prepare", str(pairs), "--out", "out", *options, *labels])
    assert done.exit_code == 2
    output = " ".join(done.output.split())
    assert says in output
    assert not Path("out").exists()


def test_statistics_are_no_part_of_the_fingerprint_and_a_range_is(tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path / "pairs", "12 bits")
    fingerprints = []
    for number, high in enumerate((4095, 4095, 5000)):
        out = tmp_path / f"packed{number}"
        ranges: dict[str, Range] = {"src": (0, high), "dst": (0, 4095)}
        prepare(pairs, out, ranges=ranges, progress=False)
        fingerprints.append(load_index(out).fingerprint)
    index = tmp_path / "packed0" / "index.json"
    content = json.loads(index.read_text())
    content["fields"]["src"]["statistics"]["maximum"] = 4000
    index.write_text(json.dumps(content))
    assert Shards.open(tmp_path / "packed0").fingerprint == fingerprints[1] == fingerprints[0]
    assert fingerprints[2] != fingerprints[0]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"range": [5, 5]}, "fields.src.range: found 5..5, allowed: a lower value"),
        (
            {"range": [0, 70000]},
            "fields.src.range: found 0..70000, allowed: values that uint16 can",
        ),
        ({"range": [0, float("inf")]}, "range"),
        ({"dtype": "uint8"}, "fields.src.range: src holds 8 bits"),
        ({"statistics": {"minimum": 0}}, "statistics"),
    ],
)
def test_an_untrusted_range_is_checked(
    changes: dict[str, object], says: str, tmp_path: Path
) -> None:
    pairs = write_pairs(tmp_path / "pairs", "12 bits")
    ranges: dict[str, Range] = {"src": (0, 4095), "dst": (0, 4095)}
    prepare(pairs, tmp_path / "out", ranges=ranges, progress=False)
    index = tmp_path / "out" / "index.json"
    content = json.loads(index.read_text())
    content["fields"]["src"] |= changes
    index.write_text(json.dumps(content))
    with pytest.raises(UserError, match=says.replace(".", r"\.").replace("+", r"\+")) as caught:
        load_index(tmp_path / "out")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
def test_statistics_are_those_of_all_values(dtype: str) -> None:
    random = np.random.default_rng(0)
    arrays = []
    for number in range(40):
        values = random.normal(1000 * number, 500, (50, 60, 2)).clip(0, 30000)
        arrays.append(values.astype(dtype))
    counters = [ValueCounter(dtype, (500, 20000)) for _ in range(3)]
    for number, array in enumerate(arrays):
        counters[number % 2].add(array)
    for array in reversed(arrays):  # in another order, and at once
        counters[2].add(array)
    counters[0].merge(counters[1])
    all_values = np.concatenate([array.ravel() for array in arrays]).astype(np.float64)
    low, high = np.percentile(all_values, [0.1, 99.9])
    for counter in (counters[0], counters[2]):
        statistics = counter.statistics()
        assert statistics == counters[0].statistics()
        assert (statistics.minimum, statistics.maximum) == (all_values.min(), all_values.max())
        assert statistics.low == pytest.approx(low, abs=1.5)
        assert statistics.high == pytest.approx(high, rel=1e-4)
        outside = ((all_values < 500) | (all_values > 20000)).mean()
        assert counter.fraction_outside((500, 20000)) == pytest.approx(outside, abs=1e-12)


def test_a_sample_of_floats_is_bounded_and_the_same_in_any_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gantrain.data.value_statistics._MOST_SAMPLED", 10_000)
    random = np.random.default_rng(0)
    arrays = [random.normal(size=(64, 64)).astype(np.float32) for _ in range(30)]
    forwards = ValueCounter("float32")
    backwards = ValueCounter("float32")
    for array in arrays:
        forwards.add(array)
    parts = [ValueCounter("float32") for _ in range(2)]
    for number, array in enumerate(reversed(arrays)):
        parts[number % 2].add(array)
    for part in parts:
        backwards.merge(part)
    assert forwards.statistics() == backwards.statistics()
    assert sum(sample.size for sample in forwards._samples) <= 10_000
    assert forwards.statistics().high == pytest.approx(3.09, abs=0.35)


def test_left_out_samples_do_not_count(tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path / "pairs", "12 bits", 5)
    wide = np.full((32, 32, 3), 60000, np.uint16)
    (pairs / "src" / "3.npy").write_bytes(encode(wide, "npy"))  # most have one channel
    (pairs / "dst" / "4.npy").write_bytes(encode(np.full((40, 32), 60000, np.uint16), "npy"))
    ranges: dict[str, Range] = {"src": (0, 4095), "dst": (0, 4095)}
    report = prepare(pairs, tmp_path / "out", ranges=ranges, progress=False)
    assert report.samples == 3
    for field in report.fields.values():
        assert field.statistics is not None
        assert field.statistics.maximum == 4095


def test_external_tars_are_measured_too(tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path / "pairs", "Hounsfield units")
    ranges: dict[str, Range] = {"src": (-1000, 1000), "dst": (-1000, 1000)}
    prepare(pairs, tmp_path / "packed", ranges=ranges, progress=False)
    tars = [str(tmp_path / "packed" / "s-000000.tar")]
    extensions = {"src": ["src.npy"], "dst": ["dst.npy"]}
    with pytest.raises(UserError, match=r"src holds values -1024\.\.3071"):
        index_tars(tars, tmp_path / "theirs", extensions)
    report = index_tars(tars, tmp_path / "theirs", extensions, ranges=ranges)
    assert report.fields["src"].range == (-1000, 1000)
    assert any("lie outside its range -1000..1000" in note for note in report.notes)


def test_clipped_values_are_counted_by_field_and_rank() -> None:
    ranges = clipping_ranges({"ct": field_of("Hounsfield units"), "mask": mask_field()})
    assert ranges == {"ct": (-1000, 1000)}
    counter = ClipCounter(ranges)
    images = np.zeros((3, 4, 5, 1), np.int16)
    images[1, 0, :2] = 1001
    images[2, 0, 0] = -1001
    counter.add({"ct": images, "mask": np.ones((3, 4, 5, 1), np.uint8)})
    assert counter.lines(lambda counts: [counts, counts]) == [
        "ct: 5 % of its values, in 4 files, lie outside the range -1000..1000 and are clipped"
    ]
    assert counter.lines() == []


def mask_field() -> Field:
    size = (4, 5)
    return Field(member="m", kind="mask", channels=1, dtype="uint8", min_size=size, max_size=size)


def test_signed_tiffs_keep_their_sign() -> None:
    tifffile = pytest.importorskip("tifffile")  # scikit-image brings it
    values = np.array([[-1024, 3071], [0, -1]], np.int16)
    tifffile.imwrite("signed.tif", values)
    array = decode(Path("signed.tif").read_bytes())
    assert array.dtype == np.int16
    assert np.array_equal(array[..., 0], values)


@pytest.mark.parametrize("text", ["0..4095", "-1e3..1000", "0.5..1.5", "-2.5..+3e-1"])
def test_texts_of_ranges(text: str) -> None:
    low, _, high = text.partition("..")
    assert parse_range(text) == (float(low), float(high))
    assert check_range(parse_range(text)) == parse_range(text)


def test_folders_of_measurements_need_a_range(tmp_path: Path) -> None:
    """PSNR and SSIM equal scikit-image's for the data range."""
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    real = tmp_path / "real"
    fake = tmp_path / "fake"
    random = np.random.default_rng(0)
    errors: dict[str, list[float]] = {"psnr": [], "ssim": [], "l1": []}
    for number in range(4):
        values = values_of("12 bits", seed=number)
        noisy = (values + random.normal(0, 200, values.shape)).round().clip(0, 4095)
        for folder, array in ((real, values), (fake, noisy.astype(np.uint16))):
            folder.mkdir(exist_ok=True)
            (folder / f"{number}.npy").write_bytes(encode(array, "npy"))
        first, second = values[..., 0].astype(float), noisy[..., 0]
        errors["psnr"].append(peak_signal_noise_ratio(first, second, data_range=4095))
        similarity = structural_similarity(
            first,
            second,
            data_range=4095,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        errors["ssim"].append(similarity)
        errors["l1"].append(float(np.abs(first - second).mean() / 4095 * 2))
    with pytest.raises(UserError, match=r"the set of images holds values 0\.\.4095.*range=\(0, "):
        evaluate(real=real, fake=fake, metrics=["l1"])
    done = evaluate(real=real, fake=fake, metrics=list(errors), range=(0, 4095))
    for name, values_of_images in errors.items():
        assert done.values[name] == pytest.approx(np.mean(values_of_images), rel=1e-6), name
    arguments = ["--real", str(real), "--fake", str(fake), "--metrics", "l1"]
    refused = CliRunner().invoke(app, ["evaluate", *arguments])
    assert refused.exit_code == 2
    assert "--range 0..4095" in " ".join(refused.output.split())
    clipped = CliRunner().invoke(app, ["evaluate", *arguments, "--range", "0..4000"])
    assert clipped.exit_code == 0, clipped.output
    assert "lie outside the range 0..4000 and are clipped" in " ".join(clipped.output.split())


def test_clipped_values_of_folders_are_counted_over_ranks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two ranks exchange what they counted by pickle, as torch.distributed does."""
    monkeypatch.setattr(World, "gather", lambda _, value: pickle.loads(pickle.dumps([value] * 2)))
    values = np.zeros((8, 8), np.uint16)
    values[0] = 4095
    (tmp_path / "0.npy").write_bytes(encode(values, "npy"))
    images = FolderImages(World("cpu"), (0, 4000), reads_real=True)
    (read,) = images.read({"0": tmp_path / "0.npy"})
    assert read[0].max() == 1
    images.report()
    output = " ".join(capsys.readouterr().out.split())
    assert "uint16: 12.5 % of its values, in 2 files, lie outside the range 0..4000" in output


@pytest.mark.parametrize("value", [(1, 1), (0,), "0..1", (0, "1")])
def test_wrong_ranges_from_python_are_one_line(value: object, tmp_path: Path) -> None:
    shutil.copytree(write_pairs(tmp_path / "pairs", "12 bits"), tmp_path / "copy")
    with pytest.raises(UserError, match=r"^range: found "):
        evaluate(real=tmp_path / "pairs" / "src", fake=tmp_path / "copy" / "src", range=value)  # type: ignore[arg-type]


def test_a_range_of_folders_of_8_bits_is_refused(tmp_path: Path) -> None:
    for folder in ("real", "fake"):
        (tmp_path / folder).mkdir()
        array = np.full((32, 32, 3), 7, np.uint8)
        (tmp_path / folder / "0.png").write_bytes(encode(array, "png"))
    with pytest.raises(UserError, match=r"range: found 0\.\.5, but all images have 8 bits"):
        evaluate(real=tmp_path / "real", fake=tmp_path / "fake", metrics=["l1"], range=(0, 5))
