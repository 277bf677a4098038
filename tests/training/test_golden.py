"""The first five steps of each method, through the real command line, are those that were once
looked at.

A change of the mathematics shows here, and then belongs into the change's message. New numbers:
`GANTRAIN_WRITE_GOLDEN=1 python -m pytest -m '' tests/training/test_golden.py`.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from small_methods import SMALL_METHODS, method_words, missing_methods
from test_equality import EXACT, but

from gantrain.cli.train_command import train_main
from gantrain.methods import METHODS

FILE = ROOT / "tests" / "golden.json"
STEPS, BATCH = 5, 12
CASES = {
    name: (*EXACT, *method_words(name, exact=True))
    for name in (*SMALL_METHODS, "multiscale", "paper_order")
}
CASES["survey"] = (*CASES["survey"], "optimizer.grad_clip_norm=null")  # as its numbers were made
SPEED = ("images_per_second", "data_wait", "memory_gib", "time")


def steps(name: str) -> list[dict[str, float]]:
    length = (
        "run=x",
        f"length={STEPS * BATCH}",
        f"batch_size={BATCH}",
        f"log_every={BATCH}",
        "evaluate.max_samples=2",
    )
    seldom = ("evaluate.every=1000", "previews.every=1000", "checkpoint.every=1000")
    assert train_main(["recipe=quickstart", *CASES[name], *length, *seldom]) == 0
    rows = [json.loads(line) for line in Path("runs/x/metrics.jsonl").read_text().splitlines()]
    return [
        {k: v for k, v in row.items() if k not in SPEED}
        for row in rows
        if "images_per_second" in row
    ]


def test_every_method_has_golden_steps() -> None:
    assert missing_methods(SMALL_METHODS, METHODS) == []
    assert set(json.loads(FILE.read_text())) == set(CASES)


@pytest.mark.slow
@pytest.mark.parametrize("name", but(CASES, "survey", "fastcut"))
def test_first_steps(name: str) -> None:
    found = steps(name)
    assert [row["images_seen"] for row in found] == [BATCH * (i + 1) for i in range(STEPS)]
    golden: dict[str, Any] = json.loads(FILE.read_text()) if FILE.is_file() else {}
    if os.environ.get("GANTRAIN_WRITE_GOLDEN"):
        FILE.write_text(json.dumps(dict(sorted({**golden, name: found}.items())), indent=1) + "\n")
        return
    # float64 steps from float32 initial weights, whose last digit may depend on the processor.
    for row, expected in zip(found, golden[name], strict=True):
        assert row == pytest.approx(expected, rel=1e-4, abs=1e-6)
