"""Reading README.md, CONTRIBUTING.md and the pages of docs/, and what they print."""

import re
import shlex

from conftest import ROOT

PAGES = tuple(sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")))
DOCUMENTS = ("README.md", "CONTRIBUTING.md", *PAGES)
LAUNCHED = ("gantrain.train", "gantrain/train.py")


def text(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def block(document: str, marker: str) -> str:
    """The fenced block below `<!-- marker -->`."""
    found = re.findall(rf"^<!-- {marker} -->\n```\w*\n(.*?)^```$", text(document), re.M | re.S)
    assert len(found) == 1, f"{document}: {len(found)} blocks are marked {marker}"
    return found[0]


def python_blocks(document: str) -> list[str]:
    """The fenced blocks of Python code."""
    return re.findall(r"^```python\n(.*?)^```$", text(document), re.M | re.S)


def spans(document: str) -> list[str]:
    """The pieces of inline code."""
    outside = re.sub(r"^```.*?^```$", "", text(document), flags=re.M | re.S)
    return re.findall(r"`([^`\n]+)`", outside)


def commands(document: str) -> list[list[str]]:
    """All shell commands, as words: the lines of bash blocks, and inline code."""
    blocks = re.findall(r"^```bash\n(.*?)^```$", text(document), re.M | re.S)
    lines = [line for b in blocks for line in b.replace("\\\n", " ").splitlines()]
    parts = [part for line in lines + spans(document) for part in line.split(" && ")]
    return [words for part in parts if (words := _words(part))]


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:  # prose with an apostrophe
        return []


def overrides(document: str) -> list[list[str]]:
    """Inline code that is `key=value ...` only."""
    found = [words for span in spans(document) if (words := _words(span))]
    return [words for words in found if all(re.match(r"[a-z_]\w*(\.\w+)*=\S", w) for w in words)]
