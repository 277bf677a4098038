"""Parameters, sizes and multiply-adds against the papers' and peers' networks."""

import pytest
import torch
from small_networks import DISCRIMINATORS, GENERATORS, images, small
from torch.utils.flop_counter import FlopCounterMode

from gantrain.networks import (
    CoarseToFine,
    EncoderDecoder,
    MultiscalePatchGAN,
    PatchGAN,
    PixelDiscriminator,
    ResNet,
    SPADEGenerator,
    UNet,
    WholeImageDiscriminator,
)
from gantrain.networks.spade import StyleEncoder

META = torch.device("meta")


def on_meta(build, **options):
    with META:
        return build(**options)


PARAMETERS = [
    (54_413_955, lambda: UNet(3, 3)),
    (54_409_603, lambda: UNet(3, 3, norm="instance")),
    (41_828_995, lambda: UNet(3, 3, levels=7)),
    (11_378_179, lambda: ResNet(3, 3)),
    (11_378_179, lambda: ResNet(3, 3, antialias=True, upsample="bilinear")),  # CUT's
    (7_837_699, lambda: ResNet(3, 3, blocks=6)),
    (5_513_856, lambda: EncoderDecoder(3, 3)),
    (2_768_640, lambda: WholeImageDiscriminator(6)),
    (2_768_705, lambda: PatchGAN(6)),
    (2_764_737, lambda: PatchGAN(3, norm="instance")),
    (2_764_737, lambda: PatchGAN(3, norm="instance", antialias=True)),  # CUT's
    (9_024, lambda: PixelDiscriminator(6)),
    (5_603_202, lambda: MultiscalePatchGAN(39)),
    (8_404_803, lambda: MultiscalePatchGAN(39, scales=3)),
    (5_601_410, lambda: MultiscalePatchGAN(39, spectral_norm=True)),  # SPADE's
    (182_546_755, lambda: CoarseToFine(36, 3)),
    (182_857_059, lambda: CoarseToFine(36, 3, enhancer=True)),
    (93_048_003, lambda: SPADEGenerator(36, 3, upsampling="more")),
    (97_480_899, lambda: SPADEGenerator(184, 3)),
    (96_492_483, lambda: SPADEGenerator(151, 3)),
    (111_942_595, lambda: SPADEGenerator(151, 3, 256)),
    (10_463_424, lambda: StyleEncoder(3)),
]


@pytest.mark.parametrize(("count", "build"), PARAMETERS)
def test_parameters(count, build):
    assert sum(p.numel() for p in on_meta(build).parameters()) == count


# Transposed convolutions are counted by their input, as reference/metrics.md 3.3 does.
GMACS = [
    (6.05, lambda: UNet(3, 3), (3, 256, 256)),
    (1.51, lambda: UNet(3, 3, levels=7), (3, 128, 128)),
    (49.55, lambda: ResNet(3, 3), (3, 256, 256)),
    (35.06, lambda: ResNet(3, 3, blocks=6), (3, 256, 256)),
    (8.76, lambda: ResNet(3, 3, blocks=6), (3, 128, 128)),
    (3.20, lambda: PatchGAN(6), (6, 256, 256)),
    (3.15, lambda: PatchGAN(3, norm="instance"), (3, 256, 256)),
    (0.57, lambda: PixelDiscriminator(6), (6, 256, 256)),
    (40.35, lambda: MultiscalePatchGAN(39), (39, 512, 1024)),
    (166.6, lambda: MultiscalePatchGAN(39, scales=3), (39, 1024, 2048)),
]


@pytest.mark.parametrize(("gmacs", "build", "shape"), GMACS)
def test_multiply_adds(gmacs, build, shape):
    network = on_meta(build).eval()
    with FlopCounterMode(display=False) as counter:
        network(torch.empty(1, *shape, device=META))
    assert counter.get_total_flops() / 2e9 == pytest.approx(
        gmacs, abs=0.051 if gmacs > 99 else 0.0051
    )


def logits_sizes(build, channels, height, width):
    outputs = on_meta(build)(torch.empty(2, channels, height, width, device=META))
    return [tuple(scale[-1].shape[-2:]) for scale in outputs]


def test_discriminator_sizes():
    assert logits_sizes(lambda: PatchGAN(6), 6, 256, 256) == [(30, 30)]
    assert logits_sizes(lambda: PatchGAN(6), 6, 24, 24) == [(1, 1)]
    assert logits_sizes(lambda: PatchGAN(3, antialias=True), 3, 256, 256) == [(30, 30)]
    assert logits_sizes(lambda: PatchGAN(3, antialias=True), 3, 24, 24) == [(1, 1)]
    assert logits_sizes(lambda: PixelDiscriminator(6), 6, 17, 9) == [(17, 9)]
    assert logits_sizes(lambda: MultiscalePatchGAN(3), 3, 256, 256) == [(35, 35), (19, 19)]
    assert logits_sizes(lambda: WholeImageDiscriminator(6), 6, 64, 64) == [(1, 1)]
    assert logits_sizes(lambda: WholeImageDiscriminator(6), 6, 128, 64) == [(5, 1)]


@pytest.mark.parametrize(("layers", "field"), [(1, 16), (2, 34), (3, 70), (4, 142), (5, 286)])
def test_receptive_field(layers, field):
    network = PatchGAN(1, width=1, layers=layers, norm="none").double()
    torch.manual_seed(0)
    for p in network.parameters():
        torch.nn.init.uniform_(p, 0.1, 1)  # so that no path is cut or cancelled
    side = 2 * field + 64
    x = torch.ones(1, 1, side, side, dtype=torch.float64, requires_grad=True)
    logits = network(x)[0][-1]
    middle = logits.shape[-1] // 2
    (gradient,) = torch.autograd.grad(logits[0, 0, middle, middle], x)
    seen = gradient[0, 0].nonzero()
    assert (seen.max(0).values - seen.min(0).values + 1).tolist() == [field, field]


def test_multiscale_pyramid_leaves_padding_out():
    network = MultiscalePatchGAN(3, width=4, layers=1, scales=2)
    assert len(network.scales) == 2
    ones = torch.ones(1, 3, 33, 33)
    full, half = network(ones)
    network.scales[0] = network.scales[1]
    # The mean of ones is one at the border too, so the half-size scale sees ones again.
    again = network(torch.ones(1, 3, 17, 17))[0]
    for a, b in zip(half, again, strict=True):
        torch.testing.assert_close(a, b)
    assert full[-1].shape[-1] > half[-1].shape[-1]


def test_outputs_are_features_then_logits():
    outputs = PatchGAN(3, width=4)(images(64, 64))
    assert [f.shape[1] for f in outputs[0]] == [4, 8, 16, 32, 1]
    outputs = MultiscalePatchGAN(3, width=4)(images(64, 64))
    assert [[f.shape[1] for f in scale] for scale in outputs] == [[4, 8, 16, 32, 1]] * 2


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (16, 16), (31, 33), (64, 32), (50, 97)])
@pytest.mark.parametrize("name", GENERATORS)
def test_any_size(name, size):
    out = small(name)(images(*size))
    assert out.shape == (2, 2, *size)
    assert out.isfinite().all()
    assert out.abs().max() <= 1


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("name", GENERATORS)
def test_single_small_image(name, norm):
    # No normalised map is a single pixel, which training would refuse.
    assert small(name, norm=norm)(images(1, 2, batch=1)).isfinite().all()


@pytest.mark.parametrize("name", GENERATORS)
def test_fitting_size_is_not_padded(name):
    network = small(name).eval()
    m = network.multiple
    x = images(2 * m, 3 * m)
    assert torch.equal(network(x), network._translate(x))


@pytest.mark.parametrize("name", GENERATORS)
def test_padding_is_symmetric_reflection(name):
    network = small(name).eval()
    m = 2 * network.multiple
    x = images(m - 2, m - 4)
    padded = torch.nn.functional.pad(x, (2, 2, 1, 1), mode="reflect")
    torch.testing.assert_close(network(x), network(padded)[..., 1:-1, 2:-2])


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("name", [*(n for n in DISCRIMINATORS if n != "projected"), "antialiased"])
def test_minimum_size(name, norm):
    network = (
        small("patchgan", norm=norm, antialias=True)
        if name == "antialiased"
        else small(name, norm=norm)
    )
    smallest = network.minimum_size
    outputs = network(images(smallest, smallest, batch=1))
    assert all(f.isfinite().all() for scale in outputs for f in scale)
    for size in [(smallest - 1, smallest + 9), (smallest + 9, smallest - 1)]:
        with pytest.raises(ValueError, match=f"{size[0]}x{size[1]}.*{smallest}x{smallest}") as e:
            network(torch.zeros(2, 3, *size))
        assert "\n" not in str(e.value)


def test_dropout_is_in_the_innermost_levels():
    def places(**options):
        ups = on_meta(lambda: UNet(3, 3, **options)).ups
        return [any(isinstance(m, torch.nn.Dropout) for m in up) for up in ups]

    assert places() == [True] * 3 + [False] * 5
    assert places(levels=7) == [True] * 2 + [False] * 5
    assert not any(places(levels=4))
    assert not any(places(dropout=0.0))


@pytest.mark.parametrize(("upsampling", "multiple"), [("normal", 32), ("more", 64), ("most", 128)])
def test_spade_doubles_up_to_the_size(upsampling, multiple):
    network = on_meta(SPADEGenerator, in_channels=5, out_channels=3, upsampling=upsampling)
    assert network.multiple == multiple
    labels = torch.empty(1, 5, 2 * multiple, 3 * multiple, device=META)
    assert network._translate(labels).shape == (1, 3, 2 * multiple, 3 * multiple)


def test_spade_takes_styles_at_any_size():
    torch.manual_seed(0)
    network = SPADEGenerator(3, 2, 6, width=2, hidden=4, head=(2, 3), norm="instance")
    labels, style = images(64, 96), torch.randn(2, 6)
    out = network(labels, style)
    assert not torch.allclose(out, network(labels, style.flip(0)))
    assert torch.equal(network(labels), network(labels, torch.zeros(2, 6)))
    assert network(images(50, 200), style).shape == (2, 2, 50, 200)


def test_spade_modulates_by_the_nearest_labels():
    """The norm's map, times one and a map of the labels, plus another, as in the paper's
    equation 1.
    """
    torch.manual_seed(0)
    block = SPADEGenerator(3, 2, width=2, hidden=4, norm="instance").blocks[3].double()
    labels = (
        torch.nn.functional.one_hot(torch.randint(3, (2, 8, 8)), 3).permute(0, 3, 1, 2).double()
    )
    x = torch.randn(2, 32, 4, 4, dtype=torch.float64)
    norm = block.norms[0]
    seen = torch.relu(norm.shared[0](labels[..., ::2, ::2]))
    mean, std = x.mean((2, 3), keepdim=True), x.std((2, 3), keepdim=True, correction=0)
    expected = (x - mean) / (std**2 + 1e-5).sqrt() * (1 + norm.scale(seen)) + norm.shift(seen)
    torch.testing.assert_close(norm(x, labels[..., ::2, ::2]), expected)
    y = torch.nn.functional.leaky_relu(expected, 0.2)
    y = block.convs[1](
        torch.nn.functional.leaky_relu(
            block.norms[1](block.convs[0](y), labels[..., ::2, ::2]), 0.2
        )
    )
    norm, conv = block.shortcut
    torch.testing.assert_close(block(x, labels), conv(norm(x, labels[..., ::2, ::2])) + y)


def test_style_encoder_sees_256_pixels():
    torch.manual_seed(0)
    encoder = StyleEncoder(3, 5, width=2)
    mean, log_variance = encoder(images(33, 70))
    assert mean.shape == log_variance.shape == (2, 5)
    resized = torch.nn.functional.interpolate(images(33, 70), (256, 256), mode="bilinear")
    assert torch.equal(encoder(resized)[0], mean)


def test_the_enhancer_adds_to_the_global_generator():
    """Its coarse layers see the average of 3x3 pixels, and their features are added to the fine
    ones.
    """
    torch.manual_seed(0)
    options = {"width": 4, "downsampling": 1, "blocks": 1}
    network = CoarseToFine(3, 2, enhancer=True, fine_blocks=1, **options).double()
    x = images(16, 24, dtype=torch.float64)
    half = torch.nn.functional.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
    fine = network.before(x) + network.coarse(half)
    torch.testing.assert_close(network(x), torch.tanh(network.last(network.after(fine))))
    assert network.multiple == 4
    assert CoarseToFine(3, 2, **options).multiple == 2
