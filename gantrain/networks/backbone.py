"""A network of timm as others build on it: its feature maps, with the weights of its training."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gantrain.weights import read, reason


class Backbone(nn.Module):
    """The maps of timm's network `name`, finest first, with `channels` each, at 1 / `reductions` of the images' size.

    Takes images (N, in_channels, H, W) in [-1, 1], or class ids one-hot. Batch norm keeps the statistics of its
    training, so that images don't depend on one another. `load()` reads or fetches the weights; where `pretrained` is
    off they stay random. path: a file of them. Raises ValueError for a name that timm doesn't know.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, name: str, in_channels: int, pretrained: bool, path: str | None) -> None:
        super().__init__()
        self.name, self.in_channels, self.pretrained, self.path = name, in_channels, pretrained, path
        self.network = self._make()
        about: Any = self.network
        self.channels: list[int] = about.feature_info.channels()
        self.reductions: list[int] = about.feature_info.reduction()
        # RGB as the network was trained on; of other channels nothing is known.
        known = in_channels == 3
        mean, deviation = (about.pretrained_cfg[key] if known else (0.5,) for key in ("mean", "std"))
        for key, values in (("mean", mean), ("deviation", deviation)):
            self.register_buffer(key, torch.tensor(values).view(-1, 1, 1) * 2, persistent=False)  # of [-1, 1]
        self.train()  # but for the batch norm

    def _make(self, **options: Any) -> nn.Module:
        import timm  # slow, and few networks need it

        try:
            made: nn.Module = timm.create_model(self.name, features_only=True, in_chans=self.in_channels, **options)
            return made
        except Exception as e:  # of any of its networks, of a file, or on the way from a server
            what = reason(e)
        if not options:
            raise ValueError(f"backbone: found {self.name!r} ({what}), allowed: a network of timm with feature maps")
        if self.path:
            raise ValueError(f"weights: {self.path} does not fit timm's {self.name} ({what}); give its file")
        raise ValueError(
            f"weights: those of {self.name} can't be fetched ({what}); give their file as weights=FILE, or "
            "pretrained=false"
        )

    def load(self) -> None:
        """Before training, and on one process of a node first. Raises ValueError where the weights can't be had."""
        if self.pretrained:
            given = {"state_dict": read(self.path, "weights", "give its file")} if self.path else {}
            with torch.random.fork_rng([]):  # timm takes what fits and is silent: the rest is what it drew
                torch.manual_seed(0)
                loaded = self._make(pretrained=True, pretrained_cfg_overlay=given).state_dict()
                torch.manual_seed(0)
                drawn = self._make(pretrained=False).state_dict()
            weights = [key for key, tensor in loaded.items() if tensor.ndim > 1]
            if lacking := [key for key in weights if torch.equal(loaded[key], drawn[key])]:
                origin, share = self.path or "what timm fetched", f"{len(weights) - len(lacking)} of {len(weights)}"
                found = f"{origin} has {share} weights of timm's {self.name}, not {', '.join(lacking[:3])}"
                raise ValueError(f"weights: {found}; give its file")
            self.network.load_state_dict(loaded)

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
