"""`gantrain evaluate RUN RUN...`: one table, damaged runs, differing test sets; unpaired test
sets in two folders.
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import run_here
from small_methods import method_words
from test_evaluate import SHORT, folder, run

from gantrain.core.wording import speaking_as_command
from gantrain.evaluation.comparison_table import Measured, describe
from gantrain.evaluation.set_names import name_targets, name_test_sets
from gantrain.metrics.metric_suite import Record

WIDTHS = (80, 120)
MANY = (
    "l1",
    "psnr",
    "ssim",
    "fd_squeezenet",
    "recall_random0",
    "precision_vit_small_patch14_dinov2",
    "swd",
    "kid",
)
UNPAIRED = tuple(word for word in SHORT if not word.startswith(("method.", "evaluate.metrics")))


def measured(
    name: str, values: dict[str, float | None], null: float | None = 966.4, **about: Any
) -> Measured:
    records = [
        Record(metric, value, n=106, null=null, problem="" if value else "x")
        for metric, value in values.items()
    ]
    usual = {
        "size": (128, 128),
        "scale": "whole",
        "crop_border": 0,
        "content": {"test": "a"},
        "checkpoint": name,
    }
    return Measured(name, 14000, {"test": records}, {**usual, **about})


@pytest.mark.parametrize("width", WIDTHS)
def test_tables_fit(width: int) -> None:
    runs = [
        measured(f"runs/{name}", dict.fromkeys(MANY, number))
        for number, name in enumerate("abc", 1)
    ]
    lines = describe(runs, width)
    assert all(len(line) <= width for line in lines[:-1])
    words = " ".join(lines).split()
    assert {*MANY, "runs/a", "runs/b", "runs/c"} <= {word.lstrip("*") for word in words}
    assert sum(word in MANY for word in words) == len(MANY)


def test_the_best_is_marked_by_its_direction() -> None:
    runs = [
        measured("a", {"l1": 0.3, "ssim": 0.2, "swd": 5.0}),
        measured("b", {"l1": 0.4, "ssim": 0.3, "swd": 5.0}),
    ]
    lines = describe(runs, 80)
    assert lines == [
        "test: 106 images, 128x128 pixels, whole",
        "run          images     l1    ssim    swd",
        "better if      seen  lower  higher  lower",
        "a            14,000   *0.3     0.2      5",
        "b            14,000    0.4    *0.3      5",
        "real images            966     966    966",
        "",
        "* marks the best value; real images: what as many training images get",
    ]


def test_values_that_are_missing_are_explained() -> None:
    runs = [measured("a", {"l1": None}, null=None), measured("b", {"swd": 5.0}, null=None)]
    text = "\n".join(describe(runs, 80))
    assert "a: l1 without a value: x" in text
    assert re.search(r"^a +14,000 +- +-$", text, re.M)
    assert "real images  " not in text


def test_runs_of_other_scales_have_tables_of_their_own() -> None:
    runs = [measured("a", {"l1": 0.3}), measured("b", {"l1": 0.4}, size=(256, 256))]
    text = "\n".join(describe(runs, 80))
    assert "128x128" in text
    assert "256x256" in text
    assert "*0.3" not in text
    assert "Values of different tables are not comparable" in text
    runs = [measured("a", {"l1": 0.3}, null=1.0), measured("b", {"l1": 0.4}, null=2.0)]
    text = "\n".join(describe(runs, 80))
    assert "real images, a" in text
    assert "real images, b" in text


def test_long_names_are_numbered() -> None:
    runs = [measured(f"runs/{'long' * 20}/{name}", {"l1": 0.3}) for name in "ab"]
    lines = describe(runs, 80)
    assert lines[:2] == [f"run {n}: runs/{'long' * 20}/{name}" for n, name in enumerate("ab", 1)]
    assert lines[5].startswith("run 1 ")


def test_a_run_that_is_given_twice_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    status, output = run("runs/none", "./runs/none/", "runs/other")
    output += capsys.readouterr().err
    assert status == 2
    assert output.count("runs/none: given 2 times, compared once") == 1
    assert output.count("gantrain: runs/none: ") == 1
    assert "runs/other: given" not in output


@pytest.mark.slow
def test_runs_are_compared(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    run_here(*SHORT, "run=a")
    run_here(*SHORT, "run=b", "length=8")
    shutil.copytree("runs/b", "runs/broken")
    for file in Path("runs/broken").rglob("ema/*.safetensors"):
        file.write_bytes(file.read_bytes()[:100])
    capsys.readouterr()
    words = ("--metrics", "l1,swd", "--out", "all.json")
    status, output = run("runs/a", "runs/broken", "runs/b", *words)
    output += capsys.readouterr().err
    assert status == 1, "some were measured"
    assert re.search(r"^runs/a +16 ", output, re.M)
    assert re.search(r"^runs/b +8 ", output, re.M)
    assert output.count("gantrain: ") == 1
    assert (
        "gantrain: runs/broken: checkpoint: runs/broken/checkpoints/000000008 can't be used"
        in output
    )
    content = json.loads(Path("all.json").read_text())
    assert [(r["run"], r.get("name")) for r in content] == [
        ("runs/a", "l1"),
        ("runs/a", "swd"),
        ("runs/b", "l1"),
        ("runs/b", "swd"),
        ("runs/broken", None),
    ]
    status, output = run("runs/broken", "runs/none", *words)
    assert status == 2, "none was measured"
    output += capsys.readouterr().err
    assert output.count("gantrain: ") == 2
    status, output = run("runs/a", *words)
    assert status == 0
    (single,) = [r for r in json.loads(Path("all.json").read_text()) if r["name"] == "l1"]
    assert single["value"] == content[0]["value"], "alone and compared it is the same value"


@pytest.mark.slow
def test_differing_test_sets_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    run_here(*SHORT, "run=a", "length=8")
    run_here(*SHORT, "run=b", "length=8", "data.size=[64,64]")
    status, output = run("runs/a", "runs/b", "--metrics", "l1")
    output += capsys.readouterr().err
    assert status == 2
    assert "--data: the runs have different held-out data (runs/a / runs/b)" in output
    assert "--data FOLDER" in output


@pytest.mark.slow
def test_an_unpaired_model_is_tested_on_two_folders(capsys: pytest.CaptureFixture[str]) -> None:
    run_here(
        *UNPAIRED,
        *method_words("cyclegan"),
        "run=x",
        "length=8",
        "evaluate.metrics=[swd]",
        "evaluate.best_by=swd",
    )
    folder("by day", range(4))
    folder("by night", range(4, 9))
    words = ("runs/x", "--metrics", "swd", "--data", "by day")
    assert run(*words, "--data-target", "by night", "--out", "found.json")[0] == 0
    (record, cycle) = json.loads(Path("found.json").read_text())
    assert (record["set"], record["name"], record["n"]) == ("by day", "swd", 4)
    assert cycle["name"] == "cycle_error"
    capsys.readouterr()
    for more, says in (
        (
            (),
            "--data-target by day: not set; give a folder of shards or images, or as --data by day a folder",
        ),
        (("--data-target", "none"), "--data-target by day: no folder none"),
        (
            ("--data-target", "y=by night"),
            "--data-target: found 'y', allowed: a NAME of --data: by day",
        ),
    ):
        status, output = run(*words, *more)
        output += capsys.readouterr().err
        assert status == 2
        assert says in output
        assert "data.validation" not in output
        assert len(output.strip().splitlines()) == 1


def test_targets_need_an_unpaired_model(capsys: pytest.CaptureFixture[str]) -> None:
    run_here(*SHORT, "run=a", "length=8")
    status, output = run("runs/a", "--data", "x=here", "--data-target", "there")
    assert status == 2
    assert "--data-target: the model has learnt from pairs" in output + capsys.readouterr().err


def test_test_sets_have_names() -> None:
    assert name_test_sets(["data/val", "b=data/other"]) == {"val": "data/val", "b": "data/other"}
    assert name_targets(None, ["a"]) == {}
    assert name_targets(["there"], ["a"]) == {"a": "there"}
    assert name_targets(["a=x", "b=y"], ["b", "a"]) == {"a": "x", "b": "y"}
    for texts, sets, says in (
        (["there"], ["a", "b"], "allowed: NAME=VALUE"),
        (["there"], [], "found it without --data"),
        (["c=there"], ["a"], "found 'c', allowed: a NAME of --data: a"),
    ):
        with speaking_as_command(), pytest.raises(ValueError, match=f"--data-target: .*{says}"):
            name_targets(texts, sets)
