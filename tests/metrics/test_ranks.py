"""Ranks find what one process finds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

WORKER = Path(__file__).with_name("metric_suite_worker.py")


def found(kind: str, ranks: int) -> dict[str, object]:
    words = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc-per-node={ranks}",
    ]
    out = Path(f"{kind}{ranks}.json")
    done = subprocess.run(
        [*words, str(WORKER), kind, str(out)], capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    content: dict[str, object] = json.loads(out.read_text())
    return content


def numbers(value: object) -> list[object]:
    return [x for x in value if x is not None] if isinstance(value, list) else [value]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "tolerance"),
    [pytest.param("features", 1e-9, marks=pytest.mark.exhaustive), ("images", 1e-6)],
)
def test_ranks_agree(kind: str, tolerance: float) -> None:
    one = found(kind, 1)
    assert len(one) >= 10
    for ranks in (2, 3) if kind == "features" else (3,):
        several = found(kind, ranks)
        assert several.keys() == one.keys()
        for name, value in one.items():
            for ours, theirs in zip(numbers(several[name]), numbers(value), strict=True):
                assert ours == pytest.approx(theirs, rel=tolerance, abs=tolerance), (name, ranks)
    if kind == "images":
        assert one["watched"] == [2.0, None, 5, None]
