"""`gantrain import`: other projects' generators give here what they gave there."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import peer_layouts as peers
import pytest
import torch
from conftest import SMALL, TRANSLATE
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from typer.testing import CliRunner

import gantrain
from gantrain.cli.app import app
from gantrain.importers import RECOGNISERS
from gantrain.importers.layout import Layout
from gantrain.importers.reading import cleaned
from gantrain.networks import CoarseToFine, SPADEGenerator, UNet
from gantrain.networks import ResNet as OurResNet

META = torch.device("meta")
PEERS = {
    "unet of 5 levels": lambda: peers.UNet(levels=5),
    "unet of 7 levels": lambda: peers.UNet(1, 2, levels=7, norm="instance"),
    "unet of 8 levels": lambda: peers.UNet(3, 1, width=2, levels=8),
    "unet without norm": lambda: peers.UNet(norm="none"),
    "unet with old instance norm": lambda: peers.UNet(norm="old"),
    "resnet": lambda: peers.ResNet(blocks=6),
    "resnet with dropout": lambda: peers.ResNet(1, 3, blocks=3, norm="batch", drop=True),
    "resnet without norm": lambda: peers.ResNet(norm="none", width=5),
    "resnet with old instance norm": lambda: peers.ResNet(norm="old", drop=True),
    "cut": lambda: peers.ResNet(blocks=9, blur_down=True, blur_up=True),
    "cut with batch norm": lambda: peers.ResNet(norm="batch", blur_down=True, blur_up=True),
    "cut with transposed convolutions": lambda: peers.ResNet(blur_down=True),
    "cut with strides": lambda: peers.ResNet(blur_up=True),
    "pix2pixhd": lambda: peers.ResNet(6, 3, downsampling=4),
    "pix2pixhd of 3 down-samplings": lambda: peers.ResNet(downsampling=3, drop=True),
    "pix2pixhd's enhancer": lambda: peers.Enhancer(5, 3, fine=2),
    "pix2pixhd with batch norm": lambda: peers.ResNet(
        6, 3, downsampling=4, norm="batch", biased=True
    ),
    "pix2pixhd of 2 down-samplings with batch norm": lambda: peers.ResNet(
        6, 3, norm="batch", biased=True, drop=True
    ),
    "pix2pixhd's enhancer with batch norm": lambda: peers.Enhancer(5, 3, fine=2, norm="batch"),
    "spade": lambda: peers.SPADE(hidden=16),
    "spade with instance norm": lambda: peers.SPADE(7, width=2, hidden=8, norm="instance"),
    "spade most": lambda: peers.SPADE(hidden=8, size="most"),
}


def run(*arguments: str, status: int = 0) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == status, result.output
    return " ".join(result.output.split())


def saved(
    network: nn.Module, prefix: str = "", name: str = "latest_net_G.pth"
) -> dict[str, torch.Tensor]:
    state = {prefix + key: tensor for key, tensor in network.state_dict().items()}
    torch.save(state, name)
    return state


def needed(peer: nn.Module) -> tuple[str, ...]:
    """The options that a network's file must have beside it."""
    return (
        ("--upsampling", peer.size) if isinstance(peer, peers.SPADE) and peer.size != "most" else ()
    )


def check_same(peer: nn.Module, *, old: bool = False) -> None:
    if old:  # the statistics tracked were never what the peers translated with
        for m in peer.modules():
            if isinstance(m, nn.InstanceNorm2d):
                m.track_running_stats, m.running_mean, m.running_var = False, None, None
    channels = next(m for m in peer.modules() if isinstance(m, nn.Conv2d)).in_channels
    images = torch.rand(2, channels, 256, 256, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        expected = peer(images)
    assert expected.std() > 1e-3
    model = gantrain.load("imported", device="cpu")
    torch.testing.assert_close(model.translate(images), expected, rtol=0, atol=1e-5)
    with torch.no_grad():
        expected = peer.double()(images.double())
        found = model.method.networks["generator"].double()(images.double())
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("name", PEERS)
def test_a_peers_generator_gives_the_same(name: str) -> None:
    peer = peers.drawn(PEERS[name]())
    saved(peer)
    run("import", "latest_net_G.pth", "--out", "imported", *needed(peer))
    check_same(peer, old="old" in name)


@pytest.mark.slow
def test_what_spades_keys_do_not_tell() -> None:
    peer = peers.drawn(peers.SPADE(size="more", hidden=8))
    saved(peer)
    said = run("import", "latest_net_G.pth", "--out", "other", "--upsampling", "most", status=2)
    assert "--upsampling: found most, allowed: normal or more, of a SPADE file without up_4" in said
    said = refused("latest_net_G.pth")
    assert "latest_net_G.pth fits SPADE's --num_upsampling_layers normal and more, which" in said
    assert (
        "allowed: normal or more, as in the opt.txt of its training; run gantrain import " in said
    )
    run("import", "latest_net_G.pth", "--out", "imported", "--upsampling", "more")
    check_same(peer)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_wrappers_prefixes(prefix: str) -> None:
    peer = peers.drawn(peers.ResNet())
    saved(peer, prefix)
    run("import", "latest_net_G.pth", "--out", "imported")
    check_same(peer)


def test_safetensors_half_precision_and_missing_counters() -> None:
    peer = peers.drawn(peers.UNet()).half()
    state = {
        key: tensor
        for key, tensor in peer.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    save_file(state, "g.safetensors")
    run("import", "g.safetensors", "--out", "imported")
    check_same(peer.float())


def test_a_norm_that_the_keys_leave_open() -> None:
    peer = peers.drawn(peers.ResNet())
    for m in peer.modules():
        if isinstance(m, nn.Sequential):
            for i, inner in enumerate(m):
                m[i] = nn.Identity() if isinstance(inner, nn.InstanceNorm2d) else inner
    saved(peer)
    assert "norm none" in run("import", "latest_net_G.pth", "--out", "imported", "--norm", "none")
    check_same(peer)
    said = run("import", "latest_net_G.pth", "--out", "other", "--norm", "batch", status=2)
    assert "--norm: found batch, allowed by the keys of latest_net_G.pth: instance, none" in said


def test_pix2pix_own_test_mode() -> None:
    peer = peers.drawn(peers.UNet(levels=5))
    saved(peer)
    run("import", "latest_net_G.pth", "--out", "imported", "--batch-statistics")
    model = gantrain.load("imported", device="cpu")
    modes = {type(m).__name__: m.training for m in model.method.networks["generator"].modules()}
    assert modes["BatchNorm2d"]
    assert model.one_by_one
    images = torch.rand(1, 3, 64, 64) * 2 - 1  # with one level of five there is no dropout yet
    with torch.no_grad():
        torch.testing.assert_close(model.translate(images), peer.train()(images), rtol=0, atol=1e-5)
    saved(peers.UNet(levels=6))
    run("import", "latest_net_G.pth", "--out", "deeper", "--dropout", "--batch-statistics")
    modules = gantrain.load("deeper", device="cpu").method.networks["generator"].modules()
    assert [m.training for m in modules if isinstance(m, nn.Dropout)] == [True]


def test_translate_evaluate_and_the_file_itself() -> None:
    saved(peers.drawn(peers.ResNet()))
    said = run(
        "import", "latest_net_G.pth", "--out", "zoo/imported", "--unpaired", "--resize", "32x48"
    )
    assert "sizes: evaluate and translate resize images to 32x48" in said
    assert sorted(p.name for p in Path("zoo/imported").rglob("*")) == [
        "generator.safetensors", "networks", "recipe.yaml", "state.json",
    ]  # fmt: skip
    random = np.random.default_rng(0)
    for folder in ("data/testA", "data/testB"):
        Path(folder).mkdir(parents=True)
        for i in range(4):
            Image.fromarray(random.integers(0, 256, (40, 56, 3), np.uint8)).save(
                f"{folder}/{i}.png"
            )
    run(*TRANSLATE, "zoo/imported", "data/testA", "--out", "a", "--size", "native")
    run(*TRANSLATE, "latest_net_G.pth", "data/testA", "--out", "b")
    for i in range(4):
        assert np.array_equal(*(np.asarray(Image.open(f"{folder}/{i}.png")) for folder in "ab"))
    assert np.asarray(Image.open("a/0.png")).shape == (40, 56, 3)
    run(*TRANSLATE, "zoo/imported", "data/testA", "--out", "c", "--output-size", "network")
    assert np.asarray(Image.open("c/0.png")).shape == (32, 48, 3)
    run(
        "evaluate",
        "zoo/imported",
        "--data",
        "data",
        "--metrics",
        "swd",
        "--out",
        "found.json",
        "--device",
        "cpu",
    )
    assert json.loads(Path("found.json").read_text())[0]["value"] > 0


def test_a_pix2pix_model_is_measured_on_pairs() -> None:
    saved(peers.drawn(peers.UNet()))
    run("import", "latest_net_G.pth", "--out", "imported", "--resize", "32x32")
    Path("pairs").mkdir()
    for i in range(4):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (32, 64, 3), np.uint8)).save(
            f"pairs/{i}.png"
        )
    run(
        "evaluate",
        "imported",
        "--data",
        "pairs",
        "--metrics",
        "l1",
        "--out",
        "found.json",
        "--device",
        "cpu",
    )
    assert 0 < json.loads(Path("found.json").read_text())[0]["value"] < 2


def test_class_ids_as_the_source() -> None:
    peer = peers.drawn(peers.ResNet(6, 3, downsampling=3))
    saved(peer)
    run("import", "latest_net_G.pth", "--out", "imported", "--labels")
    ids = np.random.default_rng(0).integers(0, 6, (16, 24), np.uint8)
    Image.fromarray(ids).save("ids.png")
    run(*TRANSLATE, "imported", "ids.png", "--out", "out")
    one_hot = torch.eye(6)[torch.from_numpy(ids).long()].permute(2, 0, 1)[None]
    with torch.no_grad():
        expected = ((peer(one_hot)[0] + 1) * 127.5).permute(1, 2, 0).numpy()
    assert np.abs(np.asarray(Image.open("out/ids.png")) - expected).max() < 0.5 + 1e-2


# Keys and shapes at the published sizes, and the published numbers of parameters.
FULL = {
    "unet_256 batch": (lambda: peers.UNet(width=64, levels=8), UNet, 54_413_955),
    "unet_256 instance": (
        lambda: peers.UNet(width=64, levels=8, norm="instance"),
        UNet,
        54_409_603,
    ),
    "unet_128 batch": (lambda: peers.UNet(width=64, levels=7), UNet, 41_828_995),
    "resnet_9blocks": (lambda: peers.ResNet(width=64, blocks=9), OurResNet, 11_378_179),
    "resnet_6blocks": (lambda: peers.ResNet(width=64, blocks=6), OurResNet, 7_837_699),
    "cut": (
        lambda: peers.ResNet(width=64, blocks=9, blur_down=True, blur_up=True),
        OurResNet,
        11_378_179,
    ),
    "pix2pixhd": (lambda: peers.ResNet(36, 3, 64, 4, 9), CoarseToFine, 182_546_755),
    "pix2pixhd local": (lambda: peers.Enhancer(36, 3, 32, 4, 9), CoarseToFine, 182_857_059),
    "spade batch": (lambda: peers.SPADE(151, width=64), SPADEGenerator, 96_492_483),
}


def recognised(state: dict[str, torch.Tensor]) -> Layout:
    for recognise in RECOGNISERS.values():
        try:
            if found := recognise(state):
                return found
        except (KeyError, IndexError):
            continue
    raise AssertionError("not recognised")


@pytest.mark.parametrize("name", FULL)
def test_full_sizes(name: str) -> None:
    make, ours, count = FULL[name]
    with META:
        peer = make()
    assert sum(p.numel() for p in peer.parameters()) == count
    state = cleaned(peer.state_dict())
    found = recognised(state)
    options = {key: value for key, value in found.component.items() if key != "name"}
    assert options["norm"] == ("batch" if "batch" in name else "instance")
    with META:
        network = ours(**found.data_dims, **options)
    shapes = {key: tensor.shape for key, tensor in network.state_dict().items()}
    placed = {}
    for key, tensor in state.items():
        module, _, kind = key.rpartition(".")
        if kind != "filt":
            placed[f"{found.names[module]}.{kind}"] = tensor.shape
    assert placed == shapes


PUBLISHED = {
    "unet_256 batch": [
        "model.model.0.weight", "model.model.3.bias", "model.model.1.model.2.running_mean",
        "model.model.1.model.3.model.6.weight", "model.model.1" + 6 * ".model.3" + ".model.4.weight",
    ],
    "resnet_9blocks": ["model.1.bias", "model.7.weight", "model.18.conv_block.5.bias", "model.22.weight"],
    "resnet_6blocks": ["model.15.conv_block.5.weight", "model.16.weight", "model.19.weight", "model.23.weight"],
    "cut": ["model.7.filt", "model.8.weight", "model.20.conv_block.5.weight", "model.21.filt", "model.26.weight"],
    "pix2pixhd": ["model.13.weight", "model.24.conv_block.1.weight", "model.34.bias", "model.38.weight"],
    "pix2pixhd local": ["model.34.weight", "model1_1.4.weight", "model1_2.2.conv_block.5.weight", "model1_2.7.bias"],
    "spade batch": [
        "fc.bias", "head_0.conv_0.weight_orig", "G_middle_1.conv_1.weight_u", "up_3.conv_s.weight_v",
        "up_0.norm_s.param_free_norm.running_var", "up_2.norm_1.mlp_shared.0.weight", "up_3.norm_0.mlp_gamma.bias",
        "up_3.norm_0.mlp_beta.weight", "conv_img.weight",
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_peers_here_have_the_published_keys(name: str) -> None:
    with META:
        keys = FULL[name][0]().state_dict().keys()
    assert [key for key in PUBLISHED[name] if key not in keys] == []


class Runs:
    """Unpickled, it makes a folder."""

    def __reduce__(self):
        return os.mkdir, ("ran",)


def refused(file: str, *options: str) -> str:
    said = CliRunner().invoke(app, ["import", file, "--out", "imported", *options])
    assert said.exit_code == 2, said.output
    assert not Path("imported").exists()
    with pytest.raises(ValueError, match="import: ") as raised:
        gantrain.load(file, device="cpu")
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_no_code_in_a_file_runs() -> None:
    torch.save({"model.1.weight": Runs()}, "a.pth")
    Path("b.pth").write_bytes(pickle.dumps(Runs()))
    for file in ("a.pth", "b.pth"):
        assert "can't be read as tensors by name (Weights only load failed);" in refused(file)
    assert not Path("ran").exists()


def test_files_of_no_network_known_here() -> None:
    saved(nn.Linear(2, 2), "module.", "linear.pth")
    assert "holds no network known here (its keys: module.weight, module.bias ...)" in refused(
        "linear.pth"
    )
    saved(
        peers.ResNet(3, 3, downsampling=4, blocks=0), name="latest_net_E.pth"
    )  # pix2pixHD's encoder of features
    assert "holds no network known here (its keys: model.1.weight, model.1.bias" in refused(
        "latest_net_E.pth"
    )
    torch.save({"state_dict": {}, "epoch": 3}, "whole.pth")
    assert "'state_dict' is no tensor" in refused("whole.pth")
    torch.save([torch.zeros(2)], "list.pth")
    assert "is no state_dict" in refused("list.pth")
    torch.save({}, "empty.pth")
    assert "nothing in it has a name" in refused("empty.pth")
    for name in ("text.pth", "text.safetensors"):
        Path(name).write_text("no weights")
        assert "can't be read" in refused(name)


def test_truncated_files() -> None:
    state = saved(peers.ResNet(), name="g.pth")
    save_file(state, "g.safetensors")
    for name in ("g.pth", "g.safetensors"):
        content = Path(name).read_bytes()
        Path(name).write_bytes(content[: len(content) // 2])
        assert "can't be read" in refused(name)


def test_what_cannot_be_placed_is_named() -> None:
    state = peers.ResNet(blocks=2).state_dict()
    lacking = {key: tensor for key, tensor in state.items() if key != "model.11.conv_block.5.bias"}
    torch.save(lacking, "g.pth")
    assert "nothing for model.11.conv_block.5.bias" in refused("g.pth")
    torch.save({**state, "model.99.weight": torch.zeros(2)}, "g.pth")
    assert "no place for model.99.weight (2,)" in refused("g.pth")
    torch.save({**state, "model.4.weight": torch.zeros(8, 4, 5, 5)}, "g.pth")
    assert "no place for model.4.weight (8, 4, 5, 5)" in refused("g.pth")
    saved(
        peers.ResNet(padding="zero"), name="zero.pth"
    )  # the same layers by number, with other edges
    assert "holds no network" in refused("zero.pth")


def test_a_folder_that_exists_is_kept() -> None:
    saved(peers.ResNet())
    Path("imported").mkdir()
    Path("imported/mine").touch()
    said = run("import", "latest_net_G.pth", "--out", "imported", status=2)
    assert "--out: imported exists; choose another folder" in said
    assert Path("imported/mine").exists()
    assert "absent.pth does not exist" in run("import", "absent.pth", "--out", "new", status=2)


def test_training_starts_from_a_file() -> None:
    state = saved(peers.UNet(10, 3, levels=3, width=8, norm="instance"))
    words = (
        "init_from=latest_net_G.pth",
        "optimizer.lr=1e-30",
        "length=8",
        "evaluate.max_samples=1",
        "run=begun",
    )
    assert gantrain.train("quickstart", *SMALL, *words).state == "finished"
    for kind in ("networks", "ema"):
        placed = load_file(f"runs/begun/checkpoints/000000008/{kind}/generator.safetensors")
        assert torch.equal(placed["downs.0.0.weight"], state["model.model.0.weight"])
        assert torch.equal(placed["downs.1.1.weight"], state["model.model.1.model.1.weight"])


@pytest.mark.parametrize("name", ["pix2pixhd", "spade"])
def test_a_last_channel_of_edges(name: str) -> None:
    """Class ids and ids of instances give what the peer makes of one-hot labels and edges."""
    saved(peer := peers.drawn(PEERS[name]()))
    run("import", "latest_net_G.pth", "--out", "imported", "--labels", "--instances", *needed(peer))
    model = gantrain.load("imported", device="cpu")
    classes = model.source.classes
    random = np.random.default_rng(0)
    labels = np.kron(
        random.integers(classes, size=(8, 8), dtype=np.uint8), np.ones((32, 32), np.uint8)
    )
    edges = np.zeros((256, 256), np.float32)
    for at in range(32, 256, 32):
        for side in (at - 1, at):
            edges[side] = edges[:, side] = 1
    ids = np.arange(64).reshape(8, 8).repeat(32, 0).repeat(32, 1)
    one_hot = np.concatenate([np.eye(classes, dtype=np.float32)[labels], edges[..., None]], 2)
    with torch.no_grad():
        expected = (
            peer(torch.from_numpy(one_hot).permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy()
        )
    assert (
        np.abs(model.translate(labels, instances=ids) - (expected.clip(-1, 1) + 1) * 127.5).max()
        < 0.51
    )
    saved(peers.ResNet(1, 3), name="grey.pth")
    assert "--instances: found one channel" in run(
        "import", "grey.pth", "--out", "new", "--instances", status=2
    )
