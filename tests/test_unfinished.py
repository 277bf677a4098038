"""A translation that is cut short, by a full disk or by the user: the same command goes on, another one is refused."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL, run_here

from gantrain import files, load
from gantrain.data.decode import encode
from gantrain.inference import Translator
from gantrain.translate import translate_files

NUMBER = 5
FULL = OSError(28, "No space left on device")
MARK = "the mark"


def listing() -> list[str]:
    """The names in the folder of results; the mark's own has a digest in it."""
    return sorted(MARK if name.startswith(".unfinished-") else name for name in os.listdir("out"))


def mark() -> Path:
    (path,) = Path("out").glob(".unfinished-*.json")
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Translator:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("model"))
        patch.setenv("GANTRAIN_CACHE", str(cache))
        words = ("batch_size=8", "length=8", "data.validation=null")
        words = (*words, "data.labels={}", "data.source=photo", "data.target=label")
        run_here(*SMALL, *words, "run=x")
        return load("runs/x", "cpu")


@pytest.fixture(autouse=True)
def inputs() -> list[Path]:
    Path("in").mkdir()
    for number in range(NUMBER):
        image = np.random.default_rng(number).integers(0, 256, (32, 32, 3), np.uint8)
        Path(f"in/{number}.png").write_bytes(encode(image, "png"))
    return [Path("in")]


def fail_after(writes: int, error: BaseException, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let so many results be written, and part of the next one; returns what makes space."""
    write_bytes = Path.write_bytes
    written: list[Path] = []

    def refuse(self: Path, content: bytes) -> int:
        if not list(self.parent.glob(".unfinished-*.json")):  # the mark itself
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
    expected = translate_files(model, inputs, Path("whole"), 1)
    make_space = fail_after(done, error, monkeypatch)
    kind = ValueError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(kind) as caught:
        translate_files(model, inputs, Path("out"), 1)
    if kind is ValueError:
        says = f"--out: cannot write out/{done}.png (No space left on device); {done} of {NUMBER} are done; make space"
        assert str(caught.value) == f"{says}, then the same command goes on"
    assert listing() == sorted([MARK, *(f"{number}.png" for number in range(done))])
    make_space()
    times = [Path(f"out/{number}.png").stat().st_mtime_ns for number in range(done)]
    capsys.readouterr()
    found = translate_files(model, inputs, Path("out"), 4)
    said = capsys.readouterr().out
    assert (f"goes on with out: {done} of {NUMBER} results exist and are kept" in said) == bool(done)
    assert f"{NUMBER} images in out" in said
    assert [path.name for path in found] == [path.name for path in expected]
    assert [path.read_bytes() for path in found] == [path.read_bytes() for path in expected]
    assert [Path(f"out/{number}.png").stat().st_mtime_ns for number in range(done)] == times
    assert MARK not in listing()
    with pytest.raises(ValueError, match=rf"out/0.png exists \({NUMBER} in all\); choose another folder"):
        translate_files(model, inputs, Path("out"), 1)


def other_input(model: Translator) -> None:
    Path("in/5.png").write_bytes(Path("in/4.png").read_bytes())


def changed_input(model: Translator) -> None:
    Path("in/4.png").write_bytes(Path("in/3.png").read_bytes())


def other_model(model: Translator) -> None:
    model.identity = "another"


def damaged_mark(model: Translator) -> None:
    mark().write_bytes(b"\xff{")


def no_mark(model: Translator) -> None:
    mark().unlink()


@pytest.mark.parametrize("change", [other_input, changed_input, other_model, damaged_mark, no_mark])
def test_results_of_another_command_are_not_mixed(
    change: Callable[[Translator], None], model: Translator, inputs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "identity", model.identity)
    make_space = fail_after(2, OSError(28, "No space left on device"), monkeypatch)
    with pytest.raises(ValueError, match="2 of 5 are done"):
        translate_files(model, inputs, Path("out"), 1)
    make_space()
    before = listing()
    change(model)
    with pytest.raises(ValueError, match=r"out/0.png exists \(2 in all\); choose another folder"):
        translate_files(model, inputs, Path("out"), 1)
    assert set(listing()) >= set(before) - {MARK}


def test_a_full_disk_at_the_start_leaves_nothing(
    model: Translator, inputs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write_bytes", refuse)
    with pytest.raises(ValueError, match=r"--out: cannot write out \(No space left on device\); make space"):
        translate_files(model, inputs, Path("out"), 1)
    assert os.listdir("out") == []


def test_other_inputs_may_go_into_the_folder_meanwhile(
    model: Translator, inputs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command goes on by its own mark."""
    make_space = fail_after(2, FULL, monkeypatch)
    with pytest.raises(ValueError, match="2 of 5 are done"):
        translate_files(model, inputs, Path("out"), 1)
    make_space()
    Path("in/0.png").rename("other.png")
    assert len(translate_files(model, [Path("other.png")], Path("out"), 1)) == 1
    Path("other.png").rename("in/0.png")
    assert len(translate_files(model, inputs, Path("out"), 1)) == 5
    assert listing() == [*(f"{number}.png" for number in range(NUMBER)), "other.png"]


def test_nothing_translated_leaves_no_mark(model: Translator) -> None:
    Path("in/bad.png").write_bytes(b"x")
    with pytest.raises(ValueError, match="none of 1 files could be translated"):
        translate_files(model, [Path("in/bad.png")], Path("out"), 1)
    assert not Path("out").exists()
