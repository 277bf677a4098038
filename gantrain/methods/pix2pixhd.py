"""pix2pixHD (Wang et al. 2018, arXiv 1711.11585), without its features of instances; their edges: `data.instances`."""

from typing import Annotated

import torch
from torch import Tensor, nn

from gantrain.component import Component, OneOf, build
from gantrain.losses import ADVERSARIAL, PERCEPTUAL
from gantrain.losses.adversarial import discriminator_loss, generator_loss
from gantrain.method import Batch, Context, Method, Phase, Terms
from gantrain.methods.pix2pix import Weight, accuracy, judge_both, match_features, pair, share_above
from gantrain.networks import DISCRIMINATOR, GENERATOR, NETWORKS


class Pix2PixHD(Method):
    """A generator from source to target; discriminators that see both at several scales.

    Minimises gan * adversarial, a sum over the scales, + feature_matching * distance of the discriminators' features +
    perceptual * distance of VGG-19's; the discriminators minimise half of the sum of their losses. With `perceptual` 0
    no weights of VGG-19 are needed. `generator.enhancer` adds the paper's local enhancer, all trained together.
    """

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
    ) -> None:
        super().__init__()
        self.networks, self.auxiliary, self.pools = nn.ModuleDict(), nn.ModuleDict(), {}
        self.networks["generator"] = build(
            NETWORKS, generator, in_channels=source_channels, out_channels=target_channels
        )
        self.networks["discriminator"] = build(NETWORKS, discriminator, in_channels=source_channels + target_channels)
        self.adversarial = build(ADVERSARIAL, adversarial)
        if perceptual:
            self.auxiliary["vgg"] = build(PERCEPTUAL, vgg, channels=target_channels)
        self.gan, self.feature_matching, self.perceptual = gan, feature_matching, perceptual
        self.phases = (
            Phase("generator", ("generator",), self.generator_terms),
            Phase("discriminator", ("discriminator",), self.discriminator_terms),
        )

    def translate(self, batch: Batch) -> Tensor:
        fake: Tensor = self.networks["generator"](batch["source"])
        return fake

    def generator_terms(self, batch: Batch, carried: Batch | None, context: Context) -> Terms:
        source, target, discriminator = batch["source"], batch["target"], self.networks["discriminator"]
        fake = self.translate(batch)
        judged = discriminator(pair(source, fake))
        losses = {"gan": self.gan * len(judged) * generator_loss(self.adversarial, judged)}
        if self.feature_matching:
            losses["feature_matching"] = self.feature_matching * match_features(
                discriminator, pair(source, target), judged
            )
        if self.perceptual:
            losses["perceptual"] = self.perceptual * self.auxiliary["vgg"](fake, target)
        return Terms(losses, carried={"fake": fake.detach()})

    def discriminator_terms(self, batch: Batch, carried: Batch | None, context: Context) -> Terms:
        source = batch["source"]
        with torch.no_grad():
            fake = carried["fake"] if carried else self.translate(batch)
        on_real, on_fake = judge_both(self.networks["discriminator"], pair(source, batch["target"]), pair(source, fake))
        losses = {"d": 0.5 * len(on_real) * discriminator_loss(self.adversarial, on_real, on_fake)}
        return Terms(losses, stats=accuracy(on_real, on_fake, self.adversarial.boundary))

    def diagnose(self, batch: Batch) -> dict[str, Tensor]:
        on_real = self.networks["discriminator"](pair(batch["source"], batch["target"]))
        return {"d_on_held_out": share_above(on_real, self.adversarial.boundary)}
