"""Weighted terms of a recipe: numbers, schedules and options, and how they are laid over others."""

import json

import pytest

from gantrain.core.weighted import as_options, check_weight, is_zero, lay_over, weight_at
from gantrain.recipe import schema

SCHEDULE = {100: 1.0, 200: 3.0, 1000: 0.0}


@pytest.mark.parametrize(
    ("images", "weight"),
    [(0, 1.0), (100, 1.0), (150, 2.0), (200, 3.0), (600, 1.5), (1000, 0.0), (10**9, 0.0)],
)
def test_a_schedule_is_linear_between_its_points(images: int, weight: float) -> None:
    assert weight_at(SCHEDULE, images) == pytest.approx(weight, rel=1e-12)
    assert weight_at(7.0, images) == 7.0


def test_a_weight_is_a_number_or_a_schedule() -> None:
    assert check_weight(3) == 3.0
    assert check_weight({"20": 1, 0: 0}) == {0: 0.0, 20: 1.0}
    assert list(check_weight({20: 1, 3: 0})) == [3, 20]  # type: ignore[arg-type]
    for wrong in (-1, 1e10, True, None, "3", {}, {"a": 1}, {-1: 1}, {0: "x"}, {0: True}, {1.5: 1}):
        with pytest.raises(ValueError, match=r"^allowed: a number from 0 to 1e9, or a schedule"):
            check_weight(wrong)


def test_only_a_weight_of_zero_at_all_times_removes_a_term() -> None:
    assert is_zero(0.0)
    assert is_zero({0: 0.0, 10: 0.0})
    assert not is_zero({0: 0.0, 10: 1.0})


def test_terms_are_laid_on_the_defaults() -> None:
    defaults = {"l1": 100.0, "perceptual": {"weight": 10.0, "network": "vgg19"}}
    terms = {"perceptual": 5, "lpips": {0: 0, 5: 1}, "l1": {"weight_by": "mask"}}
    assert lay_over(defaults, terms) == {
        "l1": {"weight": 100.0, "weight_by": "mask"},
        "perceptual": {"weight": 5, "network": "vgg19"},
        "lpips": {0: 0, 5: 1},
    }
    assert as_options({"weight": 3}) == {"weight": 3}


def losses(recipe: str, *words: str) -> dict[str, object]:
    """The weights of a recipe's losses by name."""
    terms = schema.load(recipe, words).method["losses"]
    return {name: term["weight"] for name, term in terms.items()}


def test_losses_of_a_recipe_are_laid_on_those_of_the_method() -> None:
    assert losses("pix2pix") == {"l1": 100}
    assert losses("pix2pix", "method.losses.lpips=1") == {"l1": 100, "lpips": 1}
    assert losses("survey", "method.losses.l2=3") == {"l2": 3}
    assert losses("cityscapes") == {"l1": 0, "feature_matching": 10}
    assert losses("camvid_spade") == {"feature_matching": 10, "perceptual": 0}
    assert losses("camvid_spade", "method.losses={ssim: 1}")["perceptual"] == 0
    assert losses("pix2pix", "method.losses.l1={0: 0, 9: 1}", "method.losses.l1={5: 2}") == {
        "l1": {5: 2}
    }


def test_a_weight_keeps_the_other_options_in_files_and_in_overrides(tmp_path: object) -> None:
    file = f"{tmp_path}/own.yaml"
    with open(file, "w") as stream:
        stream.write(
            "extends: camvid_spade\nmethod:\n  losses:\n"
            "    perceptual: {weight: 10, network: {name: vgg19, weights: x.pth}}\n"
        )
    words = [
        "method.losses.perceptual={0: 0, 50: 5}",
        "method.losses.perceptual.network.normalised=true",
    ]
    term = schema.load(file, words).method["losses"]["perceptual"]
    assert term == {
        "weight": {0: 0, 50: 5},
        "network": {"name": "vgg19", "weights": "x.pth", "normalised": True},
    }
    other = schema.load(file, ["method.losses.perceptual.network={name: timm, backbone: resnet18}"])
    network = other.method["losses"]["perceptual"]["network"]
    assert network["name"] == "timm"
    assert network["weights"] is None


def test_a_saved_recipe_is_the_same_recipe() -> None:
    words = [
        "method.losses={l1: {0: 0, 9: 1}, l2: {weight: 1, weight_by: source, class_weights: {3: 2}}}"
    ]
    loaded = schema.load("pix2pix", [*words, "method.losses.ssim=0"])
    for content in (loaded.dump(), json.loads(json.dumps(loaded.dump()))):
        assert schema.from_dict(content).method == loaded.method
    assert loaded.method["losses"]["ssim"]["weight"] == 0


def test_a_stage_changes_a_weight() -> None:
    stages = "stages=[{length: 8}, {length: 8, method: {losses: {lpips: 1}}}]"
    first, second = schema.stages(schema.load("pix2pix", [stages]))
    assert set(first.method["losses"]) == {"l1"}
    assert set(second.method["losses"]) == {"l1", "lpips"}


WRONG = {
    "method.losses.l1=-1": "method.losses.l1: found -1, allowed: a number from 0 to 1e9, or a",
    "method.losses.l1=null": "method.losses.l1: found null, allowed: a number from 0 to 1e9, or a",
    "method.losses.l1.weight=-1": "method.losses.l1.weight: found -1, allowed: a number from 0",
    "method.losses.lpip=1": "method.losses.lpip: unknown key; did you mean method.losses.lpips?",
    "method.losses.ssim={weight: 1, weight_by: mask}": "method.losses.ssim.weight_by: unknown key; ",
    "method.losses.lpips={network: vgg}": "method.losses.lpips.weight: missing; give it a value",
    "method.losses=3": "method.losses: found 3, allowed: a mapping `key: value`",
    "method.losses.l1={0: x}": "method.losses.l1: found {0: 'x'}, allowed: a number",
}


@pytest.mark.parametrize("word", WRONG)
def test_wrong_losses_are_one_line(word: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        schema.load("pix2pix", [word])
    (line,) = str(refused.value).splitlines()
    assert line.startswith(WRONG[word])


def test_a_method_without_pairs_has_no_losses() -> None:
    with pytest.raises(ValueError, match=r"^method.losses: unknown key; "):
        schema.load("cut", ["method.losses.l1=1"])
