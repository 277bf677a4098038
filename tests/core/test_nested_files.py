"""Folders inside folders, and accented names, from a user's files through a model and back to
files.
"""

import unicodedata
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL, run_here
from typer.testing import CliRunner

import gantrain
from gantrain.cli.app import app
from gantrain.data.decode import decode, encode
from gantrain.inference.translate_files import _note_targets, find_inputs, images_by_stem

NAMES = ["0", "1", "cam.1/0", "cam2/deep/0"]
NFC, NFD = (unicodedata.normalize(form, "café/Zoë") for form in ("NFC", "NFD"))


def put(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    path.write_bytes(encode(random.integers(0, 256, (32, 32, 3), dtype=np.uint8), "png"))


def invoke(*words: str) -> str:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.slow
def test_training_and_translation_take_folders_inside() -> None:
    for side in ("trainA", "trainB"):
        for i, name in enumerate(NAMES):
            put(Path("in", side, f"{name}.png"), seed=i)
    Path("in/trainA/notes.txt").write_text("x")
    put(Path("in/trainA/.ipynb_checkpoints/0.png"))
    unpaired = (
        "data.unpaired=true",
        "evaluate.metrics=[swd]",
        "evaluate.best_by=swd",
        "data.labels={}",
    )
    run_here(*SMALL, *unpaired, "method={name: cyclegan, identity: 0}", "data=in", "data.validation=null",
             "data.source=image", "data.target=image", "batch_size=2", "length=2", "run=x",
             "method.generator={name: unet, width: 4, levels: 3}",
             "method.discriminator={name: patchgan, width: 4, layers: 1}")  # fmt: skip
    printed = invoke("translate", "runs/x", "in/trainA", "--out", "out")
    assert "4 images in out" in printed
    assert f"left out: {Path('in/trainA/notes.txt')}: not one of jpg" in printed
    assert sorted(path.relative_to("out") for path in Path("out").rglob("*.png")) == [
        Path(f"{n}.png") for n in NAMES
    ]
    model = gantrain.load("runs/x", "cpu")
    for name in NAMES:
        expected = model.translate(decode(Path(f"in/trainA/{name}.png").read_bytes()))
        found = decode(Path(f"out/{name}.png").read_bytes())
        assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1
    # Results that lie inside the inputs' folder are not translated again.
    assert "4 images in" in invoke("translate", "runs/x", "in/trainA", "--out", "in/trainA/results")
    again = CliRunner().invoke(
        app, ["translate", "runs/x", "in/trainA", "--out", "in/trainA/results"]
    )
    assert "skipped: 4 of 4 results are in in/trainA/results already" in again.output
    assert (
        "left out: 4 images in in/trainA/results, which is the folder for results" in again.output
    )


def test_folders_are_compared_by_sub_path() -> None:
    for i, name in enumerate([*NAMES, NFC]):
        put(Path("real", f"{name}.png"), seed=i)
        put(Path("fake", f"{unicodedata.normalize('NFD', name)}.png"), seed=i)
    Path("fake/Thumbs.db").write_bytes(b"x")
    printed = invoke(
        "evaluate", "--real", "real", "--fake", "fake", "--metrics", "l1", "--device", "cpu"
    )
    (row,) = [line.split() for line in printed.splitlines() if " l1 " in line]
    assert (row[2], row[-1]) == ("0", "5")
    put(Path("fake", "cam.1", "9.png"))
    result = CliRunner().invoke(
        app, ["evaluate", "--real", "real", "--fake", "fake", "--metrics", "l1"]
    )
    assert "cam.1/9 is in fake alone" in result.output


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_accented_names_are_one_name_in_either_form(form: str) -> None:
    put(Path("in", f"{unicodedata.normalize(form, NFC)}.png"))
    assert list(images_by_stem("--instances", Path("in"))) == [NFC]
    (name,) = find_inputs([Path("in")]).values()
    assert name == unicodedata.normalize(form, NFC)  # a result is called like its file


def test_both_forms_of_one_name_in_a_folder_are_refused() -> None:
    for form in (NFC, NFD):
        put(Path("in", f"{form}.png"))
    with pytest.raises(ValueError, match=r"--real: .* have one name"):
        images_by_stem("--real", Path("in"))


def test_long_lists_of_other_files_are_shortened(capsys: pytest.CaptureFixture[str]) -> None:
    put(Path("in", "0.png"))
    for i in range(15):
        Path("in", f"{i:02}.txt").touch()
    assert len(find_inputs([Path("in")])) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 11
    assert lines[-1] == "left out: 5 more files in in"


def test_images_of_the_target_among_the_inputs_are_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A folder as training takes it holds the targets too, and translating these is rarely wanted."""
    model = Namespace(recipe=Namespace(data=Namespace(sources=["sketch"], target="photo")))
    files = {Path(name): name for name in ("sketch/0", "sketch/1", "photo/0", "2")}
    _note_targets(model, files)  # type: ignore[arg-type]
    assert "1 of 4 images lie in photo/, which is this model's target" in capsys.readouterr().out
    _note_targets(model, {Path(name): name for name in ("photo/0", "2")})  # type: ignore[arg-type]
    assert capsys.readouterr().out == ""
