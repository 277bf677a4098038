"""Penalties against discriminators whose gradients are known."""

import json
from pathlib import Path

import pytest
import torch
from conftest import run_here
from resolving import resolve

from gantrain.core.component import build
from gantrain.losses import PENALTIES, R1, R2, GradientPenalty
from gantrain.networks import MultiscalePatchGAN, PatchGAN

assert PENALTIES, "no penalty to test"
SHAPE = (3, 2, 5, 4)


@pytest.fixture
def batch():
    torch.manual_seed(0)
    real, fake = torch.randn(2, *SHAPE, dtype=torch.float64)
    return real, fake, torch.rand(SHAPE[0], 1, 1, 1, dtype=torch.float64)


def linear(w):
    """One score a sample, sum(w * image); its gradient is w."""
    return lambda x: [[(x * w).sum((1, 2, 3)).view(-1, 1, 1, 1)]]


def test_defaults():
    assert resolve(PENALTIES, "r1") == {
        "name": "r1",
        "weight": 10.0,
        "interval_steps": 16,
        "logits": "mean",
    }
    assert resolve(PENALTIES, "r2") == {**resolve(PENALTIES, "r1"), "name": "r2"}
    config = {"name": "gradient_penalty", "weight": 10.0, "interval_steps": 1, "logits": "sum"}
    assert resolve(PENALTIES, "gradient_penalty") == config
    assert build(PENALTIES, {"name": "r1", "interval_steps": 4}).interval_steps == 4


def test_linear_discriminator(batch):
    w = torch.randn(SHAPE[1:], dtype=torch.float64, requires_grad=True)
    n = w.detach().norm()

    penalty = R1(weight=3.0, interval_steps=5)(linear(w), *batch)
    assert penalty.item() == pytest.approx((1.5 * n**2).item(), rel=1e-9)
    (gradient,) = torch.autograd.grad(penalty, w)
    torch.testing.assert_close(gradient, 3.0 * w.detach())

    penalty = GradientPenalty(weight=3.0)(linear(w), *batch)
    assert penalty.item() == pytest.approx((3 * (n - 1) ** 2).item(), rel=1e-9)
    (gradient,) = torch.autograd.grad(penalty, w)
    torch.testing.assert_close(gradient, 6.0 * (n - 1) * w.detach() / n)


def test_where_the_gradient_is_taken(batch):
    real, fake, alpha = batch

    def quadratic(x):  # its gradient is x
        return [[x.square().sum((1, 2, 3)).view(-1, 1, 1, 1) / 2]]

    expected = 5 * real.square().sum((1, 2, 3)).mean()
    torch.testing.assert_close(R1()(quadratic, *batch), expected)
    expected = 5 * fake.square().sum((1, 2, 3)).mean()
    torch.testing.assert_close(R2()(quadratic, *batch), expected)
    mixed = alpha * real + (1 - alpha) * fake
    expected = 10 * (mixed.flatten(1).norm(dim=1) - 1).square().mean()
    torch.testing.assert_close(GradientPenalty()(quadratic, *batch), expected)


def test_maps_are_summed_and_scales_averaged(batch):
    v, w = torch.randn(2, *SHAPE[1:], dtype=torch.float64, requires_grad=True)

    def discriminate(x):
        return [[x, x * v], [x, x * w]]

    n2 = ((v + w) / 2).square().sum()
    torch.testing.assert_close(R1(logits="sum")(discriminate, *batch), 5 * n2)
    expected = 10 * (n2.sqrt() - 1).square()
    torch.testing.assert_close(GradientPenalty()(discriminate, *batch), expected)


def test_means_of_maps_are_averaged_over_scales(batch):
    v, w = torch.randn(2, *SHAPE[1:], dtype=torch.float64, requires_grad=True)

    def discriminate(x):  # the second scale has half as many logits
        return [[x, x * v], [x, (x * w)[..., ::2]]]

    even_columns = torch.zeros_like(w)
    even_columns[..., ::2] = w[..., ::2]
    n2 = ((v / v.numel() + even_columns / (w.numel() / 2)) / 2).square().sum()
    torch.testing.assert_close(R1()(discriminate, *batch), 5 * n2)
    expected = 10 * (n2.sqrt() - 1).square()
    torch.testing.assert_close(GradientPenalty(logits="mean")(discriminate, *batch), expected)


@pytest.mark.parametrize(
    "side", [1, 14, 30]
)  # one logit, a 70-pixel PatchGAN at 128 and at 256 pixels
def test_only_a_sum_grows_with_the_number_of_logits(side):
    """A map that repeats one logit has the penalty of that logit by its mean, and far more by
    its sum.
    """
    torch.manual_seed(0)
    real, w = torch.randn(2, *SHAPE, dtype=torch.float64)

    def discriminate(x):
        return [[linear(w[0])(x)[0][0].expand(-1, 1, side, side)]]

    one_logit = R1()(linear(w[0]), real)
    torch.testing.assert_close(R1()(discriminate, real), one_logit)
    torch.testing.assert_close(R1(logits="sum")(discriminate, real), one_logit * side**4)


def test_r1_needs_real_images_alone(batch):
    w = torch.ones(SHAPE[1:], dtype=torch.float64)
    assert R1()(linear(w), batch[0]) == R1()(linear(w), *batch)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zero_gradient_has_no_nan(batch, dtype):
    w = torch.zeros(SHAPE[1:], dtype=dtype, requires_grad=True)
    penalty = GradientPenalty()(linear(w), *(t.to(dtype) for t in batch))
    assert penalty.item() == pytest.approx(10)
    assert torch.autograd.grad(penalty, w)[0].isfinite().all()


def test_conditional_discriminator_by_its_image_alone():
    torch.manual_seed(0)
    source, real = torch.randn(2, 2, 3, 32, 32, dtype=torch.float64)
    source.requires_grad_()
    network = PatchGAN(6, width=4, layers=1, norm="instance").double()
    penalty = R1(weight=2.0)(lambda x: network(torch.cat([source, x], 1)), real)
    x = real.clone().requires_grad_()
    logits = network(torch.cat([source, x], 1))[0][-1]
    (gradient,) = torch.autograd.grad(logits.mean((1, 2, 3)).sum(), x)
    assert penalty.item() == pytest.approx(gradient.square().sum().item() / 2, rel=1e-9)
    penalty.backward()
    assert all(p.grad is not None for p in network.parameters() if p.dim() > 1)


@pytest.mark.parametrize("name", PENALTIES)
def test_full_precision_inside_autocast(name):
    torch.manual_seed(0)
    real, fake = torch.randn(2, 2, 3, 32, 32)
    alpha = torch.rand(2, 1, 1, 1)
    network = MultiscalePatchGAN(3, width=4, layers=1)
    penalty = PENALTIES[name]()
    expected = penalty(network, real, fake, alpha)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        ours = penalty(network, real, fake, alpha)
    assert ours.dtype == torch.float32
    assert torch.equal(ours, expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert penalty(network, real.bfloat16(), fake.bfloat16(), alpha).dtype == torch.float32


@pytest.mark.parametrize("name", PENALTIES)
def test_compiled_discriminator(name):
    torch._dynamo.reset()
    torch.manual_seed(0)
    real, fake = torch.randn(2, 2, 3, 32, 32, dtype=torch.float64)
    alpha = torch.rand(2, 1, 1, 1, dtype=torch.float64)
    network = PatchGAN(3, width=4, layers=1, norm="instance").double()
    results = []
    for compiled in (False, True):
        if compiled:
            torch._dynamo.utils.counters.clear()
            network.compile(backend="aot_eager")
            network(real)[0][-1].mean().backward()
            assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
        network.zero_grad()
        # As in a phase: one backward through the compiled forward and the penalty.
        loss = network(fake)[0][-1].mean() + PENALTIES[name]()(network, real, fake, alpha)
        loss.backward()
        results.append([loss.detach(), *(p.grad.clone() for p in network.parameters())])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(("logits", "lowest", "highest"), [("mean", 0.6, 1.0), ("sum", 0.0, 0.3)])
def test_default_weight_leaves_a_patchgan_able_to_judge(logits, lowest, highest):
    """After 480 images, R1 of the mean lets d recognise fakes; R1 of the sum switches d off."""
    quiet = (
        "evaluate.every=9999",
        "previews.every=9999",
        "evaluate.metrics=[l1]",
        "trackers=[]",
        "data.workers=0",
    )
    run_here(
        f"method.penalties=[{{name: r1, logits: {logits}}}]",
        "length=480",
        "log_every=160",
        "threads=1",
        *quiet,
    )
    rows = [
        json.loads(line) for line in Path("runs/quickstart/metrics.jsonl").read_text().splitlines()
    ]
    last = [row for row in rows if "d_on_fake" in row][-1]
    assert last["images_seen"] == 480
    assert lowest <= last["d_on_fake"] <= highest
    assert last["d_on_real"] >= 0.6
