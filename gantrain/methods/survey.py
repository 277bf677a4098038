"""The example GAN of a survey of image-to-image translation, mended."""

from gantrain.methods.adversarial_game import Weight
from gantrain.methods.pix2pix import Pix2Pix


class Survey(Pix2Pix):
    """An encoder-decoder against a discriminator of the whole image, by binary cross-entropy.

    The example as printed has two defects, mended here: its discriminator is built for source and
    target together (6 channels) but is fed the 3 of one image, so it stops at the first batch; and
    it hands the input to the loss in the target's place, so that it would learn to copy. Here the
    discriminator sees both images, and the target is the target: pix2pix with other networks. `l1`
    and `l2` add the distance to the target that the example leaves out."""

    def __init__(
        self, source_channels: int, target_channels: int, *, l1: Weight = 0.0, l2: Weight = 0.0
    ) -> None:
        super().__init__(
            source_channels,
            target_channels,
            generator="encoder_decoder",
            discriminator="whole_image",
            l1=l1,
            l2=l2,
        )
