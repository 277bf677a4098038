"""`data.inputs.instances`: edges of instances from drawn data, through training, to translated files."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, TRANSLATE, run_here
from PIL import Image
from typer.testing import CliRunner

import gantrain
from gantrain.cli.app import app
from gantrain.core.world import World
from gantrain.data.decode import encode
from gantrain.data.synthetic import draw
from gantrain.inference.translator import Translator
from gantrain.metrics.segmentation import Segmenter
from gantrain.recipe import schema
from gantrain.training.setup import RunSetup

METHOD = (
    "method={name: pix2pixhd, losses: {perceptual: 0}, "
    "generator: {name: coarse_to_fine, width: 4, downsampling: 2, blocks: 1}, "
    "discriminator: {name: multiscale_patchgan, width: 4, layers: 1}}"
)
QUICK = (
    "data.size=[32,48]", "data.workers=0", "batch_size=2", "length=4", "log_every=2", "evaluate.every=4",
    "evaluate.max_samples=4", "evaluate.metrics=[l1]", "previews.every=4", "checkpoint.every=4", "precision=fp32",
    "device=cpu", "threads=1", "trackers=[]", "ema.half_life=null", "run=x", METHOD,
)  # fmt: skip
WORDS = (*QUICK, "data.inputs.instances=ids")


def picture(i: int) -> tuple[np.ndarray, np.ndarray]:
    """Class ids and ids of instances, HW."""
    ids, _, shapes = draw(i, 40, 56, seed=9)
    return ids, shapes


@pytest.fixture
def model() -> Translator:
    run_here(*WORDS)
    return gantrain.load("runs/x", device="cpu")


def command(*words: str, status: int = 0) -> str:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == status, done.output
    return " ".join(done.output.split())


@pytest.mark.slow
def test_the_commands_train_evaluate_and_translate_with_instances() -> None:
    words = [sys.executable, "-m", "gantrain", "train", "recipe=cityscapes_pix2pixhd", *WORDS]
    own = ("data=synthetic", "data.inputs.instances=instance", "data.resize=[36,54]")
    done = subprocess.run([*words, *own], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    with Image.open(next(Path("runs/x/previews").glob("*.png"))) as sheet:
        labels = np.asarray(sheet)[4:36, 4:52]
    assert len(np.unique(labels.reshape(-1, 3), axis=0)) <= 10, (
        "a class's colour each, and none for edges"
    )
    assert "fd_random0" in command(
        "evaluate", "runs/x", "--device", "cpu", "--metrics", "fd_random0,copy_index"
    )
    for folder in ("labels", "ids"):
        Path(folder).mkdir()
    for i in range(3):
        for folder, array in zip(("labels", "ids"), picture(i), strict=True):
            Path(folder, f"{i}.png").write_bytes(encode(array, "png"))
    assert "3 images in out" in command(
        *TRANSLATE, "runs/x", "labels", "--out", "out", "--input", "instances=ids"
    )
    model = gantrain.load("runs/x", device="cpu")
    for i in range(3):
        with Image.open(f"out/{i}.png") as made:
            labels_i, ids_i = picture(i)
            expected = model.translate(labels_i, instances=ids_i).astype(int)
            assert (
                np.abs(np.asarray(made) - expected).max() <= 1
            )  # a batch's sums may come in another order
    said = command(*TRANSLATE, "runs/x", "labels", "--out", "new", status=2)
    assert (
        "instances: found none, this model needs ids of instances beside its images, such as"
        in said
    )
    Path("ids/1.png").unlink()
    Path("ids/0.png").write_bytes(encode(picture(0)[1][1:], "png"))
    said = command(
        *TRANSLATE, "runs/x", "labels", "--out", "new", "--input", "instances=ids", status=2
    )
    assert "--input instances: ids lacks a file for 1 image: labels/1.png" in said
    inputs = ("labels/0.png", "labels/2.png")
    said = command(
        *TRANSLATE, "runs/x", *inputs, "--out", "new", "--input", "instances=ids", status=1
    )
    assert "left out: ids/0.png: instances: found uint16 of shape (39, 56, 1), allowed" in said


@pytest.mark.slow
def test_edges_change_the_result_and_ids_by_themselves_do_not(model: Translator) -> None:
    labels, ids = picture(0)
    expected = model.translate(labels, instances=ids)
    assert np.array_equal(
        model.translate(labels, instances=(ids * 31 + 7).astype(np.int64)), expected
    )
    assert not np.array_equal(model.translate(labels, instances=np.zeros_like(ids)), expected)
    label_picture, id_picture = (Image.fromarray(x) for x in (labels, ids))
    result = model.translate(label_picture, instances=id_picture)
    assert np.array_equal(np.asarray(result), expected)
    padded = np.pad(ids.astype(int), 1, mode="edge")
    neighbours = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    edges = np.any([ids != other for other in neighbours], axis=0)
    tensor = torch.from_numpy(np.dstack([np.eye(10)[labels], edges])).permute(2, 0, 1).float()
    values = ((model.translate(tensor).clamp(-1, 1) + 1) * 127.5).permute(1, 2, 0).numpy()
    assert np.abs(values - expected).max() < 0.5 + 1e-3


@pytest.mark.slow
def test_wrong_ids_are_refused(model: Translator) -> None:
    labels, ids = picture(0)
    wrong = {
        "instances: found none, this model needs ids": (labels, None),
        r"found uint16 of shape \(39, 56, 1\), allowed: ids of instances of shape \(40, 56, 1\)": (
            labels,
            ids[1:],
        ),
        "float64 where ids of instances are expected": (labels, ids / 2),
        "instances: found an input beside a tensor": (torch.zeros(11, 40, 56), ids),
        "C = 11": (torch.zeros(10, 40, 56), None),
    }
    for says, arguments in wrong.items():
        image, given = arguments
        further = {} if given is None else {"instances": given}
        with pytest.raises(ValueError, match=says):
            model.translate(image, **further)
    run_here(*QUICK[:-2], METHOD, "run=without")
    with pytest.raises(
        ValueError,
        match="instances: found an input that this model has not learnt with, allowed: none",
    ):
        gantrain.load("runs/without", "cpu").translate(labels, instances=ids)


def test_a_segmenter_does_not_take_edges_for_a_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gantrain.metrics.segmenter_training.STEPS", 2)
    words = [*WORDS, "evaluate.metrics=[miou_unet,copy_index]", "evaluate.best_by=miou_unet"]
    setup = RunSetup(schema.load("quickstart", words), World("cpu"))
    assert setup.data.dims == {"source_channels": 11, "target_channels": 3}
    held_out = setup.make_held_out()
    assert held_out is not None
    found = {record.name: record for record in held_out.metrics(setup.method())}
    assert found["miou_unet"].value is not None
    assert held_out.segmentation is not None
    assert isinstance(network := held_out.segmentation.network, Segmenter)
    assert network.last.out_channels == len(held_out.segmentation.counts[0]) == 10


def test_weights_without_edges_are_a_start() -> None:
    run_here(*QUICK)
    assert run_here(*WORDS, "run=y", "init_from=runs/x") == "finished"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ("data.inputs.instances=label",),
            "data.inputs: found .*'label'.*, allowed: a field of its own for each input, label",
        ),
        (
            ("data.unpaired=true", "data.inputs.instances=ids"),
            "data.inputs: found .*, allowed: {} with data.unpaired",
        ),
    ],
)
def test_a_recipe_that_cannot_have_instances(words: tuple[str, ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        schema.load("quickstart", words)


def test_the_keys_in_the_recipe_of_coco_add_ones_own_instances() -> None:
    """COCO-stuff's archive has no maps of instances; the recipe states where a user's own
    belong, and the keys.
    """
    text = (ROOT / "recipes" / "coco_spade.yaml").read_text(encoding="utf-8")
    keys = re.findall(r"^ *# +(data\.\S+=\S+)$", text, re.MULTILINE)
    assert keys
    folders = {"images": "{}.jpg", "annotations": "{}.png", "instances": "{}.png"}
    for split in ("train2017", "val2017"):
        assert f"FOLDER/instances/{split}" in text
        for i in range(3):
            ids, photograph, shapes = draw(i, 40, 56, seed=9)
            for (folder, name), array in zip(
                folders.items(), (photograph, ids, shapes), strict=True
            ):
                file = Path("coco", folder, split, name.format(i))
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(file)
    command("prepare", "coco", "--out", "data/coco/train", "--as", "coco", "--resize", "36x48")
    command(
        "prepare",
        "coco",
        "--out",
        "data/coco/val",
        "--as",
        "coco",
        "--resize",
        "36x48",
        "--split",
        "val",
    )
    small = (
        "data.size=[32,32]",
        "data.resize=[36,48]",
        "method.losses.perceptual=0",
        "dry_run=true",
        "trackers=[]",
    )
    small = (*small, "method.generator={width: 2, hidden: 4}", "method.discriminator.width=4")
    for own, channels in (((), 183), (tuple(keys), 184)):
        loaded = schema.load("coco_spade", [*small, *own])
        assert RunSetup(loaded, World("cpu")).data.dims["source_channels"] == channels
