"""Scales of a network that take another run's weights by resolution: the published rule, stages,
`init_from`.
"""

import json
from pathlib import Path

import pytest
import torch
from comparing import tensors
from conftest import SMALL, run_here
from torch import nn

from gantrain.core.world import World
from gantrain.data.field import Field
from gantrain.data.scale import UNKNOWN
from gantrain.networks import NETWORKS, MultiscalePatchGAN, PatchGAN
from gantrain.networks.patchgan import LayeredDiscriminator
from gantrain.networks.protocol import capabilities_of
from gantrain.recipe import schema
from gantrain.training.scale_matching import match_by_resolution, picture_size
from gantrain.training.setup import RunSetup


def discriminator(scales: int) -> MultiscalePatchGAN:
    return MultiscalePatchGAN(3, scales=scales, width=2, layers=1)


def marked(scales: int) -> dict[str, torch.Tensor]:
    """A state in which every tensor holds the number of its scale."""
    state = discriminator(scales).state_dict()
    return {name: torch.full_like(t, float(name.split(".")[1])) for name, t in state.items()}


def taken(
    own: int, size: tuple[int, int], other: int, other_size: tuple[int, int]
) -> tuple[dict[int, int], str]:
    """For each scale the other network's scale whose tensors it gets, all of them, and the text."""
    network = discriminator(own)
    found, text = match_by_resolution(network, size, marked(other), other_size)
    expected = network.state_dict()
    pairs: dict[int, set[int]] = {}
    for name, tensor in found.items():
        if name in expected:
            pairs.setdefault(int(name.split(".")[1]), set()).add(int(tensor.mean()))
    for scale in pairs:
        of_scale = [name for name in expected if name.startswith(f"scales.{scale}.")]
        assert of_scale
        assert all(name in found for name in of_scale)
    return {
        scale: origins.pop() for scale, origins in sorted(pairs.items()) if len(origins) == 1
    }, text


# num_D and the size of the former run, and of the one that goes on, as pix2pixHD's scripts and
# options allow.
PUBLISHED = [
    (2, (512, 1024), 3, (1024, 2048)),  # scripts/train_512p.sh, then scripts/train_1024p_24G.sh
    (1, (512, 1024), 2, (1024, 2048)),
    (3, (256, 512), 4, (512, 1024)),
]


@pytest.mark.parametrize(("former", "former_size", "scales", "size"), PUBLISHED)
def test_the_published_code_loads_by_resolution(
    former: int, former_size: tuple[int, int], scales: int, size: tuple[int, int]
) -> None:
    """Its names count from the coarsest scale, and it loads `scale{i}` into `scale{i}` where
    both are there.
    """
    expected = {}
    for i in range(scales):
        ours = scales - 1 - i  # scale{num_D - 1} sees the full resolution
        if i < former:
            theirs = former - 1 - i
            expected[ours] = theirs
            assert size[0] / 2**ours == former_size[0] / 2**theirs
    assert expected
    assert 0 not in expected, "the finest scale starts fresh"
    found, text = taken(scales, size, former, former_size)
    assert found == dict(sorted(expected.items()))
    assert text.startswith(
        f"scales by resolution: scales.0 ({size[0]}x{size[1]}) starts fresh, scales.1 ("
    )


BY_NAME = "scales by name, since "
CASES = [
    # own scales, size, other scales, other size, expected, beginning of the text
    (2, (256, 256), 2, (256, 256), {0: 0, 1: 1}, ""),
    (3, (256, 256), 2, (256, 256), {0: 0, 1: 1}, ""),
    (
        2,
        (512, 512),
        2,
        (256, 256),
        {1: 0},
        "scales by resolution: scales.0 (512x512) starts fresh, scales.1 (256x256)",
    ),
    (
        2,
        (256, 256),
        2,
        (512, 512),
        {0: 1},
        "scales by resolution: scales.0 (256x256) takes scales.1, scales.1 (128x",
    ),
    (
        3,
        (1024, 512),
        2,
        (256, 128),
        {2: 0},
        "scales by resolution: scales.0 (1024x512) starts fresh, scales.1 (512x2",
    ),
    (
        1,
        (256, 256),
        2,
        (512, 512),
        {0: 1},
        "scales by resolution: scales.0 (256x256) takes scales.1",
    ),
    (1, (512, 512), 1, (256, 256), {0: 0}, ""),
    (
        2,
        (384, 384),
        2,
        (256, 256),
        {0: 0, 1: 1},
        BY_NAME + "no two have the same resolution (pictures of 384x384 here",
    ),
    (2, (512, 1024), 2, (512, 512), {0: 0, 1: 1}, BY_NAME + "no two have the same resolution"),
    (2, (512, 512), 2, None, {0: 0, 1: 1}, BY_NAME + "the size of the other pictures is unknown"),
]


@pytest.mark.parametrize(("own", "size", "other", "other_size", "expected", "text"), CASES)
def test_every_scale_takes_the_one_of_its_resolution(
    own, size, other, other_size, expected, text
) -> None:
    found, said = taken(own, size, other, other_size)
    assert found == expected
    assert said.startswith(text)
    assert bool(said) == bool(text)


def test_tensors_outside_the_scales_keep_their_names() -> None:
    class Headed(MultiscalePatchGAN):
        def __init__(self) -> None:
            super().__init__(3, scales=2, width=2, layers=1)
            self.head = nn.Linear(2, 1)

    former = Headed().state_dict()
    found, _ = match_by_resolution(Headed(), (64, 64), former, (32, 32))
    assert torch.equal(found["head.weight"], former["head.weight"])
    assert torch.equal(found["scales.1.0.0.weight"], former["scales.0.0.0.weight"])
    assert not any(name.startswith("scales.0.") for name in found)


def test_a_network_that_the_other_run_lacks_is_no_matter_of_scales() -> None:
    assert match_by_resolution(discriminator(2), (64, 64), {}, None) == ({}, "")


def test_networks_without_scales_are_left_alone() -> None:
    former = {"scales.0.weight": torch.zeros(1)}
    assert match_by_resolution(nn.Linear(1, 1), (64, 64), former, (32, 32)) == (former, "")


WITH_SCALES = [name for name, cls in NETWORKS.items() if issubclass(cls, LayeredDiscriminator)]
assert len(WITH_SCALES) > 3, "no networks to test"


@pytest.mark.parametrize("name", WITH_SCALES)
def test_declared_factors_are_those_of_the_forward(name: str) -> None:
    """A scale's output for an image is that of a network of this scale alone, for the image
    down-sampled so.
    """
    cls = NETWORKS[name]
    network = cls(3, width=2) if name != "whole_image" else cls(3, widths=(2, 2, 2, 2))
    factors = capabilities_of(network).scale_factors(network.state_dict())
    outputs = network.eval()(torch.rand(1, 3, 256, 256))
    assert list(factors) == [f"scales.{i}" for i in range(len(outputs))]
    heights = [scale[0].shape[-1] for scale in outputs]
    for prefix, height in zip(factors, heights, strict=True):
        assert factors[prefix] == pytest.approx(heights[0] / height, rel=0.05)


def field(smallest: tuple[int, int], largest: tuple[int, int]) -> Field:
    return Field(member="image", channels=3, min_size=smallest, max_size=largest)


SIZES = [
    # data.size, data.resize, the files' sizes, a whole picture
    ((512, 1024), (512, 1024), ((1024, 2048), (1024, 2048)), (512, 1024)),
    (
        (256, 256),
        (286, 286),
        ((256, 256), (512, 512)),
        (256, 256),
    ),  # a slightly larger size is augmentation
    ((512, 512), (1024, 2048), ((1024, 2048), (1024, 2048)), (1024, 2048)),  # crops
    ((256, 256), None, ((512, 512), (512, 512)), (512, 512)),  # crops of files
    ((256, 256), None, ((300, 400), (600, 800)), (600, 800)),
    ((256, 256), None, (UNKNOWN, UNKNOWN), None),  # of an imported network
    ((256, 256), (256, 256), (UNKNOWN, UNKNOWN), (256, 256)),
]


@pytest.mark.parametrize(("size", "resize", "files", "expected"), SIZES)
def test_the_size_of_a_whole_picture(size, resize, files, expected) -> None:
    assert picture_size(size, resize, field(*files)) == expected


BARE = tuple(word for word in SMALL if not word.startswith("method."))
STILL = "optimizer.lr=1e-30"  # the weights stay those of the start
QUICK = (
    *BARE,
    "data=synthetic",
    "batch_size=2",
    "evaluate.max_samples=2",
    "previews.samples=1",
    "checkpoint.keep=9",
)


def method(scales: int) -> str:
    generator = "{name: coarse_to_fine, width: 2, downsampling: 1, blocks: 1}"
    judge = f"{{name: multiscale_patchgan, width: 2, layers: 1, scales: {scales}}}"
    return f"method={{name: pix2pixhd, losses: {{perceptual: 0}}, generator: {generator}, discriminator: {judge}}}"


def scale(state: dict[str, torch.Tensor], number: int) -> dict[str, torch.Tensor]:
    prefix = f"networks/discriminator/scales.{number}."
    found = {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}
    assert found
    return found


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(t, b[name]) for name, t in a.items())


@pytest.mark.slow
def test_a_stage_at_twice_the_size_takes_the_former_scales_by_resolution(
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = {
        "length": 4,
        "method": {"discriminator": {"scales": 2}},
        "data": {"size": [32, 32], "resize": [32, 32]},
    }
    second = {"length": 4, "optimizer": {"lr": 1e-30}}
    large = (*QUICK, method(3), "data.size=[64,64]", "data.resize=[64,64]")
    run_here(*large, f"stages={json.dumps([first, second])}", "run=x")
    said = "scales by resolution: scales.0 (64x64) starts fresh, scales.1 (32x32) takes scales.0, "
    said += "scales.2 (16x16) takes scales.1"
    printed = " ".join(capsys.readouterr().out.split())
    assert said in printed
    rows = [json.loads(line) for line in Path("runs/x/metrics.jsonl").read_text().splitlines()]
    (handed,) = [row["init_from"] for row in rows if "init_from" in row]
    assert said in handed[1]
    run_here(*large, STILL, "length=4", "run=fresh")
    former, after, fresh = tensors("x", 4), tensors("x", 8), tensors("fresh", 4)
    assert same(scale(after, 1), scale(former, 0))
    assert same(scale(after, 2), scale(former, 1))
    assert same(scale(after, 0), scale(fresh, 0))
    assert not same(scale(former, 0), scale(fresh, 0)), "the first stage trained nothing"


def placed(*words: str) -> str:
    """The line about the discriminator, of a run that would begin."""
    with World("cpu") as world:
        setup = RunSetup(schema.load("quickstart", [*QUICK, *words]), world)
    (line,) = [line for line in setup.init_from_lines if line.startswith("discriminator: ")]
    return line


@pytest.mark.slow
def test_init_from_matches_by_resolution_where_the_size_changes() -> None:
    run_here(
        *QUICK,
        method(2),
        STILL,
        "length=2",
        "data.size=[32,32]",
        "data.resize=[36,36]",
        "run=first",
    )
    from_first = (method(2), "init_from=runs/first")
    all_there = "discriminator: 12 of 12 tensors from runs/first"
    assert placed(*from_first, "data.size=[32,32]", "data.resize=[36,36]") == all_there
    larger = "discriminator: 6 of 12 tensors from runs/first; scales by resolution: scales.0 (64x64) starts fresh, "
    larger += "scales.1 (32x32) takes scales.0; not there, or of another shape: scales.0.0.0.weight"
    for resize in ("[72,72]", "null"):  # drawn pictures then have data.size
        assert placed(*from_first, "data.size=[64,64]", f"data.resize={resize}").startswith(larger)
    odd = f"{all_there}; scales by name, since no two have the same resolution (pictures of 48x48 here, 32x32 there)"
    assert placed(*from_first, "data.size=[48,48]", "data.resize=[48,48]") == odd
    # A crop of the same pictures changes no resolution.
    assert placed(*from_first, "data.size=[24,24]", "data.resize=[32,32]") == all_there


def test_an_imported_network_of_unknown_size_keeps_its_scales() -> None:
    theirs = {}
    for name, tensor in MultiscalePatchGAN(13, scales=2, width=2, layers=1).state_dict().items():
        _, number, layer, _, kind = name.split(".")
        theirs[f"scale{1 - int(number)}_layer{layer}.0.{kind}"] = (
            tensor  # theirs count from the coarsest
        )
    torch.save(theirs, "latest_net_D.pth")
    line = placed(method(3), "init_from=latest_net_D.pth", "data.size=[64,64]")
    expected = "discriminator: 12 of 18 tensors from latest_net_D.pth; scales by name, since the size of the other "
    expected += "pictures is unknown (gantrain import --resize HEIGHTxWIDTH records it); not there"
    assert line.startswith(expected)


def test_single_scales_keep_their_weights_at_any_size() -> None:
    former = PatchGAN(3, width=2, layers=1).state_dict()
    assert match_by_resolution(PatchGAN(3, width=2, layers=1), (96, 64), former, (32, 32)) == (
        former,
        "",
    )
