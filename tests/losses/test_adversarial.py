"""Losses against formulas written out in numpy and float64."""

import numpy as np
import pytest
import torch
from resolving import resolve

from gantrain.core.component import build
from gantrain.losses import ADVERSARIAL
from gantrain.losses.adversarial import discriminator_loss, generator_loss
from gantrain.losses.distances import feature_matching, l1, l2

assert ADVERSARIAL, "no adversarial loss to test"


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def relativistic_average(positive, negative):
    """The cross-entropy of RaSGAN, written with its sigmoids."""
    on_positive = -np.log(sigmoid(positive - negative.mean())).mean()
    on_negative = -np.log(1 - sigmoid(negative - positive.mean())).mean()
    return on_positive + on_negative


# Of the discriminator and of the generator, from real and fake logits.
FORMULAS = {
    "vanilla": (
        lambda r, f: -np.log(sigmoid(r)).mean() - np.log(1 - sigmoid(f)).mean(),
        lambda r, f: -np.log(sigmoid(f)).mean(),
    ),
    "lsgan": (
        lambda r, f: ((r - 1) ** 2).mean() + (f**2).mean(),
        lambda r, f: ((f - 1) ** 2).mean(),
    ),
    "hinge": (
        lambda r, f: np.maximum(0, 1 - r).mean() + np.maximum(0, 1 + f).mean(),
        lambda r, f: -f.mean(),
    ),
    "wgan": (lambda r, f: f.mean() - r.mean(), lambda r, f: -f.mean()),
    "relativistic": (
        lambda r, f: -np.log(sigmoid(r - f)).mean(),
        lambda r, f: -np.log(sigmoid(f - r)).mean(),
    ),
    "relativistic_average": (relativistic_average, lambda r, f: relativistic_average(f, r)),
    "nonsaturating": (
        lambda r, f: np.log(1 + np.exp(-r)).mean() + np.log(1 + np.exp(f)).mean(),
        lambda r, f: np.log(1 + np.exp(-f)).mean(),
    ),
}


def of_generator(loss, real, fake):
    """The generator's loss, from the logits that it asks for."""
    return loss.generator(fake, real) if loss.is_relative else loss.generator(fake)


def logits(seed, shape=(3, 1, 5, 4)):
    return np.random.default_rng(seed).normal(0, 2, shape)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-6)])
@pytest.mark.parametrize("name", ADVERSARIAL)
def test_formula(name, dtype, tolerance):
    loss = build(ADVERSARIAL, resolve(ADVERSARIAL, name))
    real, fake = logits(0), logits(1)
    discriminator_formula, generator_formula = FORMULAS[name]
    ours = loss.discriminator(torch.tensor(real, dtype=dtype), torch.tensor(fake, dtype=dtype))
    assert ours.item() == pytest.approx(discriminator_formula(real, fake), rel=tolerance)
    ours = of_generator(loss, torch.tensor(real, dtype=dtype), torch.tensor(fake, dtype=dtype))
    assert ours.item() == pytest.approx(generator_formula(real, fake), rel=tolerance)


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_gradients_point_the_right_way(name):
    loss = ADVERSARIAL[name]()
    real, fake = (torch.zeros(2, 1, 3, 3, requires_grad=True) for _ in range(2))
    loss.discriminator(real, fake).backward()
    assert (real.grad < 0).all()
    # LSGAN's fake target is 0, where it rests.
    assert (fake.grad >= 0).all()
    fake.grad = None
    of_generator(loss, real.detach(), fake).backward()
    assert (fake.grad < 0).all()


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_bfloat16_logits_are_computed_in_float32(name):
    loss = ADVERSARIAL[name]()
    real, fake = (torch.tensor(logits(i)).bfloat16() for i in range(2))
    with torch.autocast("cpu", torch.bfloat16):
        ours = [loss.discriminator(real, fake), of_generator(loss, real, fake)]
    expected = [
        loss.discriminator(real.float(), fake.float()),
        of_generator(loss, real.float(), fake.float()),
    ]
    for a, b in zip(ours, expected, strict=True):
        assert a.dtype == torch.float32
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_large_logits_stay_finite(name):
    loss = ADVERSARIAL[name]()
    big = torch.full((1, 1, 2, 2), 1e4)
    assert loss.discriminator(-big, big).isfinite()
    assert of_generator(loss, big, -big).isfinite()


def outputs(seed, scales=((4, 8), (2, 8)), layers=3):
    """Feature maps, then logits, for each scale."""
    rng = np.random.default_rng(seed)
    return [
        [torch.tensor(rng.normal(size=(2, c, 8 >> i, 8 >> i))) for c in (*([4] * layers), 1)]
        for i, _ in enumerate(scales)
    ]


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_scales_are_averaged_and_only_logits_count(name):
    loss = ADVERSARIAL[name]()
    real, fake = outputs(0), outputs(1)
    discriminator_formula, generator_formula = FORMULAS[name]
    pairs = [(r[-1].numpy(), f[-1].numpy()) for r, f in zip(real, fake, strict=True)]
    expected = np.mean([discriminator_formula(r, f) for r, f in pairs])
    assert discriminator_loss(loss, real, fake).item() == pytest.approx(expected, rel=1e-9)
    expected = np.mean([generator_formula(r, f) for r, f in pairs])
    ours = generator_loss(loss, fake, real if loss.is_relative else None)
    assert ours.item() == pytest.approx(expected, rel=1e-9)
    with pytest.raises(ValueError, match="argument"):
        discriminator_loss(loss, real[:1], fake)


@pytest.mark.parametrize("layers", [2, 4])
def test_feature_matching(layers):
    real, fake = outputs(0, layers=layers), outputs(1, layers=layers)
    expected = 0.0
    for r, f in zip(real, fake, strict=True):
        for i in range(layers):  # not the logits
            expected += 4 / layers / len(real) * np.abs(f[i].numpy() - r[i].numpy()).mean()
    assert feature_matching(real, fake).item() == pytest.approx(expected, rel=1e-9)

    for scale in [*real, *fake]:
        for feature in scale:
            feature.requires_grad_()
    feature_matching(real, fake).backward()
    assert all(feature.grad is None for scale in real for feature in scale)
    assert all(feature.grad is not None for scale in fake for feature in scale[:-1])


def test_pixel_losses():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, 3, 4, 5))
    fake, target = torch.tensor(a), torch.tensor(b)
    assert l1(fake, target).item() == pytest.approx(np.abs(a - b).mean(), rel=1e-9)
    assert l2(fake, target).item() == pytest.approx(((a - b) ** 2).mean(), rel=1e-9)
    half = fake.bfloat16()
    assert l1(half, target.float()).dtype == torch.float32
    assert torch.equal(l2(half, target.float()), l2(half.float(), target.float()))
