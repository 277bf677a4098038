"""`data.degrade`: sources made from targets, from the loader to translated files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SMALL, TRANSLATE, run_here
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from typer.testing import CliRunner

import gantrain
from gantrain import METHODS, NETWORKS, UserError
from gantrain.cli.app import app
from gantrain.core.world import World
from gantrain.data.decode import encode
from gantrain.data.degradations.degradation_table import DEGRADATIONS
from gantrain.data.degradations.source_maker import MASK_FIELD, SOURCE_FIELD, fill_holes
from gantrain.data.field import Field
from gantrain.data.loader import held_out_batches
from gantrain.methods.base import Input
from gantrain.methods.pix2pix import Pix2Pix
from gantrain.recipe import schema
from gantrain.recipe.data_request import sample_transform
from gantrain.recipe.degradation_sizes import scale_of, source_size
from gantrain.training.setup import RunSetup

# One line for each degradation: its component in a recipe, and the channels of the source.
CASES: dict[str, tuple[str, int]] = {
    "bicubic": ("{name: bicubic, scale: 2, keep_size: true}", 3),
    "real_world": ("{name: real_world, scale: 1}", 3),
    "noise": ("{name: noise, sigma: 25}", 3),
    "jpeg": ("{name: jpeg, quality: [10, 40]}", 3),
    "grey": ("grey", 1),
    "mask": ("{name: mask, fraction: [0.2, 0.4]}", 3),
}
WITHOUT_MASK = "data.inputs.mask=null"
WITH_MASK = "data.inputs={}"
SCALED = "[{name: noise, sigma: [5, 10]}, {name: bicubic, scale: 4}, jpeg]"


class WithMask(Pix2Pix):
    """pix2pix whose generator sees where the holes of its source are."""

    inputs = {"mask": Input("mask", required=True)}


class Enlarging(nn.Module):
    """A generator whose images are 4 times larger than its sources."""

    def __init__(self, in_channels: int, out_channels: int, *, width: int = 8) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_channels, width, 3, padding=1)
        self.last = nn.Conv2d(width, 16 * out_channels, 3, padding=1)
        self.shuffle = nn.PixelShuffle(4)

    def forward(self, source: Tensor) -> Tensor:
        fake: Tensor = self.shuffle(self.last(self.first(source).relu())).tanh()
        return fake


@pytest.fixture(autouse=True)
def _own_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "with_mask", WithMask)
    monkeypatch.setitem(NETWORKS, "enlarging", Enlarging)


def words(degrade: str, *more: str) -> tuple[str, ...]:
    return (
        *SMALL,
        "data=synthetic",
        "data.labels={}",
        "data.target=image",
        "data.resize=[40,40]",
        f"data.degrade={degrade}",
        WITHOUT_MASK,
        "batch_size=4",
        "length=8",
        "previews.every=8",
        "previews.samples=2",
        "evaluate.every=8",
        "evaluate.max_samples=4",
        *more,
    )


def setup_of(*keys: str) -> RunSetup:
    return RunSetup(schema.load("quickstart", list(keys)), World("cpu"))


def command(*arguments: str, status: int = 0) -> str:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == status, done.output
    return " ".join(done.output.split())


def test_every_degradation_has_a_case() -> None:
    assert CASES.keys() == DEGRADATIONS.keys()


def batches(setup: RunSetup, workers: int) -> list[dict[str, Tensor]]:
    return [raw.fields for raw in setup.data.loader(0, 8, workers)]


@pytest.mark.parametrize("case", CASES)
def test_sources_are_the_same_for_any_workers_and_held_out_ones_for_any_seed(case: str) -> None:
    degrade, channels = CASES[case]
    setup = setup_of(*words(degrade))
    assert setup.data.dims == {"source_channels": channels, "target_channels": 3}
    alone = batches(setup, 0)
    in_workers = batches(setup, 2)
    other_seed = batches(setup_of(*words(degrade, "seed=1")), 0)
    for first, second in zip(alone, in_workers, strict=True):
        assert all(torch.equal(first[name], second[name]) for name in first)
    assert alone[0][SOURCE_FIELD].dtype == torch.uint8
    assert alone[0][SOURCE_FIELD].shape == (4, 32, 32, channels)
    assert not torch.equal(alone[0][SOURCE_FIELD], other_seed[0][SOURCE_FIELD])
    held_out: list[dict[str, Any]] = []
    for seed, batch_size in (("0", 8), ("1", 3)):
        other = setup_of(*words(degrade, f"seed={seed}"))
        assert other.data.held_out is not None
        transform = sample_transform(other.recipe, other.data.fields, training=False)
        parts = held_out_batches(
            other.data.held_out, transform, range(6), batch_size, damaged=set()
        )
        fields = [raw.fields for raw in parts]
        held_out.append({name: torch.cat([part[name] for part in fields]) for name in fields[0]})
    for name in held_out[0]:
        assert torch.equal(held_out[0][name], held_out[1][name]), name


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_run_learns_from_one_folder_of_images(
    case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    degrade, channels = CASES[case]
    assert run_here(*words(degrade), "run=x") == "finished"
    printed = " ".join(capsys.readouterr().out.split())
    assert f"source: made from image by {case}, height x width 32x32" in printed
    with Image.open(next(Path("runs/x/previews").glob("*.png"))) as sheet:
        assert sheet.size == (4 + 3 * 36, 4 + 2 * 36)
    assert "l1" in command("evaluate", "runs/x", "--device", "cpu", "--metrics", "l1,copy_index")
    image = np.random.default_rng(0).integers(0, 256, (32, 32, channels), np.uint8)
    Path("in").mkdir()
    Path("in/a.png").write_bytes(encode(image, "png"))
    command(*TRANSLATE, "runs/x", "in", "--out", "out", "--device", "cpu")
    with Image.open("out/a.png") as made:
        assert np.array_equal(np.asarray(made), gantrain.load("runs/x", "cpu").translate(image))


@pytest.mark.slow
def test_a_resumed_run_sees_the_same_sources() -> None:
    keys = words(SCALED, "method.generator=enlarging", "evaluate.every=100")
    assert run_here(*keys, "length=16", "run=whole") == "finished"
    assert run_here(*keys, "length=8", "run=parts") == "finished"
    assert run_here(*keys, "length=16", "run=parts") == "finished"
    for file in Path("runs/whole/checkpoints/000000016/networks").glob("*.safetensors"):
        whole = load_file(file)
        parts = load_file(str(file).replace("whole", "parts"))
        assert all(torch.equal(whole[name], parts[name]) for name in whole)
    other = words(SCALED.replace("jpeg", "noise"), "method.generator=enlarging")
    with pytest.raises(UserError, match=r"data\.degrade"):
        run_here(*other, "run=parts", "length=24")


@pytest.mark.slow
def test_the_target_may_be_larger_than_the_source() -> None:
    keys = words(SCALED, "method.generator=enlarging", "evaluate.metrics=[l1,psnr,ssim]")
    setup = setup_of(*keys)
    assert scale_of(setup.recipe.data) == 4
    assert source_size(setup.recipe.data) == (8, 8)
    raw = batches(setup, 0)[0]
    assert raw[SOURCE_FIELD].shape == (4, 8, 8, 3)
    assert raw["image"].shape == (4, 32, 32, 3)
    assert run_here(*keys, "run=x") == "finished"
    with Image.open(next(Path("runs/x/previews").glob("*.png"))) as sheet:
        assert sheet.size == (4 + 3 * 36, 4 + 2 * 36)
    assert "psnr" in command("evaluate", "runs/x", "--device", "cpu", "--metrics", "psnr")
    model = gantrain.load("runs/x", "cpu")
    image = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
    assert model.translate(image).shape == (36, 48, 3)
    Path("in").mkdir()
    Path("in/a.png").write_bytes(encode(image, "png"))
    command(*TRANSLATE, "runs/x", "in", "--out", "out")
    with Image.open("out/a.png") as made:
        assert made.size == (48, 36)


def test_a_generator_that_does_not_enlarge_is_refused() -> None:
    with pytest.raises(UserError) as caught:
        setup_of(*words("{name: bicubic, scale: 4}"))
    text = str(caught.value)
    assert text.startswith("data.degrade: the target is 4 times larger than the source, but the")
    assert "{name: bicubic, scale: 4, keep_size: true}" in text


@pytest.mark.slow
def test_drawn_masks_are_an_input_of_the_method() -> None:
    keys = words("{name: mask, fraction: 0.3, fill: 0.25}", "method.name=with_mask", WITH_MASK)
    setup = setup_of(*keys)
    assert setup.data.dims == {"source_channels": 4, "target_channels": 3}
    raw = batches(setup, 0)[0]
    batch = setup.batch(raw)
    holes = batch["mask"][:, 0] == 1
    assert 0.25 < holes.float().mean() < 0.35
    assert torch.equal(batch["source"][:, 3:], batch["mask"])
    colours = batch["source"][:, :3]
    assert torch.equal(
        torch.where(holes[:, None], 0, colours), torch.where(holes[:, None], 0, batch["target"])
    )
    assert raw[SOURCE_FIELD][raw[MASK_FIELD][..., 0] == 255].unique().tolist() == [64]
    assert run_here(*keys, "run=x") == "finished"
    model = gantrain.load("runs/x", "cpu")
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (32, 32, 3), np.uint8)
    mask = np.zeros((32, 32), np.uint8)
    mask[8:20, 4:16] = 255
    other = image.copy()
    other[8:20, 4:16] = random.integers(0, 256, (12, 12, 3))
    expected = model.translate(image, mask=mask)
    assert np.array_equal(model.translate(other, mask=mask), expected)  # holes are not seen
    for name, array in (("in", image), ("masks", mask)):
        Path(name).mkdir()
        Path(name, "a.png").write_bytes(encode(array, "png"))
    command(*TRANSLATE, "runs/x", "in", "--input", "mask=masks", "--out", "out")
    with Image.open("out/a.png") as made:
        assert np.array_equal(np.asarray(made), expected)
    needs = command(*TRANSLATE, "runs/x", "in", "--out", "more", status=2)
    assert "mask: found none" in needs


def test_holes_are_filled_by_the_range_of_the_field() -> None:
    size: dict[str, Any] = {"member": "x", "channels": 1, "min_size": (2, 2), "max_size": (2, 2)}
    field = Field(dtype="int16", range=(-1000, 1000), **size)
    image = np.array([[[5], [6]], [[7], [8]]], np.int16)
    mask = np.array([[[0], [255]], [[0], [0]]], np.uint8)
    filled = fill_holes(image, mask, 0.5, field)
    assert filled.dtype == np.int16
    assert filled.tolist() == [[[5], [0]], [[7], [8]]]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (("data.degrade=blur",), "data.degrade: found 'blur', allowed: bicubic, real_world"),
        (("data.degrade={name: noise, sigma: 300}",), "data.degrade.sigma: found 300"),
        (("data.degrade={name: jpeg, quality: 0}",), "data.degrade.quality: found 0"),
        (("data.degrade=[mask, jpeg]",), "data.degrade: degradation 1 of 2 makes holes"),
        (
            ("data.degrade={name: bicubic, scale: 8}", "data.size=[36,36]"),
            "data.degrade: an image of 36x36 is to become 8 times smaller",
        ),
        (
            ("data.degrade={name: bicubic, scale: 3, keep_size: true}",),
            "data.degrade: an image of 32x32 is to become 3 times smaller",
        ),
        (
            ("data.degrade=noise", "data.source=photo"),
            "data.source: found photo, allowed: null, since data.degrade makes the source",
        ),
        (("data.degrade=noise", "data.labels={label: 3}"), "data.labels: found"),
        (
            ("data.degrade=noise", "data.color_jitter=0.1", "data.color_jitter_source_only=true"),
            "data.color_jitter_source_only: found true, allowed: false, since data.degrade",
        ),
        (("data.unpaired=true", "data.degrade=noise"), "data.degrade: found"),
        (("data.source=null",), "data.source: found null, allowed: the name of a field"),
        (
            ("data.degrade={name: bicubic, scale: 2}", "data.inputs={instances: ids}"),
            "data.inputs: found instances, allowed: {} with a data.degrade that makes",
        ),
        (
            ("data.degrade=mask", "method.name=with_mask", "data.inputs={mask: holes}"),
            "data.inputs.mask: found holes, allowed: null, since data.degrade draws the masks",
        ),
    ],
)
def test_wrong_degradations_are_one_line(changes: tuple[str, ...], says: str) -> None:
    keys = [*SMALL, "data=synthetic", "data.labels={}", "data.resize=null", *changes]
    with pytest.raises(UserError) as caught:
        setup_of(*keys)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_grey_needs_colours() -> None:
    with pytest.raises(UserError, match=r"^data\.degrade: "):
        setup_of(*words("[grey, grey]"))


def test_a_method_may_do_without_the_mask() -> None:
    with_mask = setup_of(*words("mask", WITH_MASK))
    assert list(with_mask.data.fields) == ["source", "target", "mask"]
    assert list(setup_of(*words("mask")).data.fields) == ["source", "target"]
    with pytest.raises(UserError, match=r"data\.inputs\.mask: with_mask needs it, found none"):
        setup_of(*words("mask", "method.name=with_mask"))
