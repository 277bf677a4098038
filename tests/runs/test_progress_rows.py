"""The console of a run: rows that fit the terminal, one line an entry in a log, amounts in words."""

import io
import json
import math
import re

import pytest
from conftest import ROOT
from rich.console import Console
from small_methods import ALL, SHORT_RUN, method_words

from gantrain.core import console
from gantrain.core.amounts import bytes_text, count_text, duration_text, value_text
from gantrain.core.console import Display, say, say_whole
from gantrain.core.progress_rows import Progress, TerminalRows
from gantrain.losses import RECONSTRUCTION
from gantrain.methods import METHODS
from gantrain.recipe import schema
from gantrain.recipe.build_method import sketch_method

# Real entries of each method, as metrics.jsonl holds them.
ENTRIES = json.loads((ROOT / "tests" / "golden.json").read_text())
EVALUATION = {
    "val_l1": 0.33,
    "val_psnr": 12.6,
    "val_ssim": 0.28,
    "val_fd_squeezenet": 2277.4,
    "val_swd": 311.2,
    "val_cycle_error": 0.146,
    "val_d_on_held_out": 0.59,
    "val_fd_squeezenet_null": 966.2,
    "val_swd_null": 39.0,
}
WIDTHS = (80, 120)
COLUMNS = {"images", "epoch", "done", "left", "images/s", "memory", "nonfinite", "damaged"}


def values_of(entry: dict[str, float]) -> dict[str, float]:
    """An entry's values as the trainer gives them: with the speed and the memory."""
    own = {name: value for name, value in entry.items() if name not in ("images_seen", "epoch")}
    return {"images_per_second": 1234.5, "data_wait": 0.125, **own, "memory_gib": 0.823}


def shown(
    monkeypatch: pytest.MonkeyPatch,
    width: int,
    *entries: dict[str, float],
    terminal: bool = True,
    every: int = 3504,
) -> list[str]:
    """The lines that a run prints of these entries, without escapes."""
    file = io.StringIO()
    fixed = Console(
        file=file, width=width, force_terminal=terminal, highlight=False, soft_wrap=True
    )
    monkeypatch.setattr(console, "console", fixed)
    display = Display(0, 14000, 350, quiet=False)
    for number, entry in enumerate(entries, 1):
        display.show(every * number, entry)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", file.getvalue()).splitlines()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_an_entry_is_one_or_two_rows(
    name: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [values_of(entry) for entry in ENTRIES[name]]
    lines = shown(monkeypatch, width, *entries)
    assert all(len(line) <= width for line in lines)
    header_lines = [i for i, line in enumerate(lines) if "images/s" in line]
    height = 1 if len(lines) == len(entries) + len(header_lines) else 2
    assert len(lines) == height * (len(entries) + len(header_lines))
    header = " ".join(lines[:height]).split()
    assert set(header) <= COLUMNS | set(entries[0]), "a word is broken"
    losses = {
        n
        for n in entries[0]
        if re.fullmatch(r"gan.*|d|d_source|l1|cycle|identity|nce|kld|penalty", n)
    }
    assert losses
    assert losses <= set(header)
    for i in range(height, len(lines)):
        if i - i % height not in header_lines:
            assert word_ends(lines[i]) <= word_ends(header_of(lines, header_lines, height, i)), (
                "not aligned"
            )


def header_of(lines: list[str], header_lines: list[int], height: int, i: int) -> str:
    """The row of the last header that stands above a row of an entry."""
    return lines[max(start for start in header_lines if start <= i) + i % height]


def word_ends(line: str) -> set[int]:
    return {match.end() for match in re.finditer(r"\S+( GiB)?", line)}


@pytest.mark.parametrize("width", WIDTHS)
def test_the_header_comes_again(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = values_of(ENTRIES["pix2pix"][0])
    assert (
        sum("images/s" in line for line in shown(monkeypatch, width, *[entry] * 50, every=200)) == 3
    )
    lines = shown(
        monkeypatch,
        width,
        entry,
        entry,
        {**entry, "nonfinite_steps": 3},
        {**entry, "nonfinite_steps": 3},
    )
    assert sum("images/s" in line for line in lines) == 2, (
        "a column that comes later brings its header"
    )
    assert sum("nonfinite" in line for line in lines) == 1


def test_a_wide_terminal_shows_more() -> None:
    with pytest.MonkeyPatch.context() as patch:
        narrow, wide = (
            shown(patch, width, values_of(ENTRIES["pix2pix"][0]))[0] for width in (60, 200)
        )
    assert set(narrow.split()) < set(wide.split())
    assert "discriminator_gradient" in wide
    assert "memory" in wide


@pytest.mark.parametrize("width", WIDTHS)
def test_an_evaluation_stands_in_columns(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(monkeypatch, width, EVALUATION)
    assert lines[0] == "evaluation at image 3,504, epoch 10.01"
    text = "\n".join(lines)
    assert "fd_squeezenet 2,277 (real images: 966)" in text
    assert "d_on_held_out 59%" in text
    assert "null" not in text
    assert all(len(line) <= width for line in lines)
    if width == 120:
        assert len(lines) <= 4
    few = shown(monkeypatch, 80, {"val_l1": 0.33, "val_psnr": 12.6})
    assert few == ["evaluation at image 3,504, epoch 10.01", "  l1 0.33  psnr 12.6"]


def test_a_log_has_one_line_an_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "images_per_second": 77.123,
        "data_wait": 0.03,
        "gan": 0.575,
        "l1": 1212.3,
        "d_on_real": 0.83,
        "lr": 2e-4,
    }
    lines = shown(
        monkeypatch, 80, values, EVALUATION, {"gan": math.nan, "l1": math.inf}, terminal=False
    )
    without_time = [line.partition(" ")[2] for line in lines]
    assert without_time == [
        "train images=3504/14000 epoch=10.01 done=25% left=2m16s images_per_second=77.1 data_wait=3% gan=0.575 "
        "l1=1212 d_on_real=83% lr=0.0002",
        "val images=7008/14000 epoch=20.02 done=50% l1=0.33 psnr=12.6 ssim=0.28 fd_squeezenet=2277 swd=311 "
        "cycle_error=0.146 d_on_held_out=59% fd_squeezenet_null=966 swd_null=39",
        "train images=10512/14000 epoch=30.03 done=75% gan=nan l1=inf",
    ]
    assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in lines)


@pytest.mark.parametrize("width", WIDTHS)
def test_values_that_are_not_finite_stay_aligned(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = values_of(ENTRIES["pix2pix"][0])
    header, first, second = shown(
        monkeypatch, width, entry, {**entry, "gan": math.nan, "d_on_real": math.inf}
    )
    assert "nan" in second.split()
    assert len(header) == len(first) == len(second)


def test_a_quiet_rank_prints_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(console, "console", Console(file=file, width=80, force_terminal=True))
    with Display(0, 100, 10, quiet=True) as display:
        display.show(10, {"gan": 1.0})
        display.advance(10)
    assert file.getvalue() == ""


def test_no_colour_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    file = io.StringIO()
    monkeypatch.setattr(console, "console", Console(file=file, width=80, force_terminal=True))
    say("a warning", "red")
    assert file.getvalue() == "a warning\n"


def test_a_notebook_gets_no_control_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = Console(force_jupyter=True, width=80, highlight=False)
    monkeypatch.setattr(console, "console", notebook)
    assert not notebook.is_terminal
    with notebook.capture() as captured, Display(0, 100, 10, quiet=False) as display:
        display.show(10, {"gan": 1.0})
        display.advance(10)
    assert "\x1b" not in captured.get()


def test_long_lines_break_between_words_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "memory: " + "123 KiB of optimisers, " * 10
    file = io.StringIO()
    monkeypatch.setattr(
        console, "console", Console(file=file, width=80, force_terminal=True, highlight=False)
    )
    say(text)
    lines = file.getvalue().splitlines()
    assert len(lines) > 2
    assert all(len(line) <= 80 for line in lines)
    assert " ".join(" ".join(lines).split()) == text.strip()
    say_whole("gantrain translate " + "runs/a" * 20)
    assert file.getvalue().splitlines()[-1] == "gantrain translate " + "runs/a" * 20, (
        "a command is pasted whole"
    )


CASES = {name: (*SHORT_RUN, *method_words(name, exact=True)) for name in ALL}


def test_every_method_states_weights() -> None:
    assert set(METHODS) <= {
        schema.load("quickstart", case).method["name"] for case in CASES.values()
    }


@pytest.mark.parametrize("name", sorted(CASES))
def test_the_losses_have_weights(name: str) -> None:
    loaded = schema.load("quickstart", CASES[name])
    method = sketch_method(loaded, {"source_channels": 3, "target_channels": 3})
    first = ENTRIES.get(name, [{}])[0]
    is_loss = re.compile(
        rf"(gan|{'|'.join(RECONSTRUCTION)}|kld|cycle|identity|nce|penalty|d)(_source)?"
    )
    losses = {loss for loss in first if is_loss.fullmatch(loss)}
    assert losses <= set(method.loss_weights)
    has_halves = (
        loaded.method.get("identity") is True
    )  # CUT's two contrasts have half of the weight each
    for loss, weight in method.loss_weights.items():
        option = loaded.method.get(loss)
        if loss in RECONSTRUCTION:
            assert weight == loaded.method["losses"][loss]["weight"]
        if isinstance(option, float):
            assert weight == (option / 2 if has_halves and loss == "nce" else option)
    for weight in method.loss_weights.values():
        assert max(weight.values()) > 0 if isinstance(weight, dict) else weight > 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (count_text(1, "image"), "1 image"),
        (count_text(2, "thread"), "2 threads"),
        (count_text(14000, "image"), "14,000 images"),
        (count_text(0, "image"), "0 images"),
        (bytes_text(1), "1 byte"),
        (bytes_text(999), "999 bytes"),
        (bytes_text(2**20 - 1), "1 MiB"),
        (bytes_text(614_000), "600 KiB"),
        (bytes_text(1.5 * 2**30), "1.5 GiB"),
        (bytes_text(5000 * 2**40), "5,000 TiB"),
        (duration_text(0), "0s"),
        (duration_text(59.6), "1m00s"),
        (duration_text(3 * 3600 + 300), "3h05m"),
        (duration_text(52 * 3600), "2d04h"),
        (value_text(0.0), "0"),
        (value_text(0.0002), "0.0002"),
        (value_text(999.6), "1,000"),
        (value_text(2277.4), "2,277"),
        (value_text(12345678.0), "1.23e+07"),
        (value_text(-math.inf), "-inf"),
    ],
)
def test_amounts_are_readable(text: str, expected: str) -> None:
    assert text == expected


def test_the_columns_of_a_run_stay_while_values_become_wider() -> None:
    rows = TerminalRows()
    values = {"images_per_second": 77.1, "gan": 0.5, "d_loss": 0.6, "lr": 2e-4, "data_wait": 0.03}
    shown = []
    for number, (gan, rate) in enumerate(
        ((0.5, 2e-4), (0.5, 1.987e-4), (-1.23e-05, 9.87e-7), (123456.0, 0.0)), 1
    ):
        header, lines = rows.entry(
            Progress(350 * number, 14000, 350), {**values, "gan": gan, "lr": rate}, 80
        )
        assert all(len(line) <= 80 for line in [*header, *lines])
        if header:
            shown.append(set(" ".join(header).split()))
    assert "data_wait" in shown[0]
    assert all(names == shown[0] for names in shown)


@pytest.mark.parametrize("rate", [2e-4, 1.9876e-4, 1.5e-5, 9.87e-7, 0.0])
def test_a_rate_has_one_width(rate: float) -> None:
    _, lines = TerminalRows().entry(Progress(1, 2, 1), {"lr": rate}, 120)
    assert len(lines[0].split()[-1]) == len("2.00e-04")
