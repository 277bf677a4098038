"""gantrain from Python: train(), load(), translate(), evaluate(), several times in one process."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import documents
import numpy as np
import pytest
import torch
from accelerate import PartialState
from accelerate.state import AcceleratorState
from conftest import ROOT, SMALL
from own_code import PRELUDE, forgotten, write
from PIL import Image

import gantrain
from gantrain.core import extensions, files
from gantrain.core.world import World
from gantrain.data.synthetic import draw
from gantrain.inference.translator import Translator

NESTED = {
    "data": {"size": (32, 32), "workers": 0},
    "method.generator": {"width": np.int64(8), "levels": 3},
    "method.discriminator.width": 8,
    "precision": "fp32",
    "device": "cpu",
    "threads": 1,
    "trackers": [],
    "evaluate": {"metrics": ["l1", "psnr"], "max_samples": 8},
    "batch_size": 8,
    "length": 16,
    "run": "x",
}
WORDS = (*SMALL, "batch_size=8", "length=16", "run=x", "evaluate.max_samples=8", "log_every=200")


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    with forgotten():
        yield


def test_the_public_names_are_shown() -> None:
    names = dir(gantrain)
    assert {"train", "load", "evaluate", "Method", "NETWORKS", "PERCEPTUAL", "__version__"} <= set(
        names
    )
    assert names == sorted(names)
    assert not [name for name in names if not hasattr(gantrain, name)]


def test_train_takes_dictionaries_and_returns_what_became_of_the_run() -> None:
    result = gantrain.train("quickstart", NESTED, "log_every=200")
    assert result == gantrain.TrainResult(Path("runs/x"), "finished", 16, result.metrics)
    assert {"l1", "psnr"} < result.metrics.keys()
    assert repr(result).startswith("TrainResult(runs/x: finished, 16 images seen, l1 0.")
    again = gantrain.train("quickstart", *WORDS)  # the same recipe in the command's words
    assert again == result
    longer = gantrain.train("quickstart", NESTED, {"length": 24}, "log_every=200")
    assert (longer.state, longer.images_seen) == ("finished", 24)
    dry = gantrain.train("quickstart", NESTED, {"dry_run": True, "run": "y"})
    assert dry == gantrain.TrainResult(Path("runs/y"), "dry run", 0, {})
    assert not Path("runs/y").exists()


def test_a_recipe_may_be_a_dictionary_or_a_path() -> None:
    recipe = {"extends": "quickstart", "seed": 3, "data": {"train": Path("synthetic")}}
    result = gantrain.train(recipe, NESTED, "dry_run=true")
    assert result.folder == Path("runs/x")
    Path("mine.yaml").write_text("extends: quickstart\nseed: 3\n")
    assert gantrain.train(Path("mine.yaml"), NESTED, "dry_run=true", {"run": None}).folder == Path(
        "runs/mine"
    )


# By name: the recipe, the changes, and what the error says.
REFUSED = {
    "a value of another type": (
        "quickstart",
        [{"length": object()}],
        "length: found a value that no recipe can hold",
    ),
    "a change of another type": (
        "quickstart",
        [3],
        "recipe: found int as a change, allowed: a text a.b.c=value, or",
    ),
    "a recipe of another type": (
        3,
        [],
        "recipe: found int, allowed: a name, a path, a mapping, a Recipe",
    ),
    "a nameless recipe": ({"method": "pix2pix"}, [], "name: missing; give it a value"),
    "a strange key": (
        "quickstart",
        [{"a b": 1}],
        "found 'a b=1', allowed: key=value or a.b.c=value",
    ),
    "a wrong value": (
        "quickstart",
        [{"batch_size": "8"}],
        "batch_size: found '8', allowed: a valid integer",
    ),
    "another extends": ({"extends": 3}, [], "extends: found 3, allowed: one recipe's name or path"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_recipe_is_refused(name: str) -> None:
    recipe, changes, says = REFUSED[name]
    with pytest.raises(ValueError, match=r".") as caught:
        gantrain.train(recipe, *changes)
    assert says in str(caught.value)


BROKEN = (
    PRELUDE
    + """
import signal


class Failing(Base):
    failing = True
    interrupts = False
    error = RuntimeError

    def generator_terms(self, batch, carried, context):
        if type(self).failing and context.images_seen:
            raise type(self).error("later")
        if type(self).interrupts and context.images_seen:
            signal.raise_signal(signal.SIGINT)
        return super().generator_terms(batch, carried, context)


METHODS["failing"] = Failing
"""
)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError,
        *(pytest.param(e, marks=pytest.mark.slow) for e in (KeyboardInterrupt, ValueError)),
    ],
)
def test_train_works_after_an_error(error: type[BaseException]) -> None:
    """In a notebook the process lives on: the run's lock and the ranks' group are given back."""
    write("failing", BROKEN)
    extensions.import_modules(["failing"])
    cls = sys.modules["failing"].Failing
    cls.error = error
    words = [word for word in WORDS if not word.startswith("method.")]
    with pytest.raises(error, match="later"):
        gantrain.train("quickstart", *words, "method=failing")
    with pytest.raises(ValueError, match="batch_size"):
        gantrain.train("quickstart", *words, "method=failing", "batch_size=x")
    assert not torch.distributed.is_initialized()
    cls.failing = False
    assert gantrain.train("quickstart", *words, "method=failing").state == "finished"
    assert gantrain.train("quickstart", *WORDS, "run=y").state == "finished"
    assert gantrain.evaluate("runs/y", metrics=["l1"]).values["l1"] > 0


def test_train_works_after_an_interrupt() -> None:
    write("failing", BROKEN)
    extensions.import_modules(["failing"])
    cls = sys.modules["failing"].Failing
    words = [word for word in WORDS if not word.startswith("method.")]
    cls.failing = False
    cls.interrupts = True
    result = gantrain.train("quickstart", *words, "method=failing", "length=64")
    assert result.state == "unfinished"
    assert 0 < result.images_seen < 64
    cls.interrupts = False
    assert gantrain.train("quickstart", *words, "method=failing", "length=64").state == "finished"


def test_another_device_can_be_used_in_the_same_process() -> None:
    with World("cpu") as world:
        assert world.device.type == "cpu"
    assert PartialState._shared_state
    PartialState._shared_state["device"] = torch.device("cuda")  # as after a run on a GPU
    AcceleratorState._shared_state["device"] = torch.device("cuda")
    with World("cpu") as world:
        assert world.device.type == "cpu"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        gantrain.train("quickstart", *WORDS)
    return folder / "runs/x"


def ids(height: int, width: int) -> np.ndarray:
    array: np.ndarray = draw(0, height, width, seed=9)[0]
    return array


def test_a_list_gives_a_list(run: Path) -> None:
    model = gantrain.load(run, "cpu")
    arrays = [ids(32, 32), ids(40, 24), ids(32, 32)]
    for number, array in enumerate(arrays):
        Image.fromarray(array).save(f"{number}.png")
    mixed = ["0.png", Path("1.png"), Image.open("2.png"), arrays[1]]
    expected = [model.translate(array) for array in arrays]
    results = model.translate(mixed)
    assert [type(result).__name__ for result in results] == ["Image", "Image", "Image", "ndarray"]
    for result, number in zip(results, (0, 1, 2, 1), strict=True):
        assert np.array_equal(np.asarray(result), expected[number])
    assert model.translate(()) == []
    assert model.translate([arrays[1]], size=(16, 16), output_size="network")[0].shape == (
        16,
        16,
        3,
    )


LISTS = {
    "a missing file": (["0.png", "no.png"], None, "image 2 of 2: no.png: "),
    "a folder": (
        ["folder"],
        None,
        "image 1 of 1: image: found the folder folder, allowed: the path of a file; give",
    ),
    "another type": (
        [3],
        None,
        "image 1 of 1: image: found int of shape None, allowed: PIL; numpy",
    ),
    "a wrong class": ([np.full((8, 8), 99, np.uint8)], None, "image 1 of 1: found class id 99"),
    "maps of instances": (
        ["0.png"],
        [],
        "instances: found a list of 0, allowed: a list of 1, one for each image",
    ),
    "one map": (["0.png"], "0.png", "instances: found str, allowed: a list of 1"),
}


@pytest.mark.parametrize("name", LISTS)
def test_wrong_items_of_a_list_are_named(name: str, run: Path) -> None:
    images, instances, says = LISTS[name]
    Path("folder").mkdir()
    Image.fromarray(ids(32, 32)).save("0.png")
    further = {} if instances is None else {"instances": instances}
    with pytest.raises(ValueError, match=r".") as caught:
        gantrain.load(run, "cpu").translate(images, **further)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_alone_is_named_too(run: Path) -> None:
    Path("folder").mkdir()
    with pytest.raises(
        ValueError, match="found the folder folder, allowed: the path of a file; give a list of"
    ):
        gantrain.load(run, "cpu").translate("folder")


def test_a_translator_describes_itself(run: Path) -> None:
    described = repr(gantrain.load(run, "cpu"))
    place = run / "checkpoints/000000016"
    assert described == (
        f"Translator(pix2pix from {place}: 16 images seen, 32x32, ids of 10 classes -> uint8 images of 3 channels, "
        "in fp32 on cpu)"
    )


def test_a_model_is_loaded_with_one_reading_of_its_state(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state may name many damaged samples, and a model may have many files."""
    read = []
    read_json = files.read_json

    def count(path: Path, most: int) -> object:
        read.append(path.name)
        return read_json(path, most)

    monkeypatch.setattr(files, "read_json", count)
    Translator(run / "checkpoints/000000016", torch.device("cpu"))
    assert read == ["state.json"]


def test_a_run_is_evaluated(run: Path) -> None:
    result = gantrain.evaluate(run, metrics=["l1", "swd"], device="cpu")
    assert list(result.values) == ["l1", "swd"]
    assert result.metrics["l1"].n > 8
    assert result.nulls["l1"] is None
    assert result.nulls["swd"] > 0
    assert "l1 0." in repr(result)
    assert ", null " in repr(result)
    several = gantrain.evaluate(run, {"a": "synthetic", "b": "synthetic"}, metrics=["l1"])
    assert several.sets["a"]["l1"].value == several.sets["b"]["l1"].value == result.values["l1"]
    with pytest.raises(
        ValueError, match=r"metrics: found the sets a, b, allowed: one; take sets\[NAME\]"
    ):
        _ = several.values


def test_folders_are_evaluated() -> None:
    for name, seed in (("real", 0), ("fake", 1)):
        Path(name).mkdir()
        for number in range(4):
            Image.fromarray(draw(number, 32, 32, seed=seed)[1]).save(f"{name}/{number}.png")
    result = gantrain.evaluate(
        real="real", fake=Path("fake"), metrics=["l1", "psnr"], crop_border=2
    )
    assert result.values["l1"] > 0
    assert result.about["crop_border"] == 2


EVALUATE = {
    "nothing": (
        {},
        "evaluate: found another choice, allowed: a run, and data if you like; or real and fake",
    ),
    "one folder": ({"real": "a"}, "evaluate: found another choice"),
    "both": ({"run": "x", "real": "a", "fake": "b"}, "evaluate: found another choice"),
    "no run": ({"run": "nowhere"}, "checkpoint: found none at nowhere"),
    "no folder": ({"real": "a", "fake": "b"}, "real: no file or folder a"),
    "a wrong metric": ({"run": "x", "metrics": ["lx"]}, "metrics: found 'lx'"),
    "a wrong device": (
        {"run": "x", "device": "tpu"},
        "device: found 'tpu', allowed: auto, cpu, cuda",
    ),
    "weights that are a text": (
        {"run": "x", "weights": "x"},
        "weights: found 'x', allowed: a dictionary of files by network, as in weights={",
    ),
    "weights that are no path": (
        {"run": "x", "weights": {"inception": 3}},
        "weights: found {'inception': 3}, allowed: a dictionary of files by network",
    ),
}


@pytest.mark.parametrize("name", EVALUATE)
def test_what_cannot_be_evaluated_is_refused(name: str) -> None:
    options, says = EVALUATE[name]
    with pytest.raises(ValueError, match=r".") as caught:
        gantrain.evaluate(**options)
    assert str(caught.value).startswith(says)


# A recipe of the same name in the working folder comes before gantrain's own.
TINY = """
extends: ../usual.yaml
length: 4
batch_size: 4
device: cpu
trackers: []
data: {size: [32, 32], resize: null, workers: 0}
method: {generator: {width: 4, levels: 2}, discriminator: {width: 4, layers: 1}}
evaluate: {max_samples: 4}
"""


@pytest.mark.slow
def test_the_code_of_the_api_page_runs() -> None:
    for folder in ("photos/new", "data/mine", "data/mine_val", "recipes"):
        Path(folder).mkdir(parents=True)
    Path("usual.yaml").write_text((ROOT / "recipes/pix2pix.yaml").read_text())
    Path("recipes/pix2pix.yaml").write_text(TINY)
    for number in (1, 2, 3, 4):
        _, photo, _ = draw(number, 32, 64, seed=9)
        Image.fromarray(photo).save(f"data/mine/{number}.png")
        Image.fromarray(photo).save(f"data/mine_val/{number}.png")
        Image.fromarray(photo[:, :32]).save(f"photos/new/{number}.png")
    Path("script.py").write_text(documents.block("docs/api.md", "python"))
    done = subprocess.run(
        [sys.executable, "script.py"], capture_output=True, text=True, env={**os.environ}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\nfinished 4 {" in done.stdout
    assert json.loads(Path("runs/mine/status.json").read_text())["state"] == "finished"
