"""Layers without tensors: dropout stands where the published code has it, and batch norm takes
the right statistics.
"""

from collections.abc import Callable
from pathlib import Path

import peer_layouts as peers
import pytest
import torch
from safetensors.torch import load_file
from test_importing import needed, refused, run, saved
from torch import nn

import gantrain
from gantrain.networks import UNet
from gantrain.recipe import schema

DROPOUT = "--dropout"
STATISTICS = "--batch-statistics"

# A published network, and the options that keep on what its own test.py keeps on.
MODES: dict[str, tuple[Callable[[], nn.Module], tuple[str, ...]]] = {
    "unet of 6 levels": (lambda: peers.UNet(levels=6), (DROPOUT, STATISTICS)),
    "unet of 7 levels": (lambda: peers.UNet(1, 2, levels=7), (DROPOUT, STATISTICS)),
    "unet of 8 levels": (lambda: peers.UNet(width=2, levels=8), (DROPOUT, STATISTICS)),
    "unet with instance norm": (lambda: peers.UNet(levels=7, norm="instance"), (DROPOUT,)),
    "unet with batch norm in eval": (lambda: peers.UNet(levels=6), (DROPOUT,)),
    "unet trained without dropout": (lambda: peers.UNet(levels=6, place="nowhere"), (STATISTICS,)),
    "resnet with dropout": (lambda: peers.ResNet(blocks=3, norm="batch", drop=True), (DROPOUT, STATISTICS)),
    "resnet with instance norm and dropout": (lambda: peers.ResNet(blocks=3, drop=True), (DROPOUT,)),
    "cut with batch norm": (lambda: peers.ResNet(norm="batch", blur_down=True, blur_up=True), (STATISTICS,)),
    "cut with dropout": (lambda: peers.ResNet(blur_down=True, blur_up=True, drop=True), (DROPOUT,)),
    "pix2pixhd with batch norm": (
        lambda: peers.ResNet(6, 3, downsampling=4, norm="batch", biased=True), (STATISTICS,),
    ),
    "pix2pixhd with dropout": (
        lambda: peers.ResNet(6, 3, downsampling=3, norm="batch", biased=True, drop=True), (DROPOUT, STATISTICS),
    ),
    "pix2pixhd's enhancer with batch norm": (lambda: peers.Enhancer(5, 3, fine=2, norm="batch"), (STATISTICS,)),
    "spade": (lambda: peers.SPADE(hidden=8), (STATISTICS,)),
}  # fmt: skip


def set_modes(peer: nn.Module, options: tuple[str, ...]) -> None:
    """Evaluation mode, but for what the options keep on."""
    peer.eval()
    for module in peer.modules():
        if isinstance(module, nn.Dropout):
            module.train(DROPOUT in options)
        if isinstance(module, nn.BatchNorm2d):
            module.train(STATISTICS in options)


def running_statistics(network: nn.Module) -> torch.Tensor:
    """All of them in the order of their values, since the modules of two networks come in
    different orders.
    """
    kept = [tensor.flatten() for name, tensor in network.state_dict().items() if "running_" in name]
    return torch.cat(kept).sort().values if kept else torch.empty(0)


@torch.no_grad()
def check_same_draws(ours: nn.Module, peer: nn.Module) -> None:
    """The same images from the same random numbers, and others from other numbers where dropout
    is on.
    """
    channels = next(m for m in peer.modules() if isinstance(m, nn.Conv2d)).in_channels
    images = torch.rand(2, channels, 256, 256, generator=torch.Generator().manual_seed(1)) * 2 - 1
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-10)):
        outputs = []
        for network in (ours, peer):
            torch.manual_seed(3)
            outputs.append(network.to(dtype)(images.to(dtype)))
        assert outputs[1].std() > 1e-3
        torch.testing.assert_close(outputs[0], outputs[1], rtol=0, atol=tolerance)
    # Norms that took an image's own statistics moved the running ones by as much.
    torch.testing.assert_close(
        running_statistics(ours), running_statistics(peer), rtol=0, atol=1e-6
    )
    is_random = any(isinstance(m, nn.Dropout) and m.training for m in peer.modules())
    torch.manual_seed(4)
    assert torch.equal(ours(images.double()), outputs[0]) != is_random


@pytest.mark.slow
@pytest.mark.parametrize("name", MODES)
def test_a_peer_in_its_own_test_mode_gives_the_same(name: str) -> None:
    make, options = MODES[name]
    peer = peers.drawn(make())
    saved(peer)
    run("import", "latest_net_G.pth", "--out", "imported", *options, *needed(peer))
    set_modes(peer, options)
    model = gantrain.load("imported", device="cpu")
    assert model.one_by_one
    check_same_draws(model.method.networks["generator"], peer)


@pytest.mark.slow
@pytest.mark.parametrize("levels", [6, 7, 8])
def test_the_torch_codes_place_of_dropout(levels: int) -> None:
    """The same weights and random numbers give the Torch code's images, which are not the
    PyTorch code's.
    """
    peer = peers.drawn(peers.UNet(width=2, levels=levels, place="torch"))
    saved(peer)
    run("import", "latest_net_G.pth", "--out", "imported")
    ours = {
        place: UNet(3, 3, width=2, levels=levels, dropout_from=place)
        for place in ("innermost", "second")
    }
    for network in ours.values():
        network.load_state_dict(load_file("imported/networks/generator.safetensors"))
        set_modes(network, (DROPOUT, STATISTICS))
    set_modes(peer, (DROPOUT, STATISTICS))
    check_same_draws(ours["innermost"], peer)
    with pytest.raises(AssertionError, match="not close"):
        check_same_draws(ours["second"], peer)


@pytest.mark.parametrize("levels", range(2, 9))
def test_both_places_have_as_much_dropout(levels: int) -> None:
    for place, first in (("innermost", 0), ("second", 1)):
        with torch.device("meta"):
            network = UNet(3, 3, width=2, levels=levels, dropout_from=place)
        places = [i for i, layer in enumerate(network.ups) if isinstance(layer[-1], nn.Dropout)]
        assert places == list(range(first, first + max(levels - 5, 0)))


def test_the_default_and_the_papers_recipe() -> None:
    with torch.device("meta"):
        default = UNet(3, 3, width=2)
    assert isinstance(default.ups[0][-1], nn.Dropout)
    assert schema.load("facades_paper").method["generator"]["dropout_from"] == "second"
    with pytest.raises(
        ValueError, match=r"dropout_from: found 'third', allowed are innermost, second"
    ):
        UNet(3, 3, dropout_from="third")
    with pytest.raises(ValueError, match=r"dropout_from"):
        schema.load("facades_paper", ["method.generator.dropout_from=third"])


NOTHING_TO_KEEP_ON = {
    "no dropout": (peers.ResNet, DROPOUT, "no dropout in the generator of latest_net_G.pth; leave the option out"),
    "no dropout, batch norm": (
        lambda: peers.UNet(levels=5), DROPOUT,
        "no dropout in the generator of latest_net_G.pth; leave the option out, or give --batch-statistics for batch "
        "norm",
    ),
    "no batch norm": (
        peers.ResNet, STATISTICS, "no batch norm in the generator of latest_net_G.pth; leave the option out",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NOTHING_TO_KEEP_ON)
def test_an_option_that_has_nothing_to_act_on(name: str) -> None:
    make, option, expected = NOTHING_TO_KEEP_ON[name]
    saved(make())
    said = run("import", "latest_net_G.pth", "--out", "imported", option, status=2)
    assert said.endswith(f"{option}: found {expected}")
    assert not Path("imported").exists()


def test_each_option_acts_alone() -> None:
    saved(peers.UNet(levels=6))
    for option, dropout, statistics in ((DROPOUT, True, False), (STATISTICS, False, True)):
        run("import", "latest_net_G.pth", "--out", option, option)
        model = gantrain.load(option, device="cpu")
        modules = list(model.method.networks["generator"].modules())
        assert {m.training for m in modules if isinstance(m, nn.Dropout)} == {dropout}
        assert {m.training for m in modules if isinstance(m, nn.BatchNorm2d)} == {statistics}


def test_a_blur_with_another_kernel() -> None:
    """The kernels of CUT's blurs are no weights here, so those of a file must be the same."""
    for options in ({"blur_down": True}, {"blur_up": True}):
        network = peers.ResNet(**options)
        key = next(key for key in network.state_dict() if key.endswith("filt"))
        network.state_dict()[key].mul_(1.5)
        saved(network)
        assert f"no place for {key} (" in refused("latest_net_G.pth")
