"""Inputs beside source and target: a method's roles, from synthetic data to translated files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SMALL, TRANSLATE, run_here
from PIL import Image
from typer.testing import CliRunner

import gantrain
from gantrain import METHODS, UserError
from gantrain.cli.app import app
from gantrain.core.world import World
from gantrain.data.batch import as_batch, data_dims
from gantrain.data.decode import decode, encode
from gantrain.data.field import Field
from gantrain.data.kinds.kind import NotLabels
from gantrain.data.kinds.table import KINDS
from gantrain.data.prepare.pack import prepare
from gantrain.data.shards import Shards
from gantrain.data.synthetic import draw
from gantrain.methods.base import Input, Method
from gantrain.methods.pix2pix import Pix2Pix
from gantrain.recipe import schema
from gantrain.recipe.data_request import data_request
from gantrain.training.setup import RunSetup

SIZE = {"member": "x", "min_size": (16, 16), "max_size": (16, 16)}


class WithMask(Pix2Pix):
    """pix2pix whose generator sees where the holes of its source are."""

    inputs = {"mask": Input("mask", required=True)}


class WithDepth(Pix2Pix):
    """pix2pix with a second source, an image of one channel."""

    inputs = {**Method.inputs, "depth": Input("image")}


@pytest.fixture(autouse=True)
def _own_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "with_mask", WithMask)
    monkeypatch.setitem(METHODS, "with_depth", WithDepth)


def words(method: str, *inputs: str) -> tuple[str, ...]:
    return (
        *SMALL,
        f"method.name={method}",
        *(f"data.inputs.{role}={role}" for role in inputs),
        "data.size=[32,32]",
        "batch_size=4",
        "length=8",
        "previews.every=8",
        "previews.samples=2",
        "evaluate.max_samples=4",
    )


def command(*arguments: str, status: int = 0) -> str:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == status, done.output
    return " ".join(done.output.split())


CASES = {
    "mask": ("with_mask", ("mask",), 11),
    "depth": ("with_depth", ("depth",), 11),
    "instances and depth": ("with_depth", ("instances", "depth"), 12),
    "none of the optional ones": ("with_depth", (), 10),
}


@pytest.mark.parametrize("case", CASES)
def test_inputs_follow_the_source_in_the_methods_order(case: str) -> None:
    method, inputs, channels = CASES[case]
    recipe = schema.load("quickstart", [*words(method, *reversed(inputs)), "dry_run=true"])
    setup = RunSetup(recipe, World("cpu"))
    assert setup.data.dims == {"source_channels": channels, "target_channels": 3}
    assert [*setup.data.fields] == ["source", "target", *inputs]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_run_has_its_inputs_everywhere(case: str) -> None:
    method, inputs, channels = CASES[case]
    assert run_here(*words(method, *inputs), "run=x") == "finished"
    with Image.open(next(Path("runs/x/previews").glob("*.png"))) as sheet:
        assert sheet.width == 4 + (3 + len(inputs)) * 36
    assert "l1" in command("evaluate", "runs/x", "--device", "cpu", "--metrics", "l1")
    ids, _, shapes = draw(0, 32, 32, seed=9)
    mask = np.zeros((32, 32), np.uint8)
    mask[8:16, 4:20] = 255
    arrays = {"instances": shapes, "depth": mask, "mask": mask}
    folders = []
    for name, array in {"labels": ids, **{role: arrays[role] for role in inputs}}.items():
        Path(name).mkdir()
        Path(name, "a.png").write_bytes(encode(array, "png"))
        folders += [] if name == "labels" else ["--input", f"{name}={name}"]
    command(*TRANSLATE, "runs/x", "labels", "--out", "out", "--device", "cpu", *folders)
    model = gantrain.load("runs/x", "cpu")
    given = {role: arrays[role] for role in inputs}
    expected = model.translate(ids, **given)
    with Image.open("out/a.png") as made:
        assert np.array_equal(np.asarray(made), expected)
    several = model.translate([ids, ids], **{role: [array] * 2 for role, array in given.items()})
    assert all(np.array_equal(result, expected) for result in several)
    for role in inputs:
        other = {**given, role: np.zeros_like(arrays[role])}
        assert not np.array_equal(model.translate(ids, **other), expected), role
        with pytest.raises(UserError, match=rf"^{role}: found none, this model needs "):
            model.translate(ids, **{key: given[key] for key in given if key != role})
    with pytest.raises(UserError, match=r"^depht: found an input that this model has not learnt"):
        model.translate(ids, depht=mask, **given)
    tensor = torch.zeros(channels, 32, 32)
    assert model.translate(tensor).shape == (3, 32, 32)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (("method.name=with_mask",), "data.inputs.mask: with_mask needs it, found none; give the"),
        (
            ("method.name=with_mask", "data.inputs.depth=x", "data.inputs.mask=y"),
            "data.inputs.depth: with_mask takes no such input, allowed: mask",
        ),
    ],
)
def test_roles_are_those_of_the_method(changes: tuple[str, ...], says: str) -> None:
    with pytest.raises(UserError) as caught:
        data_request(schema.load("quickstart", list(changes)))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_batch_has_each_input_under_its_role_and_in_the_source() -> None:
    fields = {
        "source": Field(channels=3, **SIZE),
        "target": Field(channels=3, **SIZE),
        "mask": Field(channels=1, kind="mask", **SIZE),
    }
    mask = torch.zeros(2, 16, 16, 1, dtype=torch.uint8)
    mask[:, :4] = 255
    raw = {
        "source": torch.full((2, 16, 16, 3), 255, dtype=torch.uint8),
        "target": torch.zeros(2, 16, 16, 3, dtype=torch.uint8),
        "mask": mask,
    }
    batch = as_batch(raw, fields, torch.float32, torch.device("cpu"))
    assert data_dims(fields) == {"source_channels": 4, "target_channels": 3}
    assert torch.equal(batch["mask"], (mask > 0).permute(0, 3, 1, 2).float())
    assert torch.equal(batch["source"][:, 3:], batch["mask"])
    assert torch.equal(batch["source"][:, :3], torch.ones(2, 3, 16, 16))


MASKS = {
    "white": (np.array([[0, 255]], np.uint8), np.array([[0, 255]])),
    "one": (np.array([[0, 1]], np.uint8), np.array([[0, 1]])),
    "no hole": (np.zeros((1, 2), np.uint8), np.array([[0, 0]])),
    "wide integers": (np.array([[0, 1]], np.int64), np.array([[0, 1]])),
    "all hole": (np.full((1, 2), 255, np.uint8), np.array([[255, 255]])),
    "16 bits": (np.array([[0, 65535]], np.uint16), np.array([[0, 65535]])),
    "RGB": (np.array([[[0] * 3, [255] * 3]], np.uint8), np.array([[0, 255]])),
}


@pytest.mark.parametrize("name", MASKS)
def test_masks_are_read_as_they_are(name: str) -> None:
    array, expected = MASKS[name]
    read = decode(encode(array, "npy" if array.dtype == np.int64 else "png"), "mask")
    assert np.array_equal(read[..., 0], expected)
    assert read.dtype.name in ("uint8", "uint16")


NO_MASKS = {
    "grey edges": (np.array([[0, 128, 255]], np.uint8), r"3 values \(0 to 255\)"),
    "no 0": (np.array([[1, 2]], np.uint8), r"2 values \(1 to 2\)"),
    "colours": (np.array([[[1, 2, 3]]], np.uint8), "3-channel uint8 where a mask is expected"),
    "floats": (np.array([[0.0, 1.0]], np.float32), "1-channel float32 where a mask is expected"),
}


@pytest.mark.parametrize("name", NO_MASKS)
def test_what_is_no_mask_is_refused(name: str) -> None:
    array, says = NO_MASKS[name]
    with pytest.raises(NotLabels, match=says):
        decode(encode(array, "npy"), "mask")


def test_a_jpeg_is_no_mask() -> None:
    data = encode(np.zeros((16, 16, 3), np.uint8), "jpg")
    with pytest.raises(NotLabels, match="a JPEG where masks are expected: its loss changes"):
        decode(data, "mask")


@pytest.mark.slow
def test_prepared_masks_train_a_method_that_needs_them() -> None:
    for i in range(6):
        ids, photograph, _ = draw(i, 40, 40, seed=3)
        mask = np.zeros((40, 40), np.uint8)
        mask[i : i + 9, 5:30] = 255
        arrays = {"label": ids, "photo": photograph, "hole": mask}
        for name, array in arrays.items():
            Path("set", name).mkdir(parents=True, exist_ok=True)
            Path("set", name, f"{i}.png").write_bytes(encode(array, "png"))
    report = prepare("set", "packed", labels=["label"], kinds={"hole": "mask"}, progress=False)
    assert report.samples == 6
    assert Shards.open("packed").fields["hole"].kind == "mask"
    run = [
        *words("with_mask"),
        "data.validation=null",
        "data.labels={}",
        "data.inputs.mask=hole",
        "data.resize=null",
    ]
    for number, train in enumerate(("packed", "set")):  # the second is packed when it is used
        labels = "data.labels={label: 10}"
        assert run_here(*run, labels, f"data.train={train}", f"run=r{number}") == "finished"


def test_every_kind_is_described_in_the_documentation() -> None:
    assert set(KINDS) == {"image", "label", "instances", "mask"}
    text = (Path(__file__).parent.parent / "docs" / "data.md").read_text(encoding="utf-8")
    for kind in KINDS.values():
        if kind.prepare_option:
            assert f"`{kind.prepare_option} " in text, kind.name


SOURCES = {
    "label map first": ("[label,depth]", {"label": 10}, 11),
    "label map second": ("[map,label]", {"label": 10}, 13),
    "two label maps": ("[label,label2]", {"label": 10, "label2": 7}, 17),
    "three": ("[map,label,depth]", {"label": 10}, 14),
}


@pytest.mark.parametrize("case", SOURCES)
@pytest.mark.parametrize("instances", [False, True])
def test_several_sources_follow_one_another(case: str, instances: bool) -> None:
    """The channels of the sources come in their order, and those of further inputs behind them."""
    sources, labels, channels = SOURCES[case]
    keys = [*words("pix2pix"), f"data.source={sources}", f"data.labels={labels}"]
    if instances:
        keys.append("data.inputs.instances=instances")
    setup = RunSetup(schema.load("quickstart", [*keys, "dry_run=true"]), World("cpu"))
    assert setup.data.dims == {"source_channels": channels + instances, "target_channels": 3}
    roles = ["source", *(f"source{n}" for n in range(2, 2 + sources.count(",")))]
    further = ["instances"] if instances else []
    assert [*setup.data.fields] == ["source", "target", *roles[1:], *further]
    names = [setup.data.names[role] for role in roles]
    assert f"[{','.join(names)}]" == sources


def test_each_source_is_seen_by_its_own_kind_and_range() -> None:
    fields = {
        "source": Field(channels=1, dtype="int16", range=(-1000, 1000), **SIZE),
        "target": Field(channels=3, **SIZE),
        "source2": Field(channels=1, kind="label", classes=3, **SIZE),
        "source3": Field(channels=2, dtype="float32", range=(0, 4), **SIZE),
        "instances": Field(channels=1, dtype="uint16", kind="instances", **SIZE),
    }
    raw = {
        "source": torch.full((2, 16, 16, 1), 500, dtype=torch.int16),
        "target": torch.zeros(2, 16, 16, 3, dtype=torch.uint8),
        "source2": torch.full((2, 16, 16, 1), 2, dtype=torch.uint8),
        "source3": torch.full((2, 16, 16, 2), 3.0),
        "instances": torch.zeros(2, 16, 16, 1).to(torch.uint16),
    }
    batch = as_batch(raw, fields, torch.float32, torch.device("cpu"))
    assert data_dims(fields) == {"source_channels": 7, "target_channels": 3}
    expected = [0.5, 0, 0, 1, 0.5, 0.5, 0]
    assert batch["source"][1, :, 3, 5].tolist() == expected


@pytest.mark.slow
def test_a_run_with_several_sources_is_whole() -> None:
    keys = (*words("pix2pix"), "data.source=[label,depth]", "run=x")
    assert run_here(*keys) == "finished"
    with Image.open(next(Path("runs/x/previews").glob("*.png"))) as sheet:
        assert sheet.width == 4 + 4 * 36
    assert "l1" in command("evaluate", "runs/x", "--device", "cpu", "--metrics", "l1")
    ids, _, shapes = draw(0, 32, 32, seed=9)
    depth = (shapes % 256).astype(np.uint8)
    for name, array in (("labels", ids), ("depths", depth)):
        Path(name).mkdir()
        Path(name, "a.png").write_bytes(encode(array, "png"))
    needs = command(*TRANSLATE, "runs/x", "labels", "--out", "out", status=2)
    assert (
        "source2: found none, this model needs images beside its images, such as depth of" in needs
    )
    command(*TRANSLATE, "runs/x", "labels", "--out", "out", "--input", "source2=depths")
    model = gantrain.load("runs/x", "cpu")
    expected = model.translate(ids, source2=depth)
    with Image.open("out/a.png") as made:
        assert np.array_equal(np.asarray(made), expected)
    assert not np.array_equal(model.translate(ids, source2=np.zeros_like(depth)), expected)
    colours = np.repeat(depth[..., None] if depth.ndim == 2 else depth, 3, axis=2)
    assert np.array_equal(model.translate(ids, source2=colours), expected)  # grey again


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (("data.source=[label,label]",), "data.source: found ['label', 'label'], allowed: each"),
        (("data.source=[]",), "data.source"),
        (("data.source=[label,photo]",), "data.target: found 'photo', allowed: another field than"),
        (
            ("data.source=[label,depth]", "data.inputs.instances=depth"),
            "allowed: a field of its own for each input, depth is used already",
        ),
        (
            ("data.unpaired=true", "data.source=[label,depth]"),
            "data.source: found ['label', 'depth'], allowed: one field with data.unpaired",
        ),
    ],
)
def test_wrong_sources_are_one_line(changes: tuple[str, ...], says: str) -> None:
    with pytest.raises(UserError) as caught:
        schema.load("quickstart", list(changes))
    assert says in str(caught.value)
