"""`gantrain bench` runs and reports; the rates that it measures here mean nothing."""

import json
from pathlib import Path

import pytest
from conftest import SMALL
from peer_stand_in import write_stand_in
from typer.testing import CliRunner

from gantrain.bench.repeats import spread
from gantrain.bench.run_bench import table
from gantrain.cli.app import app

QUICK = ("batch_size=2", "--repeats=2", "--steps=1")
TINY = (
    "data.size=[32,32]",
    "data.resize=[36,36]",
    "data.workers=0",
    "precision=fp32",
    "device=cpu",
    "threads=1",
    "trackers=[]",
)
RESNET = "method.generator={name: resnet, width: 4, blocks: 6}"
PATCHES = "method.discriminator={name: patchgan, width: 4, layers: 1}"


def bench(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["bench", *words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result.exit_code, result.output


def columns(output: str) -> dict[str, str]:
    """The rows of the table, by their first word."""
    lines = [line for line in output.splitlines() if line.split()[:1]]
    return {line.split()[0]: line for line in lines}


def test_the_plain_loop_and_gantrain_take_turns() -> None:
    status, output = bench("quickstart", *SMALL, *QUICK, "--out=rates.json")
    assert status == 0, output
    rows = columns(output)
    assert rows["images/s"].split() == ["images/s", "gantrain", "plain", "loop", "ratio"]
    for work in ("step", "loader", "both"):
        assert len(rows[work].split()) == 1 + 2 * 4 + 1, rows[work]
        assert len(rows[work]) <= 80
    content = json.loads(Path("rates.json").read_text())
    assert content["recipe"]["data"]["train"] == "synthetic"
    assert content["versions"]["torch"]
    assert content["hardware"]["cores"] >= 1
    measured = [(row["work"], row["side"]) for row in content["rows"]]
    sides = ("gantrain", "plain loop")
    assert measured == [(work, side) for work in ("step", "loader", "both") for side in sides]
    for row in content["rows"]:
        rate = row["images_per_second"]
        assert 0 < rate["min"] <= rate["median"] <= rate["max"]
        assert len(rate["repeats"]) == 2
    assert not Path("runs").exists()


def test_a_method_without_a_plain_loop_is_measured_alone() -> None:
    small = ("method.generator={name: resnet, width: 4, blocks: 1}", PATCHES)
    status, output = bench("cyclegan", *TINY, *small, *QUICK)
    assert status == 0, output
    assert "no comparison with the plain loop: found cyclegan" in " ".join(output.split())
    rows = columns(output)
    assert rows["images/s"].split() == ["images/s", "gantrain"]
    for work in ("step", "loader", "both"):
        assert len(rows[work].split()) == 1 + 4


@pytest.mark.parametrize(
    ("recipe", "has_gpu_ids"), [("pix2pix", True), ("cyclegan", False)], ids=["pix2pix", "cyclegan"]
)
def test_a_peer_takes_turns_by_its_own_options(
    recipe: str, has_gpu_ids: bool, tmp_path: Path
) -> None:
    peer = write_stand_in(tmp_path / "peer", has_gpu_ids=has_gpu_ids)
    words = (*TINY, RESNET, PATCHES, *QUICK, "optimizer.lr=3e-4")
    status, output = bench(recipe, *words, f"--peer={peer}")
    assert status == 0, output
    lines = " ".join(output.split())
    assert lines.index(f"this runs the code in {peer}") < lines.index("images/s")
    rows = columns(output)
    assert rows["images/s"].split() == ["images/s", "gantrain", "peer", "ratio"]
    for work in ("step", "loader", "both"):
        assert len(rows[work].split()) == 1 + 2 * 4 + 1, rows[work]
    parsed = json.loads((peer / "options/parsed.json").read_text())
    expected = {
        "model": {"pix2pix": "pix2pix", "cyclegan": "cycle_gan"}[recipe],
        "batch_size": 2,
        "crop_size": 32,
        "load_size": 36,
        "netG": "resnet_6blocks",
        "ngf": 4,
        "ndf": 4,
        "n_layers_D": 1,
        "lr": 3e-4,
        "beta1": 0.5,
        "num_threads": 0,
    }
    assert {name: parsed[name] for name in expected} == expected
    if recipe == "pix2pix":
        assert parsed["lambda_L1"] == 100
    else:
        assert (parsed["lambda_A"], parsed["lambda_identity"], parsed["pool_size"]) == (10, 0.5, 50)
    assert parsed.get("gpu_ids") == ("-1" if has_gpu_ids else None)


def test_what_is_no_peer_is_refused_in_one_line(tmp_path: Path) -> None:
    peer = write_stand_in(tmp_path / "peer")
    cases = {
        ("pix2pix", f"--peer={tmp_path}"): f"--peer: {tmp_path} is no checkout of",
        ("cut", f"--peer={peer}"): "found the recipe cut of the method cut, allowed: recipes of",
        ("cityscapes", f"--peer={peer}"): "--peer: data.size is 256x512, and the peer trains on",
        ("pix2pix", "data.size=[96,96]", f"--peer={peer}"): "unet_128 takes multiples of 128",
        ("pix2pix", "--out=no/where.json"): "--out: no folder no",
        ("nosuch",): "recipe: found 'nosuch'",
    }
    for words, reason in cases.items():
        result = CliRunner().invoke(app, ["bench", *words, *TINY[3:], "data.resize=null", *QUICK])
        assert result.exit_code == 2, words
        assert reason in result.stderr, result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
        assert "this runs the code" not in result.output


def test_a_peer_that_fails_is_one_line(tmp_path: Path) -> None:
    peer = write_stand_in(tmp_path / "peer")
    words = ("pix2pix", *TINY, RESNET, PATCHES, *QUICK, f"--peer={peer}")
    models = peer / "models/__init__.py"
    code = models.read_text()
    models.write_text(code.replace("assert self.is_set_up", "raise RuntimeError('no memory')"))
    result = CliRunner().invoke(app, ["bench", *words])
    assert result.exit_code == 2
    assert f"--peer: the code in {peer} failed: RuntimeError: no memory" in result.stderr
    models.write_text(code)
    options = peer / "options/base_options.py"
    options.write_text(options.read_text().replace('"ngf", ', ""))
    result = CliRunner().invoke(app, ["bench", *words])
    assert result.exit_code == 2
    assert "unrecognized arguments: --ngf=4" in result.stderr


def test_the_table_fits_80_columns() -> None:
    rate = spread([123456.7, 234567.8, 99999.9])
    lines = table(
        {("step", "gantrain"): rate, ("step", "plain loop"): rate}, ["gantrain", "plain loop"]
    )
    assert max(len(line) for line in lines) <= 80
    assert lines[1].endswith("  1")
    assert lines[2].split() == ["loader", "not", "compared", "not", "compared"]
