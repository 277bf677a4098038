"""pix2pix (Isola et al. 2017, arXiv 1611.07004), with the options that later papers added."""

from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from gantrain.core.component import Component, Each, OneOf, build
from gantrain.core.rng import Purpose
from gantrain.losses import ADVERSARIAL, PENALTIES, distances
from gantrain.methods.adversarial_game import (
    Adversaries,
    Adversary,
    ExtraDiscriminator,
    PoolSize,
    Weight,
    pair,
)
from gantrain.methods.base import Batch, Context, Method, Phase, Terms
from gantrain.methods.diffaugment import Kind
from gantrain.methods.image_pool import ImagePool
from gantrain.networks import DISCRIMINATOR, GENERATOR, NETWORKS


class Pix2Pix(Method):
    """A generator from source to target; a discriminator that sees source and target together.

    Minimises gan * adversarial + l1 * |G(x) - y| (+ l2 * (G(x) - y)^2 + feature_matching as in
    pix2pixHD); the discriminator minimises half of its loss, plus a penalty if one is named, and
    sees images augmented by DiffAugment where `augment` names kinds. Defaults are the paper's, but
    for the order: `discriminator_first` is the paper's, and costs one more forward of the
    generator, which leaves batch norm's running statistics alone. The pool and the penalty are the
    first discriminator's."""

    paired = True

    def __init__(
        self,
        source_channels: int,
        target_channels: int,
        *,
        generator: Annotated[Component, OneOf(NETWORKS, GENERATOR)] = "unet",
        discriminator: Annotated[Component, OneOf(NETWORKS, DISCRIMINATOR)] = "patchgan",
        adversarial: Annotated[Component, OneOf(ADVERSARIAL)] = "vanilla",
        penalty: Annotated[Component | None, OneOf(PENALTIES)] = None,
        gan: Weight = 1.0,
        l1: Weight = 100.0,
        l2: Weight = 0.0,
        feature_matching: Weight = 0.0,
        pool: PoolSize = 0,
        augment: tuple[Kind, ...] = (),
        more_discriminators: Annotated[tuple[dict[str, Any], ...], Each(ExtraDiscriminator)] = (),
        order: Literal["generator_first", "discriminator_first"] = "generator_first",
    ) -> None:
        super().__init__()
        self.networks["generator"] = build(
            NETWORKS, generator, in_channels=source_channels, out_channels=target_channels
        )
        seen = [source_channels, target_channels]
        self.adversaries = Adversaries(
            self.networks,
            discriminator,
            adversarial,
            more_discriminators,
            channels=seen,
            gan=gan,
            augment=augment,
        )
        self.penalty = None if penalty is None else build(PENALTIES, penalty)
        self.l1, self.l2, self.feature_matching = l1, l2, feature_matching
        self.loss_weights = self.adversaries.loss_weights(
            l1=l1, l2=l2, feature_matching=feature_matching
        )
        weight = getattr(self.penalty, "weight", None)  # an own penalty may have none
        if weight is not None:
            self.loss_weights["penalty"] = weight
        self.pool = ImagePool(pool)
        self.pools = {"fakes": self.pool}
        made = Phase("generator", ("generator",), self.generator_terms)
        judged = self.adversaries.phases(self.discriminator_terms)
        self.phases = (made, *judged) if order == "generator_first" else (*judged, made)

    def translate(self, batch: Batch) -> Tensor:
        fake: Tensor = self.networks["generator"](batch["source"])
        return fake

    def generator_terms(self, batch: Batch, carried: Batch | None, context: Context) -> Terms:
        source, target = batch["source"], batch["target"]
        fake = self.translate(batch)
        losses, judged = self.adversaries.generator_terms(pair(source, fake), context)
        if self.l1:
            losses["l1"] = self.l1 * distances.l1(fake, target)
        if self.l2:
            losses["l2"] = self.l2 * distances.l2(fake, target)
        if self.feature_matching:
            likeness = self.adversaries.match_features(pair(source, target), judged, context)
            losses["feature_matching"] = self.feature_matching * likeness
        return Terms(losses, carried={"fake": fake.detach()})

    def discriminator_terms(
        self, adversary: Adversary, batch: Batch, carried: Batch | None, context: Context
    ) -> Terms:
        source, real, is_first = (
            batch["source"],
            batch["target"],
            adversary is self.adversaries.first,
        )
        with torch.no_grad():
            fake = carried["fake"] if carried else self.translate(batch)
        shown = pair(source, fake)
        terms = adversary.discriminator_terms(
            pair(source, real), self.pool(shown, context) if is_first else shown, context
        )
        if self.penalty is not None and is_first and context.is_due(self.penalty.interval_steps):
            alpha = [context.random(p, Purpose.MIX).random() for p in context.positions]
            mix = (
                torch.tensor(alpha, dtype=real.dtype)
                .view(-1, 1, 1, 1)
                .to(real.device, non_blocking=True)
            )
            penalty = self.penalty(
                lambda x: adversary.forward(pair(source, x), context), real, fake, mix
            )
            terms.losses["penalty"] = self.penalty.interval_steps * penalty
        return terms

    def diagnose(self, batch: Batch) -> dict[str, Tensor]:
        return self.adversaries.diagnose(pair(batch["source"], batch["target"]))
