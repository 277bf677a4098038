"""The same run on any ranks and micro-batches; resumed anywhere, the same bits.

The methods are those of small_methods.py.
"""

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from comparing import assert_close, assert_identical, tensors
from conftest import command, launch, run_here
from small_methods import ALL, EXACT_VARIANTS, SHORT_RUN, SMALL_METHODS, method_words

# float64; the table switches on everything that is promised to be equal.
EXACT = (
    *SHORT_RUN,
    "precision=fp64",
    "batch_size=12",
    "length=72",
    "checkpoint.every=72",
    "evaluate.every=72",
    "previews.every=72",
    "evaluate.max_samples=7",
    "optimizer.grad_clip_norm=1",
)
BITS = (
    *SHORT_RUN,
    "batch_size=8",
    "length=64",
    "checkpoint.every=16",
    "checkpoint.keep=10",
    "evaluate.every=32",
    "evaluate.max_samples=6",
    "previews.every=32",
)
# Further settings whose state a checkpoint has to keep.
RESUMED_WITH = {
    "pix2pix": ("ema.half_life=null", "channels_last=true"),
    "everything": ("channels_last=true",),
    "cyclegan": ("data.flip=true", "data.color_jitter=0.2", "data.workers=1"),
}
RESUMED = {name: (*BITS, *method_words(name), *RESUMED_WITH.get(name, ())) for name in ALL}
RESUMED["bf16"] = (
    *BITS,
    *method_words("pix2pix"),
    "precision=bf16",
    "data.color_jitter=0.2",
    "data.workers=1",
)
EXACT_RUNS = {
    name: (*EXACT, *method_words(name, exact=True))
    for name, small in ALL.items()
    if small.is_exact and (name in SMALL_METHODS or name in EXACT_VARIANTS)
}


def but(cases: Iterable[Any], *long: Any) -> list[Any]:
    """The cases, of which some are for the exhaustive run."""
    return [
        pytest.param(case, marks=pytest.mark.exhaustive) if case in long else case for case in cases
    ]


def validation(run: str) -> dict[str, float]:
    lines = (Path("runs") / run / "metrics.jsonl").read_text().splitlines()
    row: dict[str, float] = [json.loads(line) for line in lines if "val_" in line][-1]
    return {key: value for key, value in row.items() if key.startswith("val_")}


SPLITS = [(2, 3), (3, 4)]  # ranks and micro-batches


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "splits"),
    [
        ("pix2pix", SPLITS[:1]),
        ("losses", SPLITS[:1]),
        *(pytest.param(m, [*SPLITS, (4, 1)], marks=pytest.mark.exhaustive) for m in EXACT_RUNS),
    ],
)
def test_ranks_and_micro_batches_give_the_same_weights(
    method: str, splits: list[tuple[int, int]]
) -> None:
    exact = EXACT_RUNS[method]
    is_paired = "data.unpaired=true" not in exact
    if is_paired:
        exact = (*exact, "evaluate.metrics=[l1,psnr,ssim]")
    run_here(*exact, "run=one")
    reference, scores = tensors("one", 72), validation("one")
    assert ("val_ssim" if is_paired else "val_histogram") in scores
    assert ("val_cycle_error" in scores) == (method == "cyclegan")
    for micro in (6, 1):
        run_here(*exact, f"run=m{micro}", f"micro_batch_size={micro}")
        assert_close(tensors(f"m{micro}", 72), reference, 1e-9)
    for ranks, micro in splits:
        name = f"r{ranks}m{micro}"
        launch(ranks, *exact, f"run={name}", f"micro_batch_size={micro}")
        assert_close(tensors(name, 72), reference, 1e-9)
        # Seven held-out samples don't divide by any of these; each counts once.
        assert validation(name) == pytest.approx(scores, abs=1e-6)


LENGTHS = {4: 24, 2: 36, 3: 60, 1: 72}  # which each number of ranks goes on to


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "lengths"),
    [
        ("pix2pix", {2: 36, 1: 72}),
        *(pytest.param(m, LENGTHS, marks=pytest.mark.exhaustive) for m in EXACT_RUNS),
    ],
)
def test_a_run_moves_between_numbers_of_ranks(method: str, lengths: dict[int, int]) -> None:
    exact = EXACT_RUNS[method]
    run_here(*exact, "run=one")
    for ranks, length in lengths.items():
        output = launch(ranks, *exact, "run=moved", f"length={length}", "checkpoint.every=12")
        assert ("starting a new run" if ranks == max(lengths) else "resuming at image") in output
    assert_close(tensors("moved", 72), tensors("one", 72), 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("norm", but(["group", "none", "sync_batch"], "group", "none"))
def test_ranks_give_the_same_weights_with_norm(norm: str) -> None:
    options = (f"method.generator.norm={norm}", f"method.discriminator.norm={norm}")
    exact = EXACT_RUNS["pix2pix"]
    run_here(*exact, *options, "run=one")
    launch(2, *exact, *options, "run=two")
    assert_close(tensors("one", 72), tensors("two", 72), 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "options", "splits"),
    [
        pytest.param("pix2pixhd", (), [(1, 3), (2, 2)], marks=pytest.mark.exhaustive),
        ("spade", ("method.style=none", "method.generator.norm=instance"), [(2, 2)]),
        # sync_batch: ranks, but no micro-batches
        pytest.param("spade", ("method.style=none",), [(2, 6)], marks=pytest.mark.exhaustive),
    ],
)
def test_ranks_and_micro_batches_give_the_same_weights_with_method(
    method: str, options: tuple[str, ...], splits: list[tuple[int, int]]
) -> None:
    arguments = (*EXACT, *method_words(method, exact=True), *options)
    run_here(*arguments, "run=one")
    for ranks, micro in splits:
        run = (*arguments, f"run=r{ranks}", f"micro_batch_size={micro}")
        run_here(*run) if ranks == 1 else launch(ranks, *run)
        assert_close(tensors(f"r{ranks}", 72), tensors("one", 72), 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    "variant",
    but(
        RESUMED,
        "spectral",
        "wgan",
        "paper_order",
        "multiscale",
        "several",
        "relativistic_average",
        "cyclegan_several",
        "new_fakes",
        "no_style",
        "survey",
        "fastcut",
    ),
)
def test_stopped_and_resumed_is_bit_identical(
    variant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A shorter length stops the run at a checkpoint, as a kill just after it would."""
    arguments = RESUMED[variant]
    run_here(*arguments, "run=whole")
    run_here(*arguments, "run=parts", "length=32")
    capsys.readouterr()
    assert run_here(*arguments, "run=parts") == "finished"
    assert capsys.readouterr().out.startswith("resuming at image 32\n")
    assert_identical(tensors("whole", 64), tensors("parts", 64))
    assert run_here(*arguments, "run=parts") == "finished"
    assert capsys.readouterr().out.startswith("already finished")


@pytest.mark.exhaustive
@pytest.mark.parametrize("ranks", [2, 4])
def test_resumed_is_bit_identical_on_ranks(ranks: int) -> None:
    arguments = (*RESUMED["everything"], "micro_batch_size=1")
    launch(ranks, *arguments, "run=whole")
    launch(ranks, *arguments, "run=parts", "length=32")
    assert launch(ranks, *arguments, "run=parts").startswith("resuming at image 32\n")
    assert_identical(tensors("whole", 64), tensors("parts", 64))


# Each takes minutes. "everything" is a pix2pix, and these two keep no more state than it does.
KILLED = ["everything", *(n for n in SMALL_METHODS if n not in ("pix2pix", "pix2pixhd", "spade"))]


def _kill(ranks: int, arguments: tuple[str, ...], after: float) -> None:
    """SIGKILL the launcher and its ranks after some seconds, at whatever they are doing."""
    process = subprocess.Popen(
        command(ranks, *arguments),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(after)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.exhaustive
@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("variant", KILLED)
def test_killed_anywhere_is_bit_identical(variant: str, ranks: int) -> None:
    length = ("length=1600", "checkpoint.keep=3", "checkpoint.best=0")
    arguments = (*RESUMED[variant], *length)
    launch(ranks, *arguments, "run=whole")
    chance, kills = random.Random(ranks), 0
    status = Path("runs/parts/status.json")
    while not status.is_file() or json.loads(status.read_text())["state"] != "finished":
        assert kills < 100, "it never gets to its end"
        # Four ranks on two cores take half a minute to start.
        _kill(ranks, (*arguments, "run=parts"), chance.uniform(5, 7.5 * max(2, ranks)))
        kills += 1
    assert kills > 1, "killed too late"
    assert_identical(tensors("whole", 1600), tensors("parts", 1600))
