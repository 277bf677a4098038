"""The protocols of generators and discriminators, over every network and for a plain module."""

import inspect
from collections.abc import Sequence

import pytest
import torch
from small_networks import DISCRIMINATORS, GENERATORS, images, small
from torch import Tensor, nn

from gantrain.networks import NETWORKS, Discriminator, Generator
from gantrain.networks.backbone import Backbone
from gantrain.networks.cut_projection import Projection
from gantrain.networks.fixed_statistics import FixedStatistics, modules_with_fixed_statistics
from gantrain.networks.protocol import (
    Network,
    PerStep,
    Pretrained,
    capabilities_of,
    feature_channels_of,
    takes_layers,
    undeclared_statements,
)
from gantrain.networks.resnet import ResNet
from gantrain.networks.spade import StyleEncoder
from gantrain.networks.spectral import SpectralConv2d


class Plain(nn.Conv2d):
    """A network from outside that knows nothing of gantrain."""

    def __init__(self) -> None:
        super().__init__(3, 3, 1)


@pytest.mark.parametrize("name", GENERATORS)
def test_every_generator_keeps_the_protocol(name: str) -> None:
    assert issubclass(NETWORKS[name], Generator)


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_every_discriminator_keeps_the_protocol(name: str) -> None:
    assert issubclass(NETWORKS[name], Discriminator)


@pytest.mark.parametrize("cls", [StyleEncoder, Projection])
def test_other_networks_state_what_they_can_do_too(cls: type[nn.Module]) -> None:
    assert issubclass(cls, Network)


def test_a_plain_module_has_the_defaults() -> None:
    capabilities = capabilities_of(Plain())
    assert capabilities.minimum_size == 1
    assert capabilities.multiple == 1
    assert capabilities.padded_minimum == 1
    assert capabilities.scale_factors(["scales.0.weight"]) == {}
    assert feature_channels_of(Plain()) == {}
    assert not isinstance(Plain(), Pretrained)
    assert not isinstance(Plain(), PerStep)


@pytest.mark.parametrize("cls", [Generator, Discriminator])
def test_a_network_that_states_nothing_has_the_defaults(cls: type[Network]) -> None:
    network = cls()
    assert capabilities_of(network) is network
    assert (network.minimum_size, network.multiple, network.padded_minimum) == (1, 1, 1)
    assert network.scale_factors(["scales.0.weight"]) == {}
    assert feature_channels_of(network) == {}
    assert network.state_dict() == {}


def test_a_generator_without_features_says_so() -> None:
    with pytest.raises(NotImplementedError):
        Generator().features(torch.zeros(1, 3, 8, 8), [])


@pytest.mark.parametrize("name", GENERATORS)
def test_features_are_those_that_a_generator_states(name: str) -> None:
    network = small(name)
    channels = feature_channels_of(network)
    has_features = NETWORKS[name].features is not Generator.features
    assert has_features == bool(channels)
    if has_features:
        assert isinstance(network, Generator)
        maps = network.features(images(), list(channels))
        assert [x.shape[1] for x in maps] == list(channels.values())


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_with_weights_of_another_training(name: str) -> None:
    """Those that have the option `pretrained`, and no others."""
    has_option = "pretrained" in inspect.signature(NETWORKS[name]).parameters
    assert issubclass(NETWORKS[name], Pretrained) == has_option


def test_spectral_norm_has_a_state_for_each_step() -> None:
    assert isinstance(SpectralConv2d(3, 3, 1), PerStep)
    assert isinstance(Stepping(), PerStep)


class Stepping(Plain):
    def advance(self) -> None:
        pass


class Undeclared(Plain):
    multiple = 16

    def __init__(self) -> None:
        super().__init__()
        self.feature_channels = {"image": 3}


def test_statements_of_a_plain_module_are_found() -> None:
    assert undeclared_statements(Undeclared()) == ["multiple", "feature_channels"]
    assert undeclared_statements(Plain()) == []
    assert undeclared_statements(small("unet")) == []


class Fixed(FixedStatistics):
    """A part of a network from outside, with batch norms of another training."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Dropout(0.5))
        self.train()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y


def test_fixed_statistics_stay_in_training() -> None:
    network = nn.Sequential(Fixed(), nn.BatchNorm2d(3))
    for _ in range(2):
        network.train()
        network(images())
    fixed, other = network[0], network[1]
    assert isinstance(fixed, Fixed)
    assert isinstance(other, nn.BatchNorm2d)
    assert fixed.layers[2].training
    assert not fixed.layers[1].training
    assert torch.equal(fixed.layers[1].running_mean, torch.zeros(3))
    assert int(other.num_batches_tracked) == 2
    assert modules_with_fixed_statistics(network) == set(fixed.modules())
    assert issubclass(Backbone, FixedStatistics)


class ChangedForward(ResNet):
    """Its `forward` takes no layers, although that of its base class does."""

    def forward(self, images: Tensor) -> Tensor:  # type: ignore[override]
        return images


class ChangedFeatures(ResNet):
    def features(self, images: Tensor, layers: Sequence[str]) -> list[Tensor]:
        return [images for _ in layers]


def test_a_class_that_changes_forward_or_features_states_anew_that_it_takes_layers() -> None:
    assert takes_layers(ResNet(3, 3, width=4, blocks=1))
    for changed in (ChangedForward, ChangedFeatures):
        network = changed(3, 3, width=4, blocks=1)
        assert not takes_layers(network)
        network.forward_takes_layers = True
        assert takes_layers(network)
    assert not takes_layers(nn.Conv2d(3, 3, 1))
