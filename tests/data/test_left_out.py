"""Most of the data left out stops packing; ids that nobody named as such get a line."""

import io
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from gantrain.cli.app import app
from gantrain.data.decode import encode
from gantrain.data.open_dataset import DataRequest, open_set
from gantrain.data.prepare.hints import note_gaps
from gantrain.data.prepare.pack import prepare
from gantrain.data.shards import Field, Shards
from gantrain.recipe.differences import RESUMABLE
from gantrain.recipe.schema import load


def image(height: int = 64, width: int = 64, seed: int = 0) -> bytes:
    return encode(
        np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8), "png"
    )


def grey(*ids: int) -> bytes:
    array = np.resize(np.array(ids, np.uint8), (32, 32))
    return encode(array, "png")


def fill(folder: Path, contents: list[bytes], names: str = "{}.png") -> None:
    folder.mkdir(parents=True)
    for i, content in enumerate(contents):
        (folder / names.format(i)).write_bytes(content)


def sizes_differ(folder: Path) -> None:
    fill(folder / "src", [image() for _ in range(10)])
    fill(folder / "dst", [image(), *(image(65) for _ in range(9))])


def names_differ(folder: Path) -> None:
    fill(folder / "src", [image() for _ in range(4)])
    fill(folder / "dst", [image() for _ in range(4)], "{}_dst.png")
    (folder / "dst" / "0.png").write_bytes(image())


def damaged(folder: Path) -> None:
    fill(folder / "src", [image() for _ in range(4)])
    fill(folder / "dst", [image(), b"", b"x", b"y"])


def too_small(folder: Path) -> None:
    fill(folder / "src", [image(), *(image(8, 8) for _ in range(3))])
    fill(folder / "dst", [image(), *(image(8, 8) for _ in range(3))])


STOPPED: dict[str, tuple[Callable[[Path], None], float, str]] = {
    "sizes": (
        sizes_differ,
        0.9,
        r"9 of 10 pairs left out: sizes differ \(such as .*\); `--resize 6[45]x64` makes",
    ),
    "names": (
        names_differ,
        0.8,
        r"4 of 5 pairs left out: names without a partner; .*--pattern dst=\{\}_dst --pattern",
    ),
    "damaged": (
        damaged,
        0.75,
        r"3 of 4 pairs left out: damaged or not usable \(such as .*1\.png: does not decode",
    ),
    "small": (
        too_small,
        0.75,
        r"3 of 4 pairs left out: too small .*`--resize HEIGHTxWIDTH` enlarges them",
    ),
}


@pytest.mark.parametrize("name", STOPPED)
def test_packing_stops_where_most_is_left_out(tmp_path: Path, name: str) -> None:
    make, fraction, says = STOPPED[name]
    make(tmp_path / "in")
    with pytest.raises(
        ValueError, match=rf"in: {says}.*--max-left-out {fraction} goes on"
    ) as caught:
        prepare(tmp_path / "in", tmp_path / "out", progress=False)
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == [tmp_path / "in"]
    assert (
        prepare(tmp_path / "in", tmp_path / "out", max_left_out=fraction, progress=False).samples
        == 1
    )


@pytest.mark.parametrize("name", STOPPED)
def test_a_first_run_stops_as_well(tmp_path: Path, name: str) -> None:
    make, fraction, says = STOPPED[name]
    make(tmp_path / "in")
    wanted = DataRequest("mine", "src", "dst", {}, (16, 16), None)
    with pytest.raises(
        ValueError, match=rf"data\.train: .*{says}.*data\.max_left_out={fraction} goes on"
    ):
        open_set("train", str(tmp_path / "in"), wanted)
    allowed = DataRequest("mine", "src", "dst", {}, (16, 16), None, max_left_out=fraction)
    assert len(open_set("train", str(tmp_path / "in"), allowed)) == 1


def test_half_may_be_left_out(tmp_path: Path) -> None:
    fill(tmp_path / "in", [image(seed=i) for i in range(4)] + [b"x"] * 4)
    assert prepare(tmp_path / "in", tmp_path / "out", layout="images", progress=False).samples == 4
    with pytest.raises(ValueError, match="4 of 8 images left out"):
        prepare(
            tmp_path / "in", tmp_path / "none", layout="images", max_left_out=0.4, progress=False
        )


def test_files_that_are_no_images_do_not_count(tmp_path: Path) -> None:
    fill(tmp_path / "in", [image(seed=i) for i in range(2)])
    for i in range(20):
        (tmp_path / "in" / f"{i}.json").write_text("{}")
    assert prepare(tmp_path / "in", tmp_path / "out", layout="images", progress=False).samples == 2


def test_a_sample_without_all_its_files_is_one_line(tmp_path: Path) -> None:
    for field in "abc":
        fill(tmp_path / "in" / field, [image(seed=i) for i in range(3)])
    (tmp_path / "in" / "c" / "2.png").unlink()
    report = prepare(tmp_path / "in", tmp_path / "out", progress=False)
    assert report.unmatched == [f"{tmp_path / 'in/a/2.png'}, {tmp_path / 'in/b/2.png'}: no c"]


def test_where_no_size_fits_the_remedy_is_named(tmp_path: Path) -> None:
    fill(tmp_path / "in" / "src", [image() for _ in range(3)])
    fill(tmp_path / "in" / "dst", [image(70) for _ in range(3)])
    with pytest.raises(
        ValueError, match=r"none of 3 samples is usable; .*; `--resize 64x64` makes them equal"
    ):
        prepare(tmp_path / "in", tmp_path / "out", progress=False)


def test_an_index_of_tars_stops_as_well(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for i, content in enumerate((image(), b"x", b"y")):
            entry = tarfile.TarInfo(f"{i}.png")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    command = ["index", "a.tar", "--out", "set", "--field", "image=png"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2
    assert "2 of 3 images left out: damaged or not usable" in result.output
    assert not (tmp_path / "set").exists()
    assert "1 sample " in CliRunner().invoke(app, [*command, "--max-left-out", "0.7"]).output


def test_the_option_of_prepare(tmp_path: Path) -> None:
    damaged(tmp_path / "in")
    command = ["prepare", "in", "--out", "out"]
    assert CliRunner().invoke(app, command).exit_code == 2
    assert "1 sample " in CliRunner().invoke(app, [*command, "--max-left-out", "0.75"]).output


def test_a_published_layout_is_not_advised_about_patterns(tmp_path: Path) -> None:
    fill(tmp_path / "in" / "train", [image(32, 32, seed=i) for i in range(3)])
    fill(tmp_path / "in" / "trainannot", [grey(0, 1)])
    with pytest.raises(
        ValueError,
        match=r"2 of 3 pairs left out: names without a partner; compare the files' names",
    ):
        prepare(
            tmp_path / "in", tmp_path / "out", layout="camvid", max_left_out=0.5, progress=False
        )


def test_the_recipes_fraction() -> None:
    assert "data.max_left_out" in RESUMABLE
    assert load("quickstart").data.max_left_out == 0.5
    for value in ("-0.1", "1.1"):
        with pytest.raises(ValueError, match=r"data\.max_left_out: found"):
            load("quickstart", [f"data.max_left_out={value}"])


GAPS = {
    "0..3 and 255": (
        [0, 1, 2, 3, 255],
        {},
        "the ids are 0..3 and 255, which makes 256 classes; if 255 marks.*--ignore 255",
    ),
    "a mask": ([0, 255], {}, "the ids are 0 and 255"),
    "many classes": ([*range(150), 255], {}, "0..149 and 255"),
    "another highest": ([0, 1, 2, 99], {}, "0..2 and 99, which makes 100 classes"),
    "ignored": ([0, 1, 255], {"ignore": 255, "classes": 3}, None),
    "counted by the user": ([0, 1, 40], {"classes": 64}, None),
    "without a gap": ([*range(20), 28], {}, None),
    "few": ([0, 1, 5], {}, None),
    "sparse": ([0, 20, 40, 60], {}, None),
}


@pytest.mark.parametrize("name", GAPS)
def test_a_highest_id_far_above_the_others_gets_a_line(name: str) -> None:
    ids, options, says = GAPS[name]
    about = {"classes": max(ids) + 1, "label_counts": dict.fromkeys(ids, 9), **options}
    field = Field(
        member="label", kind="label", channels=1, min_size=(32, 32), max_size=(32, 32), **about
    )
    notes = note_gaps({"label": field})
    assert len(notes) == (says is not None)
    if says:
        assert re.match(f"note: label: .*{says}", notes[0])


def palette(*ids: int) -> bytes:
    picture = Image.fromarray(np.resize(np.array(ids, np.uint8), (32, 32)), "L").convert("P")
    picture.putpalette([value for i in range(256) for value in (i, 255 - i, 0)])
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def photograph(seed: int) -> bytes:
    return encode(np.random.default_rng(seed).integers(0, 256, (32, 32, 1), dtype=np.uint8), "png")


ID_LIKE = {
    "ids": ([grey(0, 1, 2), grey(3)], True),
    "ids and void": ([grey(0, 1, 255), grey(2, 255)], True),
    "many ids": ([grey(*range(i, i + 40)) for i in range(0, 150, 30)], True),
    "palette": ([palette(0, 1, 2), palette(3)], True),
    "ids and void of 16 bits": (
        [encode(np.tile(np.array([0, 1, 3, 65535], np.uint16), (32, 8)), "png")] * 2,
        True,
    ),
    "a photograph": ([photograph(0), photograph(1)], False),
    "one photograph among ids": ([grey(0, 1), photograph(1)], False),
    "a mask of 0 and 255": ([grey(0, 255), grey(0)], False),
    "grey levels": ([grey(0, 85, 170, 255)], False),
    "palette photograph": ([palette(*range(200))], False),
}


@pytest.mark.parametrize("name", ID_LIKE)
def test_ids_packed_as_images_get_a_line(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    files, expected = ID_LIKE[name]
    fill(tmp_path / "in" / "label", files)
    fill(tmp_path / "in" / "photo", [image(32, 32, seed=i) for i in range(len(files))])
    report = prepare(tmp_path / "in", tmp_path / "out", progress=False)
    # The conversion of a palette has a line of its own.
    notes = [note for note in report.notes if "with a palette" not in note]
    assert [("prepare --labels label" in note) for note in notes] == [True] * expected
    assert all(note in (tmp_path / "out" / "report.txt").read_text() for note in report.notes)
    assert all(note in report.lines() for note in report.notes)
    capsys.readouterr()
    open_set(
        "train", str(tmp_path / "in"), DataRequest("mine", "photo", "label", {}, (16, 16), None)
    )
    printed = capsys.readouterr().out
    for note in report.notes:
        assert f"data.train: {note.removeprefix('note: ')}" in printed
    assert ("--labels" in printed) == expected
    named = prepare(
        tmp_path / "in", tmp_path / "named", labels=["label"] * expected, progress=False
    )
    assert [note for note in named.notes if "prepare --labels" in note] == []


def test_the_note_on_a_gap_is_printed_by_a_first_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path / "in" / "label", [grey(0, 1, 2, 3, 255)] * 2)
    fill(tmp_path / "in" / "photo", [image(32, 32, seed=i) for i in range(2)])
    report = prepare(tmp_path / "in", tmp_path / "out", labels=["label"], progress=False)
    assert report.fields["label"].classes == 256
    assert any("--ignore 255" in line for line in report.lines())
    fixed = prepare(
        tmp_path / "in", tmp_path / "fixed", labels=["label"], ignore=255, progress=False
    )
    assert (fixed.fields["label"].classes, fixed.notes) == (5, [])
    wanted = DataRequest("mine", "label", "photo", {"label": 256}, (16, 16), None)
    assert (
        Shards.open(open_set("train", str(tmp_path / "in"), wanted).folder).fields["label"].classes
        == 256
    )
    assert "--ignore 255" in capsys.readouterr().out
