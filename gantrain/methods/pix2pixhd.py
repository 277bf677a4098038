"""pix2pixHD (Wang et al. 2018, arXiv 1711.11585), without its features of instances; their
edges: `data.instances`.
"""

from typing import Annotated, Any

import torch
from torch import Tensor

from gantrain.core.component import Component, Each, OneOf, build
from gantrain.losses import ADVERSARIAL, PERCEPTUAL
from gantrain.methods.adversarial_game import (
    Adversaries,
    Adversary,
    ExtraDiscriminator,
    Weight,
    pair,
)
from gantrain.methods.base import Batch, Context, Method, Phase, Terms
from gantrain.methods.diffaugment import Kind
from gantrain.networks import DISCRIMINATOR, GENERATOR, NETWORKS


class Pix2PixHD(Method):
    """A generator from source to target; discriminators that see both at several scales.

    Minimises gan * adversarial, a sum over the scales, + feature_matching * distance of the
    discriminators' features + perceptual * distance of VGG-19's; the discriminators minimise half
    of the sum of their losses. With `perceptual` 0 no weights of VGG-19 are needed.
    `generator.enhancer` adds the paper's local enhancer, all trained together.

    The order is that of the paper's code: the generator's turn is first, and the discriminators see
    the fakes of that turn, made before the generator's update."""

    paired = True

    def __init__(
        self,
        source_channels: int,
        target_channels: int,
        *,
        generator: Annotated[Component, OneOf(NETWORKS, GENERATOR)] = "coarse_to_fine",
        discriminator: Annotated[Component, OneOf(NETWORKS, DISCRIMINATOR)] = "multiscale_patchgan",
        adversarial: Annotated[Component, OneOf(ADVERSARIAL)] = "lsgan",
        vgg: Annotated[Component, OneOf(PERCEPTUAL)] = "vgg19",
        gan: Weight = 1.0,
        feature_matching: Weight = 10.0,
        perceptual: Weight = 10.0,
        augment: tuple[Kind, ...] = (),
        more_discriminators: Annotated[tuple[dict[str, Any], ...], Each(ExtraDiscriminator)] = (),
    ) -> None:
        super().__init__()
        self.networks["generator"] = build(
            NETWORKS, generator, in_channels=source_channels, out_channels=target_channels
        )
        self.adversaries = Adversaries(
            self.networks,
            discriminator,
            adversarial,
            more_discriminators,
            channels=[source_channels, target_channels],
            gan=gan,
            augment=augment,
            summed=True,
        )
        if perceptual:
            self.auxiliary["vgg"] = build(PERCEPTUAL, vgg, channels=target_channels)
        self.feature_matching, self.perceptual = feature_matching, perceptual
        self.loss_weights = self.adversaries.loss_weights(
            feature_matching=feature_matching, perceptual=perceptual
        )
        generator_phase = Phase("generator", ("generator",), self.generator_terms)
        self.phases = (generator_phase, *self.adversaries.phases(self.discriminator_terms))

    def translate(self, batch: Batch) -> Tensor:
        fake: Tensor = self.networks["generator"](batch["source"])
        return fake

    def generator_terms(self, batch: Batch, carried: Batch | None, context: Context) -> Terms:
        source, target = batch["source"], batch["target"]
        fake = self.translate(batch)
        losses, judged = self.adversaries.generator_terms(pair(source, fake), context)
        if self.feature_matching:
            likeness = self.adversaries.match_features(pair(source, target), judged, context)
            losses["feature_matching"] = self.feature_matching * likeness
        if self.perceptual:
            losses["perceptual"] = self.perceptual * self.auxiliary["vgg"](fake, target)
        return Terms(losses, carried={"fake": fake.detach()})

    def discriminator_terms(
        self, adversary: Adversary, batch: Batch, carried: Batch | None, context: Context
    ) -> Terms:
        source = batch["source"]
        with torch.no_grad():
            fake = carried["fake"] if carried else self.translate(batch)
        return adversary.discriminator_terms(
            pair(source, batch["target"]), pair(source, fake), context
        )

    def diagnose(self, batch: Batch) -> dict[str, Tensor]:
        return self.adversaries.diagnose(pair(batch["source"], batch["target"]))
