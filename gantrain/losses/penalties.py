"""Penalties on the gradient of a discriminator's logits by its images.

Each penalty takes `discriminate`, a function from images to a discriminator's outputs. This
function holds everything else that the discriminator sees, such as the source image of a
conditional one, so the gradient is by the images alone.

`logits` states what is differentiated for an image whose logits form a map. `mean` is the mean of
the map and `sum` is its sum; with several scales it is the average over the scales. A sum makes the
squared gradient norm grow with the square of the number of logits: the same weight is then 810,000
times as strong on a 30x30 map as on one logit. With one logit both are the same number.

`interval_steps` of a penalty counts the turns of the penalty's phase, not the run's steps. With
16, the method applies the penalty in every 16th turn. A penalty does not multiply itself by
`interval_steps`. The method multiplies, because it applies the penalty so rarely.
"""

from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from gantrain.losses.adversarial import Outputs, at_least_float32

Discriminate = Callable[[Tensor], Outputs]
Weight = Annotated[float, Field(ge=0, le=1e9)]
IntervalSteps = Annotated[int, Field(ge=1, le=10**6)]
Logits = Literal["mean", "sum"]


class R1:
    """R1: half of the weight times the mean squared gradient norm at real images.

    Mescheder et al., 2018 (arXiv 1801.04406). By default it is applied in every 16th turn, as in
    StyleGAN 2 (arXiv 1912.04958). The papers' discriminators give one logit for each image. The
    default differentiates the mean of a map, as the adversarial loss takes the mean, so that one
    weight suits maps of any size. LaMa's weight of 0.001 (arXiv 2109.07161) is for `sum`.

    Args:
        weight: The weight of the penalty.
        interval_steps: The penalty is applied in every Nth turn of the discriminator, multiplied by
            N.
        logits: What is differentiated for an image whose logits form a map: the mean of the map or
            its sum.
    """

    def __init__(
        self, *, weight: Weight = 10.0, interval_steps: IntervalSteps = 16, logits: Logits = "mean"
    ) -> None:
        self.weight = weight
        self.interval_steps = interval_steps
        self.logits = logits

    def __call__(self, discriminate: Discriminate, real: Tensor, *unused: Tensor) -> Tensor:
        """Return a scalar from real images (N, C, H, W).

        unused: the fake images and the mixing fractions, which other penalties take.
        """
        gradient = _gradient(discriminate, real, self.logits)  # N(CHW)
        return self.weight / 2 * gradient.square().sum(1).mean()


class R2:
    """R2: half of the weight times the mean squared gradient norm at fake images.

    Mescheder et al., 2018 (arXiv 1801.04406). R3GAN (arXiv 2501.05441) adds it to R1, with the
    same weight, and applies both in every turn. The defaults are those of R1.

    Args:
        weight: The weight of the penalty.
        interval_steps: The penalty is applied in every Nth turn of the discriminator, multiplied by
            N.
        logits: What is differentiated for an image whose logits form a map: the mean of the map or
            its sum.
    """

    def __init__(
        self, *, weight: Weight = 10.0, interval_steps: IntervalSteps = 16, logits: Logits = "mean"
    ) -> None:
        self.weight = weight
        self.interval_steps = interval_steps
        self.logits = logits

    def __call__(
        self, discriminate: Discriminate, real: Tensor, fake: Tensor, *unused: Tensor
    ) -> Tensor:
        """Return a scalar from fake images (N, C, H, W).

        real, unused: the real images and the mixing fractions, which other penalties take.
        """
        gradient = _gradient(discriminate, fake, self.logits)  # N(CHW)
        return self.weight / 2 * gradient.square().sum(1).mean()


class GradientPenalty:
    """The gradient penalty: the weight times the mean squared distance of the gradient norm to 1.

    Gulrajani et al., 2017 (WGAN-GP, arXiv 1704.00028). The gradient is taken at random mixtures of
    real and fake images. The default differentiates the sum of a map, as the published code of
    pix2pix's `wgangp` does.

    Args:
        weight: The weight of the penalty.
        interval_steps: The penalty is applied in every Nth turn of the discriminator, multiplied by
            N.
        logits: What is differentiated for an image whose logits form a map: the mean of the map or
            its sum.
    """

    def __init__(
        self, *, weight: Weight = 10.0, interval_steps: IntervalSteps = 1, logits: Logits = "sum"
    ) -> None:
        self.weight = weight
        self.interval_steps = interval_steps
        self.logits = logits

    def __call__(
        self, discriminate: Discriminate, real: Tensor, fake: Tensor, alpha: Tensor
    ) -> Tensor:
        """Return a scalar from real and fake images (N, C, H, W).

        alpha: the fraction of the real image in each mixture, (N, 1, 1, 1) in [0, 1].
        """
        real = at_least_float32(real)
        fake = at_least_float32(fake)
        alpha = at_least_float32(alpha)
        mixtures = alpha * real + (1 - alpha) * fake
        gradient = _gradient(discriminate, mixtures, self.logits)  # N(CHW)
        # A norm has no gradient at 0.
        norm: Tensor = torch.linalg.vector_norm(gradient + 1e-16, dim=1)
        return self.weight * (norm - 1).square().mean()


def _gradient(discriminate: Discriminate, images: Tensor, logits: Logits) -> Tensor:
    """Return the gradient of each image's score by the image, (N, CHW).

    The score is a mean over the discriminator's scales.
    """
    images = at_least_float32(images.detach()).requires_grad_(True)
    with (
        torch.enable_grad(),
        torch.autocast(images.device.type, enabled=False),
        torch.compiler.set_stance("force_eager"),  # a compiled network has no double backward
    ):
        per_scale = [_score(at_least_float32(maps[-1]), logits) for maps in discriminate(images)]
        score = torch.stack(per_scale).mean()
        (gradient,) = torch.autograd.grad(score, images, create_graph=True)
    per_sample: Tensor = gradient.flatten(1)
    return per_sample


def _score(maps: Tensor, logits: Logits) -> Tensor:
    """Return the sum of the images' scores. A score is the mean or the sum of an image's logits.

    The gradient of the sum by one image is the gradient of that image's own score.
    """
    per_image = maps.flatten(1)  # N(CHW)
    if logits == "mean":
        return per_image.mean(1).sum()
    return per_image.sum()
