"""Networks whose state_dicts have other projects' keys: plain PyTorch, written from the
published specifications.
"""

from itertools import chain, pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NORMS = {
    "batch": nn.BatchNorm2d,
    "instance": nn.InstanceNorm2d,
    "old": lambda c: nn.InstanceNorm2d(c, track_running_stats=True),  # of PyTorch before 0.4
    "none": lambda _: nn.Identity(),
}


class Level(nn.Module):
    """A U-Net's level around the one inside; `inner` has the number of its channels."""

    def __init__(
        self, outside: int, width: int, inside: nn.Module | None, norm: str, drop: bool
    ) -> None:
        super().__init__()
        bias = norm in ("instance", "old")
        down = nn.Conv2d(outside, width, 4, 2, 1, bias=bias)
        up = nn.ConvTranspose2d(width * (2 if inside else 1), outside, 4, 2, 1, bias=bias)
        layers = [nn.LeakyReLU(0.2, True), down]
        if inside:
            layers += [NORMS[norm](width), inside]
        layers += [nn.ReLU(True), up, NORMS[norm](outside), *[nn.Dropout(0.5)] * drop]
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.model(x)], 1)


class Outermost(nn.Module):
    def __init__(self, before: int, after: int, width: int, inside: nn.Module, norm: str) -> None:
        super().__init__()
        down = nn.Conv2d(before, width, 4, 2, 1, bias=norm in ("instance", "old"))
        up = nn.ConvTranspose2d(2 * width, after, 4, 2, 1)
        self.model = nn.Sequential(down, inside, nn.ReLU(True), up, nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class UNet(nn.Module):
    """pix2pix's; `place` is that of its dropout: the PyTorch code's, the Torch code's, or
    nowhere (--no_dropout).
    """

    def __init__(
        self, before: int = 3, after: int = 3, width: int = 4, levels: int = 5, norm: str = "batch",
        place: str = "pytorch",
    ) -> None:  # fmt: skip
        super().__init__()
        dropped = {"pytorch": range(4, levels - 1), "torch": range(5, levels), "nowhere": range(0)}[
            place
        ]
        inside = None
        for level in reversed(range(1, levels)):
            outer, inner = (width * min(2**n, 8) for n in (level - 1, level))
            inside = Level(outer, inner, inside, norm, drop=level in dropped)
        self.model = Outermost(before, after, width, inside, norm)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class Blur(nn.Module):
    """CUT's halving: [1, 2, 1] over reflected borders, each second pixel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        line = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("filt", torch.outer(line, line)[None, None].repeat(channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(
            F.pad(x, (1, 1, 1, 1), mode="reflect"), self.filt, stride=2, groups=len(self.filt)
        )


class BlurUp(nn.Module):
    """CUT's doubling: [1, 3, 3, 1] over repeated borders; what hangs over is cut off."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        line = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 4
        self.register_buffer("filt", torch.outer(line, line)[None, None].repeat(channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (1, 1, 1, 1), mode="replicate")
        return F.conv_transpose2d(x, self.filt, stride=2, padding=2, groups=len(self.filt))[
            ..., 1:-1, 1:-1
        ]


class Block(nn.Module):
    def __init__(
        self, channels: int, norm: str, bias: bool, drop: bool, padding: str = "reflect"
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for half in range(2):
            reflect = padding == "reflect"
            layers += [nn.ReflectionPad2d(1)] * reflect
            layers += [
                nn.Conv2d(channels, channels, 3, padding=0 if reflect else 1, bias=bias),
                NORMS[norm](channels),
            ]
            layers += [] if half else [nn.ReLU(True), *[nn.Dropout(0.5)] * drop]
        self.conv_block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


def resnet_layers(  # noqa: PLR0913 (the options of the other project's constructor)
    before: int, after: int, width: int, downsampling: int, blocks: int, norm: str = "instance", drop: bool = False,
    blur_down: bool = False, blur_up: bool = False, padding: str = "reflect", biased: bool = False,
) -> list[nn.Module]:  # fmt: skip
    """Of CycleGAN's, CUT's and pix2pixHD's generators; pix2pixHD's are `biased` with any norm."""
    bias = biased or norm in ("instance", "old")

    def act(c: int) -> list[nn.Module]:
        return [NORMS[norm](c), nn.ReLU(True)]

    layers = [nn.ReflectionPad2d(3), nn.Conv2d(before, width, 7, bias=bias), *act(width)]
    for c in (width * 2**i for i in range(downsampling)):
        conv = nn.Conv2d(c, 2 * c, 3, 1 if blur_down else 2, 1, bias=bias)
        layers += [conv, *act(2 * c), *([Blur(2 * c)] if blur_down else [])]
    layers += [Block(width * 2**downsampling, norm, bias, drop, padding) for _ in range(blocks)]
    for c in (width * 2**i for i in reversed(range(downsampling))):
        if blur_up:
            layers += [BlurUp(2 * c), nn.Conv2d(2 * c, c, 3, 1, 1, bias=bias)]
        else:
            layers.append(nn.ConvTranspose2d(2 * c, c, 3, 2, 1, 1, bias=bias))
        layers += act(c)
    return [*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, after, 7), nn.Tanh()]


class ResNet(nn.Module):
    def __init__(
        self,
        before: int = 3,
        after: int = 3,
        width: int = 4,
        downsampling: int = 2,
        blocks: int = 2,
        **options,
    ) -> None:
        super().__init__()
        self.model = nn.Sequential(
            *resnet_layers(before, after, width, downsampling, blocks, **options)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class Enhancer(nn.Module):
    """pix2pixHD's local enhancer."""

    def __init__(
        self, before: int = 3, after: int = 3, width: int = 4, downsampling: int = 2, blocks: int = 2, fine: int = 3,
        norm: str = "instance",
    ) -> None:  # fmt: skip
        super().__init__()
        options = {"norm": norm, "biased": True}
        self.model = nn.Sequential(
            *resnet_layers(before, after, 2 * width, downsampling, blocks, **options)[:-3]
        )
        layers = resnet_layers(before, after, width, 1, fine, **options)
        self.model1_1, self.model1_2 = nn.Sequential(*layers[:7]), nn.Sequential(*layers[7:])

    def forward(self, x: Tensor) -> Tensor:
        return self.model1_2(self.model1_1(x) + self.model(halved(x)))


class Spatial(nn.Module):
    """SPADE's norm, with the keys of its code."""

    def __init__(self, channels: int, classes: int, hidden: int, norm: str) -> None:
        super().__init__()
        free = nn.BatchNorm2d if norm == "batch" else nn.InstanceNorm2d
        self.param_free_norm = free(channels, affine=False)
        self.mlp_shared = nn.Sequential(nn.Conv2d(classes, hidden, 3, padding=1), nn.ReLU())
        self.mlp_gamma, self.mlp_beta = (
            nn.Conv2d(hidden, channels, 3, padding=1) for _ in range(2)
        )

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        shared = self.mlp_shared(F.interpolate(labels, size=x.shape[2:], mode="nearest"))
        return self.param_free_norm(x) * (1 + self.mlp_gamma(shared)) + self.mlp_beta(shared)


class SpatialBlock(nn.Module):
    def __init__(self, before: int, after: int, classes: int, hidden: int, norm: str) -> None:
        super().__init__()
        middle, spectral = (
            min(before, after),
            nn.utils.spectral_norm,
        )  # the old one, as published files have it
        self.conv_0 = spectral(nn.Conv2d(before, middle, 3, padding=1))
        self.conv_1 = spectral(nn.Conv2d(middle, after, 3, padding=1))
        self.norm_0 = Spatial(before, classes, hidden, norm)
        self.norm_1 = Spatial(middle, classes, hidden, norm)
        if before != after:
            self.conv_s = spectral(nn.Conv2d(before, after, 1, bias=False))
            self.norm_s = Spatial(before, classes, hidden, norm)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        around = self.conv_s(self.norm_s(x, labels)) if hasattr(self, "conv_s") else x
        x = self.conv_0(F.leaky_relu(self.norm_0(x, labels), 0.2))
        return around + self.conv_1(F.leaky_relu(self.norm_1(x, labels), 0.2))


class SPADE(nn.Module):
    """`most` has one doubling more at its end, `more` one in its middle; with styles it begins
    at a map of `head`.
    """

    def __init__(
        self, classes: int = 5, width: int = 4, hidden: int = 128, size: str = "normal", norm: str = "batch",
        head: tuple[int, int] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.size, self.head = size, head
        wide = 16 * width
        self.fc = (
            nn.Linear(256, wide * head[0] * head[1])
            if head
            else nn.Conv2d(classes, wide, 3, padding=1)
        )
        names = ["head_0", "G_middle_0", "G_middle_1", "up_0", "up_1", "up_2", "up_3"] + [
            "up_4"
        ] * (size == "most")
        widths = (
            [16 * width] * 4
            + [8 * width, 4 * width, 2 * width, width]
            + [width // 2] * (size == "most")
        )
        self.order = names
        for name, before, after in zip(names, widths[:-1], widths[1:], strict=True):
            setattr(self, name, SpatialBlock(before, after, classes, hidden, norm))
        self.conv_img = nn.Conv2d(widths[-1], 3, 3, padding=1)

    def forward(self, labels: Tensor, style: Tensor | None = None) -> Tensor:
        downsampling = {"normal": 5, "more": 6, "most": 7}[self.size]
        if style is None:
            x = self.fc(
                F.interpolate(labels, size=[side // 2**downsampling for side in labels.shape[2:]])
            )
        else:
            x = self.fc(style).view(len(style), -1, *self.head)
        for name in self.order:
            if name not in ("head_0", "G_middle_1") or (
                name == "G_middle_1" and self.size != "normal"
            ):
                x = F.interpolate(x, scale_factor=2, mode="nearest")
            x = getattr(self, name)(x, labels)
        return torch.tanh(self.conv_img(F.leaky_relu(x, 2e-1)))


class Encoder(nn.Module):
    """SPADE's, of images to their style's mean and the logarithm of its variance."""

    def __init__(self, channels: int = 3, width: int = 4) -> None:
        super().__init__()
        widths = [channels, *(width * n for n in (1, 2, 4, 8, 8, 8))]
        for i, (a, b) in enumerate(pairwise(widths), 1):
            conv = nn.utils.spectral_norm(nn.Conv2d(a, b, 3, stride=2, padding=1, bias=False))
            setattr(self, f"layer{i}", nn.Sequential(conv, nn.InstanceNorm2d(b)))
        self.fc_mu, self.fc_var = (nn.Linear(8 * width * 4 * 4, 256) for _ in range(2))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if x.shape[2:] != (256, 256):
            x = F.interpolate(x, size=(256, 256), mode="bilinear")
        for i in range(1, 7):
            x = F.leaky_relu(getattr(self, f"layer{i}")(x), 0.2)
        return self.fc_mu(x.flatten(1)), self.fc_var(x.flatten(1))


class PatchGAN(nn.Module):
    """CycleGAN's and pix2pix's discriminator; with `blur`, CUT's."""

    def __init__(
        self,
        channels: int = 3,
        width: int = 4,
        layers: int = 3,
        norm: str = "batch",
        blur: bool = False,
    ) -> None:
        super().__init__()
        bias, made, before = norm in ("instance", "old"), list[nn.Module](), channels
        for i in range(layers + 1):
            after, halves = width * min(2**i, 8), i < layers
            conv = nn.Conv2d(
                before, after, 4, 2 if halves and not blur else 1, 1, bias=bias or i == 0
            )
            made += [conv, *([NORMS[norm](after)] if i else []), nn.LeakyReLU(0.2, True)]
            made += [Blur(after)] if halves and blur else []
            before = after
        self.model = nn.Sequential(*made, nn.Conv2d(before, 1, 4, 1, 1))

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.model(x)]


class Pixel(nn.Module):
    def __init__(self, channels: int = 3, width: int = 4, norm: str = "batch") -> None:
        super().__init__()
        bias = norm in ("instance", "old")
        second = (
            nn.Conv2d(width, 2 * width, 1, bias=bias),
            NORMS[norm](2 * width),
            nn.LeakyReLU(0.2, True),
        )
        last = nn.Conv2d(2 * width, 1, 1, bias=bias)
        self.net = nn.Sequential(
            nn.Conv2d(channels, width, 1), nn.LeakyReLU(0.2, True), *second, last
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.net(x)]


def halved(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)


class HDScales(nn.Module):
    """pix2pixHD's discriminators, of which the last sees the full resolution; `whole` is without
    --ganFeat.
    """

    def __init__(
        self, channels: int = 6, width: int = 4, layers: int = 3, scales: int = 2, norm: str = "instance",
        whole: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.inner = []
        for scale in range(scales):
            parts, before = [], channels
            for i in range(layers + 1):
                after = width * min(2**i, 8)
                conv = nn.Conv2d(before, after, 4, 2 if i < layers else 1, 2)
                parts.append([conv, *([NORMS[norm](after)] if i else []), nn.LeakyReLU(0.2, True)])
                before = after
            parts.append([nn.Conv2d(before, 1, 4, 1, 2)])
            names = [f"scale{scale}_layer{i}" for i in range(len(parts))]
            if whole:
                parts, names = [list(chain(*parts))], [f"layer{scale}"]
            for name, part in zip(names, parts, strict=True):
                setattr(self, name, nn.Sequential(*part))
            self.inner.append(names)

    def forward(self, x: Tensor) -> list[Tensor]:
        logits = []
        for names in reversed(self.inner):
            y = x
            for name in names:
                y = getattr(self, name)(y)
            logits.append(y)
            x = halved(x)
        return logits


class SPADEScales(nn.Module):
    """SPADE's discriminators, of which the first sees the full resolution; `layers` as its
    option --n_layers_D.
    """

    def __init__(
        self,
        channels: int = 8,
        width: int = 4,
        layers: int = 4,
        scales: int = 2,
        norm: str = "instance",
    ) -> None:
        super().__init__()
        for scale in range(scales):
            one, before = nn.Module(), width
            one.model0 = nn.Sequential(nn.Conv2d(channels, width, 4, 2, 2), nn.LeakyReLU(0.2))
            for i in range(1, layers):
                after = min(2 * before, 8 * width)
                conv = nn.Conv2d(before, after, 4, 1 if i == layers - 1 else 2, 2, bias=False)
                normed = nn.Sequential(nn.utils.spectral_norm(conv), NORMS[norm](after))
                setattr(one, f"model{i}", nn.Sequential(normed, nn.LeakyReLU(0.2)))
                before = after
            setattr(one, f"model{layers}", nn.Sequential(nn.Conv2d(before, 1, 4, 1, 2)))
            setattr(self, f"discriminator_{scale}", one)

    def forward(self, x: Tensor) -> list[Tensor]:
        logits = []
        for one in self.children():
            y = x
            for layer in one.children():
                y = layer(y)
            logits.append(y)
            x = halved(x)
        return logits


class Projection(nn.Module):
    """CUT's F: two linear layers for each of the features."""

    def __init__(self, channels: list[int], width: int = 256) -> None:
        super().__init__()
        for i, c in enumerate(channels):
            setattr(
                self,
                f"mlp_{i}",
                nn.Sequential(nn.Linear(c, width), nn.ReLU(), nn.Linear(width, width)),
            )


def drawn(network: nn.Module) -> nn.Module:
    """With weights and statistics of a trained one's size, all different."""
    random = torch.Generator().manual_seed(0)
    for name, tensor in network.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2, generator=random)
        elif tensor.is_floating_point() and not name.endswith("filt"):
            tensor.normal_(0, 0.1, generator=random)
    for m in network.modules():
        if hasattr(m, "weight_u"):  # the weight's first singular vectors, as training leaves them
            u, _, v = torch.linalg.svd(m.weight_orig.detach().flatten(1))
            m.weight_u.copy_(u[:, 0])
            m.weight_v.copy_(v[0])
    return network.eval()
