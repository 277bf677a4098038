"""CUT's networks: blurs, features by name, the projection."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_networks import images
from torch import nn

from gantrain.networks import PatchGAN, Projection, ResNet
from gantrain.networks.blocks import BlurPool

META = torch.device("meta")
LAYERS = ("image", "down0", "down1", "block0", "block4")
CHANNELS = [3, 128, 256, 256, 256]
SIDES = [262, 256, 128, 64, 64]  # at 256 pixels, in the paper's code
ANTIALIASED = {"antialias": True, "upsample": "bilinear"}


@pytest.mark.parametrize("size", [(8, 6), (7, 9)])
def test_blur_pool(size):
    x = images(*size).double()
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)), mode="reflect")
    rows = (padded[..., :-2, :] + 2 * padded[..., 1:-1, :] + padded[..., 2:, :]) / 4
    blurred = (rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:]) / 4
    np.testing.assert_allclose(BlurPool().double()(x).numpy(), blurred[..., ::2, ::2], atol=1e-12)


def test_bilinear_doubling_is_the_blur_by_1331():
    x = images(7, 9).double()
    line = torch.tensor([1, 3, 3, 1], dtype=torch.float64) / 4
    kernel = torch.outer(line, line).expand(3, 1, 4, 4)
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    blurred = F.conv_transpose2d(padded, kernel, stride=2, padding=3, groups=3)
    ours = ResNet(3, 3, width=4, blocks=1, **ANTIALIASED).ups[0][0][0]
    assert isinstance(ours, nn.Upsample)
    torch.testing.assert_close(ours(x), blurred)


def test_blurs_leave_nothing_in_checkpoints():
    generators = ResNet(3, 3, width=4, upsample="bilinear"), ResNet(3, 3, width=4, **ANTIALIASED)
    for plain, blurred in (
        generators,
        (PatchGAN(3, width=4), PatchGAN(3, width=4, antialias=True)),
    ):
        assert any(isinstance(m, BlurPool) for m in blurred.modules())
        assert plain.state_dict().keys() == blurred.state_dict().keys()


@pytest.mark.parametrize("options", [{}, ANTIALIASED])
def test_features_are_the_paths_of_the_forward_pass(options):
    network = ResNet(3, 3, width=4, blocks=5, norm="none", **options).double()
    seen, x = {}, images(16, 24).double()
    for name, module in {f"down{i}": d[0] for i, d in enumerate(network.downs)}.items():
        module.register_forward_hook(
            lambda _, __, out, name=name: seen.setdefault(name, out.clone())
        )
    for i, block in enumerate(network.blocks):
        block.register_forward_hook(
            lambda _, __, out, name=f"block{i}": seen.setdefault(name, out.clone())
        )
    network(x)
    found = network.features(x, LAYERS)
    assert [f.shape[1] for f in found] == [network.feature_channels[name] for name in LAYERS]
    torch.testing.assert_close(found[0], F.pad(x, (3, 3, 3, 3), mode="reflect"))
    for name, feature in zip(LAYERS[1:], found[1:], strict=True):
        assert torch.equal(feature, seen[name]), name


def test_features_run_no_further_than_asked():
    network = ResNet(3, 3, width=4, blocks=3)
    network.blocks[1].register_forward_hook(lambda *_: pytest.fail("one block too many"))
    assert len(network.features(images(), ("block0", "image"))) == 2
    with pytest.raises(KeyError, match="block3"):
        ResNet(3, 3, width=4, blocks=3).features(images(), ("block3",))


def test_the_papers_features():
    with META:
        network = ResNet(3, 3, **ANTIALIASED)
        found = network.features(torch.empty(1, 3, 256, 256), LAYERS)
    assert [tuple(f.shape[1:]) for f in found] == [
        (c, s, s) for c, s in zip(CHANNELS, SIDES, strict=True)
    ]
    assert [network.feature_channels[name] for name in LAYERS] == CHANNELS


def test_the_papers_projection():
    with META:
        assert sum(p.numel() for p in Projection(CHANNELS).parameters()) == 560_384


def test_projection_against_numpy():
    torch.manual_seed(0)
    network = Projection([3, 4], width=8, init="default").double()
    rng = np.random.default_rng(0)
    features = [rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, 4, 3, 2))]
    places = [np.stack([rng.permutation(f[0, 0].size)[:5] for _ in f]) for f in features]
    ours = network([torch.tensor(f) for f in features], [torch.tensor(p) for p in places])
    for layer, feature, place, vectors in zip(network.layers, features, places, ours, strict=True):
        a, b, c, d = (p.detach().numpy() for p in layer.parameters())
        for n in range(2):
            for i, at in enumerate(place[n]):
                x = feature[n, :, at // feature.shape[3], at % feature.shape[3]]
                x = c @ np.maximum(a @ x + b, 0) + d
                np.testing.assert_allclose(
                    vectors[n, i].detach().numpy(), x / (np.linalg.norm(x) + 1e-7), atol=1e-12
                )


def test_projection_in_bfloat16_gives_float32():
    with torch.autocast("cpu", torch.bfloat16):
        (vectors,) = Projection([3], width=8)([images()], [torch.arange(6).expand(2, 6)])
    assert vectors.dtype == torch.float32
    torch.testing.assert_close(vectors.norm(dim=2), torch.ones(2, 6), rtol=0, atol=1e-2)


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (16, 16), (31, 33), (50, 97)])
def test_any_size(size):
    assert ResNet(3, 2, width=4, blocks=1, **ANTIALIASED)(images(*size)).shape == (2, 2, *size)
