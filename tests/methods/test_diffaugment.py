"""DiffAugment against plain numpy; one draw a sample; nothing where it is off."""

from typing import Any

import numpy as np
import pytest
import torch
from comparing import assert_identical
from torch import Tensor

from gantrain.core.component import build
from gantrain.core.rng import Purpose
from gantrain.methods import METHODS
from gantrain.methods.base import Context
from gantrain.methods.diffaugment import DiffAugment

KINDS = ("color", "translation", "cutout")
N, H, W = 5, 16, 24
CONTEXT = Context(3, 10, N, tuple(range(10, 10 + N)))


def images(channels: int = 3) -> Tensor:
    return (
        torch.rand(
            N, channels, H, W, generator=torch.Generator().manual_seed(1), dtype=torch.float64
        )
        * 2
        - 1
    )


def in_numpy(image: np.ndarray, draws: np.ndarray, kinds: tuple[str, ...]) -> np.ndarray:
    """One image, CHW, by loops over pixels."""
    if "color" in kinds:
        image = image + draws[0] - 0.5
        image = (image - image.mean(0)) * 2 * draws[1] + image.mean(0)
        image = (image - image.mean()) * (draws[2] + 0.5) + image.mean()
    moved, dy, dx = image, 0, 0
    if "translation" in kinds:  # up to 2 pixels of 16, 3 of 24
        dy, dx = int(draws[3] * 5) - 2, int(draws[4] * 7) - 3
    moved = np.zeros_like(image)
    for y in range(H):
        for x in range(W):
            if 0 <= y - dy < H and 0 <= x - dx < W:
                moved[:, y, x] = image[:, y - dy, x - dx]
    if "cutout" in kinds:  # 8 x 12 pixels, even
        for y in np.clip(int(draws[5] * (H + 1)) - 4 + np.arange(8), 0, H - 1):
            for x in np.clip(int(draws[6] * (W + 1)) - 6 + np.arange(12), 0, W - 1):
                moved[:, y, x] = 0
    return moved


@pytest.mark.parametrize("kinds", [("color",), ("translation",), ("cutout",), KINDS])
def test_formula(kinds: tuple[str, ...]) -> None:
    ours = DiffAugment(kinds, [3])(images(), CONTEXT).numpy()
    for image, augmented, position in zip(images().numpy(), ours, CONTEXT.positions, strict=True):
        draws = CONTEXT.random(position, Purpose.DIFF_AUGMENT).random(7)
        np.testing.assert_allclose(augmented, in_numpy(image, draws, kinds), atol=1e-12)


def test_a_sample_has_one_draw() -> None:
    """Alone, or behind its source; in this micro-batch or another."""
    pair = torch.cat([images(2), images(3)], 1)
    whole = DiffAugment(KINDS, [2, 3])(pair, CONTEXT)
    assert torch.equal(whole[:, :2], DiffAugment(KINDS, [2])(images(2), CONTEXT))
    assert torch.equal(whole[:, 2:], DiffAugment(KINDS, [3])(images(3), CONTEXT))
    part = Context(3, 10, N, CONTEXT.positions[2:4])
    assert torch.equal(whole[2:4], DiffAugment(KINDS, [2, 3])(pair[2:4], part))
    assert not torch.equal(
        whole, DiffAugment(KINDS, [2, 3])(pair, Context(4, 10, N, CONTEXT.positions))
    )


@pytest.mark.slow
def test_gradients_flow_to_what_is_seen() -> None:
    x = images().requires_grad_()
    augmented = DiffAugment(KINDS, [3])(x, CONTEXT)
    augmented.square().sum().backward()
    assert (x.grad.abs().sum((1, 2, 3)) > 0).all()
    weights = torch.rand_like(x)
    torch.autograd.gradcheck(
        lambda x: (DiffAugment(KINDS, [3])(x, CONTEXT) * weights).sum(), images().requires_grad_()
    )


RESNET = {"name": "resnet", "width": 4, "blocks": 5, "norm": "instance"}
SPADE = {
    "generator": {"name": "spade", "width": 2, "hidden": 4, "norm": "instance"},
    "losses": {"perceptual": 0},
}


@pytest.mark.parametrize(
    ("name", "own", "seen_in"),
    [
        ("pix2pix", {"generator": RESNET}, {"gan", "d"}),
        ("cut", {"generator": RESNET}, {"gan", "d"}),
        ("cyclegan", {"generator": RESNET}, {"gan", "gan_source", "d", "d_source"}),
        ("spade", SPADE, {"gan", "d", "feature_matching"}),
    ],
)
def test_off_is_as_before_and_on_is_seen_by_the_discriminator_alone(
    name: str, own: dict[str, Any], seen_in: set[str]
) -> None:
    discriminator = {"name": "patchgan", "width": 4, "layers": 1, "norm": "instance"}
    batch = {"source": images(), "target": images().flip(0)}

    def losses(**options) -> dict[str, Tensor]:
        torch.manual_seed(0)
        options = {**own, "discriminator": discriminator, **options}
        method = build(
            METHODS, {"name": name, **options}, source_channels=3, target_channels=3
        ).double()
        generators, discriminators = (phase.terms for phase in method.phases)
        terms = generators(batch, None, CONTEXT)
        judged = discriminators(batch, terms.carried, CONTEXT)
        return {**terms.losses, **terms.carried, **judged.losses}

    off, on = losses(augment=()), losses(augment=KINDS)
    assert_identical(off, losses())
    assert {key for key in off if not torch.equal(off[key], on[key])} == seen_in
    assert DiffAugment((), [3])(batch["source"], CONTEXT) is batch["source"]
