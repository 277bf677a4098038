import copy

import pytest
import torch
from small_networks import NETWORKS, flat, images, small, takes

from gantrain.networks.spectral import Spectral, SpectralConv2d, SpectralConvTranspose2d

LAYERS = [
    lambda: SpectralConv2d(6, 10, 3, padding=1),
    lambda: SpectralConvTranspose2d(6, 10, 4, stride=2, padding=1),
]


def largest(layer, weight):
    """The largest singular value of a weight seen as (out, everything else)."""
    out = 1 if isinstance(layer, torch.nn.ConvTranspose2d) else 0
    return torch.linalg.matrix_norm(weight.movedim(out, 0).flatten(1), 2).item()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("build", LAYERS)
def test_advance_normalises(build, dtype):
    torch.manual_seed(0)
    layer = build().to(dtype)
    before = abs(largest(layer, layer.normalised()) - 1)
    for _ in range(200):
        layer.advance()
    assert layer.normalised().dtype == dtype
    assert largest(layer, layer.normalised()) == pytest.approx(1, abs=1e-5)
    assert before > 0.01  # a random start is far away


def test_advance_is_one_power_iteration():
    torch.manual_seed(0)
    layer = SpectralConv2d(3, 5, 3).double()
    matrix = layer.weight.detach().flatten(1)
    v = matrix.T @ layer.u
    v = v / v.norm()
    u = matrix @ v
    layer.advance()
    torch.testing.assert_close(layer.v, v)
    torch.testing.assert_close(layer.u, u / u.norm())


@pytest.mark.parametrize("name", [n for n in NETWORKS if takes(n, "spectral_norm")])
def test_networks_start_normalised_and_forward_leaves_buffers(name):
    network = small(name, spectral_norm=True, norm="none")
    layers = [m for m in network.modules() if isinstance(m, Spectral)]
    assert layers
    for layer in layers:
        assert largest(layer, layer.normalised()) == pytest.approx(1, abs=0.1)
    before = copy.deepcopy(network.state_dict())
    assert any(key.endswith(".u") for key in before)
    sum(t.mean() for t in flat(network(images()))).backward()
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key]), key
    # The trainer finds the layers by their method.
    found = [m for m in network.modules() if hasattr(m, "advance")]
    assert found == layers
    for module in found:
        module.advance()
    assert any(not torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_gradient_takes_sigma_into_account():
    torch.manual_seed(0)
    layer = SpectralConv2d(2, 3, 1, bias=False).double()
    layer.advance(500)
    x = torch.randn(1, 2, 4, 4, dtype=torch.float64)
    target = torch.randn(1, 3, 4, 4, dtype=torch.float64)
    (layer(x) * target).sum().backward()
    weight = layer.weight.detach().clone().requires_grad_()
    normalised = weight / torch.linalg.matrix_norm(weight.flatten(1), 2)
    (torch.nn.functional.conv2d(x, normalised) * target).sum().backward()
    torch.testing.assert_close(layer.weight.grad, weight.grad)


def test_equals_plain_convolution_with_normalised_weight():
    torch.manual_seed(0)
    for build in LAYERS:
        layer = build().double()
        plain = type(layer).__mro__[2](6, 10, layer.kernel_size, layer.stride, layer.padding)
        plain.double().load_state_dict({"weight": layer.normalised(), "bias": layer.bias})
        x = torch.randn(2, 6, 8, 8, dtype=torch.float64)
        torch.testing.assert_close(layer(x), plain(x))


def test_sigma_in_full_precision_under_autocast():
    torch.manual_seed(0)
    layer = SpectralConv2d(6, 10, 3)
    expected = layer.normalised()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer.normalised(), expected)
        layer_copy = copy.deepcopy(layer)
        layer_copy.advance()
    layer.advance()
    assert torch.equal(layer.u, layer_copy.u)


def test_compiled_forward_sees_advanced_vectors():
    torch._dynamo.reset()
    eager = small("patchgan", spectral_norm=True).double().eval()
    compiled = copy.deepcopy(eager)
    compiled.compile(backend="aot_eager")
    x = images(dtype=torch.float64)
    outputs = []
    for _ in range(2):
        for a, b in zip(flat(eager(x)), flat(compiled(x)), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
        outputs.append(flat(compiled(x))[-1].detach())
        for network in (eager, compiled):
            for layer in network.modules():
                if isinstance(layer, Spectral):
                    layer.advance()
    assert not torch.equal(*outputs)
