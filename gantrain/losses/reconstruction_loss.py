"""The base class of reconstruction losses: how far fakes are from their targets."""

from torch import nn

# What a loss may take, by name. Images are (N, C, H, W) in [-1, 1]. Outputs are those of the first
# discriminator, where the method has one.
TAKEN = (
    "fake",  # the generated images
    "target",  # the images that they should equal
    "pixel_weights",  # (N, 1, H, W) or None: the weight of each pixel
    "on_fake",  # the discriminator's outputs for the fakes
    "on_real",  # those for the targets, without gradient
    "generators",  # a generator of random numbers (numpy) for each sample
)


class ReconstructionLoss(nn.Module):
    """The base class of the losses that compare fakes with their targets.

    `forward` returns a scalar, a mean over the samples. The losses compute in float32 or better,
    except for the networks inside them.

    takes: the names in `TAKEN` of what `forward` receives, in this order.
    minimum_size: the smallest height and width of the images in pixels.
    weight_by: the part of a batch, such as `mask` or `source`, that weights each pixel.
    class_weights: the weights of classes, where that part is a label map. Other classes have 1.
    """

    takes: tuple[str, ...] = ("fake", "target")
    minimum_size: int = 1
    weight_by: str | None = None
    class_weights: dict[int, float] | None = None

    def __init__(self) -> None:
        super().__init__()

    def load(self) -> None:
        """Read the weights of networks, or fetch them.

        gantrain calls it before training, and on one process of a node first. Raises UserError
        where they cannot be had.
        """
