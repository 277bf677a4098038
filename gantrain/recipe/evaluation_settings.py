"""Checks a recipe's `evaluate` settings without a network, before a run's folder is touched."""

import os
from collections.abc import Mapping, Sequence

from gantrain.core.errors import UserError
from gantrain.data.kinds.table import KINDS
from gantrain.data.shards import Field
from gantrain.metrics import registry
from gantrain.metrics.paired import LPIPS

_NEEDS_NO_WEIGHTS = (*registry.RANDOM, *registry.WEIGHTFREE, "patches")
_COLOURS = (1, 3)  # channels that the networks of metrics take


def check_pairs(names: Sequence[str], unpaired: bool) -> None:
    """Raise UserError for metrics of pairs where the data have none."""
    of_pairs = [name for name in names if not (registry.of_set(name) or name in registry.MEASURED)]
    if unpaired and of_pairs:
        allowed = (
            "metrics of sets, as in evaluate.metrics=[fd_random0,swd] evaluate.best_by=fd_random0"
        )
        raise UserError(
            f"evaluate.metrics: {', '.join(of_pairs)} need pairs; allowed with data.unpaired:"
            f" {allowed}"
        )


def check_settings(
    names: Sequence[str],
    weights: Mapping[str, str],
    crop_border: int,
    size: tuple[int, int],
    fields: Mapping[str, Field],
) -> list[str]:
    """Return a line for each setting that has no effect.

    size: height and width of a held-out sample, pixels. fields: the data's, by role. Raises
    UserError, with a line for each problem.
    """
    used = _networks_of(names)
    problems = []
    for network in sorted(used & weights.keys()):
        if not os.path.isfile(weights[network]):
            problems.append(
                f"evaluate.weights: {network}: {weights[network]} can't be read as tensors by name"
                " (no such file); give a file of tensors"
            )
    if 2 * crop_border >= min(size):
        allowed = f"at most {(min(size) - 1) // 2}, since held-out samples are {size[0]}x{size[1]}"
        problems.append(f"evaluate.crop_border: found {crop_border}, allowed: {allowed}")
    segmented = [name for name in names if name in registry.SEGMENTATION]
    if segmented and not KINDS[fields["source"].kind].has_classes:
        problems.append(
            f"evaluate.metrics: {', '.join(segmented)} need class ids as the source, found images;"
            " choose others"
        )
    if problems:
        raise UserError("\n".join(problems))
    lines = []
    for network in weights:
        if network not in used:
            lines.append(
                f"evaluate.weights: {network} has no effect, since no metric in evaluate.metrics"
                " uses it"
            )
    of_colours = [name for name in names if name in LPIPS or registry.of_set(name)]
    channels = fields["target"].channels
    if of_colours and channels not in _COLOURS:
        reason = f"take images of 1 or 3 channels, the target has {channels}"
        lines.append(
            f"evaluate.metrics: {', '.join(of_colours)} will have no value, since they {reason}"
        )
    return lines


def _networks_of(names: Sequence[str]) -> set[str]:
    """Return the networks of metrics whose weights files may give."""
    networks: set[str] = set()
    for name in names:
        network = _network_of(name)
        if network is not None:
            networks.add(network)
    return networks


def _network_of(name: str) -> str | None:
    """Return the network of a metric whose weights a file may give; None where there is none."""
    if name in LPIPS:
        return name
    if name in registry.SEGMENTATION:
        return "unet"
    metric_of_sets = registry.of_set(name)
    if metric_of_sets is None:
        return None
    network = metric_of_sets[1]
    return None if network in _NEEDS_NO_WEIGHTS else network.removesuffix("_logits")
