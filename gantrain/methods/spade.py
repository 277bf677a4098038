"""SPADE, also called GauGAN (Park et al. 2019, arXiv 1903.07291); the edges of instances:
`data.instances`.
"""

from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from gantrain.core.component import Component, Each, OneOf, build
from gantrain.losses import ADVERSARIAL, PERCEPTUAL, distances
from gantrain.losses.adversarial import at_least_float32
from gantrain.methods.adversarial_game import (
    Adversaries,
    Adversary,
    ExtraDiscriminator,
    Weight,
    pair,
)
from gantrain.methods.base import Batch, Context, Method, Phase, Terms
from gantrain.methods.diffaugment import Kind
from gantrain.networks import DISCRIMINATOR, NETWORKS, STYLED_GENERATOR
from gantrain.networks.spade import StyleEncoder

_STYLE_CHANNELS = 256
_DISCRIMINATOR = {
    "name": "multiscale_patchgan",
    "spectral_norm": True,
    "init": "xavier",
    "zero_bias": True,
}


class SPADE(Method):
    """From label maps to images, their layout kept by norms that the label map modulates.

    Minimises gan * adversarial + feature_matching * distance of the discriminators' features +
    perceptual * distance of VGG-19's, each discriminator counting alike, + kld * divergence of the
    styles, a mean over the samples (the peers' is their sum). The discriminators minimise the mean
    of their losses. With `perceptual` 0 no weights of VGG-19 are needed. The distance of features
    is pix2pixHD's; with four layers a scale, as here, it is the paper's sum.

    Two things differ from the paper's code. There the discriminators see fakes that the updated
    generator makes anew; here they see the fakes of the generator's own turn, made before its
    update, which saves a forward. The paper's order is `order: generator_first_new_fakes`. Its new
    fakes come from the same random draw as the first ones, where the paper's code draws another
    style, and they leave the generator's running statistics alone, which the paper's code moves
    twice a step. In either order spectral norm iterates once a step, at the start of a network's
    turn; the paper's code iterates it in every forward, which is twice a step for each network.

    style: with `vae`, an encoder learns styles, which a label map alone does not tell. translate
    uses the mean style, the one drawn with the seed `test_style`, or the one that it is given.
    `augment` is pix2pix's."""

    paired = True

    def __init__(
        self,
        source_channels: int,
        target_channels: int,
        *,
        generator: Annotated[Component, OneOf(NETWORKS, STYLED_GENERATOR)] = "spade",
        discriminator: Annotated[Component, OneOf(NETWORKS, DISCRIMINATOR)] = _DISCRIMINATOR,
        adversarial: Annotated[Component, OneOf(ADVERSARIAL)] = "hinge",
        vgg: Annotated[Component, OneOf(PERCEPTUAL)] = "vgg19",
        style: Literal["none", "vae"] = "none",
        test_style: Annotated[int, Field(ge=0, lt=2**63)] | None = None,
        gan: Weight = 1.0,
        feature_matching: Weight = 10.0,
        perceptual: Weight = 10.0,
        kld: Weight = 0.05,
        augment: tuple[Kind, ...] = (),
        more_discriminators: Annotated[tuple[dict[str, Any], ...], Each(ExtraDiscriminator)] = (),
        order: Literal["generator_first", "generator_first_new_fakes"] = "generator_first",
    ) -> None:
        super().__init__()
        facts = {"in_channels": source_channels, "out_channels": target_channels}
        styles = _STYLE_CHANNELS if style == "vae" else 0
        made = self.networks["generator"] = build(
            NETWORKS, generator, **facts, style_channels=styles
        )
        self.adversaries = Adversaries(
            self.networks,
            discriminator,
            adversarial,
            more_discriminators,
            channels=[source_channels, target_channels],
            gan=gan,
            d=1.0,
            augment=augment,
        )
        if styles:
            self.networks["encoder"] = StyleEncoder(target_channels, styles, width=made.width)
            self.inference = ("generator", "encoder")
            self.has_style = True
        if perceptual:
            self.auxiliary["vgg"] = build(PERCEPTUAL, vgg, channels=target_channels)
        self.test_style, self.kld = test_style, kld
        self.makes_new_fakes = order == "generator_first_new_fakes"
        self.feature_matching, self.perceptual = feature_matching, perceptual
        self.loss_weights = self.adversaries.loss_weights(
            feature_matching=feature_matching, perceptual=perceptual, kld=kld if styles else 0.0
        )
        trained = ("generator", "encoder") if styles else ("generator",)
        generator_phase = Phase("generator", trained, self.generator_terms)
        self.phases = (generator_phase, *self.adversaries.phases(self.discriminator_terms))

    def translate(self, batch: Batch) -> Tensor:
        """Of a batch that may bring its `style`, one for all images."""
        source, style = batch["source"], batch.get("style")
        if style is None and self.test_style is not None and "encoder" in self.networks:
            style = self.style(self.test_style)
        fake: Tensor = self.networks["generator"](
            source, None if style is None else style.to(source).expand(len(source), -1)
        )
        return fake

    def style(self, given: int | Tensor) -> Tensor:
        """The style, (1, channels), drawn with a seed, or the mean one of an image, (1, C, H, W)
        in [-1, 1].
        """
        if isinstance(given, int):
            return torch.randn(1, _STYLE_CHANNELS, generator=torch.Generator().manual_seed(given))
        mean: Tensor = self.networks["encoder"](given)[0]
        return mean

    def _imitate(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Fakes in their targets' styles, where there are styles, and what those cost."""
        if "encoder" not in self.networks:
            return self.networks["generator"](batch["source"]), {}
        mean, log_variance = (
            at_least_float32(x) for x in self.networks["encoder"](batch["target"])
        )
        style = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        fake = self.networks["generator"](batch["source"], style)
        return fake, {"kld": self.kld * distances.kl(mean, log_variance)}

    def generator_terms(self, batch: Batch, carried: Batch | None, context: Context) -> Terms:
        source, target = batch["source"], batch["target"]
        fake, losses = self._imitate(batch)
        fooling, judged = self.adversaries.generator_terms(pair(source, fake), context)
        losses |= fooling
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
        if carried and not self.makes_new_fakes:
            fake = carried["fake"]
        else:
            with torch.no_grad():
                fake = self._imitate(batch)[0]
        return adversary.discriminator_terms(
            pair(source, batch["target"]), pair(source, fake), context
        )

    def diagnose(self, batch: Batch) -> dict[str, Tensor]:
        return self.adversaries.diagnose(pair(batch["source"], batch["target"]))
