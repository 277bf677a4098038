"""The adversarial game that the methods share.

It has the discriminators with their losses, and the terms of both players.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gantrain.core.component import BadComponent, Component, Each, OneOf, Options, build
from gantrain.core.weighted import TermWeight
from gantrain.losses import ADVERSARIAL
from gantrain.losses.adversarial import AdversarialLoss, Outputs, discriminator_loss, generator_loss
from gantrain.methods.base import Batch, Context, Phase, Terms
from gantrain.methods.diffaugment import DiffAugment, Kind
from gantrain.methods.discriminator_outputs import (
    accuracy,
    forward_real_fake,
    relative_accuracy,
    run_discriminator,
)
from gantrain.networks import DISCRIMINATOR, GENERATOR, NETWORKS

# The types of the options that several methods have.
Weight = Annotated[float, Field(ge=0, le=1e9)]
PoolSize = Annotated[int, Field(ge=0, le=10_000)]  # images of the history
GeneratorOption = Annotated[Component, OneOf(NETWORKS, GENERATOR)]
DiscriminatorOption = Annotated[Component, OneOf(NETWORKS, DISCRIMINATOR)]
AdversarialOption = Annotated[Component, OneOf(ADVERSARIAL)]


class ExtraDiscriminator:
    """One more discriminator, with a loss and a weight of its own.

    It has a phase of its own. Its interval is `phases.discriminator_1.interval_steps`, and its
    learning rate is `phases.discriminator_1.lr`.

    Args:
        network: The network of the discriminator.
        adversarial: The adversarial loss.
        weight: The weight of its term in the generator's loss.
    """

    def __init__(
        self,
        *,
        network: DiscriminatorOption,
        adversarial: AdversarialOption = "hinge",
        weight: Weight = 1.0,
    ) -> None:
        self.network = network
        self.adversarial = adversarial
        self.weight = weight


ExtraDiscriminators = Annotated[tuple[Options, ...], Each(ExtraDiscriminator)]


def pair(source: Tensor, image: Tensor) -> Tensor:
    """Concatenate a source and an image by channels, as a conditional discriminator sees them.

    A source that is smaller than the image is enlarged to its size, each pixel to the nearest ones.
    """
    if source.shape[2:] != image.shape[2:]:
        source = F.interpolate(source, size=image.shape[2:], mode="nearest")
    return torch.cat([source, image], dim=1)


class JudgedImages:
    """The outputs of a discriminator in a turn of the generator.

    on_fake: for the fakes. forward_real: computes those for real images, without gradient, when
    `on_real` is first read.
    """

    def __init__(self, on_fake: Outputs, forward_real: Callable[[], Outputs]) -> None:
        self.on_fake = on_fake
        self._forward_real = forward_real

    @cached_property
    def on_real(self) -> Outputs:
        """The outputs for real images, without gradient."""
        return self._forward_real()


@dataclass(frozen=True)
class Adversary:
    """A discriminator with its loss. It computes the terms of both players.

    suffix: ends the names of its network, phase and terms. generator_weight: the weight of the
    generator's term. discriminator_weight: the weight of its own. augment: changes the images that
    it sees. sum_scales: add up the losses of its scales, instead of averaging them.
    """

    suffix: str
    network: nn.Module
    loss: AdversarialLoss
    generator_weight: float
    discriminator_weight: float
    augment: DiffAugment
    sum_scales: bool = False

    @property
    def name(self) -> str:
        """The name of its network and of its phase."""
        return f"discriminator{self.suffix}"

    def forward(self, images: Tensor, context: Context) -> Outputs:
        """Return the outputs for images (N, C, H, W) after their augmentation."""
        return run_discriminator(self.network, self.augment(images, context))

    def discriminator_terms(self, real: Tensor, fake: Tensor, context: Context) -> Terms:
        """Return the discriminator's loss and accuracy from its inputs, (N, C, H, W) each."""
        on_real, on_fake = forward_real_fake(
            self.network, self.augment(real, context), self.augment(fake, context)
        )
        weight = self.discriminator_weight * self._scale_factor(on_real)
        loss = discriminator_loss(self.loss, on_real, on_fake)
        if self.loss.is_relative:
            real_as_real = relative_accuracy(on_real, on_fake)
            fake_as_real = relative_accuracy(on_fake, on_real)
        else:
            real_as_real = accuracy(on_real, self.loss.boundary)
            fake_as_real = accuracy(on_fake, self.loss.boundary)
        return Terms(
            {f"d{self.suffix}": weight * loss},
            stats={
                f"d_on_real{self.suffix}": real_as_real,
                f"d_on_fake{self.suffix}": 1 - fake_as_real,
            },
        )

    @torch.no_grad()
    def forward_real(self, real: Tensor, context: Context) -> Outputs:
        """Return the outputs for real images, (N, C, H, W), without gradient."""
        return self.forward(real, context)

    def generator_loss(self, outputs: JudgedImages) -> Tensor:
        """Return the generator's weighted loss from the outputs for its images."""
        weight = self.generator_weight * self._scale_factor(outputs.on_fake)
        on_real = outputs.on_real if self.loss.is_relative else None
        return weight * generator_loss(self.loss, outputs.on_fake, on_real)

    def _scale_factor(self, outputs: Outputs) -> int:
        """The factor that turns the mean over the scales into their sum, where it is wanted."""
        return len(outputs) if self.sum_scales else 1


class Adversaries:
    """A method's discriminators of one kind of image.

    The first one is the paper's, and `extra` are the options of further ones. They are built into
    `networks` as `discriminator`, `discriminator_1`, ...

    channels: of each image in what they see, in the order of concatenation. generator_weight: of
    the first one's term. discriminator_weight, sum_scales: see Adversary. augment: the kinds of
    DiffAugment. suffix: stands before the numbers in the names.
    """

    def __init__(
        self,
        networks: nn.ModuleDict,
        discriminator: Component,
        adversarial: Component,
        extra: Sequence[Options] = (),
        *,
        channels: list[int],
        generator_weight: float = 1.0,
        discriminator_weight: float = 0.5,
        augment: Sequence[Kind] = (),
        sum_scales: bool = False,
        suffix: str = "",
    ) -> None:
        all_options = [
            ExtraDiscriminator(
                network=discriminator, adversarial=adversarial, weight=generator_weight
            )
        ]
        all_options += [ExtraDiscriminator(**options) for options in extra]
        diff_augment = DiffAugment(augment, channels)
        self.all: list[Adversary] = []
        for number, options in enumerate(all_options):
            network = build(
                NETWORKS,
                options.network,
                in_channels=sum(channels),
                image_channels=channels[-1],
            )
            adversary = Adversary(
                suffix=f"{suffix}_{number}" if number else suffix,
                network=network,
                loss=_build_loss(options.adversarial),
                generator_weight=options.weight,
                discriminator_weight=discriminator_weight,
                augment=diff_augment,
                sum_scales=sum_scales,
            )
            networks[adversary.name] = network
            self.all.append(adversary)
        self.first = self.all[0]

    def phases(
        self, terms: Callable[[Adversary, Batch, Batch | None, Context], Terms]
    ) -> list[Phase]:
        """Return a phase for each discriminator. `terms` gets the discriminator's Adversary."""
        return [Phase(a.name, (a.name,), partial(terms, a)) for a in self.all]

    def loss_weights(self, **generator_weights: TermWeight) -> dict[str, TermWeight]:
        """Return the weights of both players' terms by the terms' names.

        generator_weights: of the generator's further terms. Those of weight 0 are not computed.
        """
        weights: dict[str, TermWeight] = {f"gan{a.suffix}": a.generator_weight for a in self.all}
        for name, weight in generator_weights.items():
            if weight:
                weights[name] = weight
        for a in self.all:
            weights[f"d{a.suffix}"] = a.discriminator_weight
        return weights

    def generator_terms(
        self, fake: Tensor, real: Tensor, context: Context
    ) -> tuple[dict[str, Tensor], JudgedImages]:
        """Return the generator's adversarial terms, and the first discriminator's outputs.

        fake, real: what the discriminators see of fake and of real images, (N, C, H, W). Only
        relative losses need the outputs for real images.
        """
        outputs = []
        for adversary in self.all:
            forward_real = partial(adversary.forward_real, real, context)
            outputs.append(JudgedImages(adversary.forward(fake, context), forward_real))
        terms = {}
        for adversary, own in zip(self.all, outputs, strict=True):
            terms[f"gan{adversary.suffix}"] = adversary.generator_loss(own)
        return terms, outputs[0]

    def diagnose(self, real: Tensor) -> dict[str, Tensor]:
        """Return, for each discriminator, the fraction of held-out images classified as real.

        A discriminator with a relative loss classifies no image alone, and is left out.
        """
        fractions = {}
        for adversary in self.all:
            if adversary.loss.is_relative:
                continue
            outputs = adversary.network(real)
            fractions[f"d_on_held_out{adversary.suffix}"] = accuracy(
                outputs, adversary.loss.boundary
            )
        return fractions


def _build_loss(component: Component) -> AdversarialLoss:
    """Build an adversarial loss. Raises BadComponent where the class is another one."""
    loss = build(ADVERSARIAL, component)
    if not isinstance(loss, AdversarialLoss):
        raise BadComponent(
            f"adversarial: {type(loss).__name__} is no gantrain.losses.AdversarialLoss;"
            " derive it from that"
        )
    return loss
