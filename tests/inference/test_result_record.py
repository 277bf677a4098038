"""Results that are there already: the same command skips them, another one is refused,
`--overwrite` replaces them.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, SMALL, run_here
from typer.testing import CliRunner

from gantrain import load
from gantrain.cli.app import app
from gantrain.core import files
from gantrain.data.decode import encode
from gantrain.inference.translate_files import translate_files
from gantrain.inference.translator import Translator

NUMBER = 5
FULL = OSError(28, "No space left on device")
RECORD = ".translated.json"
PNGS = [f"{number}.png" for number in range(NUMBER)]
TRAINING = (
    *SMALL, "batch_size=8", "length=8", "data.validation=null",
    "data.labels={}", "data.source=photo", "data.target=label",
)  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """Two runs, x and y, of two seeds."""
    folder = tmp_path_factory.mktemp("model")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("GANTRAIN_CACHE", str(cache))
        run_here(*TRAINING, "run=x")
        run_here(*TRAINING, "run=y", "seed=1")
    return folder / "runs"


@pytest.fixture(scope="module")
def model(runs: Path) -> Translator:
    return load(runs / "x", "cpu")


def write_input(path: Path, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8)
    path.write_bytes(encode(image, "png"))


@pytest.fixture(autouse=True)
def inputs() -> list[Path]:
    Path("in").mkdir()
    for number in range(NUMBER):
        write_input(Path(f"in/{number}.png"), number)
    return [Path("in")]


def contents() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path("out").glob("*.png")}


def times() -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in Path("out").glob("*.png")}


def fail_after(
    writes: int, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], None]:
    """Let so many results be written, and part of the next one; returns what makes space."""
    write_bytes = Path.write_bytes
    written: list[Path] = []

    def refuse(self: Path, content: bytes) -> int:
        if not (self.parent / RECORD).exists():  # the record itself
            return write_bytes(self, content)
        written.append(self)
        if len(written) > writes:
            write_bytes(self, content[:20])
            raise error
        return write_bytes(self, content)

    monkeypatch.setattr(Path, "write_bytes", refuse)
    return lambda: monkeypatch.setattr(Path, "write_bytes", write_bytes)


@pytest.mark.parametrize("error", [FULL, KeyboardInterrupt()], ids=["full", "stopped"])
@pytest.mark.parametrize("done", [0, 3])
def test_the_same_command_goes_on(
    error: BaseException, done: int, model: Translator, inputs: list[Path],
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    expected = translate_files(model, inputs, Path("whole"), 1).results
    make_space = fail_after(done, error, monkeypatch)
    kind = ValueError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(kind) as caught:
        translate_files(model, inputs, Path("out"), 1)
    if kind is ValueError:
        says = f"--out: cannot write out/{done}.png (No space left on device); {done} of {NUMBER} are done; make space"
        assert str(caught.value) == f"{says}, then the same command goes on"
    assert sorted(os.listdir("out")) == [RECORD, *PNGS[:done]]
    make_space()
    before = times()
    capsys.readouterr()
    found = translate_files(model, inputs, Path("out"), 4).results
    said = capsys.readouterr().out
    assert (f"skipped: {done} of {NUMBER} results are in out already" in said) == bool(done)
    assert f"{NUMBER} images in out" in said
    assert sorted(path.name for path in found) == PNGS
    assert [Path("out", path.name).read_bytes() for path in expected] == [
        path.read_bytes() for path in expected
    ]
    assert before.items() <= times().items()


@pytest.mark.slow
def test_a_killed_command_goes_on(runs: Path) -> None:
    for number in range(NUMBER, 400):
        write_input(Path(f"in/{number}.png"), number)
    words = [
        "translate",
        str(runs / "x"),
        "in",
        "--out",
        "out",
        "--batch-size",
        "1",
        "--device",
        "cpu",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "gantrain", *words], env=environment, stdout=subprocess.DEVNULL
    )
    while len(list(Path("out").glob("*.png"))) < 10:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = times()
    assert 10 <= len(before) < 400
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert f"skipped: {len(before)} of 400 results are in out already" in result.output.replace(
        "\n", " "
    )
    assert before.items() <= times().items()
    assert len(times()) == 400


def test_a_second_run_skips_all(
    model: Translator, inputs: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    translate_files(model, inputs, Path("out"), 1)
    before = times()
    capsys.readouterr()
    # The size that is the default anyway is no other option.
    assert len(translate_files(model, inputs, Path("out"), 8, None, "native").results) == NUMBER
    said = capsys.readouterr().out.splitlines()
    skipped = (
        f"skipped: {NUMBER} of {NUMBER} results are in out already; --overwrite makes them again"
    )
    assert said == [skipped, f"{NUMBER} images in out"]
    assert times() == before


def test_new_inputs_and_other_folders_are_added(
    model: Translator, inputs: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    translate_files(model, inputs, Path("out"), 1)
    write_input(Path("in/5.png"), 5)
    write_input(Path("other.png"), 6)
    before = times()
    capsys.readouterr()
    assert (
        len(translate_files(model, [*inputs, Path("other.png")], Path("out"), 1).results)
        == NUMBER + 2
    )
    assert f"skipped: {NUMBER} of {NUMBER + 2} results" in capsys.readouterr().out
    assert before.items() <= times().items()
    os.remove("out/2.png")
    assert len(translate_files(model, [Path("in/2.png")], Path("out"), 1).results) == 1
    translate_files(model, [*inputs, Path("other.png")], Path("out"), 1)
    assert len(times()) == NUMBER + 2


def change_input() -> None:
    write_input(Path("in/4.png"), 77)


def touch_input() -> None:
    os.utime("in/4.png", ns=(1, 1))


def damage_record() -> None:
    Path("out", RECORD).write_bytes(b"\xff{")


def make_record_foreign() -> None:
    content = json.loads(Path("out", RECORD).read_text())
    Path("out", RECORD).write_text(json.dumps({**content, "format": 99}))


def lose_record() -> None:
    Path("out", RECORD).unlink()


OTHER = (
    r"another checkpoint, other options or another precision made it"
    r" \(--precision fp32 or bf16 states it\)"
)
CHANGED = "its input has changed since, or was another file"
NONE = "no record says what made it"


@pytest.mark.parametrize(
    ("change", "first", "count", "reason"),
    [
        (change_input, 4, 1, CHANGED),
        (touch_input, 4, 1, CHANGED),
        (damage_record, 0, NUMBER, NONE),
        (make_record_foreign, 0, NUMBER, NONE),
        (lose_record, 0, NUMBER, NONE),
    ],
)
def test_results_of_other_inputs_are_not_passed_off(
    change: Callable[[], None],
    first: int,
    count: int,
    reason: str,
    model: Translator,
    inputs: list[Path],
) -> None:
    translate_files(model, inputs, Path("out"), 1)
    change()
    before = contents()
    with pytest.raises(ValueError, match="--out") as caught:
        translate_files(model, inputs, Path("out"), 1)
    more = f" (and {count - 1} more)" if count > 1 else ""
    advice = "choose another folder, or --overwrite to replace results"
    assert str(caught.value) == f"--out: out/{first}.png exists{more}, and {reason}; {advice}"
    assert contents() == before


def test_another_checkpoint_and_other_options_are_refused(
    runs: Path, model: Translator, inputs: list[Path]
) -> None:
    translate_files(model, inputs, Path("out"), 1)
    before = contents()
    says = rf"out/0\.png exists \(and {NUMBER - 1} more\), and {OTHER}; choose another folder, or --overwrite"
    with pytest.raises(ValueError, match=says):
        translate_files(load(runs / "y", "cpu"), inputs, Path("out"), 1)
    with pytest.raises(ValueError, match=says):
        translate_files(model, inputs, Path("out"), 1, None, (16, 16))
    with pytest.raises(ValueError, match=says):
        translate_files(model, inputs, Path("out"), 1, None, None, "network")
    assert contents() == before
    elsewhere = Path("elsewhere")
    elsewhere.mkdir()
    for name in PNGS:  # of the same name, size and time
        status = Path("in", name).stat()
        (elsewhere / name).write_bytes(Path("in", name).read_bytes())
        os.utime(elsewhere / name, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(ValueError, match=CHANGED):
        translate_files(model, [elsewhere], Path("out"), 1)


def test_overwrite_replaces_results(
    runs: Path, model: Translator, inputs: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    translate_files(model, inputs, Path("out"), 1)
    translate_files(load(runs / "y", "cpu"), inputs, Path("expected"), 1)
    Path("out/mine.txt").touch()
    capsys.readouterr()
    translate_files(load(runs / "y", "cpu"), inputs, Path("out"), 1, overwrite=True)
    assert f"replaced: {NUMBER} of {NUMBER} results were in out already" in capsys.readouterr().out
    assert contents() == {name: Path("expected", name).read_bytes() for name in PNGS}
    assert Path("out/mine.txt").exists()
    with pytest.raises(ValueError, match=OTHER):  # they are the first model's no more
        translate_files(model, inputs, Path("out"), 1)


def test_old_results_are_not_passed_off_where_overwriting_is_cut_short(
    runs: Path, model: Translator, inputs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = load(runs / "y", "cpu")
    translate_files(other, inputs, Path("expected"), 1)
    translate_files(model, inputs, Path("out"), 1)
    make_space = fail_after(3, FULL, monkeypatch)  # the record, and two results
    with pytest.raises(ValueError, match="2 of 5 are done"):
        translate_files(other, inputs, Path("out"), 1, overwrite=True)
    make_space()
    translate_files(other, inputs, Path("out"), 1)
    assert contents() == {name: Path("expected", name).read_bytes() for name in PNGS}


def test_overwrite_spares_the_inputs(model: Translator, inputs: list[Path]) -> None:
    before = {name: Path("in", name).read_bytes() for name in PNGS}
    with pytest.raises(
        ValueError,
        match=r"--overwrite: in/0\.png is an input, too; choose another folder for --out",
    ):
        translate_files(model, inputs, Path("in"), 1, overwrite=True)
    with pytest.raises(ValueError, match=NONE):
        translate_files(model, inputs, Path("in"), 1)
    assert {name: Path("in", name).read_bytes() for name in PNGS} == before


def test_the_command_line_overwrites(runs: Path) -> None:
    words = ["translate", "in", "--out", "out", "--device", "cpu"]
    for run, more, status in [("x", [], 0), ("x", [], 0), ("y", [], 2), ("y", ["--overwrite"], 0)]:
        result = CliRunner().invoke(app, [words[0], str(runs / run), *words[1:], *more])
        assert result.exit_code == status, result.output


def test_a_full_disk_at_the_start_leaves_nothing(
    model: Translator, inputs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write_bytes", refuse)
    with pytest.raises(
        ValueError, match=r"--out: cannot write out \(No space left on device\); make space"
    ):
        translate_files(model, inputs, Path("out"), 1)
    assert os.listdir("out") == []


def test_other_inputs_may_go_into_the_folder_meanwhile(
    model: Translator, inputs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command goes on with its own results."""
    make_space = fail_after(2, FULL, monkeypatch)
    with pytest.raises(ValueError, match="2 of 5 are done"):
        translate_files(model, inputs, Path("out"), 1)
    make_space()
    write_input(Path("other.png"), 9)
    assert len(translate_files(model, [Path("other.png")], Path("out"), 1).results) == 1
    assert len(translate_files(model, inputs, Path("out"), 1).results) == 5
    assert sorted(os.listdir("out")) == [RECORD, *PNGS, "other.png"]


def test_a_damaged_image_makes_the_status_1(runs: Path) -> None:
    Path("in/bad.png").write_bytes(b"x")
    words = ["translate", str(runs / "x"), "in", "--out", "out", "--device", "cpu"]
    for _ in range(2):  # the second time, the others are skipped
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 1
        assert "left out: in/bad.png: " in result.output
        assert f"{NUMBER} images in out, 1 left out" in result.output


def test_nothing_translated_leaves_no_record(model: Translator) -> None:
    Path("in/bad.png").write_bytes(b"x")
    with pytest.raises(ValueError, match="none of 1 files could be translated"):
        translate_files(model, [Path("in/bad.png")], Path("out"), 1)
    assert not Path("out").exists()
