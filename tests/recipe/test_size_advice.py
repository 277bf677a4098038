"""Sizes that cost a lot are named, and the keys that are given mend them."""

import shlex
from pathlib import Path

import pytest
import yaml
from conftest import RECIPE_NAMES, SMALL
from typer.testing import CliRunner

from gantrain import train
from gantrain.cli.app import app
from gantrain.recipe import schema
from gantrain.recipe.build_method import check_method, sketch_method
from gantrain.recipe.schema import Recipe, stages
from gantrain.recipe.size_advice import describe_padding, describe_sizes

FACTS = {"source_channels": 3, "target_channels": 3}
GIVEN = "; sizes that fit together: "


def warnings(loaded: Recipe) -> list[str]:
    return describe_sizes(loaded, sketch_method(loaded, FACTS), FACTS)


@pytest.mark.parametrize("name", RECIPE_NAMES)
def test_shipped_recipes_fit(name: str) -> None:
    assert RECIPE_NAMES
    for stage in stages(schema.load(name)):
        assert warnings(stage) == []


NARROW = "method.generator.width=4"
DEEP = "method.generator.levels=8"
TIMM = "method.generator={name: pretrained_unet, pretrained: false, backbone: mobilenetv3_small_050, width: 4}"
WIDTHS = "method.generator={name: encoder_decoder, widths: [4,4,4,4]}"
# The recipe and what a user changes; the reasons; the keys that are given.
CASES: dict[str, tuple[str, tuple[str, ...], str, str]] = {
    "the size alone": (
        "pix2pix", ("data.size=[64,64]", NARROW),
        "training crops 64x64 of samples resized to 286x286, 5% of their pixels",
        "'data.size=[64,64]' 'data.resize=[72,72]'",
    ),
    "the size of a deep network alone": (
        "pix2pix", ("data.size=[64,64]", NARROW, DEEP),
        "the generator pads 64x64 to 256x256, 16 times the pixels, and training crops 64x64 of samples resized to "
        "286x286, 5% of their pixels",
        "'data.size=[64,64]' 'data.resize=[72,72]' method.generator.levels=6",
    ),
    "the documented size": (
        "facades", ("data.size=[128,128]", NARROW, DEEP),
        "the generator pads 128x128 to 256x256, 4 times the pixels, and training crops 128x128 of samples resized to "
        "286x286, 20% of their pixels",
        "'data.size=[128,128]' 'data.resize=[143,143]' method.generator.levels=7",
    ),
    "not square": (
        "pix2pix", ("data.size=[64,128]", "data.resize=null", NARROW, DEEP),
        "the generator pads 64x128 to 256x256, 8 times the pixels",
        "'data.size=[64,128]' method.generator.levels=6",
    ),
    "the recipe's own proportion": (
        "cityscapes", ("data.size=[128,256]", NARROW, DEEP),
        "the generator pads 128x256 to 256x256, 2 times the pixels, and training crops 128x256 of samples resized to "
        "256x512, 25% of their pixels",
        "'data.size=[128,256]' 'data.resize=[128,256]' method.generator.levels=7",
    ),
    "a crop alone": (
        "cyclegan", ("data.size=[128,128]", NARROW),
        "training crops 128x128 of samples resized to 286x286, 20% of their pixels",
        "'data.size=[128,128]' 'data.resize=[143,143]'",
    ),
    "a proportion that each axis has": (
        "daynight", ("data.size=[64,88]", NARROW),
        "training crops 64x88 of samples resized to 144x198, 19.8% of their pixels",
        "'data.size=[64,88]' 'data.resize=[72,99]'",
    ),
    "larger than the multiple": (
        "pix2pix", ("data.size=[300,300]", "data.resize=[320,320]", NARROW, DEEP),
        "the generator pads 300x300 to 512x512, 2.9 times the pixels",
        "'data.size=[300,300]' 'data.resize=[320,320]' method.generator.levels=7",
    ),
    "a little padding of a network that is too deep": (
        "pix2pix", ("data.size=[200,200]", "data.resize=null", NARROW, DEEP),
        "the generator pads 200x200 to 256x256, 1.6 times the pixels",
        "'data.size=[200,200]' method.generator.levels=7",
    ),
    "SPADE": (
        "cityscapes_spade", ("data.size=[64,128]", "data.resize=[64,128]", NARROW, "method.generator.hidden=4"),
        "the generator pads 64x128 to 128x128, 2 times the pixels",
        "'data.size=[64,128]' 'data.resize=[64,128]' method.generator.upsampling=normal",
    ),
    "pix2pixHD's": (
        "cityscapes_pix2pixhd", ("data.size=[16,16]", "data.resize=[16,16]", NARROW, "method.discriminator.layers=1"),
        "the generator pads 16x16 to 32x32, 4 times the pixels",
        "'data.size=[16,16]' 'data.resize=[16,16]' method.generator.downsampling=3",
    ),
    "an encoder-decoder": (
        "pix2pix", ("data.size=[16,16]", "data.resize=null", WIDTHS, "method.discriminator.layers=1"),
        "the generator pads 16x16 to 32x32, 4 times the pixels",
        "'data.size=[16,16]' 'method.generator.widths=[4,4,4]'",
    ),
    "a network without such an option": (
        "pix2pix", ("data.size=[20,20]", "data.resize=[22,22]", TIMM, "method.discriminator.layers=1"),
        "the generator pads 20x20 to 32x32, 2.6 times the pixels",
        "'data.size=[32,32]' 'data.resize=[36,36]'",
    ),
    "too small for its least levels": (
        "pix2pix", ("data.size=[2,2]", "data.resize=null", NARROW, DEEP, "method.discriminator=pixel"),
        "the generator pads 2x2 to 256x256, 16384 times the pixels",
        "'data.size=[256,256]'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_keys_that_are_given_mend_it(case: str) -> None:
    name, words, reasons, keys = CASES[case]
    assert warnings(schema.load(name, words)) == [f"warning: {reasons}{GIVEN}{keys}"]
    assert warnings(schema.load(name, [*words, *shlex.split(keys)])) == []


@pytest.mark.parametrize(
    "words",
    [
        ("data.size=[192,192]", "data.resize=[256,256]"),
        ("data.size=[256,320]", "data.resize=null"),
        ("data.size=[512,512]", "data.resize=[572,572]"),
    ],
)
def test_sizes_in_use_pass(words: tuple[str, ...]) -> None:
    assert warnings(schema.load("pix2pix", [*words, NARROW, "method.generator.levels=6"])) == []


def notes(loaded: Recipe) -> list[str]:
    return describe_padding(loaded, sketch_method(loaded, FACTS))


@pytest.mark.parametrize("name", RECIPE_NAMES)
def test_shipped_recipes_do_not_pad(name: str) -> None:
    for stage in stages(schema.load(name)):
        assert notes(stage) == []


def test_a_little_padding_is_a_note_and_much_is_a_warning() -> None:
    loaded = schema.load("pix2pix", ["data.size=[250,250]", NARROW])
    assert warnings(loaded) == []
    assert notes(loaded) == ["the generator pads 250x250 to 256x256, 1.05 times the pixels"]
    both = schema.load("cyclegan", ["data.size=[254,256]", NARROW])
    assert notes(both) == [
        "the generator pads 254x256 to 256x256, 1.01 times the pixels",
        "the generator_back pads 254x256 to 256x256, 1.01 times the pixels",
    ]
    much = schema.load("pix2pix", ["data.size=[64,64]", "data.resize=null", NARROW, DEEP])
    assert len(warnings(much)) == 1
    assert notes(much) == []


def test_a_dry_run_and_doctor_note_a_little_padding_and_the_start_does_not(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gantrain.cli.doctor._SECONDS", 0.01)
    monkeypatch.setenv("COLUMNS", "500")
    words = (*SMALL, "data.size=[30,30]", "batch_size=2", "length=2", "data.validation=null")
    line = "the generator pads 30x30 to 32x32, 1.14 times the pixels"
    train("quickstart", *words, "dry_run=true")
    assert line in capsys.readouterr().out.splitlines()
    train("quickstart", *words)
    assert line not in capsys.readouterr().out
    result = CliRunner().invoke(app, ["doctor", "recipe=quickstart", *words])
    assert f"note   {line}" in result.output


def test_a_recipe_with_a_path_has_the_usual_proportion() -> None:
    content = {
        "extends": "pix2pix",
        "data": {"size": [64, 64]},
        "method": {"generator": {"levels": 6, "width": 4}},
    }
    Path("mine.yaml").write_text(yaml.safe_dump(content))
    (line,) = warnings(schema.load("mine.yaml"))
    assert line.endswith("'data.size=[64,64]' 'data.resize=[72,72]'")


def test_a_dry_run_doctor_and_the_start_warn(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gantrain.cli.doctor._SECONDS", 0.01)
    words = (
        *SMALL,
        "method.generator.levels=6",
        "batch_size=2",
        "length=2",
        "data.validation=null",
    )
    line = (
        "warning: the generator pads 32x32 to 64x64, 4 times the pixels; sizes that fit together: "
        "'data.size=[32,32]' method.generator.levels=5"
    )
    train("quickstart", *words, "dry_run=true")
    assert line in capsys.readouterr().out.splitlines()
    train("quickstart", *words)
    assert line in capsys.readouterr().out.splitlines()
    result = CliRunner().invoke(app, ["doctor", "recipe=quickstart", *words])
    assert line.removeprefix("warning: ") in " ".join(result.output.split())


@pytest.mark.parametrize("name", ["pix2pix", "cyclegan"])
def test_a_discriminator_that_is_too_deep_is_refused_with_the_key(name: str) -> None:
    key = "method.discriminator.layers=2"
    loaded = schema.load(name, ["data.size=[16,16]", "data.resize=null", NARROW])
    with pytest.raises(ValueError, match="the discriminator") as raised:
        check_method(loaded, sketch_method(loaded, FACTS))
    for line in str(raised.value).splitlines():
        assert line.endswith(f" or fewer of its layers, as in {key}")
    mended = schema.load(name, ["data.size=[16,16]", "data.resize=null", NARROW, key])
    check_method(mended, sketch_method(mended, FACTS))
