"""How far a set of fakes is from a set of real images, by their features; all in float64.

Each takes the features of the fakes and of the real ones, (n, ...), and returns a float.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from gantrain.metrics.features import Features

_BLOCK = 1024  # rows compared at once: no n x n matrix
_DIRECTIONS = 128  # of the sliced distance
_SPLITS = 10  # of the Inception Score


def frechet(fake: Features, real: Features) -> float:
    """Squared Frechet distance of the two sets' Gaussians (Heusel et al. 2017, arXiv 1706.08500).

    Fewer samples than features make the covariances singular: then the trace of the root is the
    nuclear norm of the sets' product (Mathiasen and Hvilshoj 2020, arXiv 2009.14075).
    """
    if min(fake.count, real.count) <= fake.local.shape[1]:
        (mean1, a), (mean2, b) = (_centred(x.rows.double()) for x in (fake, real))
        traces = a.square().sum() + b.square().sum()
        root = torch.linalg.svdvals(a @ b.T).sum()
    else:
        (mean1, s1), (mean2, s2) = fake.moments(), real.moments()
        values, vectors = torch.linalg.eigh(s1)
        half = vectors * values.clamp_min(0).sqrt() @ vectors.T
        traces = s1.trace() + s2.trace()
        root = torch.linalg.eigvalsh(half @ s2 @ half).clamp_min(0).sqrt().sum()
    distance: Tensor = (mean1 - mean2).square().sum() + traces - 2 * root
    return distance.clamp_min(0).item()


def _centred(rows: Tensor) -> tuple[Tensor, Tensor]:
    mean = rows.mean(0)
    return mean, (rows - mean) / (len(rows) - 1) ** 0.5


def kernel(fake: Features, real: Features) -> float:
    """Squared maximum mean discrepancy with KID's kernel (Binkowski et al. 2018, arXiv 1801.01401).

    Unbiased, so it may be negative; over all pairs, not over random subsets.
    """
    x, y = fake.rows.double(), real.rows.double()

    def products(a: Tensor, b: Tensor) -> float:
        return sum(
            ((block @ b.T / b.shape[1] + 1) ** 3).sum().item() for block in torch.split(a, _BLOCK)
        )

    def within(a: Tensor) -> float:
        own = ((a.square().sum(1) / a.shape[1] + 1) ** 3).sum().item()
        return (products(a, a) - own) / (len(a) * (len(a) - 1))

    return within(x) + within(y) - 2 * products(x, y) / (len(x) * len(y))


def _distances(a: Tensor, b: Tensor) -> Iterator[Tensor]:
    """Of some of a's rows at a time, (block, len(b))."""
    for block in torch.split(a, _BLOCK):
        yield torch.cdist(block, b)


def _radii(x: Tensor, k: int) -> Tensor:
    """The distance of each row to its k-th neighbour; itself is the nearest."""
    return torch.cat([d.kthvalue(min(k + 1, len(x)), dim=1).values for d in _distances(x, x)])


def precision(fake: Features, real: Features) -> float:
    """Share of fakes among the real ones (Kynkaanniemi et al. 2019, arXiv 1904.06991), k = 3."""
    x, y = fake.rows.double(), real.rows.double()
    radii = _radii(y, 3)
    return torch.cat([(d <= radii).any(1) for d in _distances(x, y)]).double().mean().item()


def recall(fake: Features, real: Features) -> float:
    """Share of real images among the fakes; the same paper."""
    return precision(real, fake)


def density(fake: Features, real: Features) -> float:
    """Real neighbourhoods that a fake lies in, over k = 5 (Naeem et al. 2020, arXiv 2002.09797)."""
    x, y = fake.rows.double(), real.rows.double()
    radii = _radii(y, 5)
    return torch.cat([(d < radii).sum(1) for d in _distances(x, y)]).double().mean().item() / 5


def coverage(fake: Features, real: Features) -> float:
    """Share of real images with a fake in their neighbourhood, k = 5; the same paper."""
    x, y = fake.rows.double(), real.rows.double()
    nearest = torch.cat([d.min(1).values for d in _distances(y, x)])
    return (nearest < _radii(y, 5)).double().mean().item()


def inception_score(fake: Features, real: Features) -> float:
    """Exponential of the labels' mutual information (Salimans et al. 2016, arXiv 1606.03498).

    From class logits; the mean of torch-fidelity's ten splits; NaN for fewer samples. Blind to the
    real ones."""
    return _split_scores(fake).mean().item()


def inception_score_deviation(fake: Features, real: Features) -> float:
    """Of the ten splits' scores, as papers write behind a plus-minus."""
    return _split_scores(fake).std(correction=0).item()


def _split_scores(fake: Features) -> Tensor:
    scores, rows = [], fake.rows.double()
    for i in range(_SPLITS):
        logs = rows[i * len(rows) // _SPLITS : (i + 1) * len(rows) // _SPLITS].log_softmax(1)
        marginal = logs.exp().mean(0).log()
        scores.append((logs.exp() * (logs - marginal)).sum(1).mean().exp())
    return torch.stack(scores)


def sliced_wasserstein(fake: Features, real: Features) -> float:
    """1000 times the mean distance of patches' projections, over the pyramid's levels.

    After Karras et al. 2018 (arXiv 1710.10196), but both sets are normalised by the real one's mean
    and deviation: by its own, a set's tint and contrast would not show. Takes (n, levels, patches,
    channels, pixels)."""
    x, y = fake.rows, real.rows
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(y.shape[3] * y.shape[4], _DIRECTIONS, generator=generator)
    levels = []
    for a, b in zip(x.unbind(1), y.unbind(1), strict=True):
        deviation, mean = torch.std_mean(b, dim=(0, 1, 3), keepdim=True)
        a, b = (((z - mean) / deviation.clamp_min(1e-8)).flatten(0, 1).flatten(1) for z in (a, b))
        for some in (directions / directions.norm(dim=0)).split(64, dim=1):
            levels.append((_quantiles(a @ some, b) - _quantiles(b @ some, a)).abs().double().mean())
    return 1000 * torch.stack(levels).mean().item()


def _quantiles(values: Tensor, other: Tensor) -> Tensor:
    """Each column sorted, as many values as the smaller of two sets has."""
    n = min(len(values), len(other))
    return values.sort(0).values[((torch.arange(n) + 0.5) * len(values) / n).long()]


def spectrum(fake: Features, real: Features) -> float:
    """Root mean square difference in dB of the mean power at each frequency, (n, frequencies).

    After Durall et al. 2020, arXiv 2003.01826.
    """
    a, b = (10 * x.rows.double().mean(0).clamp_min(1e-12).log10() for x in (fake, real))
    return (a - b).square().mean().sqrt().item()


def histogram(fake: Features, real: Features) -> float:
    """Earth mover's distance of the values of all pixels, in 8-bit levels; the channels' mean.

    Takes shares of pixels at each level, (n, channels, 256).
    """
    a, b = (x.rows.double().mean(0).cumsum(1) for x in (fake, real))
    return (a - b).abs().sum(1).mean().item()


def diversity(fake: Features, real: Features) -> float:
    """Root mean square distance between two fakes, over that between two real images.

    Near 0 where a generator gives the same whatever its source.
    """
    a, b = (x.rows.double().flatten(1).var(0).sum() for x in (fake, real))
    return (a / b.clamp_min(1e-12)).sqrt().item()
