"""The example GAN of a survey of image-to-image translation, mended."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from gantrain.losses import pixel
from gantrain.losses.adversarial import Vanilla, discriminator_loss, generator_loss
from gantrain.method import Batch, Context, Method, Phase, Terms
from gantrain.methods.conditional import judge_both, pair, share_above
from gantrain.networks import EncoderDecoder, WholeImageDiscriminator

Weight = Annotated[float, Field(ge=0)]


class Survey(Method):
    """An encoder-decoder against a discriminator of the whole image, by binary cross-entropy.

    The example as printed has two defects, mended here: its discriminator is built for source
    and target together (6 channels) but is fed the 3 of one image, so it stops at the first
    batch; and it hands the input to the loss in the target's place, so that it would learn to
    copy. Here the discriminator sees both images, and the target is the target. `l1` and `l2`
    add the distance to the target that the example leaves out.
    """

    def __init__(
        self, source_channels: int, target_channels: int, *, l1: Weight = 0.0, l2: Weight = 0.0
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleDict(
            {
                "generator": EncoderDecoder(source_channels, target_channels),
                "discriminator": WholeImageDiscriminator(source_channels + target_channels),
            }
        )
        self.auxiliary = nn.ModuleDict()
        self.pools = {}
        self.adversarial = Vanilla()
        self.l1, self.l2 = l1, l2
        self.phases = (
            Phase("generator", ("generator",), self.generator_terms),
            Phase("discriminator", ("discriminator",), self.discriminator_terms),
        )

    def translate(self, batch: Batch) -> Tensor:
        fake: Tensor = self.networks["generator"](batch["source"])
        return fake

    def generator_terms(self, batch: Batch, carried: Batch | None, context: Context) -> Terms:
        fake = self.translate(batch)
        judged = self.networks["discriminator"](pair(batch["source"], fake))
        losses = {"gan": generator_loss(self.adversarial, judged)}
        if self.l1:
            losses["l1"] = self.l1 * pixel.l1(fake, batch["target"])
        if self.l2:
            losses["l2"] = self.l2 * pixel.l2(fake, batch["target"])
        return Terms(losses, carried={"fake": fake.detach()})

    def discriminator_terms(self, batch: Batch, carried: Batch | None, context: Context) -> Terms:
        if carried and "fake" in carried:
            fake = carried["fake"]
        else:
            with torch.no_grad():
                fake = self.translate(batch)
        source, real = batch["source"], batch["target"]
        on_real, on_fake = judge_both(
            self.networks["discriminator"], pair(source, real), pair(source, fake)
        )
        loss = 0.5 * discriminator_loss(self.adversarial, on_real, on_fake)
        stats = {"d_on_real": share_above(on_real, 0.0), "d_on_fake": 1 - share_above(on_fake, 0.0)}
        return Terms({"d": loss}, stats=stats)

    def diagnose(self, batch: Batch) -> dict[str, Tensor]:
        on_real = self.networks["discriminator"](pair(batch["source"], batch["target"]))
        return {"d_on_held_out": share_above(on_real, 0.0)}
