"""What a run prints first and last: its data, its results, and the commands that come next."""

import shlex
import signal
import sys
from pathlib import Path
from unittest.mock import MagicMock, Mock

import pytest
from conftest import SMALL, run_here
from test_progress_rows import WIDTHS

import gantrain
from gantrain.recipe import schema
from gantrain.recipe.field_types import images_in
from gantrain.runs import checkpoint, run_summary
from gantrain.training.step import Engine

RUN = (
    *SMALL,
    "batch_size=8",
    "checkpoint.every=8",
    "checkpoint.keep=9",
    "evaluate.every=16",
    "evaluate.max_samples=4",
    "previews.every=16",
    "run=x",
)


def last_lines(text: str, first: str) -> list[str]:
    lines = text.splitlines()
    (start,) = [i for i, line in enumerate(lines) if line.startswith(first)]
    return lines[start:]


def test_a_run_ends_with_its_results_and_the_next_commands(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_here(*RUN, "length=32") == "finished"
    text = capsys.readouterr().out
    assert text.splitlines()[:2] == ["starting a new run", "run: runs/x"]
    assert "length: 32 images (0.08 epochs of 400 images each) in 4 steps of 8 images" in text
    assert "fp32 on cpu, 1 thread\n" in text
    found = last_lines(text, "finished")
    value = checkpoint.state(Path("runs/x/checkpoints/000000032")).metrics["l1"]
    assert found == [
        "finished: trained on 32 images",
        "  previews: runs/x/previews",
        "  last checkpoint: runs/x/checkpoints/000000032",
        f"  best checkpoint: runs/x/checkpoints/000000032 (l1 {value:.3g}; lower is better)",
        "  next: gantrain translate runs/x IMAGES --out results",
        "        gantrain evaluate runs/x",
    ]
    assert run_here(*RUN, "length=32") == "finished"
    again = last_lines(
        capsys.readouterr().out, "already finished: trained on 32 images, of a length of 32"
    )
    assert again[1:-1] == found[1:]
    assert again[-1] == "  train longer: a larger length goes on, such as length=64"


def test_a_stopped_run_says_how_it_goes_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Engine.step

    def and_stop(engine: Engine, *arguments: object) -> None:
        step(engine, *arguments)  # type: ignore[arg-type]
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Engine, "step", and_stop)
    monkeypatch.setattr(
        sys, "argv", ["/somewhere/bin/gantrain", "train", "recipe=quickstart", "data.size=[32,32]"]
    )
    assert run_here(*RUN, "length=32") == "unfinished"
    lines = last_lines(capsys.readouterr().out, "stopped by a signal")
    assert lines == [
        "stopped by a signal at image 8 of 32, and saved",
        "  last checkpoint: runs/x/checkpoints/000000008",
        "  best checkpoint: none yet, since no checkpoint has a value of l1",
        "  next: gantrain translate runs/x IMAGES --out results",
        "        gantrain evaluate runs/x",
        "  resume with the same command:",
        "        gantrain train recipe=quickstart 'data.size=[32,32]'",
    ]


@pytest.mark.parametrize(
    ("program", "environment", "expected"),
    [
        ("/bin/gantrain", {}, "gantrain train 'length=2 epochs'"),
        (
            f"{Path(gantrain.__file__).parent}/__main__.py",
            {},
            "python -m gantrain train 'length=2 epochs'",
        ),
        (
            f"{Path(gantrain.__file__).parent}/train.py",
            {},
            "python -m gantrain.train train 'length=2 epochs'",
        ),
        (f"{Path(gantrain.__file__).parent}/train.py", {"RANK": "0"}, None),
        ("/bin/ipykernel_launcher.py", {}, None),
        ("", {}, None),
    ],
)
def test_the_own_command_is_what_was_typed(
    program: str, environment: dict[str, str], expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [program, "train", "length=2 epochs"])
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert run_summary.own_command() == expected


@pytest.mark.parametrize(
    ("length", "longer"),
    [("35 epochs", "length=70 epochs"), ("0.5 epochs", "length=1 epochs"), ("1000", "length=2000")],
)
def test_going_on_doubles_the_length(
    length: str, longer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["gantrain", "train", "recipe=quickstart", f"length={length}"])
    loaded = schema.load("quickstart", [f"length={length}"])
    seen = images_in(loaded.length, 400)
    (_, command) = run_summary.describe_going_on(loaded, seen, 400)
    assert shlex.split(command) == ["gantrain", "train", "recipe=quickstart", longer]
    schema.load("quickstart", [longer])


@pytest.mark.parametrize(
    ("length", "seen", "longer"),
    [
        ("4", 8, "length=16"),
        ("4", 7, "length=8"),
        ("5", 1000, "length=2000"),
        ("1 epochs", 799, "'length=2 epochs'"),
        ("1 epochs", 800, "'length=4 epochs'"),
        ("0.5 epochs", 1000, "'length=5 epochs'"),
    ],
)
def test_going_on_trains_more_than_was_trained(length: str, seen: int, longer: str) -> None:
    """A run may have had a longer length before."""
    loaded = schema.load("quickstart", [f"length={length}"])
    (line,) = run_summary.describe_going_on(loaded, seen, 400)
    (advised,) = shlex.split(longer)
    assert shlex.split(line)[-1] == advised
    assert images_in(schema.load("quickstart", [advised]).length, 400) > seen


def test_lengths_are_plain() -> None:
    assert run_summary.describe_length(14000, 350, 8) == (
        "14,000 images (40 epochs of 350 images each) in 1,750 steps of 8 images"
    )
    assert (
        run_summary.describe_length(1, 1, 1) == "1 image (1 epoch of 1 image) in 1 step of 1 image"
    )


def test_a_method_without_weights_is_said_to_have_none() -> None:
    method = Mock(loss_weights={})
    assert run_summary.describe_losses(method) == (
        "the method does not state their weights (a row shows each loss as the method returns it;"
        " metrics.jsonl has all values)"
    )
    method = Mock(loss_weights={"gan": 1.0, "l1": 100.0})
    assert run_summary.describe_losses(method).startswith("gan 1, l1 100 (")
    method = Mock(loss_weights={"gan": 1.0, "l1": {0: 0.0, 20000: 1.5}})
    assert run_summary.describe_losses(method).startswith(
        "gan 1, l1 0 at 0, 1.5 at 20,000 images ("
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("data/mine", "1 image in data/mine"),
        ("data/mine/", "1 image in data/mine"),
        ("photos", "1 image from photos (shards in data/mine)"),
        ("synthetic", "1 image, drawn into data/mine"),
    ],
)
def test_the_data_are_named_as_the_user_gave_them(given: str, expected: str) -> None:
    train = MagicMock(place="data/mine", sides=[None])
    train.__len__.return_value = 1
    assert run_summary.describe_data(train, given) == expected


@pytest.mark.parametrize("width", WIDTHS)
def test_the_lines_fit(width: int) -> None:
    loaded = schema.load("facades_paper")
    lines = run_summary.describe_results(loaded, has_held_out=True)
    assert lines == ["best checkpoint: none yet, since no checkpoint has a value of l1"]
    assert all(len(line) + 2 <= width for line in lines)


@pytest.mark.parametrize(
    ("name", "has_held_out", "options"),
    [
        ("cyclegan", False, " --data SOURCES --data-target TARGETS"),
        ("cut", False, " --data SOURCES --data-target TARGETS"),
        ("pix2pix", False, " --data FOLDER"),
        ("cyclegan", True, ""),
        ("pix2pix", True, ""),
    ],
)
def test_the_next_command_has_the_data_that_it_needs(
    name: str, has_held_out: bool, options: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = schema.load(name, ["checkpoint.best=0"])
    latest = loaded.folder / "checkpoints" / "000000008"
    monkeypatch.setattr(run_summary.checkpoint, "latest", lambda _: latest)
    monkeypatch.setattr(run_summary.checkpoint, "state", lambda _: Mock(modules=[]))
    lines = run_summary.describe_results(loaded, has_held_out)
    assert lines[-1].strip() == f"gantrain evaluate runs/{name}{options}"
    lines = run_summary.describe_results(loaded, has_held_out, has_test=True)
    assert lines[-1].strip() == f"gantrain evaluate runs/{name}"
