"""Names from outside never reach a terminal or a report raw."""

import io
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.table import Table
from typer.testing import CliRunner

from gantrain.cli.app import app
from gantrain.cli.error_report import reporting
from gantrain.core.console import cell, complain, console, say
from gantrain.core.printable import has_controls, printable
from gantrain.data.decode import encode
from gantrain.data.shard_writer import PackedSample, write_shards
from gantrain.data.shards import DamagedSample, Field, Shards
from gantrain.evaluation.evaluate_results import table
from gantrain.metrics.metric_suite import Record

TEXTS = {
    "plain": "plain",
    "straße 日本 é": "straße 日本 é",
    "עברית": "עברית",  # the letters themselves stay, whatever their direction
    "\x1b[31mred": "\\x1b[31mred",
    "bell\x07": "bell\\x07",
    "back\x08": "back\\x08",
    "over\rwrite": "over\\x0dwrite",
    "line\nline": "line\\x0aline",
    "tab\t": "tab\\x09",
    "\x7f": "\\x7f",
    "\x9b31m": "\\x9b31m",
    "\x00": "\\x00",
    "exe.\u202egpj": "exe.\\u202egpj",
    "\u2066isolate\u2069": "\\u2066isolate\\u2069",
    "\u200emark\u200f\u061c": "\\u200emark\\u200f\\u061c",
    "\u2028\u2029": "\\u2028\\u2029",
    "\udcff": "\\udcff",
}
HOSTILE = "".join(TEXTS)


@pytest.mark.parametrize("text", TEXTS)
def test_control_characters_become_escapes(text: str) -> None:
    assert printable(text) == TEXTS[text]
    assert printable(printable(text)) == printable(text)
    assert has_controls(printable(text)) is False


def test_what_is_kept_is_kept() -> None:
    assert printable("a\nb\tc\x1b", allowed="\n\t") == "a\nb\tc\\x1b"


def harmless(text: str) -> bool:
    return printable(text, allowed="\n") == text


OUTPUTS: dict[str, Callable[[], object]] = {
    "say": lambda: say(f"two lines\n{HOSTILE}"),
    "complain": lambda: complain(HOSTILE),
    "reporting": lambda: reporting(refuse),
    "table": lambda: console.print(table({"a\u202e": [Record("l1", None, 1, problem="b\x1b")]})),
    "markup": lambda: console.print(row("[red]x[/]")),
}


def refuse() -> None:
    from gantrain.core.error_messages import check

    check(Field, {HOSTILE: 1})


def row(text: str) -> Table:
    made = Table()
    made.add_row(cell(text))
    return made


@pytest.mark.parametrize("name", OUTPUTS)
def test_no_output_is_raw(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    OUTPUTS[name]()
    printed = capsys.readouterr()
    text = printed.out + printed.err
    assert harmless(text), text
    assert ("[red]x[/]" if name == "markup" else "\\u202e") in text


def test_keys_of_samples_are_escaped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "gantrain.data.shard_writer._KEY", re.compile(".+")
    )  # another program wrote the data set
    keys = ["\x1b[31mred", "exe\u202egpj", "tab\tbed"]
    field = Field(member="image", channels=1, min_size=(16, 16), max_size=(16, 16))
    packed = [PackedSample(key, {"image": ("png", b"content")}) for key in keys]
    write_shards(packed, tmp_path / "set", {"image": field})
    shards = Shards.open(tmp_path / "set")
    assert [shards.key(i) for i in range(3)] == ["\\x1b[31mred", "exe\\u202egpj", "tab\\x09bed"]
    tar = tmp_path / "set" / "s-000000.tar"
    tar.write_bytes(b"")
    with pytest.raises(DamagedSample, match=r"sample 0 \(\\x1b\[31mred\)"):
        shards.read(0, "image")


def test_names_in_a_tar_and_in_a_report_are_escaped(tmp_path: Path) -> None:
    good = encode(np.zeros((16, 16, 3), np.uint8), "jpg")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, content in {"good": good, "bad\x1b[31m\u202e\nforged": b"nothing"}.items():
            info = tarfile.TarInfo(f"{name}.jpg")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    done = CliRunner().invoke(
        app, ["index", str(tmp_path / "a.tar"), "--out", "set", "--field", "image=jpg"]
    )
    assert done.exit_code == 0, done.output
    report = Path("set/report.txt").read_text()
    for text in (done.output, report):
        assert harmless(text)
        assert "bad\\x1b[31m\\u202e\\x0aforged.jpg: does not decode" in text


def test_names_of_files_are_escaped_in_the_report(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a", "b", "c"):
        (folder / f"{name}.png").write_bytes(encode(np.zeros((16, 16, 3), np.uint8), "png"))
    (folder / "bad\x1b[31m\u202e\nforged.png").write_bytes(b"nothing")
    done = CliRunner().invoke(app, ["prepare", str(folder), "--out", "set", "--as", "images"])
    assert done.exit_code == 0, done.output
    for text in (done.output, Path("set/report.txt").read_text()):
        assert harmless(text)
        assert "bad\\x1b[31m\\u202e\\x0aforged.png: does not decode" in text
