"""The feature maps of one of timm's networks, with its pretrained weights."""

import functools
import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gantrain.core.errors import UserError
from gantrain.core.weight_files import read, reason
from gantrain.networks.fixed_statistics import FixedStatistics


class Backbone(FixedStatistics):
    """The feature maps of timm's network `name`, finest first.

    Takes images (N, in_channels, H, W) in [-1, 1], or class ids one-hot. Each map has the number of
    `channels` of its place, and a size of 1 / `reductions` of the images'. Batch norm keeps the
    statistics of its training, so that images do not depend on one another.

    pretrained: `load()` reads or fetches the weights. Otherwise they stay random. path: a file of
    the weights. Raises UserError for a name that timm does not know.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, in_channels: int, pretrained: bool, path: str | None) -> None:
        super().__init__()
        self.name = name
        self.in_channels = in_channels
        self.pretrained = pretrained
        self.path = path
        try:
            self.network = _create(name, in_channels)
        except Exception as e:  # of any of timm's networks
            raise UserError(
                f"backbone: found {name!r} ({reason(e)}), allowed: a network of timm with feature"
                " maps"
            ) from None
        timm_network: Any = self.network
        self.channels: list[int] = timm_network.feature_info.channels()
        self.reductions: list[int] = timm_network.feature_info.reduction()
        # Colours are normalised as in the network's training. Of other channels nothing is known.
        mean: Sequence[float] = (0.5,)
        std: Sequence[float] = (0.5,)
        if in_channels == 3:
            mean = timm_network.pretrained_cfg["mean"]
            std = timm_network.pretrained_cfg["std"]
        self._register_statistic("mean", mean)
        self._register_statistic("std", std)
        self.train()  # except for the batch norm

    def _register_statistic(self, name: str, values: Sequence[float]) -> None:
        """Register a mean or a standard deviation of colours in [0, 1] for colours in [0, 2]."""
        tensor = torch.tensor(values).view(-1, 1, 1) * 2
        self.register_buffer(name, tensor, persistent=False)

    def load(self) -> None:
        """Read or fetch the weights.

        Call it before training, and on one process of a node first. Raises UserError where they
        cannot be had.
        """
        if self.pretrained:
            self.network.load_state_dict(_pretrained(self.name, self.in_channels, self.path))

    @torch.no_grad()
    def shapes(self, height: int, width: int) -> list[tuple[int, int]]:
        """Return the height and width of each map, for images of that size.

        Raises UserError where the network does not give maps (N, C, H, W) of its `channels`.
        """
        try:
            self.network.eval()
            maps = self.network(torch.zeros(1, self.in_channels, height, width))
            shapes = [tuple(x.shape) for x in maps]
        except Exception as e:  # of any of timm's networks
            problem = reason(e)
        else:
            map_channels = [shape[1] for shape in shapes if len(shape) == 4]
            if map_channels == self.channels:
                return [(shape[2], shape[3]) for shape in shapes]
            problem = f"gives {', '.join(map(str, shapes))} for them"
        finally:
            self.train(self.training)
        raise UserError(
            f"backbone: found {self.name!r} (images of {height}x{width}: {problem}), allowed: one"
            " of timm's for images of any size, with maps (N, C, H, W)"
        )

    def forward(self, images: Tensor) -> Sequence[Tensor]:  # NCHW
        maps: Sequence[Tensor] = self.network((images + 1 - self.mean) / self.std)
        return maps


def _create(name: str, in_channels: int, **options: Any) -> nn.Module:
    """Create timm's network, on the default device.

    Some of timm's networks read values that they compute, which fails on the meta device. There the
    network is created on the CPU and then moved.
    """
    import timm  # slow, and few networks need it

    # It warns of the weights of classifiers, which no map needs.
    logging.getLogger("timm").setLevel(logging.ERROR)
    device = torch.get_default_device()
    is_meta = device.type == "meta"
    with torch.device("cpu" if is_meta else device):
        network: nn.Module = timm.create_model(
            name, features_only=True, in_chans=in_channels, **options
        )
    return network.to(device) if is_meta else network


@functools.cache  # A run makes its method several times.
def _pretrained(name: str, in_channels: int, path: str | None) -> dict[str, Tensor]:
    """Return the state of timm's network with its pretrained weights, of a file or fetched.

    timm takes the tensors that fit and reports nothing of the others, which stay as they were
    drawn. So the network is created twice from one seed: where its weights are equal with and
    without the file, the file lacks them.

    Raises UserError where weights cannot be read or fetched, do not fit, or are lacking.
    """
    overlay = {"state_dict": read(path, "weights", "give its file")} if path else {}
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        try:
            network = _create(name, in_channels, pretrained=True, pretrained_cfg_overlay=overlay)
        except Exception as e:  # of the file, or on the way from a server
            if path:
                problem = f"{path} does not fit timm's {name} ({reason(e)}); give its file"
            else:
                problem = (
                    f"those of {name} can't be fetched ({reason(e)}); give their file as `weights`"
                    " beside `backbone`, as in method.generator.weights=FILE, or pretrained=false"
                )
            raise UserError(f"weights: {problem}") from None
        loaded = network.state_dict()
        torch.manual_seed(0)
        drawn = _create(name, in_channels).state_dict()
    weights = [
        key for key, tensor in loaded.items() if tensor.ndim > 1 or key.endswith("running_mean")
    ]
    lacking = [key for key in weights if torch.equal(loaded[key], drawn[key])]
    if lacking:
        origin = path or "what timm fetched"
        raise UserError(
            f"weights: {origin} has {len(weights) - len(lacking)} of {len(weights)} weights of"
            f" timm's {name}, not {', '.join(lacking[:3])}; give its file"
        )
    return loaded
