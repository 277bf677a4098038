"""pix2pixHD (Wang et al. 2018, arXiv 1711.11585), without its encoder of instance features."""

from typing import Annotated

import torch
from torch import Tensor

from gantrain.core.component import Component, OneOf, build
from gantrain.losses import PERCEPTUAL
from gantrain.methods.adversarial_game import (
    AdversarialOption,
    Adversaries,
    Adversary,
    DiscriminatorOption,
    ExtraDiscriminators,
    GeneratorOption,
    Weight,
    pair,
)
from gantrain.methods.base import Batch, Context, Method, Phase, Terms
from gantrain.methods.diffaugment import Kind
from gantrain.methods.discriminator_penalties import DiscriminatorPenalties, PenaltyOptions
from gantrain.networks import NETWORKS


class Pix2PixHD(Method):
    """pix2pixHD: a generator against discriminators that see source and image at several scales.

    The generator minimises gan * adversarial + feature_matching * (distance of the discriminators'
    features) + perceptual * (distance of VGG-19's features). The adversarial loss is a sum over the
    scales. The discriminators minimise half of the sum of their losses.

    The order is that of the paper's code: the generator's phase comes first, and the discriminators
    see the fakes of that phase, from before the generator's update.

    Two things differ from the paper. `generator.enhancer` adds the paper's local enhancer, and both
    generators are trained together, not one after the other. The encoder of instance features is
    left out. Instance boundary maps are an option of the data, `data.inputs`.

    Args:
        generator: The network that translates.
        discriminator: The first discriminator. It sees the source and an image together.
        adversarial: The adversarial loss.
        vgg: The network of the perceptual loss.
        gan: The weight of the generator's adversarial loss.
        feature_matching: The weight of the distance between the first discriminator's features of
            the fake and those of the target.
        perceptual: The weight of the perceptual loss. With 0, no weights of VGG-19 are needed.
        penalties: The penalties on the gradient of the first discriminator.
        augment: The kinds of DiffAugment that change the images which the discriminators see.
        more_discriminators: Further discriminators, each with its own loss, weight and interval.
    """

    paired = True

    def __init__(
        self,
        source_channels: int,
        target_channels: int,
        *,
        generator: GeneratorOption = "coarse_to_fine",
        discriminator: DiscriminatorOption = "multiscale_patchgan",
        adversarial: AdversarialOption = "lsgan",
        vgg: Annotated[Component, OneOf(PERCEPTUAL)] = "vgg19",
        gan: Weight = 1.0,
        feature_matching: Weight = 10.0,
        perceptual: Weight = 10.0,
        penalties: PenaltyOptions = (),
        augment: tuple[Kind, ...] = (),
        more_discriminators: ExtraDiscriminators = (),
    ) -> None:
        super().__init__()
        self.feature_matching = feature_matching
        self.perceptual = perceptual
        self.networks["generator"] = build(
            NETWORKS, generator, in_channels=source_channels, out_channels=target_channels
        )
        self.adversaries = Adversaries(
            self.networks,
            discriminator,
            adversarial,
            more_discriminators,
            channels=[source_channels, target_channels],
            generator_weight=gan,
            augment=augment,
            sum_scales=True,
        )
        if perceptual:
            self.auxiliary["vgg"] = build(PERCEPTUAL, vgg, channels=target_channels)
        self.loss_weights = self.adversaries.loss_weights(
            feature_matching=feature_matching, perceptual=perceptual
        )
        self.penalties = DiscriminatorPenalties(penalties)
        self.loss_weights |= self.penalties.loss_weights
        generator_phase = Phase("generator", ("generator",), self.generator_terms)
        self.phases = (generator_phase, *self.adversaries.phases(self.discriminator_terms))

    def translate(self, batch: Batch) -> Tensor:
        fake: Tensor = self.networks["generator"](batch["source"])
        return fake

    def generator_terms(self, batch: Batch, carried: Batch | None, context: Context) -> Terms:
        source = batch["source"]
        target = batch["target"]
        fake = self.translate(batch)
        losses, judged = self.adversaries.generator_terms(
            pair(source, fake), pair(source, target), context
        )
        if self.feature_matching:
            distance = self.adversaries.match_features(judged)
            losses["feature_matching"] = self.feature_matching * distance
        if self.perceptual:
            losses["perceptual"] = self.perceptual * self.auxiliary["vgg"](fake, target)
        return Terms(losses, carried={"fake": fake.detach()})

    def discriminator_terms(
        self, adversary: Adversary, batch: Batch, carried: Batch | None, context: Context
    ) -> Terms:
        source = batch["source"]
        target = batch["target"]
        with torch.no_grad():
            fake = carried["fake"] if carried else self.translate(batch)
        terms = adversary.discriminator_terms(pair(source, target), pair(source, fake), context)
        if adversary is self.adversaries.first:
            terms.losses |= self.penalties.terms(adversary, batch, fake, context)
        return terms

    def diagnose(self, batch: Batch) -> dict[str, Tensor]:
        return self.adversaries.diagnose(pair(batch["source"], batch["target"]))
