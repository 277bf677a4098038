"""What gantrain asks of a network: the protocols of generators and discriminators.

Every part of a protocol has a default. So a network states only what differs from it, and a plain
`nn.Module` is a network that differs in nothing. `capabilities_of` gives the statements of either.
"""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol, runtime_checkable

from torch import Tensor, nn


@runtime_checkable
class Pretrained(Protocol):
    """A network, or a frozen helper of a method, that begins with weights of another training."""

    def load(self) -> None:
        """Read or fetch the weights.

        gantrain calls it before training, on one process of a node first. Raises UserError where
        the weights cannot be had.
        """


@runtime_checkable
class PerStep(Protocol):
    """A layer, or a whole network, that has a state of its own for each step.

    Spectral norm is an example. Its state must not depend on how often a step calls the network.
    """

    def advance(self) -> None:
        """Move the state on. The trainer calls it once, before each turn of the network's phase."""


class Network(nn.Module):
    """The statements that every network may make, by attributes of its class or of its constructor.

    A network with weights of another training also has the function of `Pretrained`, and a layer
    with a state for each step that of `PerStep`.

    Attributes:
        minimum_size: The smallest allowed height and width of images, in pixels.
        multiple: The network pads the height and the width of images to a multiple of this number.
        padded_minimum: The smallest height and width to which the network pads images, in pixels.
    """

    minimum_size: int = 1
    multiple: int = 1
    padded_minimum: int = 1

    @staticmethod
    def scale_factors(names: Iterable[str]) -> dict[str, int]:
        """Return the factor by which each scale of the network sees images down-sampled.

        names: of tensors in a checkpoint. The keys of the result are the prefixes of the scales
        among them, such as `scales.1`. The scales of one network are alike, so that `stages` and
        `init_from` may give the weights of one to another. The default has no scales.
        """
        return {}


class Generator(Network):
    """The protocol of a generator: images (N, C, H, W) of any size become images in [-1, 1].

    It pads images to `multiple` and crops the result (see `gantrain.networks.blocks.padded`). Its
    constructor takes `in_channels` and `out_channels`, and `style_channels` where it takes a style
    (N, style_channels) as its second argument.

    Attributes:
        feature_channels: The channels of the feature maps that `features` returns, by layer. It is
            empty for a generator without `features`.
        forward_takes_layers: Whether `forward` takes `layers` as its second argument. It then
            returns the images and what `features` would return, from one pass over images of a size
            that needs no padding.
    """

    feature_channels: Mapping[str, int] = MappingProxyType({})
    forward_takes_layers: bool = False

    def features(self, images: Tensor, layers: Sequence[str]) -> list[Tensor]:
        """Return the feature maps (N, C, h, w) of images (N, in_channels, H, W), by `layers`.

        layers: names in `feature_channels`. Raises NotImplementedError where there are none.
        """
        raise NotImplementedError


class Discriminator(Network):
    """The protocol of a discriminator: images (N, C, H, W) become a list of scales.

    The scale of the full resolution comes first. A scale is a list of feature maps (N, C, h, w)
    after their activations, and the last one of them is the map of logits. The constructor takes
    `in_channels`, and `image_channels` where the discriminator sees only the image of a pair.
    """


_DEFAULTS = Network()
_STATEMENTS = (
    "minimum_size",
    "multiple",
    "padded_minimum",
    "scale_factors",
    "feature_channels",
    "forward_takes_layers",
)


def capabilities_of(network: nn.Module) -> Network:
    """Return what a network states: the network itself, or the defaults for a plain nn.Module."""
    return network if isinstance(network, Network) else _DEFAULTS


def feature_channels_of(network: nn.Module) -> Mapping[str, int]:
    """Return the channels of a generator's features by layer; none for a plain nn.Module."""
    return network.feature_channels if isinstance(network, Generator) else {}


def takes_layers(network: nn.Module) -> bool:
    """Return whether a generator's `forward` also returns features; False for a plain nn.Module.

    A class that derives from one with this statement, and changes `forward` or `features`, has to
    state it anew.
    """
    if not isinstance(network, Generator) or not network.forward_takes_layers:
        return False
    if "forward_takes_layers" in vars(network):  # stated by the object itself
        return True
    classes = type(network).__mro__
    stating = _first_with("forward_takes_layers", classes)
    return stating == _first_with("forward", classes) == _first_with("features", classes)


def _first_with(name: str, classes: Sequence[type]) -> type | None:
    """Return the first class that defines an attribute of that name itself."""
    for cls in classes:
        if name in vars(cls):
            return cls
    return None


def undeclared_statements(network: nn.Module) -> list[str]:
    """Return the names of statements that a plain nn.Module makes, and that nobody would read.

    A class that makes them has to derive from one of the protocols.
    """
    if isinstance(network, Network):
        return []
    return [name for name in _STATEMENTS if hasattr(network, name)]
