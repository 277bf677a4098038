"""Distances of each fake to its target; images (N, C, H, W) in [-1, 1], float64; one value an image."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from gantrain.metrics.extractors import fetch, load_weights

_SMALLEST_ERROR = 1e-10  # of the mean square: a perfect image has 106 dB, not infinitely many
_REACH = 5  # pixels from the centre of SSIM's window to its edge


def l1(fake: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference."""
    return (fake - target).abs().mean((1, 2, 3))


def l2(fake: Tensor, target: Tensor) -> Tensor:
    """Mean square difference."""
    return (fake - target).square().mean((1, 2, 3))


def psnr(fake: Tensor, target: Tensor) -> Tensor:
    """In dB, of all channels."""
    return decibels(l2(fake, target))


def decibels(error: Tensor) -> Tensor:
    """PSNR of a mean square difference; the range is 2."""
    return 10 * torch.log10(4 / error.clamp_min(_SMALLEST_ERROR))


def luma(images: Tensor) -> Tensor:
    """ITU-R BT.601's Y of RGB (16 to 235 of 255), as super-resolution papers take it; grey as it is."""
    if images.shape[1] != 3:
        return images
    weights = images.new_tensor([65.481, 128.553, 24.966]).view(3, 1, 1) / 255
    return ((images + 1) * weights).sum(1, keepdim=True) + 2 * 16 / 255 - 1


def psnr_y(fake: Tensor, target: Tensor) -> Tensor:
    """Of the luma alone."""
    return psnr(luma(fake), luma(target))


def ssim(fake: Tensor, target: Tensor) -> Tensor:
    """Wang et al. 2004, with an 11x11 Gaussian window, where the window is whole."""
    # Imported here: it takes a second that other commands need not wait for.
    from torchmetrics.functional.image import structural_similarity_index_measure

    if min(fake.shape[2:]) <= 2 * _REACH + 1:
        return fake.new_full((len(fake),), torch.nan)
    # Its luminance term wants values from 0 up: around 0 it falls apart.
    _, each = structural_similarity_index_measure(
        (fake + 1) / 2, (target + 1) / 2, data_range=1.0, return_full_image=True
    )
    inner: Tensor = each[..., _REACH:-_REACH, _REACH:-_REACH]
    return inner.mean((1, 2, 3))


def ssim_y(fake: Tensor, target: Tensor) -> Tensor:
    """Of the luma alone."""
    return ssim(luma(fake), luma(target))


def ms_ssim(fake: Tensor, target: Tensor) -> Tensor:
    """Wang et al. 2003, over five scales: images of more than 160 pixels."""
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    if min(fake.shape[2:]) <= 160:
        return fake.new_full((len(fake),), torch.nan)
    pair = (fake + 1) / 2, (target + 1) / 2
    each: Tensor = multiscale_structural_similarity_index_measure(*pair, data_range=1.0, reduction="none")
    return each


PAIRED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": l1, "l2": l2, "psnr": psnr, "psnr_y": psnr_y, "ssim": ssim, "ssim_y": ssim_y, "ms_ssim": ms_ssim,
}  # fmt: skip
LPIPS = {"lpips": "alex", "lpips_vgg": "vgg", "lpips_squeeze": "squeeze"}


class Perceptual(nn.Module):
    """LPIPS (Zhang et al. 2018, arXiv 1801.03924), by torchmetrics, which has the papers' heads.

    weights: of torchvision's backbone (alexnet, vgg16, squeezenet1_1) by the metric's name; where
    there is none, torchvision's route. Raises ValueError.
    """

    def __init__(self, name: str, weights: Mapping[str, str]) -> None:
        super().__init__()
        from torchmetrics.functional.image.lpips import _LPIPS

        path, net = weights.get(name), LPIPS[name]
        made = (lambda: _LPIPS(net=net)) if path is None else (lambda: _LPIPS(net=net, pnet_rand=True))
        self.network = fetch(f"torchvision's {net}", made, name)
        if path is not None:
            # The backbone is torchvision's `features` cut into slices that keep the layers' numbers.
            state = {k.removeprefix("features."): v for k, v in load_weights(path).items() if k.startswith("features.")}
            for key, value in self.network.net.named_parameters():
                layer = key.split(".", 2)[2] if key.startswith("slices.") else key.split(".", 1)[1]
                if layer not in state or state[layer].shape != value.shape:
                    raise ValueError(f"evaluate.weights: {path} has no features.{layer} as {net} has; give its file")
                value.data.copy_(state[layer])
        self.eval().requires_grad_(False)

    def forward(self, fake: Tensor, target: Tensor) -> Tensor:
        each: Tensor = self.network(fake.float(), target.float())
        return each.double().flatten()
