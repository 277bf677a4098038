"""A network of timm as others build on it: its feature maps, with the weights of its training."""

import functools
import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gantrain.core.weight_files import read, reason


class Backbone(nn.Module):
    """The maps of timm's network `name`, finest first, with `channels` each, at 1 / `reductions` of
    the images' size.

    Takes images (N, in_channels, H, W) in [-1, 1], or class ids one-hot. Batch norm keeps the
    statistics of its training, so that images don't depend on one another. `load()` reads or
    fetches the weights; where `pretrained` is off they stay random. path: a file of them. Raises
    ValueError for a name that timm doesn't know."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, name: str, in_channels: int, pretrained: bool, path: str | None) -> None:
        super().__init__()
        self.name, self.in_channels, self.pretrained, self.path = (
            name,
            in_channels,
            pretrained,
            path,
        )
        try:
            self.network = _make(name, in_channels)
        except Exception as e:  # of any of timm's networks
            found = f"found {name!r} ({reason(e)})"
            raise ValueError(
                f"backbone: {found}, allowed: a network of timm with feature maps"
            ) from None
        about: Any = self.network
        self.channels: list[int] = about.feature_info.channels()
        self.reductions: list[int] = about.feature_info.reduction()
        # RGB as the network was trained on; of other channels nothing is known.
        known = in_channels == 3
        mean, deviation = (
            about.pretrained_cfg[key] if known else (0.5,) for key in ("mean", "std")
        )
        for key, values in (("mean", mean), ("deviation", deviation)):
            self.register_buffer(
                key, torch.tensor(values).view(-1, 1, 1) * 2, persistent=False
            )  # of [-1, 1]
        self.train()  # but for the batch norm

    def load(self) -> None:
        """Before training, and on one process of a node first. Raises ValueError where the
        weights can't be had.
        """
        if self.pretrained:
            self.network.load_state_dict(_pretrained(self.name, self.in_channels, self.path))

    @torch.no_grad()
    def shapes(self, height: int, width: int) -> list[tuple[int, int]]:
        """Height and width of each map, for images of that size. Raises ValueError where they
        are no such maps.
        """
        try:
            self.network.eval()
            maps = [x.shape for x in self.network(torch.zeros(1, self.in_channels, height, width))]
        except Exception as e:  # of any of timm's networks
            problem = reason(e)
        else:
            problem = f"gives {', '.join(map(str, map(tuple, maps)))} for them"
            if [x[1] for x in maps if len(x) == 4] == self.channels:
                return [(h, w) for _, _, h, w in maps]
        finally:
            self.train(self.training)
        found = f"found {self.name!r} (images of {height}x{width}: {problem})"
        raise ValueError(
            f"backbone: {found}, allowed: one of timm's for images of any size, with maps (N, C,"
            " H, W)"
        )

    def train(self, mode: bool = True) -> "Backbone":
        super().train(mode)
        for module in self.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
                module.keeps_statistics = True  # type: ignore[assignment]
        return self

    def forward(self, images: Tensor) -> Sequence[Tensor]:  # NCHW
        maps: Sequence[Tensor] = self.network((images + 1 - self.mean) / self.deviation)
        return maps


def _make(name: str, in_channels: int, **options: Any) -> nn.Module:
    import timm  # slow, and few networks need it

    logging.getLogger("timm").setLevel(
        logging.ERROR
    )  # it warns of classifiers' weights, which no map needs
    wanted = torch.get_default_device()
    is_sketch = wanted.type == "meta"
    with torch.device(
        "cpu" if is_sketch else wanted
    ):  # some of timm's networks read what they compute
        made: nn.Module = timm.create_model(
            name, features_only=True, in_chans=in_channels, **options
        )
    return made.to(wanted) if is_sketch else made


@functools.cache  # a run makes its method several times
def _pretrained(name: str, in_channels: int, path: str | None) -> dict[str, Tensor]:
    """The state of timm's network with the weights of a file, or fetched ones. Raises
    ValueError.
    """
    given = {"state_dict": read(path, "weights", "give its file")} if path else {}
    with torch.random.fork_rng([]):  # timm takes what fits and is silent: the rest is what it drew
        torch.manual_seed(0)
        try:
            loaded = _make(
                name, in_channels, pretrained=True, pretrained_cfg_overlay=given
            ).state_dict()
        except Exception as e:  # of the file, or on the way from a server
            problem = (
                f"those of {name} can't be fetched ({reason(e)}); give their file as `weights`"
                " beside "
            )
            problem += "`backbone`, as in method.generator.weights=FILE, or pretrained=false"
            if path:
                problem = f"{path} does not fit timm's {name} ({reason(e)}); give its file"
            raise ValueError(f"weights: {problem}") from None
        torch.manual_seed(0)
        drawn = _make(name, in_channels).state_dict()
    weights = [
        key for key, tensor in loaded.items() if tensor.ndim > 1 or key.endswith("running_mean")
    ]
    if lacking := [key for key in weights if torch.equal(loaded[key], drawn[key])]:
        origin, share = (
            path or "what timm fetched",
            f"{len(weights) - len(lacking)} of {len(weights)}",
        )
        found = f"{origin} has {share} weights of timm's {name}, not {', '.join(lacking[:3])}"
        raise ValueError(f"weights: {found}; give its file")
    return loaded
