"""Which held-out data a run uses, what it shows without them, and what it says of that."""

import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL, launch, run_here
from PIL import Image
from typer.testing import CliRunner

from gantrain import train
from gantrain.cli.app import app
from gantrain.core.world import World
from gantrain.data.neighbours import Neighbour, describe_unused, find_neighbour
from gantrain.data.prepare.pack import prepare
from gantrain.data.splits import HELD_OUT_SPLITS, TEST_SPLITS, find_two_sets
from gantrain.evaluation.held_out_choice import choose_held_out
from gantrain.recipe import costs, schema
from gantrain.training.setup import RunSetup
from gantrain.training.setup_description import describe_setup

# A run on two folders of pairs, label and photo, that this file draws.
RUN = (
    *SMALL, "data.source=label", "data.target=photo", "data.labels={}", "batch_size=4", "length=8",
    "evaluate.metrics=[l1]", "evaluate.every=8", "previews.every=8", "previews.samples=2", "ema.half_life=null",
    "checkpoint.every=8",
)  # fmt: skip


def draw(folder: Path, count: int = 4, first: int = 0) -> None:
    """Grey images, whose values are their numbers."""
    folder.mkdir(parents=True)
    for i in range(count):
        Image.fromarray(np.full((32, 32, 3), 10 * (first + i), np.uint8)).save(folder / f"{i}.png")


def draw_pairs(folder: Path, count: int = 4, first: int = 0) -> None:
    for field in ("label", "photo"):
        draw(folder / field, count, first)


def assemble(*words: str) -> RunSetup:
    return RunSetup(schema.load("quickstart", [*RUN, "data.validation=auto", *words]), World("cpu"))


# What lies in the folder `set`, data.train and data.train_target; the held-out data, the test data.
NEIGHBOURS: dict[str, tuple[tuple[str, ...], tuple[str, str | None], Neighbour | None, Neighbour | None]] = {
    "val": (("train", "val", "test"), ("set/train", None), Neighbour("set/val", None), Neighbour("set/test", None)),
    "valid": (("train", "valid"), ("set/train/", None), Neighbour("set/valid", None), None),
    "validation": (("train", "validation"), ("set/train", None), Neighbour("set/validation", None), None),
    "the first name": (("train", "valid", "val"), ("set/train", None), Neighbour("set/val", None), None),
    "a test set alone": (("train", "test"), ("set/train", None), None, Neighbour("set/test", None)),
    "nothing": (("train", "other"), ("set/train", None), None, None),
    "a field's folder": (
        ("train/day", "train/night", "val/day", "val/night"), ("set/train/day", "set/train/night"),
        Neighbour("set/val/day", "set/val/night"), None,
    ),
    "one side alone": (("train/day", "train/night", "val/day"), ("set/train/day", "set/train/night"), None, None),
    "sides as two sets": (
        ("trainA", "trainB", "valA", "valB", "testA", "testB"), ("set/trainA", "set/trainB"),
        Neighbour("set/valA", "set/valB"), Neighbour("set/testA", "set/testB"),
    ),
    "sides inside": (
        ("trainA", "trainB", "valA", "valB", "testA", "testB"), ("set", None),
        Neighbour("set", None), Neighbour("set", None),
    ),
    "sides inside, test alone": (("trainA", "trainB", "testA", "testB"), ("set", None), None, Neighbour("set", None)),
    "one side of a split": (("trainA", "trainB", "valA"), ("set", None), None, None),
    "pix2pixHD's names": (
        ("train_label", "train_img", "val_label", "val_img"), ("set", None), Neighbour("set", None), None
    ),
    "Cityscapes": (
        ("leftImg8bit/train", "gtFine/train", "leftImg8bit/val", "gtFine/val", "gtFine/test"), ("set", None),
        Neighbour("set", None), None,
    ),
    "no folder called train": (("mine", "val"), ("set/mine", None), None, None),
    "too far up": (("train/a/b", "val/a/b"), ("set/train/a/b", None), None, None),
    "a URL": (("train", "val"), ("https://host/set/train", None), None, None),
    "drawn images": (("train", "val"), ("synthetic", None), None, None),
    "no training data": (("train", "val"), ("set/nowhere", None), None, None),
}  # fmt: skip


@pytest.mark.parametrize("case", NEIGHBOURS)
def test_neighbours(case: str) -> None:
    folders, (place, target), held_out, test = NEIGHBOURS[case]
    for folder in folders:
        draw(Path("set", folder), 1)
    assert find_neighbour(HELD_OUT_SPLITS, place, target) == held_out
    assert find_neighbour(TEST_SPLITS, place, target) == test


@pytest.mark.parametrize("train_place", ["set/train", "set/train/s-{000000..000000}.tar"])
def test_a_packed_neighbour_is_found_and_an_empty_one_is_not(train_place: str) -> None:
    draw_pairs(Path("images"))
    prepare("images", "set/train")
    Path("set/val").mkdir()
    assert find_neighbour(HELD_OUT_SPLITS, train_place, None) is None
    prepare("images", "set/validation")
    assert find_neighbour(HELD_OUT_SPLITS, train_place, None) == Neighbour("set/validation", None)
    held_out = assemble(f"data.train={train_place}").data.held_out
    assert held_out is not None
    assert held_out.place.endswith("validation")


# Folders with images, further paths (a folder ends in /), data.train, and what is named.
UNUSED: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, str | None], list[str]]] = {
    "one side": (("trainA", "trainB", "valA"), (), ("set", None), ["set/valA is there without a folder valB"]),
    "an empty folder": (("train",), ("val/",), ("set/train", None), ["set/val holds no images"]),
    "a file": (("train",), ("val",), ("set/train", None), ["set/val is no folder"]),
    "a field's side": (
        ("trainA", "trainB", "testB"), (), ("set/trainA", "set/trainB"), ["set/testB is there without a folder testA"],
    ),
    "nothing": (("train",), (), ("set/train", None), []),
    "a usable one": (("train", "val"), (), ("set/train", None), []),
}  # fmt: skip


@pytest.mark.parametrize("case", UNUSED)
def test_what_cannot_be_held_out_is_named(case: str) -> None:
    folders, others, (place, target), expected = UNUSED[case]
    for folder in folders:
        draw(Path("set", folder), 1)
    for other in others:
        if other.endswith("/"):
            Path("set", other).mkdir()
        else:
            Path("set", other).write_text("")
    assert describe_unused((*HELD_OUT_SPLITS, *TEST_SPLITS), place, target) == expected


def test_a_run_says_what_it_does_not_hold_out() -> None:
    draw_pairs(Path("set/train"))
    Path("set/val").mkdir()
    lines = lines_of(assemble("data.train=set/train"))
    assert (
        lines[-1] == "data.validation: not used as held-out or test data: set/val holds no images"
    )


# The split that a key takes of a folder with all of them inside, by the splits that are there.
SIDES: dict[tuple[str, bool], dict[tuple[str, ...], str | None]] = {
    ("validation", False): {
        ("val", "test"): "val",
        ("test",): "test",
        ("valid", "test"): "valid",
        (): None,
    },
    ("validation", True): {("val", "test"): "test", ("val",): "val"},
    ("test", False): {("val", "test"): "test", ("val",): "val"},
    ("train", False): {("val", "test"): "train"},
}


@pytest.mark.parametrize("key", SIDES)
def test_the_split_of_a_folder_with_several(key: tuple[str, bool]) -> None:
    for number, (splits, expected) in enumerate(SIDES[key].items()):
        folder = Path(f"set{number}")
        for split in ("train", *splits):
            draw(folder / f"{split}A", 1)
            draw(folder / f"{split}B", 1)
        sides = find_two_sets(key[0], str(folder), None, is_for_evaluate=key[1])
        assert sides == (
            (f"{folder}/{expected}A", f"{folder}/{expected}B") if expected else (str(folder), None)
        )


def lines_of(setup: RunSetup) -> list[str]:
    return [
        line for line in describe_setup(setup) if line.startswith(("data.validation", "data.test"))
    ]


MISSING = "nothing is measured while training, and evaluate.best_by chooses no checkpoint"
REMEDY = "data.validation=FOLDER sets held-out data"
# Folders in `set`, further words, and the line.
SAID: dict[str, tuple[tuple[str, ...], tuple[str, ...], list[str]]] = {
    "found": (
        ("val", "test"), (),
        ["data.validation: set/val, which was found beside data.train, is held out; "
         "data.validation=null trains without"],
    ),
    "a test set": (
        ("test",), (),
        ["data.test: set/test, which was found beside data.train, is shown in previews only, as a test set: "
         f"{MISSING}; {REMEDY}"],
    ),
    "nothing": (
        (), (),
        ["data.validation: no held-out data (auto found no val, valid, validation or test with images beside "
         f"data.train): previews show training samples, {MISSING}; {REMEDY}"],
    ),
    "null": (
        ("val", "test"), ("data.validation=null",),
        [f"data.validation: no held-out data (null): previews show training samples, {MISSING}; {REMEDY}"],
    ),
    "null and a test set": (
        ("val", "test"), ("data.validation=null", "data.test=set/test"),
        [f"data.test: set/test is shown in previews only, as a test set: {MISSING}; {REMEDY}"],
    ),
    "given": (("val", "test"), ("data.validation=set/test",), []),
}  # fmt: skip


@pytest.mark.parametrize("case", SAID)
def test_a_line_says_what_is_held_out(case: str) -> None:
    folders, words, lines = SAID[case]
    for folder in ("train", *folders):
        draw_pairs(Path("set", folder))
    setup = assemble("data.train=set/train", *words)
    assert lines_of(setup) == lines
    assert (setup.data.held_out is None) == (case not in ("found", "given"))
    assert (setup.data.test is None) == ("data.test" not in "".join(lines))


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        (
            ("val", "test"),
            "data.validation: valA and valB in set, which were found beside the training images, are held out; "
            "data.validation=null trains without",
        ),
        (
            ("test",),
            "data.test: testA and testB in set, which were found beside the training images, are shown in previews "
            f"only, as a test set: {MISSING}; {REMEDY}",
        ),
    ],
)
def test_folders_inside_the_training_folder_are_named(
    splits: tuple[str, ...], expected: str
) -> None:
    for split in ("train", *splits):
        draw(Path(f"set/{split}A"))
        draw(Path(f"set/{split}B"))
    parts = assemble("data.train=set", "data.source=A", "data.target=B")
    assert lines_of(parts) == [expected]


def test_the_advice_on_a_neighbour_of_unclear_layout_works() -> None:
    for split, width in (("train", 64), ("val", 40)):
        Path("set", split).mkdir(parents=True)
        for i in range(4):
            Image.fromarray(np.full((32, width, 3), i, np.uint8)).save(f"set/{split}/{i}.png")
    words = ("data.train=set/train", "data.source=left", "data.target=right")
    with pytest.raises(ValueError, match=r"data\.validation: .*could hold side-by-side") as caught:
        assemble(*words)
    line = str(caught.value)
    assert "; data.validation=auto chose it; data.validation=null trains without" in line
    (command,) = re.findall(r"`gantrain (prepare .*? --as pairs)`", line)
    result = CliRunner().invoke(app, shlex.split(command))
    assert result.exit_code == 0, result.output
    assert "data.validation=OUT" in line
    assert assemble(*words, "data.validation=OUT").data.held_out is not None
    assert assemble(*words, "data.validation=null").data.held_out is None


@pytest.mark.parametrize("splits", [("test",), ("val", "test")])
def test_a_test_split_that_chooses_checkpoints_is_named(splits: tuple[str, ...]) -> None:
    for split in ("train", *splits):
        draw(Path(f"set/{split}A"))
        draw(Path(f"set/{split}B"))
    setup = assemble("data.train=set", "data.validation=set", "data.source=A", "data.target=B")
    assert setup.data.held_out is not None
    expected = [
        "data.validation: set holds testA and testB and no other held-out images, so evaluate.best_by chooses "
        "checkpoints on a test set; measure the result on other images"
    ]
    assert lines_of(setup) == (expected if splits == ("test",) else [])


def test_drawn_images_are_held_out_of_drawn_ones() -> None:
    settled = choose_held_out(
        schema.load("quickstart", ["data.train=synthetic", "data.validation=auto"]), World("cpu")
    )
    assert settled.recipe.data.validation == "synthetic"


def test_a_test_set_that_nobody_named_may_be_unusable() -> None:
    draw_pairs(Path("set/train"))
    draw(Path("set/test/label"))  # the photographs of many test sets are not published
    setup = assemble("data.train=set/train")
    first, second = lines_of(setup)
    assert first.startswith("data.test: set/test is not used: /")
    assert "previews show training samples" in second
    assert setup.data.test is None
    with pytest.raises(ValueError, match=r"^data\.test: "):
        assemble("data.train=set/train", "data.validation=null", "data.test=set/test")


def test_held_out_data_that_nobody_named_are_explained_where_they_are_wrong() -> None:
    draw_pairs(Path("set/train"))
    draw(Path("set/val/label"))
    with pytest.raises(
        ValueError,
        match=r"^data\.validation: .*; data\.validation=auto chose it; data\.validation=null",
    ):
        assemble("data.train=set/train")


def sheet(run: str, name: str) -> np.ndarray:
    with Image.open(Path("runs", run, "previews", name)) as image:
        return np.asarray(image)


def shown(picture: np.ndarray) -> list[int]:
    """The grey of each row's target, at the right of the sheet."""
    return [int(picture[4 + 36 * row + 16, -20, 0]) for row in range((len(picture) - 4) // 36)]


def test_previews_show_training_samples_where_nothing_is_held_out() -> None:
    """Always the same, also in a run that was stopped between; they follow from the seed."""
    draw_pairs(Path("set/train"), 20)
    words = (*RUN, "data.train=set/train", "data.validation=null", "previews.samples=3")
    assert run_here(*words, "run=x", "length=16") == "finished"
    assert sorted(path.name for path in Path("runs/x/previews").iterdir()) == [
        "000000008.training.png", "000000016.training.png"
    ]  # fmt: skip
    first = shown(sheet("x", "000000008.training.png"))
    assert first == shown(sheet("x", "000000016.training.png"))
    assert len(set(first)) == 3
    assert all(value % 10 == 0 for value in first), "an augmented sample has other values"
    run_here(*words, "run=y")
    run_here(*words, "run=y", "length=16")
    assert np.array_equal(
        sheet("x", "000000016.training.png"), sheet("y", "000000016.training.png")
    )
    run_here(*words, "run=z", "seed=1")
    assert shown(sheet("z", "000000008.training.png")) != first


def test_a_test_set_is_shown_and_never_measured(capsys: pytest.CaptureFixture[str]) -> None:
    draw_pairs(Path("set/train"))
    draw_pairs(Path("set/test"), first=20)
    words = [*RUN, "data.train=set/train", "data.validation=auto"]
    assert run_here(*words, "run=x") == "finished"
    assert capsys.readouterr().out.splitlines()[-1].strip() == "gantrain evaluate runs/x"
    assert [path.name for path in Path("runs/x/previews").iterdir()] == ["000000008.test.png"]
    assert shown(sheet("x", "000000008.test.png")) == [200, 210]
    assert "val_" not in Path("runs/x/metrics.jsonl").read_text()
    state = json.loads(next(Path("runs/x/checkpoints").glob("*/state.json")).read_text())
    assert state["metrics"] == {}
    assert not Path("runs/x/best").is_symlink()
    result = CliRunner().invoke(app, ["evaluate", "runs/x", "--metrics", "l1", "--device", "cpu"])
    assert result.exit_code == 0, result.output
    assert (
        "data.test: set/test is measured, since the recipe names no held-out data" in result.output
    )
    result = CliRunner().invoke(app, ["evaluate", "runs/x", "--best", "--device", "cpu"])
    assert result.exit_code == 2
    assert "no checkpoint of runs/x has a value of l1" in " ".join(result.output.split())


def test_evaluate_takes_the_test_split_of_a_folder_with_both_and_says_so() -> None:
    for split, count in {"train": 4, "val": 4, "test": 2}.items():
        draw(Path(f"set/{split}A"), count)
        draw(Path(f"set/{split}B"), count)
    run_here(
        *RUN, "data.train=set", "data.validation=auto", "data.source=A", "data.target=B", "run=x"
    )
    assert saved("x")["validation"] == "set"
    words = ["evaluate", "runs/x", "--metrics", "l1", "--device", "cpu", "--out", "found.json"]
    counts = []
    for more in ([], ["--data", "set"]):
        result = CliRunner().invoke(app, [*words, *more])
        assert result.exit_code == 0, result.output
        counts.append(json.loads(Path("found.json").read_text())[0]["n"])
        line = "--data set: testA and testB are measured; valA and valB are there, too"
        assert (line in result.output) == bool(more)
    assert counts == [4, 2]


@pytest.mark.slow
def test_two_ranks_agree_on_the_choice() -> None:
    draw_pairs(Path("set/train"))
    output = launch(2, *RUN, "data.train=set/train", "data.validation=auto", "run=x")
    assert output.count("previews show training samples") == 1
    assert [path.name for path in Path("runs/x/previews").iterdir()] == ["000000008.training.png"]


def test_tags_say_what_a_preview_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    tags = []
    monkeypatch.setattr(
        "gantrain.runs.trackers.Trackers.log_preview", lambda *arguments: tags.append(arguments[-1])
    )
    draw_pairs(Path("set/train"))
    for words in ((), ("data.test=set/train",), ("data.validation=set/train",)):
        run_here(
            *RUN, "data.train=set/train", "data.validation=null", *words, f"run=run{len(tags)}"
        )
    assert tags == ["training", "test", ""]


def saved(run: str) -> dict[str, str | None]:
    data = schema.load(f"runs/{run}/recipe.yaml").data
    return {"validation": data.validation, "test": data.test}


@pytest.mark.parametrize(
    "at_start",
    [
        "nothing",
        pytest.param("test", marks=pytest.mark.slow),
        pytest.param("val", marks=pytest.mark.slow),
    ],
)
def test_a_resumed_run_keeps_the_choice_of_its_start(
    at_start: str, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_pairs(Path("set/train"))
    if at_start != "nothing":
        draw_pairs(Path("set", at_start))
    words = [*RUN, "data.train=set/train", "data.validation=auto", "run=x"]
    run_here(*words)
    before = saved("x")
    key = {"nothing": None, "test": "test", "val": "validation"}[at_start]
    assert before == {"validation": None, "test": None} | ({key: f"set/{at_start}"} if key else {})
    for later in {"val", "test"} - {at_start}:
        draw_pairs(Path("set", later))
    capsys.readouterr()
    run_here(*words, "length=16")
    assert saved("x") == before
    output = capsys.readouterr().out
    line = "data.validation: set/val is there now, and the run goes on as it was started; data.validation=set/val uses it"
    assert (line in output) == (at_start != "val")
    assert "as in this run so far" in output
    # Stated, it is used, and from then on kept.
    run_here(*words, "length=24", "data.validation=set/val")
    run_here(*words, "length=32")
    assert saved("x")["validation"] == "set/val"


def test_a_moved_data_set_brings_its_own_neighbour() -> None:
    for split in ("train", "val"):
        draw_pairs(Path("set", split))
    run_here(*RUN, "data.train=set/train", "data.validation=auto", "run=x")
    shutil.move("set", "moved")
    run_here(*RUN, "data.train=moved/train", "data.validation=auto", "run=x", "length=16")
    assert saved("x")["validation"] == "moved/val"


def test_a_dry_run_and_doctor_state_the_choice(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gantrain.cli.doctor._SECONDS", 0.01)
    draw_pairs(Path("set/train"))
    draw_pairs(Path("set/val"))
    words = (*RUN, "data.train=set/train", "data.validation=auto")
    train("quickstart", *words, "dry_run=true")
    output = capsys.readouterr().out
    assert "  validation: set/val\n" in output
    assert "\ndata.validation: set/val, which was found beside data.train" in output
    result = CliRunner().invoke(app, ["doctor", "recipe=quickstart", *words])
    assert "data.validation: set/val, which was found beside data.train" in result.output


@pytest.mark.parametrize(("validation", "stay"), [("set/val", 3), ("null", 2)])
def test_a_dry_run_counts_a_best_checkpoint_only_where_one_is_chosen(
    validation: str, stay: int
) -> None:
    loaded = schema.load("pix2pix", [f"data.validation={validation}"])
    lines = costs.describe_run(loaded, epoch=8, images=800, checkpoint=1)
    assert f"of which {stay} stay" in lines[0]


def test_a_folder_of_splits_is_refused_with_the_one_to_give() -> None:
    draw_pairs(Path("set/train"))
    draw_pairs(Path("set/val"))
    with pytest.raises(
        ValueError,
        match=r"train, val are splits, not fields; give one of them, such as .*/set/train",
    ):
        assemble("data.train=set")


@pytest.mark.parametrize("recipe_name", ["pix2pix", "cyclegan"])
def test_auto_is_the_default(recipe_name: str) -> None:
    assert schema.load(recipe_name).data.validation == "auto"
