"""The perceptual distance against the same network written out, and its files."""

import numpy as np
import pytest
import torch
from conftest import SHARED
from safetensors.torch import save_file
from torch import nn
from torch.nn.functional import conv2d, max_pool2d, pad

from gantrain.losses import PERCEPTUAL
from gantrain.losses.distances import kl
from gantrain.losses.perceptual import VGG19

assert PERCEPTUAL

# torchvision's layers: widths, M a pool.
FEATURES = (4, 4, "M", 8, 8, "M", 8, 8, 8, 8, "M", 8, 8, 8, 8, "M", 8)
WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1)
OURS = SHARED / "weights" / "vgg19_normalised_relu3_1.safetensors"


def plain() -> nn.Sequential:
    """torchvision's vgg19.features as far as relu5_1, narrow."""
    torch.manual_seed(0)
    layers, before = [], 3
    for width in FEATURES:
        if width == "M":
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
            before = width
    return nn.Sequential(*layers)


@pytest.fixture(params=["pth", "safetensors"])
def file(request, tmp_path):
    path = tmp_path / f"vgg.{request.param}"
    state = {f"features.{key}": value for key, value in plain().state_dict().items()}
    state["classifier.0.weight"] = torch.zeros(1)  # of no use here
    torch.save(state, path) if request.param == "pth" else save_file(state, path)
    return str(path)


def loaded(**options):
    vgg = VGG19(3, **options)
    vgg.load()
    return vgg.double()


def pictures():
    torch.manual_seed(1)
    return torch.rand(2, 2, 3, 32, 48, dtype=torch.float64) * 2 - 1


@pytest.mark.parametrize("normalised", [False, True])
def test_formula(file, normalised):
    fake, target = pictures()
    fake.requires_grad_()
    network, colours = plain().double(), (lambda x: x)
    if normalised:
        mean, deviation = (
            torch.tensor(v).view(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        )
        colours = lambda x: ((x + 1) / 2 - mean) / deviation  # noqa: E731
    expected, a, b = 0.0, colours(fake), colours(target)
    for i, layer in enumerate(network):
        a, b = layer(a), layer(b)
        if i in (1, 6, 11, 20, 29):  # relu1_1 .. relu5_1
            expected += (
                WEIGHTS[(1, 6, 11, 20, 29).index(i)] * np.abs((a - b).detach().numpy()).mean()
            )
    vgg = loaded(weights=file, normalised=normalised)
    ours = vgg(fake, target)
    assert ours.item() == pytest.approx(expected, rel=1e-6)
    ours.backward()
    assert fake.grad.abs().sum() > 0
    assert not any(p.requires_grad for p in vgg.parameters())
    assert vgg(target, target) == 0


def coloured(state, x):
    """The network of the other kind of file, as ../shared/README.md has it."""
    x, features = conv2d((x + 1) / 2, state["0.weight"], state["0.bias"]), []
    for i, name in enumerate((2, 5, 9, 12, 16)):
        x = max_pool2d(x, 2) if i in (2, 4) else x
        x = conv2d(
            pad(x, (1, 1, 1, 1), mode="reflect"), state[f"{name}.weight"], state[f"{name}.bias"]
        ).relu()
        features.append(x)
    return features[0], features[2], features[4]


def assert_first_three(path, state):
    fake, target = pictures()
    state = {key: value.double() for key, value in state.items()}
    pairs = zip(WEIGHTS, coloured(state, fake), coloured(state, target), strict=False)
    expected = sum(w * np.abs((a - b).numpy()).mean() for w, a, b in pairs)
    assert loaded(weights=str(path))(fake, target).item() == pytest.approx(expected, rel=1e-6)
    # Colours are the file's business.
    assert loaded(weights=str(path), normalised=True)(fake, target).item() == pytest.approx(
        expected, rel=1e-6
    )


def test_a_file_with_a_colour_layer_gives_three_distances(tmp_path):
    torch.manual_seed(0)
    shapes = {0: (3, 3, 1), 2: (4, 3, 3), 5: (4, 4, 3), 9: (8, 4, 3), 12: (8, 8, 3), 16: (8, 8, 3)}
    state = {f"{n}.weight": torch.randn(a, b, k, k) / (b * k) for n, (a, b, k) in shapes.items()}
    state |= {f"{n}.bias": torch.randn(a) for n, (a, _, _) in shapes.items()}
    save_file(state, tmp_path / "x.safetensors")
    assert_first_three(tmp_path / "x.safetensors", state)


@pytest.mark.skipif(not OURS.is_file(), reason="the small VGG-19 is not here (../shared/weights)")
def test_the_shared_file():
    from safetensors.torch import load_file

    assert_first_three(OURS, load_file(OURS))


def test_grey_is_shown_as_colour(file):
    grey = torch.rand(2, 2, 1, 32, 32, dtype=torch.float64)
    vgg, same = VGG19(1, weights=file), loaded(weights=file)
    vgg.load()
    assert vgg.double()(*grey) == same(*grey.expand(-1, -1, 3, -1, -1))


def test_other_files_are_refused(tmp_path):
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "other.pth")
    torch.save({"a": {1, 2}, "b": VGG19}, tmp_path / "code.pth")
    (tmp_path / "text.safetensors").write_text("no")
    cases = {
        "other.pth": "no VGG-19",
        "code.pth": "can't be read",
        "text.safetensors": "can't",
        "none.pth": "does not exist",
    }
    for name, why in cases.items():
        with pytest.raises(ValueError, match=why) as e:
            VGG19(3, weights=str(tmp_path / name)).load()
        assert str(e.value).startswith(
            f"method.losses.perceptual.network.weights: {tmp_path / name} "
        )
        assert "\n" not in str(e.value)
    with pytest.raises(ValueError, match="the target has 2"):
        VGG19(2)


def test_what_cannot_be_fetched_is_named(monkeypatch):
    def offline(*args, **options):
        raise OSError("no\nnetwork")

    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    monkeypatch.setattr("torch.hub.get_dir", lambda: "nowhere")
    with pytest.raises(
        ValueError,
        match=r"^method\.losses\.perceptual\.network\.weights: https.*vgg19-dcbb9e9d.pth can't .*\(no network\)",
    ):
        VGG19(3).load()


def test_divergence_of_styles():
    mean, log_variance = np.random.default_rng(0).normal(size=(2, 3, 5))
    expected = (
        -0.5 * (1 + log_variance - mean**2 - np.exp(log_variance)).sum() / 3
    )  # a mean over the samples
    assert kl(torch.tensor(mean), torch.tensor(log_variance)).item() == pytest.approx(
        expected, rel=1e-9
    )
