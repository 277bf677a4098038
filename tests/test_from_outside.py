"""One class of each sort, in modules of their own: through train, resume, evaluate and translate."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL
from own_code import forgotten, write
from PIL import Image
from typer.testing import CliRunner

import gantrain
from gantrain.cli.app import app
from gantrain.data.decode import encode

MODULES = {
    "mine_format": '''
import struct

import numpy as np

from gantrain import FORMATS, ImageFormat


class Tiny(ImageFormat):
    """`TINY`, height and width in 16 bits, and RGB of 8 bits."""

    extensions = ("tiny",)

    def recognises(self, data: bytes) -> bool:
        return data.startswith(b"TINY")

    def open(self, data: bytes) -> np.ndarray:
        height, width = struct.unpack("<HH", data[4:8])
        return np.frombuffer(data[8:], np.uint8).reshape(height, width, 3)


FORMATS["tiny"] = Tiny()
''',
    "mine_degradation": '''
import numpy as np

from gantrain import DEGRADATIONS, Degradation, Degraded


class Darker(Degradation):
    """Half of the light, or less."""

    def __init__(self, *, factor: float = 0.5) -> None:
        self.factor = factor

    def degrade(self, image: np.ndarray, random: np.random.Generator) -> Degraded:
        return Degraded(image * np.float32(self.factor * random.uniform(0.5, 1)))


DEGRADATIONS["darker"] = Darker
''',
    "mine_kind": '''
from gantrain import KINDS
from gantrain.data.kinds.image import ImageKind


class Hint(ImageKind):
    """Grey hints, which networks see from 0 to 1."""

    name = "hint"
    content = "hints"
    has_range = False

    def normalise(self, raw, field, dtype, device):
        return (raw.to(dtype) / 255).permute(0, 3, 1, 2)

    def picture(self, images, field):
        return super().picture(images * 2 - 1, field)


KINDS["hint"] = Hint()
''',
    "mine_network": """
from torch import Tensor, nn

from gantrain import NETWORKS, Generator


class Plain(Generator):
    multiple = 2

    def __init__(self, in_channels: int, out_channels: int, *, width: int = 8) -> None:
        super().__init__()
        first = nn.Conv2d(in_channels, width, 3, padding=1)
        self.layers = nn.Sequential(first, nn.GELU(), nn.Conv2d(width, out_channels, 1), nn.Tanh())

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


NETWORKS["plain"] = Plain
""",
    "mine_method": '''
from gantrain import METHODS, Input
from gantrain.methods.pix2pix import Pix2Pix


class Hinted(Pix2Pix):
    """pix2pix whose generator sees hints."""

    inputs = {**Pix2Pix.inputs, "hint": Input("hint", required=True)}


METHODS["hinted"] = Hinted
''',
    "mine_loss": '''
from torch import Tensor

from gantrain import RECONSTRUCTION, ReconstructionLoss


class Cubed(ReconstructionLoss):
    """The mean of the cubed difference."""

    def __init__(self) -> None:
        super().__init__()

    def forward(self, fake: Tensor, target: Tensor) -> Tensor:
        return (fake.float() - target.float()).abs().pow(3).mean()


RECONSTRUCTION["cubed"] = Cubed
''',
    "mine_metric": '''
from gantrain.metrics.paired import PAIRED


def worst(fake, target):
    """Return the largest difference of an image."""
    return (fake - target).abs().amax((1, 2, 3))


PAIRED["worst"] = worst
''',
}
IMPORTS = [word for name in MODULES for word in ("--import", name)]
KEYS = (
    *SMALL,
    "data.train=photos/train",
    "data.labels={}",
    "data.target=image",
    "data.resize=null",
    "data.degrade=darker",
    "data.inputs.hint=hint",
    "method={name: hinted, generator: plain, discriminator: {name: patchgan, width: 8}}",
    "method.losses.cubed=5",
    "data.validation=auto",
    "evaluate.metrics=[worst,l1]",
    "evaluate.best_by=worst",
    "evaluate.every=8",
    "batch_size=4",
    "run=x",
)


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    with forgotten():
        for name, code in MODULES.items():
            write(name, code)
        yield


def tiny(array: np.ndarray) -> bytes:
    height, width, _ = array.shape
    return b"TINY" + height.to_bytes(2, "little") + width.to_bytes(2, "little") + array.tobytes()


def draw(folder: Path, count: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    for name in ("image", "hint"):
        (folder / name).mkdir(parents=True)
    for number in range(count):
        photograph = random.integers(0, 256, (32, 32, 3), np.uint8)
        (folder / "image" / f"{number}.tiny").write_bytes(tiny(photograph))
        hint = encode(photograph.max(2), "png")
        (folder / "hint" / f"{number}.png").write_bytes(hint)


def command(*arguments: str, status: int = 0) -> str:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == status, done.output
    return " ".join(done.output.split())


@pytest.mark.slow
def test_classes_of_every_sort_go_through_every_command() -> None:
    draw(Path("photos/train"), 8, seed=0)
    draw(Path("photos/val"), 4, seed=1)
    train = ("train", "recipe=quickstart", *KEYS, *IMPORTS)
    assert "finished: trained on 8 images" in command(*train, "length=8")
    assert "resuming at image 8" in command(*train, "length=16")
    rows = Path("runs/x/metrics.jsonl").read_text().splitlines()
    assert any("cubed" in json.loads(row) for row in rows)
    assert any("val_worst" in json.loads(row) for row in rows)
    state = json.loads(Path("runs/x/checkpoints/000000016/state.json").read_text())
    assert sorted(state["modules"]) == sorted(MODULES)
    assert state["fields"]["hint"]["kind"] == "hint"
    measured = command("evaluate", "runs/x", "--metrics", "worst", "--device", "cpu", *IMPORTS)
    assert "worst" in measured
    command(
        "translate",
        "runs/x",
        "photos/val/image",
        "--input",
        "hint=photos/val/hint",
        "--out",
        "out",
        *IMPORTS,
    )
    assert len(list(Path("out").glob("*.png"))) == 4
    model = gantrain.load("runs/x", "cpu")
    expected = model.translate("photos/val/image/0.tiny", hint="photos/val/hint/0.png")
    with Image.open("out/0.png") as made:
        assert np.array_equal(np.asarray(made), np.asarray(expected))


@pytest.mark.slow
def test_a_command_without_the_modules_names_them() -> None:
    draw(Path("photos/train"), 8, seed=0)
    draw(Path("photos/val"), 4, seed=1)
    command("train", "recipe=quickstart", *KEYS, *IMPORTS, "length=8")
    words = [sys.executable, "-m", "gantrain", "translate", "runs/x", "photos/val/image"]
    done = subprocess.run([*words, "--out", "out"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    line = " ".join(done.stderr.split())
    assert all(name in line for name in MODULES), line
    assert "--import" in line
    assert "Traceback" not in line
