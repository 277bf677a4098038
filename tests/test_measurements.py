"""Runs on measurements: 16-bit values and floats with a range, from packing to translation."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL, run_here
from typer.testing import CliRunner

import gantrain
from gantrain import UserError
from gantrain.cli.app import app
from gantrain.data.decode import encode
from gantrain.data.prepare.pack import prepare
from gantrain.data.ranges import Range

# By name: dtype, range, and the lowest and highest value of the files.
DEVICES: dict[str, tuple[str, Range, Range]] = {
    "12 bits": ("uint16", (0, 4095), (0, 4095)),
    "Hounsfield units": ("int16", (-1000, 1000), (-1024, 3071)),
    "reflectance": ("float32", (0, 0.4), (-0.01, 1.3)),
}


def write(folder: Path, device: str, count: int, *, seed: int, is_scaled: bool = False) -> Path:
    """Write pairs as npy files; is_scaled: as floats of 0 to 1, clipped as networks see them."""
    dtype, (low, high), values = DEVICES[device]
    for name in ("src", "dst"):
        (folder / name).mkdir(parents=True)
    random = np.random.default_rng(seed)
    for number in range(count):
        coarse = random.uniform(*values, (4, 4, 1)).repeat(8, 0).repeat(8, 1)
        for name, image in (("src", coarse), ("dst", coarse[::-1])):
            array = image.astype(dtype)
            if is_scaled:
                wide = array.astype(np.float64)
                array = ((wide - low) / (high - low)).clip(0, 1).astype(np.float32)
            (folder / name / f"{number}.npy").write_bytes(encode(array, "npy"))
    return folder


def words(train: str | Path, *more: str) -> tuple[str, ...]:
    return (
        *SMALL,
        f"data.train={train}",
        "data.validation=auto",
        "data.source=src",
        "data.target=dst",
        "data.labels={}",
        "data.flip=false",
        "data.resize=null",
        "batch_size=4",
        "length=8",
        "log_every=4",
        "evaluate.every=8",
        "previews.every=8",
        *more,
    )


def rows(run: str) -> list[dict[str, float]]:
    return [
        json.loads(line) for line in Path("runs", run, "metrics.jsonl").read_text().splitlines()
    ]


def command(*arguments: str, status: int = 0) -> str:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == status, done.output
    return " ".join(done.output.split())


@pytest.mark.slow
@pytest.mark.parametrize("device", DEVICES)
def test_a_run_is_that_of_values_scaled_to_floats(device: str, tmp_path: Path) -> None:
    """The first losses are equal, and so are the metrics up to the rounding of the files."""
    dtype, values_range, _ = DEVICES[device]
    ranges: dict[str, Range] = {"src": values_range, "dst": values_range}
    for split, seed in (("train", 0), ("val", 1)):
        write(tmp_path / "raw" / split, device, 8, seed=seed)
        write(tmp_path / "scaled" / split, device, 8, seed=seed, is_scaled=True)
        for kind, options in (("raw", ranges), ("scaled", {})):
            out = tmp_path / f"packed_{kind}" / split
            prepare(tmp_path / kind / split, out, ranges=options, progress=False)
    for kind in ("raw", "scaled"):
        assert run_here(*words(tmp_path / f"packed_{kind}" / "train"), f"run={kind}") == "finished"
    raw_rows, scaled_rows = rows("raw"), rows("scaled")
    for name in ("gan", "l1", "d", "generator_gradient", "discriminator_gradient"):
        assert raw_rows[0][name] == pytest.approx(scaled_rows[0][name], rel=1e-5), name
    measured = {name: value for row in raw_rows for name, value in row.items()}
    expected = {name: value for row in scaled_rows for name, value in row.items()}
    names = [name for name in measured if name.startswith("val_") and "psnr" in name]
    assert names
    tolerance = 1e-4 if dtype == "float32" else 2e-3
    for name in names:
        assert measured[name] == pytest.approx(expected[name], rel=tolerance), name
    model = gantrain.load("runs/raw", "cpu")
    image = np.load(next((tmp_path / "raw" / "val" / "src").glob("*.npy")))
    made = model.translate(image)
    low, high = values_range
    assert made.dtype == np.dtype(dtype)
    assert low <= made.min() < made.max() <= high
    assert f"{dtype} images of 1 channel, {low:g}..{high:g}" in repr(model)
    scaled_made = gantrain.load("runs/scaled", "cpu").translate(
        ((image.astype(np.float64) - low) / (high - low)).clip(0, 1).astype(np.float32)
    )
    np.testing.assert_allclose((made - float(low)) / (high - low), scaled_made, atol=0.01)


@pytest.mark.slow
def test_the_range_of_the_training_set_holds_for_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = write(tmp_path / "train", "Hounsfield units", 8, seed=0)
    held_out = write(tmp_path / "other", "Hounsfield units", 4, seed=1)
    own: dict[str, Range] = {"src": (-1000, 1000), "dst": (-1000, 1000)}
    other: dict[str, Range] = {"src": (-2000, 3000), "dst": (-2000, 3000)}
    prepare(train, tmp_path / "packed", ranges=own, progress=False)
    prepare(held_out, tmp_path / "same", ranges=own, progress=False)
    prepare(held_out, tmp_path / "differs", ranges=other, progress=False)
    for name in ("same", "differs"):
        place = tmp_path / name
        keys = words(tmp_path / "packed", f"data.validation={place}", f"run={name}")
        assert run_here(*keys) == "finished"
    printed = " ".join(capsys.readouterr().out.split())
    assert "data.train: src holds values" in printed
    assert "data.validation: src: networks see the range of data.train, -1000..1000" in printed
    assert "lie outside the range -1000..1000 and are clipped" in printed
    same = [row for row in rows("same") if any(key.startswith("val_") for key in row)]
    differs = [row for row in rows("differs") if any(key.startswith("val_") for key in row)]
    assert [{k: v for k, v in row.items() if k.startswith("val_")} for row in same] == [
        {k: v for k, v in row.items() if k.startswith("val_")} for row in differs
    ]
    state = json.loads(next(Path("runs/same/checkpoints").glob("*/state.json")).read_text())
    assert state["fields"]["source"]["range"] == [-1000, 1000]
    # Evaluation and translation take the range of the run too, whatever a set says.
    values = {}
    for name in ("same", "differs"):
        values[name] = gantrain.evaluate("runs/same", tmp_path / name, metrics=["l1"]).values["l1"]
    assert values["same"] == values["differs"]
    output = command("translate", "runs/same", str(held_out / "src"), "--out", "made")
    assert "source:" in output
    assert "lie outside the range -1000..1000 and are clipped" in output
    made = np.load("made/0.npy")
    assert made.dtype == np.int16
    assert made.min() >= -1000
    assert made.max() <= 1000
    refused = command("evaluate", "runs/same", "--range", "0..1", status=2)
    assert "--range: found with a run" in refused


@pytest.mark.slow
def test_a_folder_of_measurements_needs_the_key_and_keeps_it(tmp_path: Path) -> None:
    folder = write(tmp_path / "mine" / "train", "12 bits", 8, seed=0)
    with pytest.raises(UserError) as caught:
        run_here(*words(folder), "run=x")
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("data.ranges: src holds values ")
    assert "'data.ranges={src: [0, 4095]}'" in lines[0]
    assert not Path("runs/x/checkpoints").exists()
    keys = (*words(folder), "run=x", "data.ranges={src: [0, 4095], dst: [0, 4095]}")
    assert run_here(*keys) == "finished"
    assert run_here(*keys, "length=12") == "finished"
    with pytest.raises(UserError, match=r"data\.ranges"):
        run_here(
            *words(folder), "run=x", "data.ranges={src: [0, 4095], dst: [0, 8191]}", "length=16"
        )
    result = gantrain.evaluate("runs/x", folder, metrics=["l1"])
    assert 0 < result.values["l1"] < 2


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            "data.ranges={left: [0, 1]}",
            "data.ranges: found {'left': [0, 1]}, allowed: label, photo",
        ),
        ("data.ranges={photo: [0, 9]}", "data.ranges.photo: photo holds 8 bits, whose range is"),
        ("data.ranges={label: [0, 9]}", "data.ranges.label: label holds no images"),
        ("data.ranges={photo: [9, 0]}", "found [9, 0], allowed: a lower value, then a higher one"),
        ("data.ranges={photo: [0]}", "data.ranges.photo"),
    ],
)
def test_wrong_keys_are_one_line(changes: str, says: str) -> None:
    keys = ("data.source=label", "data.target=photo", "data.labels={label: 10}", "dry_run=true")
    with pytest.raises(UserError) as caught:
        run_here(*SMALL, *keys, "data=synthetic", changes)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_unpaired_sets_have_ranges_of_their_own(tmp_path: Path) -> None:
    for name, device in (("ct", "Hounsfield units"), ("camera", "12 bits")):
        write(tmp_path / name, device, 6, seed=0)
    keys = (
        *SMALL,
        "method={name: cyclegan, generator: {width: 8, blocks: 1}, discriminator: {width: 8}}",
        "data.unpaired=true",
        f"data.train={tmp_path / 'ct' / 'src'}",
        f"data.train_target={tmp_path / 'camera' / 'src'}",
        "data.labels={}",
        "data.resize=null",
        "data.source=image",
        "data.target=image",
        "data.validation=null",
        "evaluate.metrics=[swd]",
        "evaluate.best_by=swd",
        "batch_size=2",
        "length=4",
    )
    with pytest.raises(UserError, match=r"data\.ranges: image holds values -"):
        run_here(*keys)
    for name, values in (("ct", (-1000, 1000)), ("camera", (0, 4095))):
        ranges: dict[str, Range] = {"image": values}
        prepare(
            tmp_path / name / "src",
            tmp_path / f"packed_{name}",
            layout="images",
            ranges=ranges,
            progress=False,
        )
    packed = (
        f"data.train={tmp_path / 'packed_ct'}",
        f"data.train_target={tmp_path / 'packed_camera'}",
        "run=unpaired",
    )
    assert run_here(*keys, *packed) == "finished"
    model = gantrain.load("runs/unpaired", "cpu")
    made = model.translate(np.load(tmp_path / "ct" / "src" / "0.npy"))
    assert made.dtype == np.uint16
    assert model.source.range == (-1000, 1000)
    back = gantrain.load("runs/unpaired", "cpu", back=True).translate(made)
    assert back.dtype == np.int16
