"""Folders packed in the cache: what makes them be packed again, and what becomes of the older pack."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gantrain.core import formats
from gantrain.data.decode import encode
from gantrain.data.prepare.pack import pack_once
from gantrain.data.prepare.pack_cache import describe_files
from gantrain.data.shards import Shards


def put(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    path.write_bytes(encode(random.integers(0, 256, (20, 40, 3), dtype=np.uint8), "png"))
    return path


# By layout: the images of two samples.
LAYOUTS = {
    "pairs": ("0.png", "1.png"),
    "images": ("0.png", "cam1/1.png"),
    "folders": ("src/0.png", "src/1.png", "dst/0.png", "dst/1.png"),
    "sides": ("trainA/0.png", "trainA/1.png", "trainB/0.png", "trainB/1.png"),
    "camvid": ("train/0.png", "train/1.png", "trainannot/0.png", "trainannot/1.png"),
}


def linked(real: Path, link: Path, how: str) -> Path:
    """The folder `real` by way of links: to it, to the folders in it, or to the files."""
    if how == "folder itself":
        link.symlink_to(real)
    elif how == "nothing":
        return real
    else:
        for file in sorted(real.rglob("*.png")):
            place = link / file.relative_to(real)
            if how == "files" or place.parent == link:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(file)
            elif not place.parent.exists():
                place.parent.parent.mkdir(parents=True, exist_ok=True)
                place.parent.symlink_to(file.parent)
    return link


CHANGES: dict[str, Callable[[Path], object]] = {
    "content": lambda file: put(file, seed=99),
    "time": lambda file: os.utime(file, ns=(5, file.stat().st_mtime_ns + 1)),
    "gone": Path.unlink,
    "renamed": lambda file: file.rename(file.with_name("other.png")),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("how", ["nothing", "folder itself", "folders", "files"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_key_covers_every_image_also_through_links(
    tmp_path: Path, layout: str, how: str, change: str
) -> None:
    for i, name in enumerate(LAYOUTS[layout]):
        put(tmp_path / "real" / name, seed=i)
    folder = linked(tmp_path / "real", tmp_path / "link", how)
    before = describe_files(folder)
    assert describe_files(folder) == before
    CHANGES[change](tmp_path / "real" / LAYOUTS[layout][-1])
    assert describe_files(folder) != before


@pytest.mark.parametrize("name", [".hidden.png", "Thumbs.db", ".ipynb_checkpoints/0.png"])
def test_ignored_files_do_not_change_the_key(tmp_path: Path, name: str) -> None:
    put(tmp_path / "in" / "0.png", seed=0)
    before = describe_files(tmp_path / "in")
    put(tmp_path / "in" / name, seed=1)
    assert describe_files(tmp_path / "in") == before


@pytest.fixture
def links(tmp_path: Path) -> Path:
    """`link/src -> real/src` and `link/dst -> real/dst`."""
    for i in range(3):
        for side in ("src", "dst"):
            put(tmp_path / "real" / side / f"{i}.png", seed=i)
    return linked(tmp_path / "real", tmp_path / "link", "folders")


def test_changed_data_behind_links_replace_the_older_pack(
    links: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = tmp_path / "cache"
    first = pack_once(links, cache)
    other_options = pack_once(links, cache, layout="folders")
    other_folder = pack_once(tmp_path / "real", cache)
    fingerprint = Shards.open(first).fingerprint
    assert capsys.readouterr().out == ""
    for side in ("src", "dst"):
        put(tmp_path / "real" / side / "0.png", seed=50)
        put(tmp_path / "real" / side / "9.png", seed=9)
    second = pack_once(links, cache)
    shards = Shards.open(second)
    assert len(shards) == 4
    assert shards.read(0, "src") == (tmp_path / "real/src/0.png").read_bytes()
    assert shards.fingerprint != fingerprint
    assert sorted(cache.iterdir()) == sorted([second, other_options, other_folder])
    (line,) = capsys.readouterr().out.splitlines()
    assert (
        line == f"{links}: its files have changed; removed the pack of their older state, {first}"
    )


def test_equal_data_that_are_packed_again_keep_their_fingerprint(
    links: Path, tmp_path: Path
) -> None:
    first = pack_once(links, tmp_path / "cache")
    fingerprint = Shards.open(first).fingerprint
    os.utime(tmp_path / "real/src/0.png", ns=(5, 5))
    second = pack_once(links, tmp_path / "cache")
    assert second != first
    assert Shards.open(second).fingerprint == fingerprint


def test_a_pack_that_a_process_reads_is_kept_until_it_is_free(links: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = pack_once(links, cache)
    reader = Shards.open(first)
    put(tmp_path / "real/src/0.png", seed=50)
    second = pack_once(links, cache)
    assert sorted(cache.iterdir()) == sorted([first, second])
    assert len({reader.read(i, "src") for i in range(3)}) == 3
    del reader
    assert pack_once(links, cache) == second
    assert list(cache.iterdir()) == [second]


def test_a_removal_that_was_cut_short_is_finished(links: Path, tmp_path: Path) -> None:
    first = pack_once(links, tmp_path / "cache")
    (first / "index.json").unlink()
    put(tmp_path / "real/src/0.png", seed=50)
    second = pack_once(links, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == [second]


def test_another_format_is_packed_again(
    links: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pack_once(links, tmp_path / "cache")
    assert (first / "pack.json").read_text() == f'{{"format": {formats.PACK}}}\n'
    monkeypatch.setattr(formats, "PACK", formats.PACK + 1)
    second = pack_once(links, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == [second]
    assert second != first


def test_a_loop_of_links_is_one_line(links: Path, tmp_path: Path) -> None:
    (tmp_path / "real" / "src" / "up").symlink_to("..")
    (tmp_path / "real" / "up").symlink_to("..")
    with pytest.raises(ValueError, match=r"is a loop of links") as caught:
        pack_once(tmp_path / "real", tmp_path / "cache")
    assert "\n" not in str(caught.value)
    (tmp_path / "self").symlink_to("self")
    with pytest.raises(ValueError, match=r"self is a loop of symbolic links"):
        pack_once(tmp_path / "self", tmp_path / "cache")
