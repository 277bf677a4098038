"""What a file does not show: the importer requires an option, or reports what it assumes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import peer_layouts as peers
import pytest
from PIL import Image
from test_importing import needed, run, saved
from torch import nn
from typer.testing import CliRunner

import gantrain
from gantrain.cli.app import app
from gantrain.core.component import build
from gantrain.importers import assumptions
from gantrain.importers.layout import GENERATOR_ROLE
from gantrain.importers.recognition import read_networks
from gantrain.methods import METHODS
from gantrain.training import init_from

NORM = "instance norm in generator, which leaves no tensors in a file; --norm none if"
STATISTICS = "batch norm takes the running statistics of the file; --batch-statistics for those of each image, which"
DROPOUT = "dropout is off; --dropout keeps it on, as test.py does without --eval"
PAIRS = "evaluate takes pairs, with left as the source and right as the target; --unpaired for two sets of images, or"
EDGES = (
    "--instances if the last of its channels is the instance boundary map, as without --no_instance"
)
UNLABELLED = "with --contain_dontcare_label it is that of unlabelled pixels"

# A network's file, the options given, and the beginnings of all that is assumed, in order.
CASES: dict[str, tuple[Callable[[], nn.Module], tuple[str, ...], tuple[str, ...]]] = {
    "pix2pix": (lambda: peers.UNet(levels=6), (), (f"{STATISTICS} test.py takes without --eval", DROPOUT, PAIRS)),
    "pix2pix as test.py": (
        lambda: peers.UNet(levels=6), ("--dropout", "--batch-statistics"),
        ("dropout begins behind the decoder's second layer, as in the PyTorch code; method.generator.", PAIRS),
    ),
    "pix2pix trained without dropout": (
        lambda: peers.UNet(levels=6, place="nowhere"), ("--batch-statistics",), (DROPOUT, PAIRS),
    ),
    "unet of 5 levels": (lambda: peers.UNet(levels=5), (), (STATISTICS, PAIRS)),
    "cyclegan": (peers.ResNet, ("--unpaired",), (NORM,)),
    "cyclegan with its norm": (peers.ResNet, ("--unpaired", "--norm", "instance"), ()),
    "cyclegan with dropout": (lambda: peers.ResNet(drop=True), ("--unpaired",), (NORM, DROPOUT)),
    "without norm": (
        lambda: peers.ResNet(norm="none"), ("--unpaired",), ("no norm in generator; --norm instance if",),
    ),
    "colorization": (
        lambda: peers.ResNet(1, 2), (),
        (NORM, "the values 0 to 255 stand for -1 to 1 in source and target; no colours are converted", PAIRS),
    ),
    "pix2pixhd": (
        lambda: peers.ResNet(6, 3, downsampling=3), (),
        (NORM, "the source is an image of 6 channels; --labels if they are classes, and --instances too", PAIRS),
    ),
    "pix2pixhd of labels": (
        lambda: peers.ResNet(6, 3, downsampling=3), ("--labels",),
        (NORM, f"the source has the class ids 0 to 5; {EDGES}", PAIRS),
    ),
    "pix2pixhd of labels and edges": (
        lambda: peers.ResNet(6, 3, downsampling=3, norm="batch", biased=True), ("--labels", "--instances"),
        (f"{STATISTICS} pix2pixHD's test.py takes", PAIRS),
    ),
    "spade": (
        peers.SPADE, (),
        (f"the source has the class ids 0 to 4; {EDGES}", f"class 4 is a class like the others; {UNLABELLED}", PAIRS),
    ),
    "spade most": (
        lambda: peers.SPADE(hidden=8, size="most"), ("--instances",), ("class 3 is a class like the others; ", PAIRS),
    ),
}  # fmt: skip


def assumed(said: str) -> list[str]:
    return [line.split("assumed: ")[1] for line in said.splitlines() if "assumed: " in line]


@pytest.mark.parametrize("name", CASES)
def test_what_is_assumed(name: str) -> None:
    make, options, expected = CASES[name]
    network = make()
    saved(network)
    lines = lines_of("latest_net_G.pth", "--out", "imported", *options, *needed(network))
    assert len(lines) == len(expected), lines
    for line, beginning in zip(lines, expected, strict=True):
        assert line.startswith(beginning)


def lines_of(*arguments: str) -> list[str]:
    """What `gantrain import` says that it assumes."""
    said = CliRunner().invoke(app, ["import", *arguments])
    assert said.exit_code == 0, said.output
    return assumed(said.output)


def test_what_is_assumed_of_other_networks() -> None:
    saved(peers.ResNet(blocks=9))
    saved(peers.PatchGAN(norm="none"), name="latest_net_D.pth")
    saved(peers.Projection([3, 8, 16, 16, 16]), name="latest_net_F.pth")
    lines = lines_of(
        "latest_net_G.pth", "latest_net_D.pth", "latest_net_F.pth", "--out", "imported"
    )
    beginnings = (
        NORM, "no norm in discriminator; --norm instance if",
        "discriminator had the method's own loss; --gan_mode or --no_lsgan may have chosen another, which",
        "--nce_layers 0,4,8,12,16; method.layers in recipe.yaml for others",
    )  # fmt: skip
    assert [line.startswith(b) for line, b in zip(lines, beginnings, strict=True)] == [True] * 4


def test_a_style_begins_at_a_map_of_an_assumed_shape() -> None:
    saved(peers.SPADE(hidden=8, head=(4, 8)))
    saved(peers.Encoder(), name="latest_net_E.pth")
    lines = lines_of(
        "latest_net_G.pth", "latest_net_E.pth", "--out", "imported", "--upsampling", "more"
    )
    assert (
        "the coarsest map, of 32 pixels, is 4x8 (height x width); method.generator.head in recipe.yaml"
        in lines[2]
    )


def test_what_is_left_out_and_converted_is_reported() -> None:
    saved(peers.ResNet(norm="old").half())
    said = run("import", "latest_net_G.pth", "--out", "imported")
    assert "left out: 27 running statistics of instance norms in latest_net_G.pth" in said
    assert "converted: the weights of latest_net_G.pth from float16 to float32" in said


def test_a_file_that_is_used_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """`load` and `translate` report what images depend on, and nothing about evaluation."""
    saved(peers.drawn(peers.UNet(levels=6)))
    gantrain.load("latest_net_G.pth", device="cpu")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"latest_net_G.pth: assumed: {STATISTICS}")
    assert lines[1].startswith(f"latest_net_G.pth: assumed: {DROPOUT}")
    assert lines[2:] == [
        "latest_net_G.pth: give other options to `gantrain import latest_net_G.pth --out FOLDER`, and use the folder"
    ]
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save("a.png")
    said = run("translate", "latest_net_G.pth", "a.png", "--out", "out")
    assert said.count("assumed: ") == 2


def test_upsampling_is_required_where_images_depend_on_them() -> None:
    """`most` shows itself (above), and a run that starts at the weights names its own network."""
    saved(peers.SPADE(hidden=8, size="more"))
    assert list(read_networks([Path("latest_net_G.pth")])) == [GENERATOR_ROLE]
    Image.fromarray(np.zeros((64, 64), np.uint8)).save("ids.png")
    said = run("translate", "latest_net_G.pth", "ids.png", "--out", "out", status=2)
    assert "allowed: normal or more" in said
    assert not Path("out").exists()


def test_the_sizes_of_training_are_not_made_up() -> None:
    saved(peers.drawn(peers.UNet(levels=3)))
    Image.fromarray(np.zeros((40, 56, 3), np.uint8)).save("a.png")
    said = run("translate", "latest_net_G.pth", "a.png", "--out", "a")
    assert (
        "original size: 40x56; the sizes of training are not known, --size trained takes 256x256"
        in said
    )
    said = run("translate", "latest_net_G.pth", "a.png", "--out", "b", "--size", "trained")
    assert "1 image at an assumed size of training: 40x56 -> 256x256 and back" in said
    run("import", "latest_net_G.pth", "--out", "imported", "--resize", "64")
    said = run("translate", "imported", "a.png", "--out", "c")
    assert "1 image at the trained scale: 40x56 -> 64x64 and back" in said


def test_a_run_that_starts_at_files_states_what_it_assumes() -> None:
    """The sentences name keys of the recipe, since `init_from` has no options."""
    saved(peers.ResNet(blocks=9))
    saved(peers.PatchGAN(norm="none"), name="latest_net_D.pth")
    files = ["latest_net_G.pth", "latest_net_D.pth"]
    networks = read_networks([Path(file) for file in files])
    component = {"name": "pix2pix"} | {
        role.kind: network.layout.component for role, network in networks.items()
    }
    dims = networks[GENERATOR_ROLE].layout.data_dims
    channels = {"source_channels": dims["in_channels"], "target_channels": dims["out_channels"]}
    lines = init_from.place(build(METHODS, component, **channels), files)
    named = {str(role): network for role, network in networks.items()}
    norm = "had the norm of this recipe, since instance norm and no norm leave no tensors in a file"
    assert assumed("\n".join(lines)) == [
        f"generator {norm}; method.generator.norm for another",
        f"discriminator {norm}; method.discriminator.norm for another",
        assumed("\n".join(assumptions.of_training(named, unpaired=True)))[0],
    ]
    assert not any(line.partition("assumed: ")[2].count("--norm") for line in lines)
