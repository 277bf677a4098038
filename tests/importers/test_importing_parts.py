"""`gantrain import` of several files, and `init_from` of them: discriminators, encoders, both
ways of CycleGAN.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import peer_layouts as peers
import pytest
import torch
import yaml
from conftest import SMALL
from PIL import Image
from safetensors.torch import load_file
from test_importing import needed, refused, run, saved
from torch import nn

import gantrain
from gantrain.importers.layout import DISCRIMINATOR_ROLE, GENERATOR_ROLE
from gantrain.importers.recognition import read_networks
from gantrain.methods.cut import LAYERS

PAIR = "latest_net_G.pth", "latest_net_D.pth"


def unet(channels: int) -> nn.Module:
    """A generator whose sources and targets have so many channels together."""
    return peers.UNet(channels - 3, 3, levels=3)


JUDGES = {  # a generator, its discriminator, and the method that has both
    "patchgan": (lambda: unet(6), lambda: peers.PatchGAN(6), "pix2pix"),
    "patchgan of 1 layer": (lambda: unet(4), lambda: peers.PatchGAN(4, layers=1, norm="instance"), "pix2pix"),
    "patchgan of 5 layers": (lambda: unet(6), lambda: peers.PatchGAN(6, width=2, layers=5), "pix2pix"),
    "patchgan without norm": (lambda: unet(6), lambda: peers.PatchGAN(6, norm="none"), "pix2pix"),
    "shallow patchgan without norm": (lambda: unet(6), lambda: peers.PatchGAN(6, layers=1, norm="none"), "pix2pix"),
    "patchgan with old instance norm": (lambda: unet(6), lambda: peers.PatchGAN(6, norm="old"), "pix2pix"),
    "pixel": (lambda: unet(6), lambda: peers.Pixel(6), "pix2pix"),
    "pixel with instance norm": (lambda: unet(6), lambda: peers.Pixel(6, width=5, norm="instance"), "pix2pix"),
    "pixel without norm": (lambda: unet(6), lambda: peers.Pixel(6, norm="none"), "pix2pix"),
    "one way of cyclegan": (peers.ResNet, lambda: peers.PatchGAN(norm="instance"), "cut"),
    "cut": (lambda: peers.ResNet(blocks=6), lambda: peers.PatchGAN(norm="instance", blur=True), "cut"),
    "cut with batch norm": (peers.ResNet, lambda: peers.PatchGAN(norm="batch", layers=2, blur=True), "cut"),
    "pix2pixhd": (lambda: peers.ResNet(5, 3, downsampling=3), lambda: peers.HDScales(8), "pix2pix"),
    "pix2pixhd of 3 scales": (
        lambda: peers.ResNet(5, 3, downsampling=3), lambda: peers.HDScales(8, layers=2, scales=3), "pix2pix",
    ),
    "pix2pixhd with batch norm": (
        lambda: peers.ResNet(5, 3, downsampling=3), lambda: peers.HDScales(8, norm="batch"), "pix2pix",
    ),
    "pix2pixhd without ganFeat": (
        lambda: peers.ResNet(5, 3, downsampling=3), lambda: peers.HDScales(8, scales=3, whole=True), "pix2pix",
    ),
    "pix2pixhd without ganFeat, old": (
        lambda: peers.ResNet(5, 3, downsampling=3), lambda: peers.HDScales(8, norm="old", whole=True), "pix2pix",
    ),
    "spade": (lambda: peers.SPADE(hidden=8), peers.SPADEScales, "spade"),
    "spade of 3 scales": (lambda: peers.SPADE(hidden=8), lambda: peers.SPADEScales(layers=3, scales=3), "spade"),
    "spade with batch norm": (lambda: peers.SPADE(hidden=8), lambda: peers.SPADEScales(norm="batch"), "spade"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", JUDGES)
def test_a_peers_discriminator_gives_the_same(name: str) -> None:
    """Beside its generator, in a method whose recipe has both; at every scale."""
    make, make_judge, method = JUDGES[name]
    judge, generator = peers.drawn(make_judge()), peers.drawn(make())
    for module, file in zip((generator, judge), PAIR, strict=True):
        saved(module, "module." if "3 scales" in name else "", file)
    run("import", *PAIR, "--out", "imported", *needed(generator))
    ours = gantrain.load("imported", device="cpu")
    assert ours.recipe.method["name"] == method
    assert ours.recipe.data.unpaired == (method == "cut")
    network = ours.method.networks["discriminator"].requires_grad_(False)
    network.load_state_dict(load_file("imported/networks/discriminator.safetensors"))
    for m in judge.modules():  # the statistics tracked were never what the peers judged with
        if isinstance(m, nn.InstanceNorm2d):
            m.track_running_stats, m.running_mean, m.running_var = False, None, None
    channels = next(m for m in judge.modules() if isinstance(m, nn.Conv2d)).in_channels
    images = (
        torch.rand(
            2, channels, 128, 96, generator=torch.Generator().manual_seed(1), dtype=torch.float64
        )
        * 2
        - 1
    )
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-11)):
        with torch.no_grad():
            expected = judge.to(dtype)(images.to(dtype))
        found = [scale[-1] for scale in network.to(dtype)(images.to(dtype))]
        assert len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            assert b.std() > 1e-4
            torch.testing.assert_close(a, b, rtol=0, atol=tolerance)


# The published numbers of parameters, and some of the published keys.
FULL = {
    "patchgan batch": (lambda: peers.PatchGAN(6, 64), 2_768_705, ["model.9.running_var", "model.11.bias"]),
    "patchgan instance": (lambda: peers.PatchGAN(3, 64, norm="instance"), 2_764_737, ["model.2.bias"]),
    "pixel": (lambda: peers.Pixel(6, 64), None, ["net.0.bias", "net.2.weight", "net.3.running_mean", "net.5.weight"]),
    "cut": (
        lambda: peers.PatchGAN(3, 64, norm="instance", blur=True), 2_764_737,
        ["model.2.filt", "model.3.bias", "model.6.filt", "model.10.filt", "model.11.bias", "model.14.bias"],
    ),
    "pix2pixhd": (lambda: peers.HDScales(39, 64), 5_603_202, ["scale0_layer0.0.weight", "scale1_layer4.0.bias"]),
    "pix2pixhd of 3": (lambda: peers.HDScales(39, 64, scales=3), 8_404_803, ["scale2_layer3.0.bias"]),
    "pix2pixhd whole": (lambda: peers.HDScales(39, 64, whole=True), 5_603_202, ["layer0.0.weight", "layer1.11.bias"]),
    "spade": (
        lambda: peers.SPADEScales(39, 64), 5_601_410,
        ["discriminator_0.model0.0.bias", "discriminator_1.model3.0.0.weight_orig", "discriminator_0.model4.0.bias"],
    ),
    "encoder": (lambda: peers.Encoder(3, 64), 10_463_424, ["layer6.0.weight_v", "fc_mu.bias", "fc_var.weight"]),
    "spade with styles": (lambda: peers.SPADE(151, 64, head=(8, 8)), 111_942_595, ["fc.weight"]),
}  # fmt: skip


@pytest.mark.parametrize("name", FULL)
def test_the_peers_here_have_the_published_keys(name: str) -> None:
    make, count, keys = FULL[name]
    with torch.device("meta"):
        peer = make()
    assert count in (None, sum(p.numel() for p in peer.parameters()))
    assert [key for key in keys if key not in peer.state_dict()] == []


@pytest.mark.slow
@pytest.mark.parametrize("size", ["normal", "more"])
def test_spade_with_styles(size: str) -> None:
    """The generator and its encoder; a map twice as wide as high, as for Cityscapes, at its own
    size.
    """
    head = (8, 8) if size == "normal" else (4, 8)
    generator, encoder = (
        peers.drawn(peers.SPADE(hidden=8, size=size, head=head)),
        peers.drawn(peers.Encoder()),
    )
    saved(generator)
    saved(encoder, name="latest_net_E.pth")
    saved(peers.SPADEScales(), name="latest_net_D.pth")
    assert "beside latest_net_G.pth there is no encoder; give its file too" in refused(
        "latest_net_G.pth"
    )
    run("import", *PAIR, "latest_net_E.pth", "--out", "imported", *needed(generator))
    model = gantrain.load("imported", device="cpu")
    random = torch.Generator().manual_seed(1)
    height, width = (256, 256) if size == "normal" else (256, 512)
    labels, styles = (
        torch.rand(2, 5, height, width, generator=random),
        torch.randn(2, 256, generator=random),
    )
    images = torch.rand(2, 3, 80, 64, generator=random) * 2 - 1
    with torch.no_grad():
        found = model.method.networks["generator"](labels, styles)
        torch.testing.assert_close(found, generator(labels, styles), rtol=0, atol=1e-5)
        for a, b in zip(model.method.networks["encoder"](images), encoder(images), strict=True):
            assert b.std() > 1e-3
            torch.testing.assert_close(a, b, rtol=0, atol=1e-5)
    Image.fromarray(np.random.default_rng(0).integers(0, 5, (64, 64), np.uint8)).save("ids.png")
    run("translate", "imported", "ids.png", "--out", "out", "--style", "7")


def test_both_ways_of_a_cyclegan() -> None:
    """Whatever the order; each file by its name, and its discriminators by the side that they
    judge.
    """
    peer = {name: peers.drawn(peers.ResNet(blocks=2)) for name in ("G_A", "G_B")}
    peer |= {name: peers.drawn(peers.PatchGAN(norm="instance")) for name in ("D_A", "D_B")}
    states = {}
    for i, (name, network) in enumerate(peer.items()):
        for p in network.parameters():
            p.data *= 1 + i / 8
        states[name] = saved(network, name=f"5_net_{name}.pth")
    files = [f"5_net_{name}.pth" for name in ("D_B", "G_B", "D_A", "G_A")]
    said = run("import", *files, "--out", "imported")
    assert "generator_back: resnet (" in said
    assert yaml.safe_load(Path("imported/recipe.yaml").read_text())["method"]["name"] == "cyclegan"
    ours = {"D_A": "discriminator", "D_B": "discriminator_source"}
    for name, network in ours.items():
        placed = load_file(f"imported/networks/{network}.safetensors")
        assert torch.equal(placed["scales.0.0.0.weight"], states[name]["model.0.weight"])
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    for name, back in (("G_A", False), ("G_B", True)):
        found = gantrain.load("imported", device="cpu", back=back).translate(images)
        with torch.no_grad():
            torch.testing.assert_close(found, peer[name](images), rtol=0, atol=1e-5)
    # The way back alone is a model of its own.
    run("import", "5_net_G_B.pth", "5_net_D_B.pth", "--out", "back")
    with torch.no_grad():
        torch.testing.assert_close(
            gantrain.load("back", device="cpu").translate(images),
            peer["G_B"](images),
            rtol=0,
            atol=1e-5,
        )


def test_cyclegan_between_images_of_other_channels() -> None:
    saved(peers.UNet(1, 3, levels=3), name="latest_net_G_A.pth")
    saved(peers.UNet(3, 1, levels=3), name="latest_net_G_B.pth")
    run("import", "latest_net_G_A.pth", "latest_net_G_B.pth", "--out", "imported")
    assert (
        gantrain.load("imported", device="cpu", back=True)
        .translate(torch.zeros(1, 3, 64, 64))
        .shape[1]
        == 1
    )


def test_cut_with_its_projection() -> None:
    features = [3, 8, 16, 16, 16]
    saved(peers.ResNet(blocks=9, blur_down=True, blur_up=True))
    saved(peers.PatchGAN(norm="instance", blur=True), name="latest_net_D.pth")
    state = saved(peers.Projection(features, width=24), name="latest_net_F.pth")
    run("import", *PAIR, "latest_net_F.pth", "--out", "imported")
    model = gantrain.load("imported", device="cpu")
    assert model.recipe.method["name"] == "cut"
    assert tuple(model.recipe.method["layers"]) == LAYERS
    assert model.recipe.method["projection_width"] == 24
    placed = load_file("imported/networks/projection.safetensors")
    assert torch.equal(placed["layers.3.2.bias"], state["mlp_3.2.bias"])


def test_files_that_do_not_belong_together() -> None:
    files = {
        "latest_net_G.pth": peers.UNet(levels=3),
        "latest_net_D.pth": peers.PatchGAN(6),
        "latest_net_E.pth": peers.Encoder(),
        "latest_net_F.pth": peers.Projection([3, 8, 16, 16, 16]),
        "latest_net_G_B.pth": peers.ResNet(blocks=3),
        "latest_net_D_B.pth": peers.PatchGAN(3),
        "single.pth": peers.PatchGAN(3),
        "resnet.pth": peers.ResNet(),
        "spade.pth": peers.SPADE(hidden=8, head=(8, 8)),
        "wide.pth": peers.Encoder(width=8),
        "odd.pth": peers.SPADE(hidden=8, head=(2, 3)),
    }
    for name, network in files.items():
        saved(network, name=name)
    mistakes = {
        "latest_net_D": "found discriminator in latest_net_D.pth, but no generator; give its file too, as in",
        "latest_net_E": "found encoder in latest_net_E.pth, but no generator; give",
        "latest_net_D_B latest_net_F": "found discriminator, projection in latest_net_D_B.pth, latest_net_F.pth, but",
        "latest_net_G resnet": "latest_net_G.pth and resnet.pth are both a generator, allowed: one of each network",
        "latest_net_D latest_net_G single": "latest_net_D.pth and single.pth are both a discriminator",
        "latest_net_G single": "single.pth, a patchgan (width 4, layers 3, antialias False, norm batch, in_channels 3"
        "), doesn't fit latest_net_G.pth, a unet (width 4, levels 3, norm batch, dropout_from second, in_channels 3, "
        "out_channels 3); give",
        "resnet latest_net_G_B": "latest_net_G_B.pth, a resnet",
        "resnet latest_net_D_B": "beside resnet.pth there is no generator_back; give its file too, such as",
        "resnet latest_net_F": "latest_net_F.pth, a projection",
        "resnet latest_net_E": "latest_net_E.pth, a style_encoder",
        "spade wide": "wide.pth, a style_encoder (width 8, in_channels 3, style_channels 256), doesn't fit spade.pth",
        "odd latest_net_E": "odd.pth is not quite a spade known here: no place for fc.weight (384, 256), fc.bias",
    }
    for given, expected in mistakes.items():
        said = run(
            "import", *(f"{name}.pth" for name in given.split()), "--out", "imported", status=2
        )
        assert f"import: {expected}" in said
        assert not Path("imported").exists()
    for name in ("latest_net_D.pth", "latest_net_E.pth", "latest_net_F.pth"):
        assert "but no generator; give its file too" in refused(name)


def test_mistakes_are_told_by_the_files_own_keys() -> None:
    state = {f"module.{key}": tensor for key, tensor in peers.SPADEScales().state_dict().items()}
    odd = {**state, "module.discriminator_0.model2.0.0.weight_u": torch.zeros(3)}
    del odd["module.discriminator_1.model1.0.0.weight_orig"]
    torch.save(odd, "d.pth")
    said = refused("d.pth")
    assert "no place for module.discriminator_0.model2.0.0.weight_u (3,)" in said
    assert (
        "nothing for module.discriminator_0.model2.0.0.weight_u, module.discriminator_1.model1.0.0.weight_orig"
        in said
    )


@pytest.mark.parametrize("kind", ["scalar", "empty", "flat", "huge", "gaps"])
def test_odd_discriminators(kind: str) -> None:
    makes = [
        peers.PatchGAN,
        peers.Pixel,
        peers.HDScales,
        lambda: peers.HDScales(whole=True),
        peers.SPADEScales,
    ]
    makes += [peers.Encoder, lambda: peers.Projection([3, 8])]
    change = {
        "scalar": lambda state: dict.fromkeys(state, torch.tensor(1.0)),
        "empty": lambda state: {
            key: tensor[:0] if tensor.ndim else tensor for key, tensor in state.items()
        },
        "flat": lambda state: {key: tensor.flatten() for key, tensor in state.items()},
        "huge": lambda state: {
            key: t[:1].expand(2**40, *t.shape[1:]) for key, t in state.items() if t.ndim
        },
        "gaps": lambda state: dict(list(state.items())[::3]),
    }[kind]
    for make in makes:
        torch.save(change(make().state_dict()), "odd.pth")
        assert (
            "holds no network known here" in (said := refused("odd.pth"))
            or "is not quite a" in said
        )


def test_the_way_back_alone_is_what_the_method_makes_of_it() -> None:
    """CycleGAN's own; for a method of one way its generator."""
    saved(peers.ResNet(), name="5_net_G_B.pth")
    saved(peers.PatchGAN(), name="5_net_D_B.pth")
    files = [Path("5_net_G_B.pth"), Path("5_net_D_B.pth")]
    assert list(read_networks(files)) == [GENERATOR_ROLE, DISCRIMINATOR_ROLE]
    roles = list(read_networks(files, both=True))
    assert roles == [replace(GENERATOR_ROLE, back=True), replace(DISCRIMINATOR_ROLE, back=True)]


STILL = ("optimizer.lr=1e-30", "length=8", "evaluate.max_samples=1")


def test_training_starts_from_several_files(capsys: pytest.CaptureFixture[str]) -> None:
    states = {
        name: saved(network, name=f"latest_net_{name}.pth")
        for name, network in (
            ("G", peers.UNet(10, 3, levels=3, width=8, norm="instance")), ("D", peers.PatchGAN(13, 8, 2)),
        )
    }  # fmt: skip
    words = (*SMALL, *STILL, "method.discriminator.layers=2", "method.discriminator.norm=batch")
    start = "init_from=[latest_net_G.pth,latest_net_D.pth]"
    assert gantrain.train("quickstart", *words, "run=both", start).state == "finished"
    placed = load_file("runs/both/checkpoints/000000008/networks/discriminator.safetensors")
    assert torch.equal(placed["scales.0.1.0.weight"], states["D"]["model.2.weight"])
    said = capsys.readouterr().out
    assert "init_from: discriminator: 16 of 16 tensors from latest_net_D.pth\n" in said
    assert (
        gantrain.train("quickstart", *words, "run=alone", "init_from=latest_net_D.pth").state
        == "finished"
    )
    said = capsys.readouterr().out
    assert "generator: 0 of 12 tensors from latest_net_D.pth; not there" in said
    assert "discriminator: 16 of 16 tensors from latest_net_D.pth\n" in said
