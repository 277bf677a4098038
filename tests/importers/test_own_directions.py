"""A method from outside with a reverse direction, whose networks have other names than CycleGAN's.

It trains, continues, is measured, translates in both directions, and takes the files of another
project's networks.
"""

from pathlib import Path

import numpy as np
import peer_layouts as peers
import pytest
import torch
from conftest import SMALL, run_here
from safetensors.torch import load_file
from test_importing import run, saved
from torch import Tensor, nn

import gantrain
from gantrain import METHODS, Batch, Context, Method, NetworkRole, Phase, Terms
from gantrain.core.component import build
from gantrain.methods.adversarial_game import DiscriminatorOption, GeneratorOption
from gantrain.methods.image_pool import ImagePool
from gantrain.networks import NETWORKS
from gantrain.recipe import schema
from gantrain.recipe.build_method import check_method, sketch_method

GENERATOR = {"name": "resnet", "width": 4, "blocks": 2}
JUDGE = {"name": "patchgan", "width": 4, "norm": "instance", "layers": 1}


class TwoWay(Method):
    """A least-squares game in each direction, and the error of the cycle."""

    inference = ("there", "home")
    roles = {
        "there": NetworkRole("generator"),
        "home": NetworkRole("generator", back=True),
        "judge_there": NetworkRole("discriminator"),
        "judge_home": NetworkRole("discriminator", back=True),
    }
    has_back = True

    def __init__(
        self,
        source_channels: int,
        target_channels: int,
        *,
        generator: GeneratorOption = GENERATOR,
        discriminator: DiscriminatorOption = JUDGE,
    ) -> None:
        super().__init__()
        ends = {"there": (source_channels, target_channels)}
        ends["home"] = (target_channels, source_channels)
        for name, (before, after) in ends.items():
            self.networks[name] = build(NETWORKS, generator, in_channels=before, out_channels=after)
            self.networks[f"judge_{name}"] = build(
                NETWORKS, discriminator, in_channels=after, image_channels=after
            )
        self.pools = {name: ImagePool(8, f"two_way.{name}") for name in ends}
        self.phases = (
            Phase("generators", ("there", "home"), self.generators_terms),
            Phase("judges", ("judge_there", "judge_home"), self.judges_terms),
        )

    def translate(self, batch: Batch) -> Tensor:
        fake: Tensor = self.networks["there"](batch["source"])
        return fake

    def translate_back(self, batch: Batch) -> Tensor:
        fake: Tensor = self.networks["home"](batch["source"])
        return fake

    def generators_terms(self, batch: Batch, carried: Batch | None, context: Context) -> Terms:
        fakes = {"there": self.translate(batch)}
        fakes["home"] = self.translate_back({"source": batch["target"]})
        losses = {
            f"gan_{name}": (self.networks[f"judge_{name}"](fake)[0][-1] - 1).square().mean()
            for name, fake in fakes.items()
        }
        cycled = self.networks["home"](fakes["there"])
        losses["cycle"] = (cycled - batch["source"]).abs().mean()
        return Terms(losses, carried={name: fake.detach() for name, fake in fakes.items()})

    def judges_terms(self, batch: Batch, carried: Batch | None, context: Context) -> Terms:
        assert carried is not None
        losses = {}
        for name, real in (("there", batch["target"]), ("home", batch["source"])):
            judge = self.networks[f"judge_{name}"]
            fake = self.pools[name](carried[name], context)
            on_real = (judge(real)[0][-1] - 1).square().mean()
            losses[f"d_{name}"] = on_real + judge(fake)[0][-1].square().mean()
        return Terms(losses)


@pytest.fixture(autouse=True)
def _own_method(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "two_way", TwoWay)


WORDS = (
    *(word for word in SMALL if not word.startswith(("method.", "evaluate."))),
    "method=two_way",
    "data.unpaired=true",
    "data.labels={}",
    "evaluate.metrics=[histogram]",
    "evaluate.best_by=histogram",
    "evaluate.max_samples=4",
    "batch_size=4",
    "run=x",
)


@pytest.mark.slow
def test_it_trains_and_translates_in_both_directions() -> None:
    assert run_here(*WORDS, "length=8") == "finished"
    assert run_here(*WORDS, "length=16") == "finished"  # with its pools
    assert gantrain.evaluate("runs/x", device="cpu").values["histogram"] > 0
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    there = gantrain.load("runs/x", "cpu")
    home = gantrain.load("runs/x", "cpu", back=True)
    x = torch.from_numpy(image).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        expected = there.method.networks["home"](x)
    torch.testing.assert_close(home.translate(x), expected)
    assert (there.translate(image) != home.translate(image)).any()


def test_the_error_of_other_methods_names_it() -> None:
    run_here(*SMALL, "batch_size=8", "length=8", "run=one_way")
    with pytest.raises(ValueError, match="allowed: one of cyclegan or two_way between images"):
        gantrain.load("runs/one_way", "cpu", back=True)


def save_files() -> dict[str, dict[str, Tensor]]:
    """Write the files of a CycleGAN of another project, and return their tensors."""
    networks: dict[str, nn.Module] = {}
    for domain in "AB":
        networks[f"G_{domain}"] = peers.drawn(peers.ResNet(blocks=2))
        networks[f"D_{domain}"] = peers.drawn(peers.PatchGAN(layers=1, norm="instance"))
    return {name: saved(network, name=f"5_net_{name}.pth") for name, network in networks.items()}


FILES = ["5_net_D_B.pth", "5_net_G_A.pth", "5_net_G_B.pth", "5_net_D_A.pth"]
PLACES = {"G_A": "there", "G_B": "home", "D_A": "judge_there", "D_B": "judge_home"}
FIRST = {"G": ("first.0.weight", "model.1.weight"), "D": ("scales.0.0.0.weight", "model.0.weight")}


def check_places(folder: str, states: dict[str, dict[str, Tensor]]) -> None:
    """Each file's first tensor lies in the network that has its place."""
    for name, network in PLACES.items():
        ours, theirs = FIRST[name[0]]
        placed = load_file(f"{folder}/networks/{network}.safetensors")
        assert torch.equal(placed[ours], states[name][theirs]), network


@pytest.mark.parametrize("count", [4, 1])
def test_a_run_starts_at_files_of_both_directions(
    count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    states = save_files()
    start = f"init_from=[{','.join(FILES[:count])}]"
    assert run_here(*WORDS, "length=4", "optimizer.lr=1e-30", start) == "finished"
    said = capsys.readouterr().out
    assert "init_from: judge_home: 6 of 6 tensors from 5_net_D_B.pth" in said
    if count == 4:
        check_places("runs/x/checkpoints/000000004", states)
        assert "method.discriminator.norm for another" in said


def test_an_imported_model_has_the_methods_own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """`gantrain import` asks the method where each file belongs."""
    monkeypatch.setitem(METHODS, "cyclegan", TwoWay)
    states = save_files()
    said = run("import", *FILES, "--out", "imported")
    assert "home: resnet (" in said
    check_places("imported", states)
    said = run("import", "5_net_G_A.pth", "5_net_D_B.pth", "--out", "part", status=2)
    assert "there is no home; give its file too, such as latest_net_G_B.pth" in said
    assert gantrain.load("imported", "cpu", back=True).method.has_back
    assert not Path("part").exists()


def test_advice_names_the_option_of_a_network() -> None:
    """Of one that has another name than its option."""
    words = [*WORDS, "method.discriminator={name: patchgan, layers: 5}", "dry_run=true"]
    recipe = schema.load("quickstart", words)
    method = sketch_method(recipe, {"source_channels": 3, "target_channels": 3})
    with pytest.raises(ValueError, match="the judge_home needs") as caught:
        check_method(recipe, method)
    assert str(caught.value).count("as in method.discriminator.layers=3") == 2
