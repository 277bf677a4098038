"""CONTRIBUTING.md: the network from outside trains, and the map is the folder."""

import re
import subprocess
import sys
from pathlib import Path

import documents
import pytest
from conftest import ROOT

QUICK = ("data.workers=0", "trackers=[]", "evaluate.max_samples=8", "precision=fp32", "device=cpu")


def python(*arguments: str) -> None:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_code_is_short() -> None:
    code = documents.block("CONTRIBUTING.md", "outside")
    assert len([line for line in code.splitlines() if line.strip()]) <= 15


@pytest.mark.slow
def test_a_network_from_outside_trains() -> None:
    Path("mine.py").write_text(documents.block("CONTRIBUTING.md", "outside"))
    python("mine.py")
    assert '"finished"' in Path("runs/mine/status.json").read_text()
    assert "{name: mine, width: 8}" in Path("runs/mine/recipe.yaml").read_text()


@pytest.mark.exhaustive
def test_a_module_named_on_the_command_line_is_imported() -> None:
    Path("mine.py").write_text(documents.block("CONTRIBUTING.md", "outside"))
    command = [words for words in documents.commands("CONTRIBUTING.md") if "--import" in words]
    assert len(command) == 1
    arguments = (*command[0][1:], *QUICK, "run=imported", "length=16")
    python("-m", "gantrain", *arguments)
    assert "name: mine" in Path("runs/imported/recipe.yaml").read_text()


def test_the_map_is_the_folder() -> None:
    lines = documents.block("CONTRIBUTING.md", "map").splitlines()
    mapped, folders = set(), []
    for line in lines:
        match = re.match(r"( *)(\S+)", line)
        assert match, line
        folders = [*folders[: len(match[1]) // 2], match[2]]
        mapped.add("".join(folders))
    files = {f.relative_to(ROOT).as_posix() for f in (ROOT / "gantrain").rglob("*.py")}
    inside = {f for f in files if "/__init__.py" not in f} | {"gantrain/__init__.py"}
    assert inside - mapped == set()
    assert {m for m in mapped if m.endswith(".py")} - files == set()
