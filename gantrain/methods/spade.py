"""SPADE, also called GauGAN (Park et al. 2019, arXiv 1903.07291)."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from gantrain.core.component import Component, OneOf, build
from gantrain.losses import distances
from gantrain.losses.adversarial import at_least_float32
from gantrain.methods.adversarial_game import (
    AdversarialOption,
    Adversaries,
    Adversary,
    DiscriminatorOption,
    ExtraDiscriminators,
    Weight,
    pair,
)
from gantrain.methods.base import Batch, Context, Method, Phase, Terms
from gantrain.methods.diffaugment import Kind
from gantrain.methods.discriminator_penalties import DiscriminatorPenalties, PenaltyOptions
from gantrain.methods.reconstruction import PAIRED_INPUTS, LossOptions, Reconstruction
from gantrain.networks import NETWORKS, STYLED_GENERATOR
from gantrain.networks.spade import StyleEncoder

_STYLE_CHANNELS = 256
_LOSSES = {"feature_matching": 10.0, "perceptual": 10.0}
_DISCRIMINATOR = {
    "name": "multiscale_patchgan",
    "spectral_norm": True,
    "init": "xavier",
    "zero_bias": True,
}


class SPADE(Method):
    """SPADE: a generator whose normalisation layers are modulated by the label map.

    The generator minimises gan * adversarial + the weighted `losses` + kld * (divergence of the
    styles). Those losses of the paper are the distances of the discriminators' features and of
    VGG-19's features. The adversarial loss is a mean over the scales. The distance of features is
    pix2pixHD's, which is the paper's sum where each scale has four layers, as here. The
    discriminators minimise the mean of their losses.

    `style: vae` adds an encoder, which is trained in the generator's phase. It learns the style of
    a target, which its label map does not determine. `translate` uses the style that the batch
    brings, or one drawn with the seed `test_style`, or the mean style.

    The generator's phase comes first, and those of the discriminators follow. Instance boundary
    maps are an option of the data, `data.inputs`.

    Four things differ from the paper's code:

    - The discriminators see the fakes of the generator's phase, from before its update, which saves
      a forward. In the paper's code the updated generator makes new ones for them. That order is
      `order: generator_first_new_fakes`.
    - New fakes use the same random draw as the first ones, and they leave the generator's running
      statistics as they are. The paper's code draws another style, and its running statistics move
      twice a step.
    - Spectral norm iterates once a step, at the start of a network's phase. The paper's code
      iterates in every forward, which is twice a step for each network.
    - The divergence is a mean over the samples. The paper's code takes their sum.

    Args:
        generator: The network that translates.
        discriminator: The first discriminator. It sees the source and an image together.
        adversarial: The adversarial loss.
        style: `vae` trains an encoder of styles. `none` has no styles.
        test_style: The seed of the style that `translate` uses. null uses the mean style.
        gan: The weight of the generator's adversarial loss.
        losses: The weighted reconstruction losses. Without `perceptual`, no weights of VGG-19 are
            needed.
        kld: The weight of the divergence of the styles, with `style: vae`.
        penalties: The penalties on the gradient of the first discriminator.
        augment: The kinds of DiffAugment that change the images which the discriminators see.
        more_discriminators: Further discriminators, each with its own loss, weight and interval.
        order: Whether the discriminators see the fakes from before the generator's update, or new
            fakes from after it, which is the paper's order.
    """

    paired = True
    inputs = PAIRED_INPUTS
    style_keys = "method.style=vae"

    def __init__(
        self,
        source_channels: int,
        target_channels: int,
        *,
        generator: Annotated[Component, OneOf(NETWORKS, STYLED_GENERATOR)] = "spade",
        discriminator: DiscriminatorOption = _DISCRIMINATOR,
        adversarial: AdversarialOption = "hinge",
        style: Literal["none", "vae"] = "none",
        test_style: Annotated[int, Field(ge=0, lt=2**63)] | None = None,
        gan: Weight = 1.0,
        losses: LossOptions = _LOSSES,
        kld: Weight = 0.05,
        penalties: PenaltyOptions = (),
        augment: tuple[Kind, ...] = (),
        more_discriminators: ExtraDiscriminators = (),
        order: Literal["generator_first", "generator_first_new_fakes"] = "generator_first",
    ) -> None:
        super().__init__()
        self.kld = kld
        self.test_style = test_style
        self.makes_new_fakes = order == "generator_first_new_fakes"
        self.has_style = style == "vae"
        spade_generator = build(
            NETWORKS,
            generator,
            in_channels=source_channels,
            out_channels=target_channels,
            style_channels=_STYLE_CHANNELS if self.has_style else 0,
        )
        self.networks["generator"] = spade_generator
        self.adversaries = Adversaries(
            self.networks,
            discriminator,
            adversarial,
            more_discriminators,
            channels=[source_channels, target_channels],
            generator_weight=gan,
            discriminator_weight=1.0,
            augment=augment,
        )
        if self.has_style:
            self.networks["encoder"] = StyleEncoder(
                target_channels, _STYLE_CHANNELS, width=spade_generator.width
            )
            self.inference = ("generator", "encoder")
        self.reconstruction = Reconstruction(
            self.auxiliary, _LOSSES, losses, channels=target_channels
        )
        self.loss_weights = self.adversaries.loss_weights(
            **self.reconstruction.weights,
            kld=kld if self.has_style else 0.0,
        )
        self.penalties = DiscriminatorPenalties(penalties)
        self.loss_weights |= self.penalties.loss_weights
        # What translates is also what the generator's phase trains.
        generator_phase = Phase("generator", tuple(self.inference), self.generator_terms)
        self.phases = (generator_phase, *self.adversaries.phases(self.discriminator_terms))

    def translate(self, batch: Batch) -> Tensor:
        """Return images (N, C, H, W) in [-1, 1] from label maps.

        The batch may bring its `style`, (1, channels), for all images.
        """
        source = batch["source"]
        style = batch.get("style")
        if style is None and self.test_style is not None and self.has_style:
            style = self.style(self.test_style)
        if style is not None:
            style = style.to(source).expand(len(source), -1)
        fake: Tensor = self.networks["generator"](source, style)
        return fake

    def style(self, given: int | Tensor) -> Tensor:
        """Return a style, (1, channels).

        given: a seed to draw the style with, or an image (1, C, H, W) in [-1, 1], whose mean style
        is taken.
        """
        if isinstance(given, int):
            return torch.randn(1, _STYLE_CHANNELS, generator=torch.Generator().manual_seed(given))
        mean: Tensor = self.networks["encoder"](given)[0]
        return mean

    def _generate(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return fakes for training, and the losses of their styles.

        With styles, each fake has a style drawn from its target's distribution.
        """
        if not self.has_style:
            return self.networks["generator"](batch["source"]), {}
        mean, log_variance = self.networks["encoder"](batch["target"])
        mean = at_least_float32(mean)
        log_variance = at_least_float32(log_variance)
        style = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        fake = self.networks["generator"](batch["source"], style)
        return fake, {"kld": self.kld * distances.kl(mean, log_variance)}

    def generator_terms(self, batch: Batch, carried: Batch | None, context: Context) -> Terms:
        source = batch["source"]
        target = batch["target"]
        fake, losses = self._generate(batch)
        adversarial, judged = self.adversaries.generator_terms(
            pair(source, fake), pair(source, target), context
        )
        losses |= adversarial
        losses |= self.reconstruction.terms(batch, fake, judged, context)
        return Terms(losses, carried={"fake": fake.detach()})

    def discriminator_terms(
        self, adversary: Adversary, batch: Batch, carried: Batch | None, context: Context
    ) -> Terms:
        source = batch["source"]
        target = batch["target"]
        if carried and not self.makes_new_fakes:
            fake = carried["fake"]
        else:
            with torch.no_grad():
                fake, _ = self._generate(batch)
        terms = adversary.discriminator_terms(pair(source, target), pair(source, fake), context)
        if adversary is self.adversaries.first:
            terms.losses |= self.penalties.terms(adversary, batch, fake, context)
        return terms

    def diagnose(self, batch: Batch) -> dict[str, Tensor]:
        return self.adversaries.diagnose(pair(batch["source"], batch["target"]))
