"""Distances between a set of fakes and a set of real images, by their features.

Each function takes the features of the fakes and of the real images, (n, ...), and returns a float,
computed in float64.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from gantrain.metrics.features import Features

_BLOCK = 1024  # rows that are compared at once, which avoids an n x n matrix
_DIRECTIONS = 128  # random directions of the sliced distance
_DIRECTIONS_AT_ONCE = 64  # limits the memory of the projections
_SPLITS = 10  # parts of the set for the Inception Score


def frechet(fake: Features, real: Features) -> float:
    """Return the squared Frechet distance of the sets' Gaussians (Heusel et al. 2017, 1706.08500).

    Fewer samples than features make the covariances singular. Then the trace of the root is the
    nuclear norm of the sets' product (Mathiasen and Hvilshoj 2020, arXiv 2009.14075).
    """
    if min(fake.count, real.count) <= fake.local.shape[1]:
        fake_mean, a = _centred(fake.rows.double())
        real_mean, b = _centred(real.rows.double())
        traces = a.square().sum() + b.square().sum()
        root = torch.linalg.svdvals(a @ b.T).sum()
    else:
        fake_mean, fake_covariance = fake.moments()
        real_mean, real_covariance = real.moments()
        values, vectors = torch.linalg.eigh(fake_covariance)
        half = vectors * values.clamp_min(0).sqrt() @ vectors.T
        traces = fake_covariance.trace() + real_covariance.trace()
        root = torch.linalg.eigvalsh(half @ real_covariance @ half).clamp_min(0).sqrt().sum()
    distance: Tensor = (fake_mean - real_mean).square().sum() + traces - 2 * root
    return distance.clamp_min(0).item()


def _centred(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean, and rows whose product with themselves is the covariance."""
    mean = rows.mean(0)
    return mean, (rows - mean) / (len(rows) - 1) ** 0.5


def kernel(fake: Features, real: Features) -> float:
    """Return the squared maximum mean discrepancy with KID's kernel.

    The estimate is unbiased (Binkowski et al. 2018, arXiv 1801.01401), so it may be negative. It
    takes all pairs, not random subsets.
    """
    x = fake.rows.double()
    y = real.rows.double()
    between = _kernel_sum(x, y) / (len(x) * len(y))
    return _mean_kernel_within(x) + _mean_kernel_within(y) - 2 * between


def _kernel_sum(a: Tensor, b: Tensor) -> float:
    """Return the sum of the kernel over all pairs of a row of `a` and a row of `b`."""
    return sum(
        ((block @ b.T / b.shape[1] + 1) ** 3).sum().item() for block in torch.split(a, _BLOCK)
    )


def _mean_kernel_within(a: Tensor) -> float:
    """Return the mean of the kernel over pairs of different rows."""
    own = ((a.square().sum(1) / a.shape[1] + 1) ** 3).sum().item()
    return (_kernel_sum(a, a) - own) / (len(a) * (len(a) - 1))


def _distances(a: Tensor, b: Tensor) -> Iterator[Tensor]:
    """Yield the distances of a block of a's rows to all of b's, (block, len(b))."""
    for block in torch.split(a, _BLOCK):
        yield torch.cdist(block, b)


def _radii(x: Tensor, k: int) -> Tensor:
    """Return the distance of each row to its k-th neighbour."""
    rank = min(k + 1, len(x))  # each row's nearest one is itself
    return torch.cat([d.kthvalue(rank, dim=1).values for d in _distances(x, x)])


def precision(fake: Features, real: Features) -> float:
    """Return the fraction of fakes in a real image's neighbourhood of k = 3.

    The paper is Kynkaanniemi et al. 2019, arXiv 1904.06991.
    """
    x = fake.rows.double()
    y = real.rows.double()
    radii = _radii(y, 3)
    is_inside = torch.cat([(d <= radii).any(1) for d in _distances(x, y)])
    return is_inside.double().mean().item()


def recall(fake: Features, real: Features) -> float:
    """Return the fraction of real images in a fake's neighbourhood; the paper is the same."""
    return precision(real, fake)


def density(fake: Features, real: Features) -> float:
    """Return the mean number of real images' neighbourhoods that hold a fake, over k = 5.

    The paper is Naeem et al. 2020, arXiv 2002.09797.
    """
    x = fake.rows.double()
    y = real.rows.double()
    radii = _radii(y, 5)
    neighbourhoods = torch.cat([(d < radii).sum(1) for d in _distances(x, y)])
    return neighbourhoods.double().mean().item() / 5


def coverage(fake: Features, real: Features) -> float:
    """Return the fraction of real images with a fake in their neighbourhood of k = 5.

    The paper is the same.
    """
    x = fake.rows.double()
    y = real.rows.double()
    nearest = torch.cat([d.min(1).values for d in _distances(y, x)])
    return (nearest < _radii(y, 5)).double().mean().item()


def inception_score(fake: Features, real: Features) -> float:
    """Return the exponential of the mutual information of images and classes, from class logits.

    The paper is Salimans et al. 2016, arXiv 1606.03498. The value is the mean of torch-fidelity's
    ten splits, and NaN for fewer samples. It does not depend on the real images.
    """
    return _split_scores(fake).mean().item()


def inception_score_deviation(fake: Features, real: Features) -> float:
    """Return the standard deviation of the ten splits' scores, which papers write after a +-."""
    return _split_scores(fake).std(correction=0).item()


def _split_scores(fake: Features) -> Tensor:
    rows = fake.rows.double()
    scores: list[Tensor] = []
    for i in range(_SPLITS):
        start = i * len(rows) // _SPLITS
        end = (i + 1) * len(rows) // _SPLITS
        logs = rows[start:end].log_softmax(1)
        marginal = logs.exp().mean(0).log()
        scores.append((logs.exp() * (logs - marginal)).sum(1).mean().exp())
    return torch.stack(scores)


def sliced_wasserstein(fake: Features, real: Features) -> float:
    """Return 1000 times the mean distance of patches' projections, over the pyramid's levels.

    It follows Karras et al. 2018 (arXiv 1710.10196), but the mean and the standard deviation of the
    real set normalise both sets. Those of each set itself would hide its tint and contrast. Takes
    (n, levels, patches, channels, pixels).
    """
    fake_levels = fake.rows.unbind(1)
    real_levels = real.rows.unbind(1)
    channels, pixels = real.rows.shape[3:]
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(channels * pixels, _DIRECTIONS, generator=generator)
    directions = directions / directions.norm(dim=0)
    distances: list[Tensor] = []
    for fake_patches, real_patches in zip(fake_levels, real_levels, strict=True):
        std, mean = torch.std_mean(real_patches, dim=(0, 1, 3), keepdim=True)
        std = std.clamp_min(1e-8)
        a = ((fake_patches - mean) / std).flatten(0, 1).flatten(1)  # patches, channels * pixels
        b = ((real_patches - mean) / std).flatten(0, 1).flatten(1)
        for some in directions.split(_DIRECTIONS_AT_ONCE, dim=1):
            difference = _quantiles(a @ some, b) - _quantiles(b @ some, a)
            distances.append(difference.abs().double().mean())
    return 1000 * torch.stack(distances).mean().item()


def _quantiles(values: Tensor, other: Tensor) -> Tensor:
    """Return each column sorted, with as many values as the smaller of the two sets has."""
    n = min(len(values), len(other))
    places = ((torch.arange(n) + 0.5) * len(values) / n).long()
    return values.sort(0).values[places]


def spectrum(fake: Features, real: Features) -> float:
    """Return the root mean square difference in dB of the mean power at each frequency.

    It follows Durall et al. 2020, arXiv 2003.01826. Takes (n, frequencies).
    """
    difference = _mean_decibels(fake) - _mean_decibels(real)
    return difference.square().mean().sqrt().item()


def _mean_decibels(power: Features) -> Tensor:
    return 10 * power.rows.double().mean(0).clamp_min(1e-12).log10()


def histogram(fake: Features, real: Features) -> float:
    """Return the earth mover's distance of all pixels' values in 8-bit levels; the channels' mean.

    Takes fractions of pixels at each level, (n, channels, 256).
    """
    fake_cumulative = fake.rows.double().mean(0).cumsum(1)
    real_cumulative = real.rows.double().mean(0).cumsum(1)
    return (fake_cumulative - real_cumulative).abs().sum(1).mean().item()


def diversity(fake: Features, real: Features) -> float:
    """Return the root mean square distance of two fakes over that of two real images.

    It is near 0 where a generator makes the same image of each source.
    """
    ratio = _total_variance(fake) / _total_variance(real).clamp_min(1e-12)
    return ratio.sqrt().item()


def _total_variance(features: Features) -> Tensor:
    return features.rows.double().flatten(1).var(0).sum()
