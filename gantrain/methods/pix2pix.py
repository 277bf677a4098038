"""pix2pix (Isola et al. 2017, arXiv 1611.07004), with the options that later papers added."""

from collections.abc import Mapping
from typing import Literal

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
    PoolSize,
    Weight,
    pair,
)
from gantrain.methods.base import Batch, Context, Method, Phase, Terms, find_kept_forward
from gantrain.methods.diffaugment import Kind
from gantrain.methods.discriminator_penalties import DiscriminatorPenalties, PenaltyOptions
from gantrain.methods.image_pool import ImagePool
from gantrain.methods.reconstruction import PAIRED_INPUTS, LossOptions, Reconstruction
from gantrain.networks import NETWORKS

_LOSSES = {"l1": 100.0}


class Pix2Pix(Method):
    """A generator G from source x to target y, against a discriminator that sees x with y or G(x).

    G minimises gan * adversarial + the weighted `losses`, of which the paper has l1 * |G(x) - y|.
    The discriminator minimises half of its
    adversarial loss, plus its penalties. The pool and the penalties belong to the first
    discriminator.

    The defaults are the paper's, except for the order. Here the generator's phase comes first, and
    the discriminators see the fakes of that phase. `order: discriminator_first` is the paper's. One
    forward of the generator then serves both turns, so that its graph takes memory during the turn
    of the discriminators. A step with several micro-batches, or a generator with spectral norm,
    needs a second forward, which leaves the running statistics of batch norm as they are.

    Args:
        generator: The network that translates.
        discriminator: The first discriminator. It sees the source and an image together.
        adversarial: The adversarial loss.
        penalties: The penalties on the gradient of the first discriminator.
        gan: The weight of the generator's adversarial loss.
        losses: The weighted reconstruction losses.
        pool: The number of earlier fakes in the pool. About half of the fakes that the first
            discriminator sees come from it. 0 has no pool.
        augment: The kinds of DiffAugment that change the images which the discriminators see.
        more_discriminators: Further discriminators, each with its own loss, weight and interval.
        order: The phase that comes first in a step. `discriminator_first` is the paper's order.
    """

    paired = True
    inputs = PAIRED_INPUTS
    default_losses: Mapping[str, float] = _LOSSES

    def __init__(
        self,
        source_channels: int,
        target_channels: int,
        *,
        generator: GeneratorOption = "unet",
        discriminator: DiscriminatorOption = "patchgan",
        adversarial: AdversarialOption = "vanilla",
        penalties: PenaltyOptions = (),
        gan: Weight = 1.0,
        losses: LossOptions = _LOSSES,
        pool: PoolSize = 0,
        augment: tuple[Kind, ...] = (),
        more_discriminators: ExtraDiscriminators = (),
        order: Literal["generator_first", "discriminator_first"] = "generator_first",
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
        )
        self.penalties = DiscriminatorPenalties(penalties)
        self.pool = ImagePool(pool)
        self.pools = {"fakes": self.pool}

        self.reconstruction = Reconstruction(
            self.auxiliary, self.default_losses, losses, channels=target_channels
        )
        self.loss_weights = self.adversaries.loss_weights(**self.reconstruction.weights)
        self.loss_weights |= self.penalties.loss_weights

        generator_phase = Phase(
            "generator", ("generator",), self.generator_terms, forward=self.generate
        )
        discriminator_phases = self.adversaries.phases(self.discriminator_terms)
        if order == "generator_first":
            self.phases = (generator_phase, *discriminator_phases)
        else:
            self.phases = (*discriminator_phases, generator_phase)

    def translate(self, batch: Batch) -> Tensor:
        fake: Tensor = self.networks["generator"](batch["source"])
        return fake

    def generate(self, batch: Batch, context: Context) -> Batch:
        """Return the `fake` of each source of the batch, (N, C, H, W) in [-1, 1]."""
        return {"fake": self.translate(batch)}

    def generator_terms(self, batch: Batch, carried: Batch | None, context: Context) -> Terms:
        source = batch["source"]
        target = batch["target"]
        generated = find_kept_forward(carried, "fake") or self.generate(batch, context)
        fake = generated["fake"]
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
        fake_pair = pair(source, fake)
        if adversary is not self.adversaries.first:
            return adversary.discriminator_terms(pair(source, target), fake_pair, context)
        fake_pair = self.pool(fake_pair, context)
        terms = adversary.discriminator_terms(pair(source, target), fake_pair, context)
        terms.losses |= self.penalties.terms(adversary, batch, fake, context)
        return terms

    def diagnose(self, batch: Batch) -> dict[str, Tensor]:
        return self.adversaries.diagnose(pair(batch["source"], batch["target"]))
