"""Distances against references in float64, and against torch-fidelity."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from gantrain.metrics import set_distances
from gantrain.metrics.features import Features
from gantrain.metrics.registry import FAMILIES

SIZES = [(40, 64), (200, 16), (64, 64), (65, 64)]  # samples, features: fewer, more, as many


def two_sets(n: int, d: int) -> tuple[Features, Features]:
    random = torch.Generator().manual_seed(n + d)
    x = torch.randn(n, d, generator=random) * 0.7 + 0.4
    y = torch.randn(n + 7, d, generator=random) @ (
        torch.eye(d) + 0.1 * torch.randn(d, d, generator=random)
    )
    return Features(x), Features(y)


def arrays(*sets: Features) -> list[NDArray[np.float64]]:
    return [one.rows.double().numpy() for one in sets]


@pytest.mark.parametrize(("n", "d"), SIZES)
def test_frechet_is_the_textbooks(n: int, d: int) -> None:
    x, y = two_sets(n, d)
    a, b = arrays(x, y)
    s1, s2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = np.sqrt(np.linalg.eigvals(s1 @ s2).astype(complex)).real.sum()
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s1) + np.trace(s2) - 2 * root
    # Singular covariances cost the reference its digits, not ours.
    assert set_distances.frechet(x, y) == pytest.approx(expected, rel=1e-9 if n > d + 1 else 1e-5)


def test_frechet_is_exact_where_it_is_known() -> None:
    """Two sets whose covariances commute."""
    base = torch.randn(30, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    base -= base.mean(0)
    variance = base.var(0).sum().item()
    for rows in (base, torch.cat([base, torch.zeros(30, 40, dtype=torch.float64)], dim=1)):
        assert set_distances.frechet(Features(2 * rows), Features(rows)) == pytest.approx(
            variance, rel=1e-9
        )
        assert set_distances.frechet(Features(rows), Features(rows)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("n", "d"), SIZES)
def test_kernel_is_the_sum_over_all_pairs(n: int, d: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(set_distances, "_BLOCK", 17)
    x, y = two_sets(n, d)
    a, b = arrays(x, y)

    def mean(p: NDArray[np.float64], q: NDArray[np.float64], own: bool) -> float:
        k = (p @ q.T / d + 1) ** 3
        return float((k.sum() - np.trace(k)) / (len(p) * (len(p) - 1)) if own else k.mean())

    expected = mean(a, a, True) + mean(b, b, True) - 2 * mean(a, b, False)
    assert set_distances.kernel(x, y) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("n", "d"), SIZES)
def test_neighbours_are_those_of_the_whole_matrix(
    n: int, d: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(set_distances, "_BLOCK", 17)
    x, y = two_sets(n, d)
    a, b = arrays(x, y)

    def matrix(p: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.sqrt(((p[:, None] - q[None]) ** 2).sum(2))

    def radii(p: NDArray[np.float64], k: int) -> NDArray[np.float64]:
        return np.sort(matrix(p, p), axis=1)[:, k]

    between = matrix(a, b)
    ours = [distance(x, y) for distance in (set_distances.precision, set_distances.recall)]
    covered = [(between <= radii(b, 3)).any(1), (radii(a, 3) >= between.T).any(1)]
    assert ours == pytest.approx([share.mean() for share in covered], abs=1e-12)
    ours = [distance(x, y) for distance in (set_distances.density, set_distances.coverage)]
    within = [(between < radii(b, 5)).sum() / 5 / len(a), (between.min(0) < radii(b, 5)).mean()]
    assert ours == pytest.approx(within, abs=1e-12)


@pytest.mark.parametrize("name", [name for name in FAMILIES if name not in ("fd", "kd")])
def test_a_copy_is_wholly_covered(name: str) -> None:
    x = Features(torch.randn(50, 12, generator=torch.Generator().manual_seed(0)))
    assert FAMILIES[name](x, x) >= 0.99


def test_torch_fidelity_gives_the_same_from_features() -> None:
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_isc import isc_features_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric
    from torch_fidelity.metric_prc import prc_features_to_metric

    x, y = two_sets(200, 16)
    statistics = (fid_features_to_statistics(f.rows.double()) for f in (x, y))
    theirs = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert set_distances.frechet(x, y) == pytest.approx(theirs, rel=1e-5)
    for n in (200, 106, 11):  # splits of one length, and of two
        theirs = isc_features_to_metric(x.rows[:n], splits=10, shuffle=False)
        assert set_distances.inception_score(Features(x.rows[:n]), y) == pytest.approx(
            theirs["inception_score_mean"], rel=1e-5
        )
        found = set_distances.inception_score_deviation(Features(x.rows[:n]), y)
        assert found == pytest.approx(theirs["inception_score_std"], rel=1e-4)
    # One subset of all samples: its estimate is the same sum.
    whole = Features(y.rows[:200])
    options = {"kid_subsets": 1, "kid_subset_size": 200, "verbose": False, "rng_seed": 0}
    theirs = kid_features_to_metric(x.rows.double(), whole.rows.double(), **options)[
        "kernel_inception_distance_mean"
    ]
    assert set_distances.kernel(x, whole) == pytest.approx(theirs, rel=1e-5)
    ours = set_distances.precision(x, y), set_distances.recall(x, y)
    theirs = prc_features_to_metric(
        x.rows.double(), y.rows.double(), prc_neighborhood=3, verbose=False
    )
    assert ours == pytest.approx((theirs["precision"], theirs["recall"]), abs=1e-6)


def he_inception(path: Path) -> Path:
    """Inception's file with random weights of a scale at which features neither vanish nor grow."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3 as Network

    names = Network.__init__.__globals__
    random, state = torch.Generator().manual_seed(0), {}
    original, names["load_state_dict_from_url"] = (
        names["load_state_dict_from_url"],
        lambda *a, **k: None,
    )
    load, Network.load_state_dict = Network.load_state_dict, lambda self, given: None  # type: ignore[method-assign]
    try:
        network = Network("inception-v3-compat", ["2048"])
    finally:
        names["load_state_dict_from_url"], Network.load_state_dict = original, load  # type: ignore[method-assign]
    for key, value in network.state_dict().items():
        if value.ndim == 4:
            value = torch.randn(value.shape, generator=random) * (2 / value[0].numel()) ** 0.5
        state[key] = value
    torch.save(state, path)
    return path


def noise(n: int, seed: int) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, 3, 8, 8, generator=random)
    return (
        torch.nn.functional.interpolate(coarse, size=48, mode="bicubic")
        .clamp(0, 1)
        .mul(255)
        .to(torch.uint8)
    )


@pytest.mark.exhaustive
def test_torch_fidelity_gives_the_same_from_images(tmp_path: Path) -> None:
    from torch_fidelity import calculate_metrics

    from gantrain.metrics.metric_suite import MetricSuite

    class Images(torch.utils.data.Dataset[Tensor]):
        def __init__(self, images: Tensor) -> None:
            self.images = images

        def __len__(self) -> int:
            return len(self.images)

        def __getitem__(self, i: int) -> Tensor:
            return self.images[i]

    file, fake, real = he_inception(tmp_path / "inception.pth"), noise(12, 0), noise(12, 1)
    theirs = calculate_metrics(
        input1=Images(fake), input2=Images(real), cuda=False, fid=True, kid=True, kid_subsets=1, kid_subset_size=12,
        feature_extractor_weights_path=str(file), verbose=False, save_cpu_ram=True, rng_seed=0,
    )  # fmt: skip
    panel = MetricSuite(
        ["fd_inception", "kd_inception"], torch.device("cpu"), {"inception": str(file)}, 12
    )
    panel.add(fake.float() / 127.5 - 1, real.float() / 127.5 - 1)
    frechet, kernel = panel.results()
    assert frechet.value == pytest.approx(theirs["frechet_inception_distance"], rel=1e-5)
    # Theirs is a difference of float32 numbers near 1.
    assert kernel.value == pytest.approx(theirs["kernel_inception_distance_mean"], abs=1e-6)
    assert frechet.digest
    for name in ("fid", "kid", "inception_score", "inception_score_deviation"):
        with pytest.raises(
            ValueError, match=f"{name} is a name for the published Inception weights"
        ):
            MetricSuite([name], torch.device("cpu"), {"inception": str(file)}, 24)
