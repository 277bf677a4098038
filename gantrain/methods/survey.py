"""The example GAN of a survey of image-to-image translation, with its two defects corrected."""

from gantrain.methods.adversarial_game import Weight
from gantrain.methods.pix2pix import Pix2Pix


class Survey(Pix2Pix):
    """pix2pix with an encoder-decoder and a discriminator of the whole image.

    The generator minimises the binary cross-entropy of the discriminator, + l1 * |G(x) - y| + l2 *
    (G(x) - y)^2. The survey's example has no such distances, so both weights are 0 by default.

    The example as printed has two defects, which are corrected here. Its discriminator is built for
    source and target together (6 channels) but gets the 3 of one image, so that it stops at the
    first batch. Its loss takes the source in the place of the target, so that the generator would
    learn to copy. Here the discriminator sees both images, and the target is the target.

    Args:
        l1: The weight of the mean absolute difference to the target.
        l2: The weight of the mean squared difference to the target.
    """

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
