"""Classes from outside gantrain whose functions raise: one line in each command, no traceback."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SMALL
from own_code import forgotten
from torch import Tensor, nn
from typer.testing import CliRunner

from gantrain import (
    DEGRADATIONS,
    FORMATS,
    KINDS,
    METHODS,
    RECONSTRUCTION,
    Degradation,
    Degraded,
    ImageFormat,
    Input,
    ReconstructionLoss,
    UserError,
)
from gantrain.cli.app import app
from gantrain.core.own_code import OwnCodeFailed, naming_failure
from gantrain.core.rng import Purpose, random_numbers
from gantrain.data.decode import decode, encode
from gantrain.data.degradations.degradation_table import build_degradation
from gantrain.data.kinds.image import ImageKind
from gantrain.data.loader import merge_streams, training_loader
from gantrain.data.prepare.pack import prepare
from gantrain.data.sample_order import Order
from gantrain.data.shards import Shards
from gantrain.data.transforms import SampleTransform
from gantrain.methods.adversarial_game import JudgedImages
from gantrain.methods.base import Context
from gantrain.methods.pix2pix import Pix2Pix
from gantrain.methods.reconstruction import Reconstruction
from gantrain.metrics.metric_suite import MetricSuite
from gantrain.metrics.paired import PAIRED

PLACE = r"KeyError: 'broken' \(\S*test_failures_from_outside\.py, line \d+\)"


class Hint(ImageKind):
    """Grey hints; a test lets one of the functions raise."""

    name = "hint"
    content = "hints"
    has_range = False


class Hinted(Pix2Pix):
    """pix2pix whose generator sees hints."""

    inputs = {**Pix2Pix.inputs, "hint": Input("hint", required=True)}


def fail(*_: object, **__: object) -> Any:
    raise KeyError("broken")


def break_function(monkeypatch: pytest.MonkeyPatch, function: str) -> str:
    """Let a function of the kind raise, and return the pattern of the line that names it."""
    monkeypatch.setattr(Hint, function, fail)
    return rf"Hint\.{function} raised {PLACE}; correct it there"


@pytest.fixture(autouse=True)
def _tables() -> Iterator[None]:
    with forgotten():
        KINDS["hint"] = Hint()
        METHODS["hinted"] = Hinted
        yield


def draw(folder: Path, count: int = 8) -> Path:
    random = np.random.default_rng(0)
    for name in ("image", "photo", "hint"):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            channels = 1 if name == "hint" else 3
            pixels = random.integers(0, 256, (32, 32, channels), np.uint8)
            (folder / name / f"{number}.png").write_bytes(encode(pixels, "png"))
    return folder


def words(*more: str) -> tuple[str, ...]:
    return (
        "recipe=quickstart",
        *SMALL,
        "data.train=photos/train",
        "data.labels={}",
        "data.target=photo",
        "data.source=image",
        "data.resize=null",
        "data.inputs.hint=hint",
        "method={name: hinted, generator: {name: unet, width: 8, levels: 3}, discriminator: {name: patchgan, width: 8}}",
        "evaluate.metrics=[l1]",
        "evaluate.every=8",
        "batch_size=4",
        "length=8",
        "run=x",
        *more,
    )


def command(*arguments: str, status: int = 2) -> str:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == status, done.output
    assert "Traceback" not in done.output
    return " ".join(done.output.split())


@pytest.mark.parametrize("function", ["check", "usual_format", "can_fit", "resize_for_storage"])
def test_kinds_that_fail_while_files_are_packed(
    function: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = break_function(monkeypatch, function)
    if function == "can_fit":  # which the kind's own choice of a format calls
        monkeypatch.setattr(Hint, "usual_format", lambda self, counts: next(iter(counts)))
    draw(tmp_path / "in", 2)
    with pytest.raises(OwnCodeFailed, match=f"^{line}$"):
        prepare(
            tmp_path / "in",
            tmp_path / "out",
            kinds={"hint": "hint"},
            resize=(16, 16),
            progress=False,
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "function", ["check", "network_channels", "resize", "normalise", "picture"]
)
def test_kinds_that_fail_in_a_dry_run(function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(Path("photos/train"))
    line = break_function(monkeypatch, function)
    output = command("train", *words("dry_run=true", "data.validation=null"))
    assert re.search(line, output), output


WRONG: dict[str, Callable[..., object]] = {
    "resize": lambda self, array, height, width: array,
    "normalise": lambda self, raw, field, dtype, device: raw.to(dtype),
    "picture": lambda self, images, field: images,
}


@pytest.mark.parametrize("function", WRONG)
def test_kinds_that_give_something_else(function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(Path("photos/train"))
    monkeypatch.setattr(Hint, function, WRONG[function])
    output = command("train", *words("dry_run=true", "data.validation=null"))
    assert re.search(rf"hint: Hint\.{function} gives .* of shape .*, allowed: \S+ of shape", output)


@pytest.mark.parametrize("workers", [0, 1])
def test_kinds_that_fail_in_the_loader(
    workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process of the loader hands the line over."""
    prepare(draw(tmp_path / "in"), tmp_path / "out", kinds={"hint": "hint"}, progress=False)
    line = break_function(monkeypatch, "fit")
    kinds = {name: KINDS[name] for name in ("image", "hint")}
    loader = training_loader(
        Shards.open(tmp_path / "out"),
        SampleTransform(kinds, (32, 32), None),
        order=Order([8], 0),
        start=0,
        stop=4,
        batch_size=4,
        slots=range(4),
        workers=workers,
    )
    (batch,) = loader
    with pytest.raises(OwnCodeFailed, match=f"^{line}$"):
        merge_streams(batch)


@pytest.mark.slow
def test_kinds_that_fail_in_commands_on_a_run() -> None:
    draw(Path("photos/train"))
    draw(Path("photos/val"))
    command("train", *words("data.validation=auto"), status=0)
    draw(Path("photos/hidden"))  # which nothing has packed
    doctored = words("run=z", "data.validation=null")
    evaluate = ("evaluate", "runs/x", "--metrics", "l1", "--device", "cpu")
    translate = ("translate", "runs/x", "photos/val/image", "--input", "hint=photos/val/hint")
    cases = {
        "check": [(*translate, "--out", "a"), ("doctor", *doctored, "data.train=photos/hidden")],
        "fit": [evaluate, ("doctor", *doctored)],
        "normalise": [evaluate, (*translate, "--out", "b"), ("doctor", *doctored)],
        "describe": [("train", *words("run=y", "data.validation=auto"))],
    }
    for function, commands in cases.items():
        with pytest.MonkeyPatch.context() as patch:
            line = break_function(patch, function)
            for arguments in commands:
                status = 1 if arguments[0] == "doctor" else 2
                output = command(*arguments, status=status)
                assert re.search(line, output), (arguments, output)


def test_synthetic_data_hold_no_kinds_from_outside() -> None:
    output = command("train", *words("data.train=synthetic", "dry_run=true"))
    assert "data=synthetic draws no hint, allowed: image, instances, mask; give files" in output


class Tiny(ImageFormat):
    extensions = ("tiny",)

    def recognises(self, data: bytes) -> bool:
        return data.startswith(b"TINY")

    def open(self, data: bytes) -> np.ndarray:
        raise KeyError("broken")


def test_formats_that_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """`open` may raise anything for damaged bytes, and `recognises` may not."""
    FORMATS["tiny"] = Tiny()
    with pytest.raises(UserError, match=rf"^does not decode: Tiny\.open raised {PLACE}"):
        decode(b"TINY")
    Path("in").mkdir()
    Path("in/0.tiny").write_bytes(b"TINY")
    output = command("prepare", "in", "--out", "out", "--as", "images")
    assert re.search(rf"0\.tiny: does not decode: Tiny\.open raised {PLACE}", output), output
    monkeypatch.setattr(Tiny, "recognises", fail)
    output = command("prepare", "in", "--out", "out", "--as", "images")
    assert re.search(rf"gantrain: Tiny\.recognises raised {PLACE}", output), output


class Darker(Degradation):
    def degrade(self, image: np.ndarray, random: np.random.Generator) -> Degraded:
        return Degraded(image)


@pytest.mark.parametrize("function", ["__init__", "channels_after", "size_after", "degrade"])
def test_degradations_that_fail(function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    DEGRADATIONS["darker"] = Darker
    monkeypatch.setattr(Darker, function, fail)
    image = np.zeros((16, 16, 3), np.float32)
    with pytest.raises(OwnCodeFailed, match=rf"^Darker\.{function} raised {PLACE}"):
        build_degradation("darker").degrade(image, random_numbers(0, 0, Purpose.DEGRADATION))


class Cubed(ReconstructionLoss):
    def forward(self, fake: Tensor, target: Tensor) -> Tensor:
        raise KeyError("broken")


def test_reconstruction_losses_that_fail() -> None:
    RECONSTRUCTION["cubed"] = Cubed
    losses = Reconstruction(nn.ModuleDict(), {}, {"cubed": 1.0}, channels=3)
    images = torch.zeros(1, 3, 8, 8)
    judged = JudgedImages([], list)
    with pytest.raises(OwnCodeFailed, match=rf"^Cubed\.forward raised {PLACE}"):
        losses.terms({"target": images}, images, judged, Context(0, 0, 1, (0,), stage_start=0))


def worst(fake: Tensor, target: Tensor) -> Tensor:
    raise KeyError("broken")


def test_metrics_that_fail() -> None:
    PAIRED["worst"] = worst
    suite = MetricSuite(["worst"], torch.device("cpu"), {}, total=1)
    images = torch.zeros(1, 3, 8, 8)
    with pytest.raises(OwnCodeFailed, match=rf"^worst raised {PLACE}"):
        suite.add(images, images)


@pytest.mark.parametrize(
    "error", [UserError("a line"), MemoryError(), RuntimeError("CUDA out of memory")]
)
def test_errors_that_stay_as_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, naming_failure(Darker(), "degrade"):
        raise error
    assert caught.value is error


def test_errors_of_gantrain_stay_as_they_are() -> None:
    with pytest.raises(KeyError, match="broken"), naming_failure(KINDS["image"], "check"):
        fail()
