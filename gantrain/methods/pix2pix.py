"""pix2pix (Isola et al. 2017, arXiv 1611.07004), with the options that later papers added."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gantrain.chance import Purpose
from gantrain.component import Component, OneOf, build
from gantrain.diffaugment import DiffAugment, Kind
from gantrain.losses import ADVERSARIAL, PENALTIES, distances
from gantrain.losses.adversarial import Outputs, discriminator_loss, generator_loss
from gantrain.method import Batch, Context, Method, Phase, Terms
from gantrain.networks import DISCRIMINATOR, GENERATOR, NETWORKS
from gantrain.pool import ImagePool

Weight = Annotated[float, Field(ge=0)]


def pair(source: Tensor, image: Tensor) -> Tensor:
    return torch.cat([source, image], dim=1)


def mixes_samples(network: nn.Module) -> bool:
    """Whether an image's output depends on the others of its batch: batch norm's does."""
    return any(isinstance(m, _BatchNorm) for m in network.modules())


def judge_both(discriminator: nn.Module, real: Tensor, fake: Tensor) -> tuple[Outputs, Outputs]:
    """Outputs for two batches of pairs, from one forward where that is the same mathematics.

    Batch norm would mix the two batches' statistics, so it gets a forward for each.
    """
    if mixes_samples(discriminator):
        return discriminator(real), discriminator(fake)
    both = discriminator(torch.cat([real, fake]))
    n = len(real)
    return [[x[:n] for x in scale] for scale in both], [[x[n:] for x in scale] for scale in both]


def share_above(outputs: Outputs, boundary: float) -> Tensor:
    """Share of the logits that call an image real."""
    return torch.stack([(scale[-1].detach() > boundary).float().mean() for scale in outputs]).mean()


def accuracy(on_real: Outputs, on_fake: Outputs, boundary: float, side: str = "") -> dict[str, Tensor]:
    """Shares of the logits that are right, for the meters; `side` tells several discriminators apart."""
    right = share_above(on_real, boundary), 1 - share_above(on_fake, boundary)
    return dict(zip((f"d_on_real{side}", f"d_on_fake{side}"), right, strict=True))


def match_features(discriminator: nn.Module, real: Tensor, judged: Outputs) -> Tensor:
    """Distance of the discriminator's features of real images to those, `judged`, of the fakes."""
    with torch.no_grad():
        on_real = discriminator(real)
    return distances.feature_matching(on_real, judged)


class Pix2Pix(Method):
    """A generator from source to target; a discriminator that sees source and target together.

    Minimises gan * adversarial + l1 * |G(x) - y| (+ l2 * (G(x) - y)^2 + feature_matching as in pix2pixHD); the
    discriminator minimises half of its loss, plus a penalty if one is named, and sees images augmented by DiffAugment
    where `augment` names kinds. Defaults are the paper's, but for the order: `discriminator_first` is the paper's, and
    costs one more forward of the generator.
    """

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
        pool: Annotated[int, Field(ge=0)] = 0,
        augment: tuple[Kind, ...] = (),
        order: Literal["generator_first", "discriminator_first"] = "generator_first",
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleDict()
        self.networks["generator"] = build(
            NETWORKS, generator, in_channels=source_channels, out_channels=target_channels
        )
        self.networks["discriminator"] = build(NETWORKS, discriminator, in_channels=source_channels + target_channels)
        self.auxiliary = nn.ModuleDict()
        self.adversarial = build(ADVERSARIAL, adversarial)
        self.penalty = None if penalty is None else build(PENALTIES, penalty)
        self.gan, self.l1, self.l2, self.feature_matching = gan, l1, l2, feature_matching
        self.pool = ImagePool(pool)
        self.pools = {"fakes": self.pool}
        self.augment = DiffAugment(augment, [source_channels, target_channels])
        phases = (
            Phase("generator", ("generator",), self.generator_terms),
            Phase("discriminator", ("discriminator",), self.discriminator_terms),
        )
        self.phases = phases if order == "generator_first" else phases[::-1]

    def translate(self, batch: Batch) -> Tensor:
        fake: Tensor = self.networks["generator"](batch["source"])
        return fake

    def generator_terms(self, batch: Batch, carried: Batch | None, context: Context) -> Terms:
        source, target = batch["source"], batch["target"]
        fake = self.translate(batch)
        judged = self.networks["discriminator"](self.augment(pair(source, fake), context))
        losses = {"gan": self.gan * generator_loss(self.adversarial, judged)}
        if self.l1:
            losses["l1"] = self.l1 * distances.l1(fake, target)
        if self.l2:
            losses["l2"] = self.l2 * distances.l2(fake, target)
        if self.feature_matching:
            truth = self.augment(pair(source, target), context)
            likeness = match_features(self.networks["discriminator"], truth, judged)
            losses["feature_matching"] = self.feature_matching * likeness
        return Terms(losses, carried={"fake": fake.detach()})

    def discriminator_terms(self, batch: Batch, carried: Batch | None, context: Context) -> Terms:
        source, real = batch["source"], batch["target"]
        discriminator = self.networks["discriminator"]
        with torch.no_grad():
            fake = carried["fake"] if carried else self.translate(batch)
        shown = self.pool(pair(source, fake), context)
        shown, truth = self.augment(shown, context), self.augment(pair(source, real), context)
        on_real, on_fake = judge_both(discriminator, truth, shown)
        losses = {"d": 0.5 * discriminator_loss(self.adversarial, on_real, on_fake)}
        if self.penalty is not None and context.due(self.penalty.every):
            alpha = [context.random(p, Purpose.MIX).random() for p in context.positions]
            mix = torch.tensor(alpha, dtype=real.dtype).view(-1, 1, 1, 1).to(real.device, non_blocking=True)
            penalty = self.penalty(lambda x: discriminator(self.augment(pair(source, x), context)), real, fake, mix)
            losses["penalty"] = self.penalty.every * penalty
        return Terms(losses, stats=accuracy(on_real, on_fake, self.adversarial.boundary))

    def diagnose(self, batch: Batch) -> dict[str, Tensor]:
        on_real = self.networks["discriminator"](pair(batch["source"], batch["target"]))
        return {"d_on_held_out": share_above(on_real, self.adversarial.boundary)}
