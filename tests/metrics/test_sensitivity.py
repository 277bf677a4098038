"""Which metric sees what: each degradation moves those that should see it, and no fewer."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from gantrain.metrics.metric_suite import MetricSuite, Record

NAMES = ("swd", "fd_random0", "kd_random0", "recall_random0", "spectrum", "histogram", "diversity")
N, SIZE = 192, 64


def dead_leaves(seed: int) -> Tensor:
    """Discs over one another, 8-bit values (N, 3, SIZE, SIZE): edges and a spectrum like
    photographs'.
    """
    random = torch.Generator().manual_seed(seed)
    images = torch.full((N, 3, SIZE, SIZE), 127.0)
    y, x = torch.arange(SIZE)[:, None], torch.arange(SIZE)
    for _ in range(60):
        across, down, size = torch.rand(3, N, 1, 1, generator=random)
        disc = (y - down * SIZE) ** 2 + (x - across * SIZE) ** 2 < (3 / (size + 0.08)) ** 2  # NHW
        colour = torch.rand(N, 3, 1, 1, generator=random) * 200 + 20
        images = torch.where(disc[:, None], colour, images)
    return images.round()


def blurred(images: Tensor) -> Tensor:
    kernel = torch.exp(-torch.arange(-3, 4.0).square() / (2 * 0.7**2))
    kernel = (torch.outer(kernel, kernel) / kernel.sum() ** 2).expand(3, 1, 7, 7)
    return torch.nn.functional.conv2d(
        torch.nn.functional.pad(images, (3,) * 4, mode="reflect"), kernel, groups=3
    )


def shuffled(images: Tensor) -> Tensor:
    blocks = images.unfold(2, 16, 16).unfold(3, 16, 16).flatten(2, 3)  # N3B16,16
    mixed = blocks[:, :, torch.randperm(16, generator=torch.Generator().manual_seed(0))]
    return mixed.unflatten(2, (4, 4)).permute(0, 1, 2, 4, 3, 5).reshape(images.shape)


def noisy(images: Tensor) -> Tensor:
    return images + 8 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))


# What is done to fresh images, and the metrics that have to see it.
DEGRADATIONS: dict[str, tuple[Callable[[Tensor], Tensor], tuple[str, ...]]] = {
    "blur": (blurred, ("swd", "spectrum", "kd_random0")),
    "noise": (noisy, ("swd", "spectrum")),
    "tint": (
        lambda x: x + torch.tensor([12.0, 0, 0]).view(3, 1, 1),
        ("swd", "histogram", "kd_random0"),
    ),
    "contrast": (
        lambda x: (x - 127) * 0.85 + 127,
        ("swd", "histogram", "fd_random0", "kd_random0"),
    ),
    "checkerboard": (
        lambda x: x + 4 * (-1) ** (torch.arange(SIZE) + torch.arange(SIZE)[:, None]),
        ("spectrum",),
    ),
    "shuffled blocks": (shuffled, ("swd", "spectrum")),
    "collapse": (lambda x: x[:8].repeat(N // 8, 1, 1, 1), ("fd_random0", "recall_random0")),
    "one image": (
        lambda x: x[:1].repeat(N, 1, 1, 1),
        ("fd_random0", "recall_random0", "diversity", "histogram"),
    ),
    "larger pixels": (
        lambda x: interpolate(interpolate(x, scale_factor=0.5), scale_factor=2),
        ("spectrum",),
    ),
}


@pytest.fixture(scope="module")
def panel() -> MetricSuite:
    """Which knows what real images look like, and what others of them get."""
    panel = MetricSuite(NAMES, torch.device("cpu"), {}, N)
    panel.add_images("real", dead_leaves(1) / 127.5 - 1)
    panel.add_images("null", dead_leaves(2) / 127.5 - 1)
    return panel


@pytest.fixture(scope="module")
def fresh() -> Tensor:
    return dead_leaves(0)


def measured(panel: MetricSuite, fake: Tensor) -> dict[str, Record]:
    panel.reset()
    panel.add_images("fake", fake.round().clamp(0, 255) / 127.5 - 1)
    return {record.name: record for record in panel.results()}


def departure(record: Record) -> float:
    """How far a value lies on the bad side of what real images get."""
    assert record.value is not None
    assert record.null is not None
    assert record.null_n == N
    if record.name in ("recall_random0", "diversity"):
        return record.null - record.value
    return record.value - record.null


# Beyond what fresh images depart by.
LEAST = {"swd": 10, "fd_random0": 0.2, "kd_random0": 5e-4, "recall_random0": 0.15, "spectrum": 0.3, "histogram": 1.5,
         "diversity": 0.1}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", DEGRADATIONS)
def test_degradations_are_seen(name: str, panel: MetricSuite, fresh: Tensor) -> None:
    degrade, seeing = DEGRADATIONS[name]
    found = measured(panel, degrade(fresh))
    blind = [metric for metric in seeing if departure(found[metric]) < LEAST[metric]]
    assert not blind, {m: (found[m].value, found[m].null) for m in NAMES}


@pytest.mark.slow
def test_fresh_images_are_at_the_null_value(panel: MetricSuite, fresh: Tensor) -> None:
    for record in measured(panel, fresh).values():
        assert abs(departure(record)) < LEAST[record.name], record


def test_every_metric_sees_something() -> None:
    assert {metric for _, seeing in DEGRADATIONS.values() for metric in seeing} == set(NAMES)
