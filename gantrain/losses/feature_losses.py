"""Losses that compare the features of networks: of a frozen one, or of the discriminator."""

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from gantrain.core.component import BadComponent, Component, OneOf, build
from gantrain.losses import distances
from gantrain.losses.adversarial import Outputs
from gantrain.losses.feature_networks import TimmFeatures, TorchvisionFeatures, WithFeatures
from gantrain.losses.patchnce import draw_places, patch_nce, unit_vectors
from gantrain.losses.perceptual import VGG19
from gantrain.losses.reconstruction_loss import ReconstructionLoss
from gantrain.networks.protocol import Pretrained

NETWORKS: dict[str, type] = {
    "vgg19": VGG19,
    "timm": TimmFeatures,
    "torchvision": TorchvisionFeatures,
}

NetworkOption = Annotated[Component, OneOf(NETWORKS)]


class FeatureMatching(ReconstructionLoss):
    """The L1 distance of the first discriminator's features of the fake to those of the target.

    Wang et al., 2018 (pix2pixHD, arXiv 1711.11585). Each feature map counts 4 / (number of maps),
    and the scales are averaged.
    """

    takes = ("on_fake", "on_real")

    def forward(self, on_fake: Outputs, on_real: Outputs) -> Tensor:
        return distances.feature_matching(on_real, on_fake)


class Perceptual(ReconstructionLoss):
    """The distance of the features of a network that was trained for another task.

    Johnson et al., 2016 (arXiv 1603.08155), and with VGG-19 as in pix2pixHD (arXiv 1711.11585).

    Args:
        network: The network and its layers, a name of the table `PERCEPTUAL`.
    """

    minimum_size = 16  # what VGG-19 leaves a pixel of

    def __init__(self, channels: int, *, network: NetworkOption = "vgg19") -> None:
        super().__init__()
        self.network: nn.Module = build(NETWORKS, network, channels=channels)

    def load(self) -> None:
        _load(self.network)

    def forward(self, fake: Tensor, target: Tensor) -> Tensor:
        distance: Tensor = self.network(fake, target)
        return distance


class SupervisedPatchNCE(ReconstructionLoss):
    """PatchNCE of the fake and its target: a patch resembles the target's patch of its own place.

    It should resemble that patch more than the target's other patches, so that small shifts of a
    pair cost little. Li et al., 2023 (arXiv 2303.06193), without their weights that adapt to each
    patch. The features are those of a frozen network, so that any generator can be trained. The
    paper takes the generator's own features, behind a trained projection.

    Args:
        network: The network whose features are compared, a name of the table `PERCEPTUAL`.
        patches: The number of places that are compared in each layer.
        temperature: The number by which the similarities are divided.
    """

    takes = ("fake", "target", "generators")
    minimum_size = 16

    def __init__(
        self,
        channels: int,
        *,
        network: NetworkOption = "vgg19",
        patches: Annotated[int, Field(ge=2, le=4096)] = 256,
        temperature: Annotated[float, Field(gt=0, le=1000)] = 0.07,
    ) -> None:
        super().__init__()
        self.network: nn.Module = build(NETWORKS, network, channels=channels)
        self.patches = patches
        self.temperature = temperature
        if not isinstance(self.network, WithFeatures):
            raise BadComponent(
                f"method.losses.patch_nce.network: {type(self.network).__name__} has no features(),"
                " allowed: a function from images to a list of maps (N, C, h, w)"
            )

    def load(self) -> None:
        _load(self.network)

    def forward(
        self, fake: Tensor, target: Tensor, generators: Sequence[np.random.Generator]
    ) -> Tensor:
        assert isinstance(self.network, WithFeatures)
        with torch.no_grad():
            real_maps = self.network.features(target)
        fake_maps = self.network.features(fake)
        # Numpy draws on the host, which no compiled graph holds.
        compiler: Any = torch.compiler
        places = compiler.disable(draw_places)(fake_maps, generators, self.patches)
        queries = [unit_vectors(x, at) for x, at in zip(fake_maps, places, strict=True)]
        keys = [unit_vectors(x, at) for x, at in zip(real_maps, places, strict=True)]
        return patch_nce(queries, keys, self.temperature).mean()


def _load(network: nn.Module) -> None:
    """Load the weights of a network of `PERCEPTUAL`. One from outside may have none."""
    if isinstance(network, Pretrained):
        network.load()
