"""Networks whose features describe images: Inception, any of timm or torchvision, by name."""

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from gantrain.metrics import weightfree

_INCEPTION = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
)
_INCEPTION_SHA256 = "6726825d"  # how the digest of the file begins; the numbers of papers are made with it
_SIZE = 224  # of the images that timm's and torchvision's networks were trained on
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_ALIASES = {"squeezenet": "torchvision/squeezenet1_1"}
_RANDOM = tuple(f"random{seed}" for seed in range(10))
OWN = ("inception", "inception_logits", *_RANDOM, "patches", "radial_spectrum", "histogram", "thumbnails")


class Extractor(Protocol):
    """uint8 images, (N, 3, H, W), to float32 features, (N, ...).

    digest: of the weights, empty where there are none. resize: what it does to the images' size.
    """

    name: str
    digest: str
    resize: str

    def __call__(self, images: Tensor) -> Tensor: ...


def known(name: str) -> bool:
    """Whether `make` would find such a network; downloads nothing."""
    if name in OWN or name in _ALIASES:
        return True
    source, _, model = name.rpartition("/")
    if source == "torchvision":
        import torchvision

        return model in torchvision.models.list_models(torchvision.models)
    import timm

    return not source and timm.is_model(model)


def make(name: str, weights: Mapping[str, str], device: torch.device, total: int = 0) -> Extractor:
    """The extractor of that name; its weights from a file, or by its library's ordinary route.

    weights: files by extractor, .safetensors or .pth. total: images in the set. Raises ValueError,
    naming the file, where weights can't be had.
    """
    path = weights.get(name) or (weights.get("inception") if name == "inception_logits" else None)
    simple: dict[str, Callable[[], Extractor]] = {
        "patches": lambda: weightfree.Patches(total),
        "radial_spectrum": weightfree.RadialSpectrum,
        "histogram": weightfree.Histogram,
        "thumbnails": weightfree.Thumbnails,
    }
    if name in simple:
        return simple[name]()
    if name in _RANDOM:
        return weightfree.RandomNetwork(_RANDOM.index(name)).to(device).eval()
    with torch.random.fork_rng(devices=[]):  # timm draws what it then overwrites; a run's numbers stay
        if name.startswith("inception"):
            return Inception(name, path, device)
        return Backbone(name, path).to(device).eval()


def digest_of(path: str | Path) -> str:
    """SHA-256 of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_weights(path: str | Path) -> dict[str, Tensor]:
    """A state_dict, of which nothing is unpickled but tensors. Raises ValueError."""
    try:
        content = load_file(path) if Path(path).suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, EOFError, ValueError, KeyError) as e:
        raise ValueError(f"evaluate.weights: {path}: {' '.join(str(e).split())}; give a state_dict") from None
    except Exception as e:  # torch.load's refusal to unpickle
        raise ValueError(f"evaluate.weights: {path}: is no state_dict of tensors ({type(e).__name__})") from None
    if not isinstance(content, dict):
        raise ValueError(f"evaluate.weights: {path}: is no state_dict of tensors; give one")
    return content


def fetch(what: str, work: Callable[[], Any], name: str) -> Any:
    """Weights by a library's own route."""
    try:
        return work()
    except Exception as e:  # every library and its transport raise their own
        reason = " ".join(str(e).split())[:200]
        raise ValueError(
            f"evaluate.metrics: the weights of {name} could not be fetched ({reason}); "
            f"get {what} elsewhere and give evaluate.weights={{{name}: FILE}}"
        ) from None


class Inception:
    """torch-fidelity's port of the network of FID's and IS's papers; 2048 features, or 1008 logits.

    Only with the published weights may a distance be called FID: else `is_published` is false.
    """

    resize = "bilinear 299x299, TensorFlow 1's"

    def __init__(self, name: str, path: str | None, device: torch.device) -> None:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        file = path or fetch(_INCEPTION, _inception_file, "inception")
        state = load_weights(file)
        self.name, self.digest = name, digest_of(file)[:16]
        self.is_published = self.digest.startswith(_INCEPTION_SHA256)
        layer = "logits_unbiased" if name == "inception_logits" else "2048"
        with tempfile.NamedTemporaryFile(suffix=".pth") as safe:  # it unpickles whatever it is given
            torch.save(state, safe.name)
            try:
                network = FeatureExtractorInceptionV3("inception-v3-compat", [layer], safe.name)
            except RuntimeError as e:
                reason = " ".join(str(e).split())[:200]
                raise ValueError(f"evaluate.weights: {file} is not torch-fidelity's Inception ({reason})") from None
        self._network = network.to(device).eval()

    def __call__(self, images: Tensor) -> Tensor:
        (features,) = self._network(images)
        return features.float()


def _inception_file() -> Path:
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    file = folder / _INCEPTION.rpartition("/")[2]
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(_INCEPTION, str(file), hash_prefix=_INCEPTION_SHA256)
    return file


class Backbone(nn.Module):
    """A network of timm or torchvision without its classifier, its last features averaged: (N, d).

    Images are resized to 224x224 by Pillow's bicubic filter and normalised as for ImageNet.
    """

    resize = f"Pillow bicubic {_SIZE}x{_SIZE}"

    def __init__(self, name: str, path: str | None) -> None:
        super().__init__()
        self.name = name
        source, _, model = _ALIASES.get(name, name).rpartition("/")
        build = _torchvision if source else _timm
        network: nn.Module = build(model) if path else fetch("its file", lambda: build(model, True), name)
        if path:
            try:
                network.load_state_dict(load_weights(path))
            except RuntimeError as e:
                reason = " ".join(str(e).split())[:200]
                raise ValueError(f"evaluate.weights: {path} does not fit {name} ({reason}); give its file") from None
        self.digest = digest_of(path)[:16] if path else _digest(network)
        self._features = _without_classifier(network, name)

    def forward(self, images: Tensor) -> Tensor:
        arrays = images.permute(0, 2, 3, 1).cpu().numpy()
        resized = [Image.fromarray(a).resize((_SIZE, _SIZE), Image.Resampling.BICUBIC) for a in arrays]
        x = torch.from_numpy(np.stack(resized)).to(images.device).permute(0, 3, 1, 2).float() / 255
        mean, deviation = (x.new_tensor(v).view(3, 1, 1) for v in (_MEAN, _DEVIATION))
        y: Tensor = self._features((x - mean) / deviation)
        return F.adaptive_avg_pool2d(y, 1).flatten(1) if y.ndim == 4 else y


def _timm(model: str, pretrained: bool = False) -> nn.Module:
    import timm

    return timm.create_model(model, pretrained=pretrained)


def _torchvision(model: str, pretrained: bool = False) -> nn.Module:
    import torchvision

    network: nn.Module = torchvision.models.get_model(model, weights="DEFAULT" if pretrained else None)
    return network


def _without_classifier(network: nn.Module, name: str) -> Callable[[Tensor], Tensor]:
    if hasattr(network, "reset_classifier"):  # timm
        network.reset_classifier(0)
        return network
    if isinstance(features := getattr(network, "features", None), nn.Module):
        return features
    if not hasattr(network, "fc"):
        raise ValueError(f"evaluate.metrics: {name} has no classifier to take off; allowed: timm's networks")
    network.fc = nn.Identity()
    return network


def _digest(network: nn.Module) -> str:
    digest = hashlib.sha256()
    for key, value in network.state_dict().items():
        digest.update(key.encode() + value.cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
