"""The example GAN of a survey of image-to-image translation, with its two defects corrected."""

from gantrain.methods.pix2pix import Pix2Pix
from gantrain.methods.reconstruction import LossOptions

_LOSSES: dict[str, float] = {}


class Survey(Pix2Pix):
    """pix2pix with an encoder-decoder and a discriminator of the whole image.

    The generator minimises the binary cross-entropy of the discriminator, + the weighted `losses`.
    The survey's example has no such losses, so that there are none by default.

    The printed example has two defects, which are corrected here. Its discriminator is built for
    source and target together (6 channels) but receives the 3 channels of one image, so that it
    fails at the first batch. Its loss compares with the source instead of the target, so that the
    generator would learn to copy. Here the discriminator sees both images, and the loss compares
    with the target.

    Args:
        losses: The weighted reconstruction losses.
    """

    default_losses = _LOSSES

    def __init__(
        self, source_channels: int, target_channels: int, *, losses: LossOptions = _LOSSES
    ) -> None:
        super().__init__(
            source_channels,
            target_channels,
            generator="encoder_decoder",
            discriminator="whole_image",
            losses=losses,
        )
