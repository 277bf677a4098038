"""One table of small methods, from which the tests of a step and of whole runs are generated.

These tests take their cases from here: one step without reads of the device, in bf16, compiled and
not finite (test_step.py), golden steps (test_golden.py), equality over ranks and micro-batches and
resuming (test_equality.py), ZeRO (test_zero.py), the weights of losses (test_progress_rows.py), and
shipped recipes on synthetic data (test_recipes.py). A new method is one line of SMALL_METHODS.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from conftest import SMALL

from gantrain.recipe import schema


@dataclass(frozen=True)
class SmallMethod:
    """A small version of a method, as changes of the recipe `quickstart`.

    Attributes:
        method: The recipe's `method`.
        recipe: Overrides of other keys, such as those of the data.
        size: The height and width of the images.
        exact: Further options of the method in runs in float64, where `method` does not set them.
        is_exact: Whether the weights do not depend on the numbers of ranks and micro-batches.
            Batch norm, dropout and drawn noise make them depend on it.
    """

    method: dict[str, Any]
    recipe: tuple[str, ...] = ()
    size: int = 32
    exact: dict[str, Any] = field(default_factory=dict)
    is_exact: bool = True


AUGMENT = ["color", "translation", "cutout"]
R1 = {"name": "r1", "interval_steps": 2, "logits": "sum"}
# CUT's two domains are the maps and the photographs of the synthetic pairs, CycleGAN's are two sets
# of them. Both have images of 3 channels, so that there is an identity term.
PAIRS = ("data.labels={}", "data.source=left", "data.target=right")
TWO_SETS = (
    "data.unpaired=true",
    "data.labels={}",
    "evaluate.metrics=[histogram]",
    "evaluate.best_by=histogram",
)
UNET = {
    "name": "unet",
    "width": 8,
    "levels": 3,
    "norm": "instance",
    "dropout": 0,
    "upsample": "nearest",
}
PATCHGAN = {"name": "patchgan", "width": 8, "layers": 2, "norm": "instance"}
PIX2PIX = {"name": "pix2pix", "generator": UNET, "discriminator": PATCHGAN, "losses": {"l1": 30}}
PIX2PIX_EXACT = {"pool": 24, "penalties": [R1], "augment": AUGMENT}
CYCLEGAN = {
    "name": "cyclegan",
    "generator": {"width": 4, "blocks": 1},
    "discriminator": {"width": 4, "layers": 1},
    "pool": 24,
    "augment": AUGMENT,
}
CUT = {
    "name": "cut",
    "generator": {"width": 8, "blocks": 2, "antialias": True, "upsample": "bilinear"},
    "discriminator": {"width": 8, "antialias": True, "norm": "instance"},
    "layers": ["image", "down0", "down1", "block1"],
    "patches": 64,
    "augment": AUGMENT,
}
FASTCUT = {**CUT, "identity": False, "flip_equivariance": True, "order": "discriminator_first"}
MULTISCALE = {"name": "multiscale_patchgan", "width": 4, "layers": 1}
PIX2PIXHD = {
    "name": "pix2pixhd",
    "generator": {
        "name": "coarse_to_fine",
        "width": 4,
        "downsampling": 2,
        "blocks": 1,
        "enhancer": True,
    },
    "discriminator": MULTISCALE,
    "losses": {"perceptual": 0},
}
SPADE = {
    "name": "spade",
    "style": "vae",
    "generator": {"name": "spade", "width": 2, "hidden": 4},
    "discriminator": {**MULTISCALE, "spectral_norm": True},
    "losses": {"perceptual": 0},
}
SPADE_AUGMENT = ["translation", "cutout"]
PROJECTED = {
    "name": "projected",
    "backbone": "test_resnet",
    "pretrained": False,
    "width": 4,
    "size": 128,
}
TIMM = {"name": "timm", "backbone": "test_resnet", "pretrained": False, "layers": [0, 2]}

# Each method, and each published version of it that has a recipe of its own.
SMALL_METHODS = {
    "pix2pix": SmallMethod(PIX2PIX, exact=PIX2PIX_EXACT),
    "survey": SmallMethod({"name": "survey", "losses": {"l1": 10}}, size=64, is_exact=False),
    "cyclegan": SmallMethod(CYCLEGAN, TWO_SETS),
    "cut": SmallMethod(CUT, PAIRS),
    "fastcut": SmallMethod(FASTCUT, PAIRS),
    "pix2pixhd": SmallMethod(PIX2PIXHD),
    "spade": SmallMethod({**SPADE, "augment": SPADE_AUGMENT}, is_exact=False),
}


def pix2pix(recipe: tuple[str, ...] = (), **options: Any) -> SmallMethod:
    """Return the small pix2pix with other options."""
    return SmallMethod({**PIX2PIX, **options}, recipe, exact=PIX2PIX_EXACT)


# Further options of these methods. The tests of one step, resuming and losses' weights cover them.
VARIANTS = {
    "everything": pix2pix(
        generator={**UNET, "norm": "batch", "dropout": 0.5},
        discriminator={**PATCHGAN, "norm": "batch", "spectral_norm": True},
        pool=16,
        penalties=[R1],
        losses={"l1": 30, "feature_matching": 1},
        augment=AUGMENT,
    ),
    "spectral": pix2pix(
        discriminator={**PATCHGAN, "spectral_norm": True},
        adversarial="hinge",
    ),
    "wgan": pix2pix(adversarial="wgan", penalties=["gradient_penalty"]),
    "relativistic": pix2pix(
        adversarial="relativistic",
        penalties=[{**R1, "interval_steps": 1}, {"name": "r2", "interval_steps": 2}],
    ),
    # Those that need no published weights.
    "losses": pix2pix(
        losses={
            "l1": {0: 0, 4: 30, 20: 10},
            "l2": 5,
            "charbonnier": {"weight": 5, "epsilon": 0.01},
            "pyramid_l1": {"weight": 5, "levels": 3},
            "ssim": 1,
            "ms_ssim": {"weight": 1, "scales": 2},
            "perceptual": {"weight": 1, "network": TIMM},
            "patch_nce": {"weight": 0.5, "network": TIMM, "patches": 16},
        },
    ),
    "relativistic_average": pix2pix(adversarial="relativistic_average"),
    "paper_order": pix2pix(("phases.generator.interval_steps=2",), order="discriminator_first"),
    # One forward of the generator serves the turns of all networks.
    "discriminator_first": pix2pix(
        order="discriminator_first",
        more_discriminators=[
            {
                "network": {"name": "pixel", "width": 4, "norm": "instance"},
                "adversarial": "lsgan",
            }
        ],
    ),
    "multiscale": pix2pix(
        discriminator={**MULTISCALE, "width": 8},
        losses={"l1": 30, "feature_matching": 10},
        adversarial="lsgan",
    ),
    "several": pix2pix(
        more_discriminators=[
            {"network": {"name": "pixel", "width": 4}, "adversarial": "lsgan", "weight": 0.5},
            {"network": PROJECTED},
        ],
    ),
    "cyclegan_several": SmallMethod(
        {**CYCLEGAN, "more_discriminators": [{"network": {"name": "pixel", "width": 4}}]},
        TWO_SETS,
    ),
    "new_fakes": SmallMethod({**SPADE, "order": "generator_first_new_fakes"}),
    "no_style": SmallMethod(
        {**SPADE, "style": "none", "generator": {**SPADE["generator"], "norm": "instance"}},
    ),
}
ALL = {**SMALL_METHODS, **VARIANTS}
# The variants whose runs are compared over ranks, micro-batches and engines.
EXACT_VARIANTS = ("losses", "relativistic", "discriminator_first")

# A short run, without the method of conftest.SMALL.
SHORT_RUN = tuple(word for word in SMALL if not word.startswith("method."))


def method_words(name: str, /, *, exact: bool = False, **options: Any) -> tuple[str, ...]:
    """Return the overrides of `quickstart` that make a small method. Its run is not yet short.

    exact: add the options of runs in float64. options: change options of the method.
    """
    small = ALL[name]
    method = {**(small.exact if exact else {}), **small.method, **options}
    overrides = (f"method={json.dumps(method)}", *small.recipe)
    if small.size != 32:
        overrides = (*overrides, f"data.size=[{small.size},{small.size}]")
    return overrides


@cache
def _load_method(name: str) -> str:
    return json.dumps(schema.load("quickstart", method_words(name)).method)


def full_method(name: str) -> dict[str, Any]:
    """Return the whole `method` of a small method's recipe, with all of its defaults."""
    method: dict[str, Any] = json.loads(_load_method(name))
    return method


def missing_methods(table: Mapping[str, SmallMethod], methods: Iterable[str]) -> list[str]:
    """Return the names of those methods that have no small version in the table."""
    named = {small.method["name"] for small in table.values()}
    return sorted(set(methods) - named)
