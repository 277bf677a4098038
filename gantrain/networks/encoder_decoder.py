"""The survey's small networks: a generator without skips, a discriminator of the whole image."""

import torch
from torch import Tensor, nn

from gantrain.networks.blocks import (
    Init,
    Norm,
    Probability,
    Upsample,
    Widths,
    at_multiple,
    biased,
    conv,
    dropout_layers,
    initialise,
    norm_layers,
    up_conv,
)
from gantrain.networks.patchgan import Outputs, check_size, feature_maps, smallest_input

WIDTHS = (64, 128, 256, 512)


class EncoderDecoder(nn.Module):
    """Halvings to the widths and back, without skips.

    Takes images (N, in_channels, H, W) in [-1, 1] of any size and gives (N, out_channels, H, W) in
    [-1, 1]. All layers but the first and last are normalised. `multiple` is 2**len(widths).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        widths: Widths = WIDTHS,
        norm: Norm = "batch",
        dropout: Probability = 0.0,
        spectral_norm: bool = False,
        upsample: Upsample = "transpose",
        init: Init = "normal",
    ) -> None:
        super().__init__()
        self.multiple = 2 ** len(widths)
        bias = biased(norm)

        self.downs = nn.ModuleList()
        before = in_channels
        for after in widths:
            down = conv(
                before, after, 4, stride=2, padding=1, bias=bias, spectral_norm=spectral_norm
            )
            norms = norm_layers(norm, after) if len(self.downs) > 0 else []
            self.downs.append(nn.Sequential(down, *norms, nn.LeakyReLU(0.2, inplace=True)))
            before = after

        self.ups = nn.ModuleList()
        for after in reversed(widths[:-1]):
            up = up_conv(
                before, after, 4, upsample=upsample, bias=bias, spectral_norm=spectral_norm
            )
            layers = [up, *norm_layers(norm, after), nn.ReLU(inplace=True)]
            self.ups.append(nn.Sequential(*layers, *dropout_layers(dropout)))
            before = after
        self.last = up_conv(
            before, out_channels, 4, upsample=upsample, bias=bias, spectral_norm=spectral_norm
        )
        initialise(self, init)

    def forward(self, images: Tensor) -> Tensor:  # NCHW -> NCHW
        # The innermost map is normalised, and a norm would erase a single pixel.
        return at_multiple(self._translate, images, self.multiple, minimum=2 * self.multiple)

    def _translate(self, x: Tensor) -> Tensor:
        for layer in [*self.downs, *self.ups]:
            x = layer(x)
        return torch.tanh(self.last(x))


class WholeImageDiscriminator(nn.Module):
    """Halvings to a 4x4 map, and one convolution of it all to a score.

    Takes images (N, in_channels, H, W) of `minimum_size` (64) or more. Gives one scale: the feature
    maps, then the logits (N, 1, h, w), a single score at `minimum_size` and a map beyond it.
    Raises ValueError for smaller images.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        widths: Widths = WIDTHS,
        norm: Norm = "batch",
        spectral_norm: bool = False,
        init: Init = "normal",
    ) -> None:
        super().__init__()
        bias = biased(norm)
        self.layers = nn.ModuleList()
        before = in_channels
        for after in widths:
            down = conv(
                before, after, 4, stride=2, padding=1, bias=bias, spectral_norm=spectral_norm
            )
            norms = norm_layers(norm, after) if len(self.layers) > 0 else []
            self.layers.append(nn.Sequential(down, *norms, nn.LeakyReLU(0.2, inplace=True)))
            before = after
        score = conv(before, 1, 4, bias=bias, spectral_norm=spectral_norm)
        self.layers.append(nn.Sequential(score))
        self.minimum_size = smallest_input(self.layers)
        initialise(self, init)

    def forward(self, images: Tensor) -> Outputs:  # NCHW
        check_size(self, images, self.minimum_size)
        return [feature_maps(self.layers, images)]
