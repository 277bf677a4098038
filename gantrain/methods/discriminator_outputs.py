"""What discriminators return: the forward of both kinds of images, and the fraction judged real."""

import torch
from torch import Tensor, nn

from gantrain.core.component import BadComponent
from gantrain.losses.adversarial import Outputs
from gantrain.networks.blocks import mixes_samples


def run_discriminator(discriminator: nn.Module, images: Tensor) -> Outputs:
    """Return a discriminator's outputs for images (N, C, H, W).

    Raises BadComponent where a discriminator from outside returns something else.
    """
    outputs: Outputs = discriminator(images)
    if _are_outputs(outputs, len(images)):
        return outputs
    if isinstance(outputs, Tensor):
        description = f"a tensor of shape {tuple(outputs.shape)}"
    else:
        description = type(outputs).__name__
    allowed = (
        f"a list of scales, each a list of features with {len(images)} images, the logits last:"
        " [[logits]]"
    )
    raise BadComponent(
        f"discriminator: {type(discriminator).__name__} gives {description}, allowed: {allowed}"
    )


def _are_outputs(outputs: object, images: int) -> bool:
    """Return whether these are lists of maps of so many images."""
    if not isinstance(outputs, list | tuple) or not outputs:
        return False
    for scale in outputs:
        if not isinstance(scale, list | tuple) or not scale:
            return False
        if not all(isinstance(x, Tensor) and x.ndim and len(x) == images for x in scale):
            return False
    return True


def forward_real_fake(
    discriminator: nn.Module, real: Tensor, fake: Tensor
) -> tuple[Outputs, Outputs]:
    """Return the outputs for real and for fake images, (N, C, H, W) each.

    One forward of both is the same mathematics, except with batch norm. Batch norm would mix the
    statistics of both, so each of them then gets a forward of its own.
    """
    if mixes_samples(discriminator):
        return run_discriminator(discriminator, real), run_discriminator(discriminator, fake)
    outputs = run_discriminator(discriminator, torch.cat([real, fake]))
    n = len(real)
    on_real = []
    on_fake = []
    for maps in outputs:
        on_real.append([x[:n] for x in maps])
        on_fake.append([x[n:] for x in maps])
    return on_real, on_fake


def accuracy(outputs: Outputs, boundary: float) -> Tensor:
    """Return the fraction of the logits that classify an image as real, a mean over the scales."""
    per_scale = [(maps[-1].detach() > boundary).float().mean() for maps in outputs]
    return torch.stack(per_scale).mean()


def relative_accuracy(outputs: Outputs, others: Outputs) -> Tensor:
    """Return the fraction of the logits above the mean logit of others, a mean over the scales."""
    per_scale = []
    for maps, other_maps in zip(outputs, others, strict=True):
        boundary = other_maps[-1].detach().mean()
        per_scale.append((maps[-1].detach() > boundary).float().mean())
    return torch.stack(per_scale).mean()
