"""A key or an option under its old name is refused with the new one, wherever it stands."""

from pathlib import Path

import pytest

from gantrain.cli.main import main
from gantrain.cli.train_command import train_main
from gantrain.recipe import schema
from gantrain.recipe.renamed_keys import MOVED_KEYS, NEW_NAMES, NEW_OPTIONS

# For each old name: a recipe, an override with it, and how the line begins.
PLACES = {
    "border": [
        ("quickstart", "evaluate.border=4", "evaluate.border: is called evaluate.crop_border now"),
        (
            "quickstart",
            "stages=[{evaluate: {border: 4}}]",
            "stages.0.evaluate.border: is called evaluate.crop_border now",
        ),
    ],
    "clip": [
        ("pix2pix", "optimizer.clip=1", "optimizer.clip: is called optimizer.grad_clip_norm now"),
        (
            "pix2pix",
            "phases.generator.clip=1",
            "phases.generator.clip: is called phases.generator.grad_clip_norm now",
        ),
    ],
    "decay": [
        ("pix2pix", "schedule.decay=0.5", "schedule.decay: is called schedule.decay_fraction now"),
        (
            "cut",
            "schedule={name: linear, decay: 0.5}",
            "schedule.decay: is called schedule.decay_fraction now",
        ),
    ],
    "doublings": [
        (
            "cityscapes_spade",
            "method.generator.doublings=more",
            "method.generator.doublings: is called method.generator.upsampling now",
        )
    ],
    "every": [
        ("pix2pix", "optimizer.every=2", "optimizer.every: is called optimizer.interval_steps now"),
        (
            "pix2pix",
            "phases.generator.every=2",
            "phases.generator.every: is called phases.generator.interval_steps now",
        ),
        (
            "pix2pix",
            "method.penalties=[{name: r1, every: 2}]",
            "method.penalties.0.every: is called method.penalties.0.interval_steps now",
        ),
        (
            "pix2pix",
            "method.penalties=[{name: gradient_penalty, every: 2}]",
            "method.penalties.0.every: is called method.penalties.0.interval_steps now",
        ),
    ],
    "halvings": [
        (
            "cityscapes_pix2pixhd",
            "method.generator.halvings=3",
            "method.generator.halvings: is called method.generator.downsampling now",
        )
    ],
    "jitter": [("pix2pix", "data.jitter=0.2", "data.jitter: is called data.color_jitter now")],
}
# A value of each key that moved.
MOVED_VALUES = {
    "data.instances": "x",
    "method.feature_matching": "1",
    "method.l1": "1",
    "method.l2": "1",
    "method.penalty": "[r1]",
    "method.perceptual": "1",
    "method.vgg": "vgg19",
}
COMMANDS = {
    "--border": ("evaluate runs/x --border 4", "evaluate: --border is called --crop-border now"),
    "--instances": (
        "translate runs/x images --out out --instances ids",
        "translate: --instances is called --input now",
    ),
    "--doublings": (
        "import net.pth --out x --doublings more",
        "import: --doublings is called --upsampling now",
    ),
}


def test_the_tables_are_tested_whole() -> None:
    assert NEW_NAMES.keys() == PLACES.keys()
    assert NEW_OPTIONS.keys() == COMMANDS.keys()
    assert NEW_NAMES
    assert NEW_OPTIONS
    assert MOVED_KEYS.keys() == MOVED_VALUES.keys()
    assert MOVED_KEYS


@pytest.mark.parametrize("name", NEW_NAMES)
def test_an_old_key_is_refused_with_the_new_name(name: str) -> None:
    for recipe, override, line in PLACES[name]:
        with pytest.raises(ValueError) as refused:  # noqa: PT011
            schema.load(recipe, [override])
        assert str(refused.value) == line
        assert f"{NEW_NAMES[name]} now" in line


@pytest.mark.parametrize("name", NEW_NAMES)
def test_the_new_name_is_a_key_in_the_same_places(name: str) -> None:
    for recipe, override, _ in PLACES[name]:
        schema.load(recipe, [override.replace(name, NEW_NAMES[name])])


@pytest.mark.parametrize("key", MOVED_KEYS)
def test_a_key_that_moved_is_refused_with_its_place(key: str) -> None:
    with pytest.raises(ValueError, match=rf"^{key}: is called {MOVED_KEYS[key]} now$"):
        schema.load("camvid_spade", [f"{key}=x"])
    schema.load("camvid_spade", [f"{MOVED_KEYS[key]}={MOVED_VALUES[key]}"])


def test_a_method_without_the_new_place_never_had_the_old_key() -> None:
    with pytest.raises(ValueError, match=r"^method.penalty: unknown key; "):
        schema.load("cut", ["method.penalty=r1"])


@pytest.mark.parametrize("option", NEW_OPTIONS)
def test_an_old_option_is_refused_with_the_new_one(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words, line = COMMANDS[option]
    assert main(words.split()) == 2
    assert f"gantrain: {line}; see gantrain {words.split()[0]} --help" in capsys.readouterr().err


def test_an_old_key_in_a_recipe_file_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("extends: pix2pix\nphases: {discriminator: {every: 2}}\ndata: {jitter: 0.1}\n")
    assert train_main([f"recipe={file}", "dry_run=true"]) == 2
    shown = capsys.readouterr().err
    assert "data.jitter: is called data.color_jitter now" in shown
    assert "phases.discriminator.every: is called phases.discriminator.interval_steps now" in shown


def test_a_component_without_the_new_key_has_no_renamed_one() -> None:
    with pytest.raises(ValueError, match="doublings: unknown key; allowed: "):
        schema.load("pix2pix", ["method.generator.doublings=more"])


def test_an_old_key_without_its_part_suggests_the_new_one() -> None:
    with pytest.raises(ValueError, match=r"did you mean optimizer\.grad_clip_norm\?"):
        schema.load("pix2pix", ["clip=1"])


def test_lengths_in_images_keep_their_name() -> None:
    names = ("evaluate", "previews", "checkpoint")
    recipe = schema.load("pix2pix", [*(f"{name}.every=8" for name in names), "log_every=8"])
    assert {getattr(recipe, name).every for name in names} == {8}
