"""pix2pixHD (Wang et al. 2018, arXiv 1711.11585), without its encoder of instance features."""

import torch
from torch import Tensor

from gantrain.core.component import build
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
from gantrain.methods.reconstruction import PAIRED_INPUTS, LossOptions, Reconstruction
from gantrain.networks import NETWORKS

_LOSSES = {"feature_matching": 10.0, "perceptual": 10.0}


class Pix2PixHD(Method):
    """pix2pixHD: a generator against discriminators that see source and image at several scales.

    The generator minimises gan * adversarial + the weighted `losses`. Those of the paper are the
    distances of the discriminators' features and of VGG-19's features. The adversarial loss is a
    sum over the scales. The discriminators minimise half of the sum of their losses.

    The order is that of the paper's code: the generator's phase comes first, and the discriminators
    see the fakes of that phase, from before the generator's update.

    Two things differ from the paper. `generator.enhancer` adds the paper's local enhancer, and both
    generators are trained together, not one after the other. The encoder of instance features is
    left out. Instance boundary maps are an option of the data, `data.inputs`.

    Args:
        generator: The network that translates.
        discriminator: The first discriminator. It sees the source and an image together.
        adversarial: The adversarial loss.
        gan: The weight of the generator's adversarial loss.
        losses: The weighted reconstruction losses. Without `perceptual`, no weights of VGG-19 are
            needed.
        penalties: The penalties on the gradient of the first discriminator.
        augment: The kinds of DiffAugment that change the images which the discriminators see.
        more_discriminators: Further discriminators, each with its own loss, weight and interval.
    """

    paired = True
    inputs = PAIRED_INPUTS

    def __init__(
        self,
        source_channels: int,
        target_channels: int,
        *,
        generator: GeneratorOption = "coarse_to_fine",
        discriminator: DiscriminatorOption = "multiscale_patchgan",
        adversarial: AdversarialOption = "lsgan",
        gan: Weight = 1.0,
        losses: LossOptions = _LOSSES,
        penalties: PenaltyOptions = (),
        augment: tuple[Kind, ...] = (),
        more_discriminators: ExtraDiscriminators = (),
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
            generator_weight=gan,
            augment=augment,
            sum_scales=True,
        )
        self.reconstruction = Reconstruction(
            self.auxiliary, _LOSSES, losses, channels=target_channels
        )
        self.loss_weights = self.adversaries.loss_weights(**self.reconstruction.weights)
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
        losses |= self.reconstruction.terms(batch, fake, judged, context)
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
