"""Networks whose features describe images: Inception, and those of timm and torchvision by name."""

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from gantrain.core import weight_files
from gantrain.core.errors import UserError
from gantrain.core.threads import map_in_order

_INCEPTION = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
_INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
# The first digits of the file's digest. The numbers in papers are computed with this file.
_INCEPTION_SHA256 = "6726825d"
INCEPTION = ("inception", "inception_logits")
_ALIASES = {"squeezenet": "torchvision/squeezenet1_1"}

T = TypeVar("T")


class Extractor(Protocol):
    """Maps uint8 images, (N, 3, H, W), to float32 features, (N, ...).

    digest: a digest of the weights, empty where there are none. resize: describes how the extractor
    resizes images.
    """

    digest: str
    resize: str

    def __call__(self, images: Tensor) -> Tensor: ...


def is_network(name: str) -> bool:
    """Return whether `load_extractor` knows a network of that name. Downloads nothing."""
    if name in INCEPTION:
        return True
    source, _, model = _ALIASES.get(name, name).rpartition("/")
    if source == "torchvision":
        import torchvision

        return model in torchvision.models.list_models(torchvision.models)
    if source:
        return False
    import timm

    if not timm.is_model(model):
        return False
    # timm accepts a known network with any tag as a model.
    has_tag = "." in model
    return not has_tag or bool(timm.list_pretrained(model))


def load_extractor(name: str, path: str | None, device: torch.device) -> Extractor:
    """Return the network of that name on the device.

    path: the file of its weights (.safetensors, .pth); None: its library downloads them. Raises
    UserError, which names the file, where the weights are not available.
    """
    extractor = Inception(name, path) if name in INCEPTION else Backbone(name, path)
    return extractor.to(device).eval().requires_grad_(False)


def load_weights(path: str | Path) -> dict[str, Tensor]:
    """Read a state_dict from a file. Raises UserError."""
    return weight_files.read(path, "evaluate.weights", "give a file of tensors")


def fetch(work: Callable[[], T], name: str, what: str) -> T:
    """Return what `work` returns: weights that a library may have to download.

    name: the metric or extractor. what: the file that a user can get instead. Raises UserError.
    """
    try:
        return work()
    except Exception as e:  # every library and its transport raise their own
        raise UserError(
            f"evaluate.metrics: the weights of {name} could not be fetched"
            f" ({weight_files.reason(e)}); get {what} elsewhere and give"
            f" evaluate.weights={{{name}: FILE}}"
        ) from None


def _load_state(
    module: nn.Module, state: Mapping[str, Tensor], path: str | Path, name: str
) -> None:
    """Load tensors of the file `path` into the network `name`. Raises UserError."""
    try:
        module.load_state_dict(state)
    except RuntimeError as e:
        raise UserError(
            f"evaluate.weights: {path} does not fit {name} ({weight_files.reason(e)}); give its"
            " file"
        ) from None


class Inception(nn.Module):
    """torch-fidelity's port of the network in the papers of FID and IS: 2048 features, 1008 logits.

    A distance may be called FID only with the published weights, where `is_published` is true.
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
        # torch-fidelity unpickles its file, so it gets one with nothing but tensors.
        with tempfile.NamedTemporaryFile(suffix=".pth") as safe:
            torch.save(state, safe.name)
            try:
                self.network = FeatureExtractorInceptionV3(
                    "inception-v3-compat", [layer], safe.name
                )
            except RuntimeError as e:
                raise UserError(
                    f"evaluate.weights: {file} is not torch-fidelity's Inception"
                    f" ({weight_files.reason(e)}); give its file"
                ) from None

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.network(images)[0]
        return features.float()


def _inception_file() -> Path:
    """Return torch.hub's copy of the published weights, which is downloaded once."""
    file = Path(torch.hub.get_dir()) / "checkpoints" / _INCEPTION_FILE
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(
            _INCEPTION + _INCEPTION_FILE, str(file), hash_prefix=_INCEPTION_SHA256
        )
    return file


class Backbone(nn.Module):
    """A network of timm or torchvision without its classifier; its last features averaged, (N, d).

    Pillow's bicubic filter resizes the images to the size that the network was trained on, and the
    mean and the standard deviation of its training normalise them.
    """

    def __init__(self, name: str, path: str | None) -> None:
        super().__init__()
        source, _, model = _ALIASES.get(name, name).rpartition("/")
        build = _torchvision if source else _timm
        if path:
            network = build(model, False)
            _load_state(network, load_weights(path), path, name)
        else:
            network = fetch(lambda: build(model, True), name, "its file")
        self.digest = digest(network)
        config: Any = network.pretrained_cfg
        self.size = config["input_size"][1:]
        self.mean = config["mean"]
        self.std = config["std"]
        self.resize = f"Pillow bicubic {self.size[0]}x{self.size[1]}"
        self.features = _without_classifier(network, name)

    def forward(self, images: Tensor) -> Tensor:
        arrays = images.permute(0, 2, 3, 1).cpu().numpy()
        resized = list(map_in_order(self._resize, arrays))
        x = torch.from_numpy(np.stack(resized)).to(images.device).permute(0, 3, 1, 2).float() / 255
        mean = x.new_tensor(self.mean).view(3, 1, 1)
        std = x.new_tensor(self.std).view(3, 1, 1)
        y: Tensor = self.features((x - mean) / std)
        if y.ndim == 4:  # a map of features
            return F.adaptive_avg_pool2d(y, 1).flatten(1)
        return y

    def _resize(self, array: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return an image HWC at the size that the network was trained on."""
        image = Image.fromarray(array)
        return np.asarray(image.resize(self.size[::-1], Image.Resampling.BICUBIC))


def digest(network: nn.Module) -> str:
    """Return a digest of a network's weights and of their names."""
    state = hashlib.sha256()
    for key, value in network.state_dict().items():
        state.update(key.encode() + value.cpu().numpy().tobytes())
    return state.hexdigest()[:16]


def _timm(model: str, pretrained: bool) -> nn.Module:
    import timm

    return timm.create_model(model, pretrained=pretrained)


def _torchvision(model: str, pretrained: bool) -> nn.Module:
    """Return a network of torchvision whose `pretrained_cfg` holds what timm's holds."""
    import torchvision

    weights = torchvision.models.get_model_weights(model).DEFAULT
    network = torchvision.models.get_model(model, weights=weights if pretrained else None)
    # Inception's published weights need this, and so does a file of them.
    if hasattr(network, "transform_input"):
        network.transform_input = True
    transforms = weights.transforms()
    network.pretrained_cfg = {
        "input_size": (3, *transforms.crop_size * 2),
        "mean": transforms.mean,
        "std": transforms.std,
    }
    prepared: nn.Module = network
    return prepared


def _without_classifier(network: nn.Module, name: str) -> nn.Module:
    """Return the network without its last layer. Raises UserError where that is unknown."""
    if hasattr(network, "reset_classifier"):  # timm
        cast(Any, network).reset_classifier(0)
        return network
    for attribute in ("fc", "head", "heads", "features", "classifier"):
        module = getattr(network, attribute, None)
        if not isinstance(module, nn.Module):
            continue
        setattr(network, attribute, nn.Identity())
        return module if attribute == "features" else network
    raise UserError(
        f"evaluate.metrics: {name} has no classifier to take off; allowed: timm's networks"
    )
