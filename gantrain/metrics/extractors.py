"""Networks whose features describe images: Inception, any of timm or torchvision, by name."""

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from gantrain.core import weight_files

_INCEPTION = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
_INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
_INCEPTION_SHA256 = (  # how the digest of the file begins; the numbers of papers are made with it
    "6726825d"
)
INCEPTION = ("inception", "inception_logits")
_ALIASES = {"squeezenet": "torchvision/squeezenet1_1"}


class Extractor(Protocol):
    """uint8 images, (N, 3, H, W), to float32 features, (N, ...).

    digest: of the weights, empty where there are none. resize: what it does to the images' size.
    """

    digest: str
    resize: str

    def __call__(self, images: Tensor) -> Tensor: ...


def is_network(name: str) -> bool:
    """Whether `network` would find it; downloads nothing."""
    source, _, model = _ALIASES.get(name, name).rpartition("/")
    if name in INCEPTION:
        return True
    if source == "torchvision":
        import torchvision

        return model in torchvision.models.list_models(torchvision.models)
    import timm

    # It calls a known network with any tag a model.
    return (
        not source
        and timm.is_model(model)
        and ("." not in model or bool(timm.list_pretrained(model)))
    )


def network(name: str, path: str | None, device: torch.device) -> Extractor:
    """The network of that name; its weights from a file (.safetensors, .pth) or by its library's
    route.

    Raises ValueError, naming the file, where they can't be had.
    """
    made = Inception(name, path) if name in INCEPTION else Backbone(name, path)
    return made.to(device).eval().requires_grad_(False)


def load_weights(path: str | Path) -> dict[str, Tensor]:
    """A state_dict from a file. Raises ValueError."""
    return weight_files.read(path, "evaluate.weights", "give a file of tensors")


def fetch(work: Callable[[], Any], name: str, what: str) -> Any:
    """Weights by a library's own route, which may need the network. Raises ValueError."""
    try:
        return work()
    except Exception as e:  # every library and its transport raise their own
        raise ValueError(
            f"evaluate.metrics: the weights of {name} could not be fetched"
            f" ({weight_files.reason(e)}); get {what} elsewhere and give evaluate.weights={{{name}:"
            " FILE}"
        ) from None


def _fit(module: nn.Module, state: Mapping[str, Tensor], path: str | Path, what: str) -> None:
    try:
        module.load_state_dict(state)
    except RuntimeError as e:
        raise ValueError(
            f"evaluate.weights: {path} does not fit {what} ({weight_files.reason(e)}); give its"
            " file"
        ) from None


class Inception(nn.Module):
    """torch-fidelity's port of the network of FID's and IS's papers; 2048 features, or 1008 logits.

    Only with the published weights may a distance be called FID: else `is_published` is false.
    """

    resize = "bilinear 299x299, TensorFlow 1's"

    def __init__(self, name: str, path: str | None) -> None:
        super().__init__()
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        file = path or fetch(_inception_file, name, _INCEPTION + _INCEPTION_FILE)
        state = load_weights(file)
        with Path(file).open("rb") as content:
            self.digest = hashlib.file_digest(content, "sha256").hexdigest()[:16]
        self.is_published = self.digest.startswith(_INCEPTION_SHA256)
        layer = "logits_unbiased" if name == "inception_logits" else "2048"
        with tempfile.NamedTemporaryFile(
            suffix=".pth"
        ) as safe:  # it unpickles whatever it is given
            torch.save(state, safe.name)
            try:
                self.network = FeatureExtractorInceptionV3(
                    "inception-v3-compat", [layer], safe.name
                )
            except RuntimeError as e:
                found = f"{file} is not torch-fidelity's Inception ({weight_files.reason(e)})"
                raise ValueError(f"evaluate.weights: {found}; give its file") from None

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.network(images)[0]
        return features.float()


def _inception_file() -> Path:
    file = Path(torch.hub.get_dir()) / "checkpoints" / _INCEPTION_FILE
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(
            _INCEPTION + _INCEPTION_FILE, str(file), hash_prefix=_INCEPTION_SHA256
        )
    return file


class Backbone(nn.Module):
    """A network of timm or torchvision without its classifier, its last features averaged: (N, d).

    Images are resized by Pillow's bicubic filter and normalised as those that it was trained on.
    """

    def __init__(self, name: str, path: str | None) -> None:
        super().__init__()
        source, _, model = _ALIASES.get(name, name).rpartition("/")
        build = _torchvision if source else _timm
        network: nn.Module = (
            build(model, False) if path else fetch(lambda: build(model, True), name, "its file")
        )
        if path:
            _fit(network, load_weights(path), path, name)
        self.digest = digest(network)
        seen: Any = network.pretrained_cfg
        self.size, self.mean, self.deviation = seen["input_size"][1:], seen["mean"], seen["std"]
        self.resize = f"Pillow bicubic {self.size[0]}x{self.size[1]}"
        self.features = _without_classifier(network, name)

    def forward(self, images: Tensor) -> Tensor:
        arrays = images.permute(0, 2, 3, 1).cpu().numpy()
        resized = [
            np.asarray(Image.fromarray(a).resize(self.size[::-1], Image.Resampling.BICUBIC))
            for a in arrays
        ]
        x = torch.from_numpy(np.stack(resized)).to(images.device).permute(0, 3, 1, 2).float() / 255
        mean, deviation = (x.new_tensor(v).view(3, 1, 1) for v in (self.mean, self.deviation))
        y: Tensor = self.features((x - mean) / deviation)
        return F.adaptive_avg_pool2d(y, 1).flatten(1) if y.ndim == 4 else y


def digest(network: nn.Module) -> str:
    """Of its weights and their names."""
    state = hashlib.sha256()
    for key, value in network.state_dict().items():
        state.update(key.encode() + value.cpu().numpy().tobytes())
    return state.hexdigest()[:16]


def _timm(model: str, pretrained: bool) -> nn.Module:
    import timm

    return timm.create_model(model, pretrained=pretrained)


def _torchvision(model: str, pretrained: bool) -> nn.Module:
    """Says what its weights were trained on as timm does."""
    import torchvision

    known = torchvision.models.get_model_weights(model).DEFAULT
    made: nn.Module = torchvision.models.get_model(model, weights=known if pretrained else None)
    if hasattr(
        made, "transform_input"
    ):  # Inception's published weights want it, a file of them too
        made.transform_input = cast(Any, True)
    seen = known.transforms()
    made.pretrained_cfg = cast(
        Any, {"input_size": (3, *seen.crop_size * 2), "mean": seen.mean, "std": seen.std}
    )
    return made


def _without_classifier(network: nn.Module, name: str) -> nn.Module:
    if hasattr(network, "reset_classifier"):  # timm
        cast(Any, network).reset_classifier(0)
        return network
    for last in ("fc", "head", "heads", "features", "classifier"):
        if isinstance(part := getattr(network, last, None), nn.Module):
            setattr(network, last, nn.Identity())
            return part if last == "features" else network
    raise ValueError(
        f"evaluate.metrics: {name} has no classifier to take off; allowed: timm's networks"
    )
