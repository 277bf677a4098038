"""The benchmarks run and write what they promise; what they measure here means nothing."""

import itertools
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from conftest import ROOT, SMALL

from gantrain import recipe as recipes
from gantrain.assembly import assemble
from gantrain.data.batch import normalise
from gantrain.data.loader import held_out_batches
from gantrain.data.prepare import prepare
from gantrain.data.shards import Shards
from gantrain.data.transforms import View
from gantrain.world import World

CPU = torch.device("cpu")
TINY = ("recipe=quickstart", *SMALL, "batch_size=2")


def run(name, tmp_path, *arguments):
    """The JSON that a benchmark leaves, checked for what all of them hold."""
    script = ROOT / "benchmarks" / f"{name}.py"
    done = subprocess.run(
        [sys.executable, str(script), *arguments, "--repeats=2", f"--out={tmp_path / 'out'}"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = (tmp_path / "out").glob(f"{name}-*.json")
    text = file.read_text()
    assert str(tmp_path) not in text
    assert os.uname().nodename not in text
    assert "\n| --- |" in done.stdout
    content = json.loads(text)
    assert content["hardware"]["cores"] >= 1
    assert content["versions"]["torch"]
    assert content["rows"]
    for row in content["rows"]:
        rate = row.get("images/s") or row["pairs/s"]
        assert 0 < rate["min"] <= rate["median"] <= rate["max"]
        assert len(rate["repeats"]) == 2
    return content


@pytest.mark.slow
def test_throughput_measures_the_step_the_grid_and_the_plain_loop(tmp_path):
    content = run("throughput", tmp_path, *TINY, "--baseline=plain", "--grid", "--steps=1")
    assert content["recipe"]["data"]["train"] == "synthetic"
    rows = content["rows"]
    settings = {(r["precision"], r["channels_last"]) for r in rows if r["loop"] == "gantrain"}
    assert settings == {(p, c) for p in ("fp32", "bf16") for c in (True, False)}
    assert [row["batch"] for row in rows if row["loop"] == "plain"] == [2, 1]
    plain = rows[-2]["images/s"]["median"]
    assert rows[0]["x plain"] == pytest.approx(rows[0]["images/s"]["median"] / plain, rel=1e-2)


@pytest.mark.slow
def test_throughput_starts_its_own_ranks(tmp_path):
    content = run("throughput", tmp_path, *TINY, "--devices=1,2", "--steps=1", "--per-device=2")
    one, two, alone = content["rows"]
    assert [row["devices"] for row in content["rows"]] == [1, 2, 2]
    assert [row["batch"] for row in content["rows"]] == [2, 4, 4]
    assert alone["loop"] == "no exchange"
    assert two["efficiency"] == pytest.approx(two["x 1 device"] / 2, abs=1e-3)
    assert {"exchange", "checkpoint s"} <= two.keys()
    assert "exchange" not in one


@pytest.mark.slow
def test_the_plain_loop_refuses_what_it_does_not_train(tmp_path):
    script = str(ROOT / "benchmarks" / "throughput.py")
    command = [sys.executable, script, *TINY, "method.pool=4", "--baseline=plain"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert "throughput: --baseline: found pix2pix, pool" in done.stderr


def test_dataloading_compares_shards_and_files_at_each_stage(tmp_path):
    sizes = ("--size=32", "--load-size=36", "--samples=6", "--pairs=8", "--batch=4")
    rows = run("dataloading", tmp_path, *sizes, "--workers=0")["rows"]
    assert [row["from"] for row in rows] == ["shards", "files"] * 3
    assert len({row["images"] for row in rows}) == 3
    assert all(("x files" in row) == (row["from"] == "shards") for row in rows)


def test_both_loaders_show_the_same_pixels(tmp_path, monkeypatch):
    """What the comparison rests on: without chance the tensors are the same."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import dataloading

    args = SimpleNamespace(images=None, shards=None, samples=2, size=32)
    dataloading.gather(args, tmp_path / "files")
    prepare(tmp_path / "files", tmp_path / "shards", layout="pairs", progress=False)
    shards = Shards.open(tmp_path / "shards")
    monkeypatch.setattr(dataloading.random, "random", lambda: 0.0)  # no mirroring
    for size, resize in ((32, None), (36, 36)):
        view = View(("left", "right"), frozenset(), (size, size), resize and (resize, resize))
        (raw,) = held_out_batches(shards, view, range(2), 2)
        files = dataloading.Files(tmp_path / "files", 2, size, resize)
        for i, name in itertools.product(range(2), ("left", "right")):
            ours = normalise(raw.fields[name], shards.fields[name], torch.float32, CPU)[i]
            torch.testing.assert_close(ours, files[i][name], rtol=0, atol=1e-6)


def test_the_plain_loop_computes_the_same_losses(monkeypatch):
    """With gantrain's turns in the same order, step by step."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    from loops import Plain, Trained, float_batch

    settings = [*SMALL, "batch_size=2", "method.order=discriminator_first", "data=synthetic"]
    parts = assemble(recipes.load("quickstart", settings), World("cpu", [], "."))
    ours, plain, batch = Trained(parts), Plain(parts), float_batch(parts, 2)
    for _ in range(3):
        ours()
        means = ours.engine.meters.means()
        theirs = plain._step(batch["source"], batch["target"])
        assert [means[n] for n in ("d", "gan", "l1")] == pytest.approx(theirs, rel=1e-3)
