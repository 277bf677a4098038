"""The adversarial game that the methods share.

It has the discriminators with their losses, and the terms of both players.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gantrain.core.component import BadComponent, Component, Each, OneOf, Options, build
from gantrain.losses import ADVERSARIAL, distances
from gantrain.losses.adversarial import AdversarialLoss, Outputs, discriminator_loss, generator_loss
from gantrain.methods.base import Batch, Context, Phase, Terms
from gantrain.methods.diffaugment import DiffAugment, Kind
from gantrain.networks import DISCRIMINATOR, GENERATOR, NETWORKS
from gantrain.networks.blocks import mixes_samples

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


def run_discriminator(discriminator: nn.Module, images: Tensor) -> Outputs:
    """Return a discriminator's outputs for images (N, C, H, W).

    Raises BadComponent where a discriminator from outside returns something else.
    """
    outputs: Outputs = discriminator(images)
    if _are_outputs(outputs, len(images)):
        return outputs
    if isinstance(outputs, Tensor):
        description = f"a tensor of shape {tuple(outputs.shape)}"
    else:
        description = type(outputs).__name__
    allowed = (
        f"a list of scales, each a list of features with {len(images)} images, the logits last:"
        " [[logits]]"
    )
    raise BadComponent(
        f"discriminator: {type(discriminator).__name__} gives {description}, allowed: {allowed}"
    )


def _are_outputs(outputs: object, images: int) -> bool:
    """Return whether these are lists of maps of so many images."""
    if not isinstance(outputs, list | tuple) or not outputs:
        return False
    for scale in outputs:
        if not isinstance(scale, list | tuple) or not scale:
            return False
        if not all(isinstance(x, Tensor) and x.ndim and len(x) == images for x in scale):
            return False
    return True


def forward_real_fake(
    discriminator: nn.Module, real: Tensor, fake: Tensor
) -> tuple[Outputs, Outputs]:
    """Return the outputs for real and for fake images, (N, C, H, W) each.

    One forward of both is the same mathematics, except with batch norm. Batch norm would mix the
    statistics of both, so each of them then gets a forward of its own.
    """
    if mixes_samples(discriminator):
        return run_discriminator(discriminator, real), run_discriminator(discriminator, fake)
    outputs = run_discriminator(discriminator, torch.cat([real, fake]))
    n = len(real)
    on_real = []
    on_fake = []
    for maps in outputs:
        on_real.append([x[:n] for x in maps])
        on_fake.append([x[n:] for x in maps])
    return on_real, on_fake


def accuracy(outputs: Outputs, boundary: float) -> Tensor:
    """Return the fraction of the logits that classify an image as real, a mean over the scales."""
    per_scale = [(maps[-1].detach() > boundary).float().mean() for maps in outputs]
    return torch.stack(per_scale).mean()


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
        return Terms(
            {f"d{self.suffix}": weight * loss},
            stats={
                f"d_on_real{self.suffix}": accuracy(on_real, self.loss.boundary),
                f"d_on_fake{self.suffix}": 1 - accuracy(on_fake, self.loss.boundary),
            },
        )

    def generator_loss(self, on_fake: Outputs) -> Tensor:
        """Return the generator's weighted loss from the outputs for its images."""
        weight = self.generator_weight * self._scale_factor(on_fake)
        return weight * generator_loss(self.loss, on_fake)

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

    def loss_weights(self, **generator_weights: float) -> dict[str, float]:
        """Return the weights of both players' terms by the terms' names.

        generator_weights: of the generator's further terms. Those of weight 0 are not computed.
        """
        weights = {f"gan{a.suffix}": a.generator_weight for a in self.all}
        for name, weight in generator_weights.items():
            if weight:
                weights[name] = weight
        for a in self.all:
            weights[f"d{a.suffix}"] = a.discriminator_weight
        return weights

    def generator_terms(
        self, images: Tensor, context: Context
    ) -> tuple[dict[str, Tensor], Outputs]:
        """Return the generator's adversarial terms, and the first discriminator's outputs.

        images: what the discriminators see of the fakes, (N, C, H, W).
        """
        all_outputs = [adversary.forward(images, context) for adversary in self.all]
        terms = {}
        for adversary, outputs in zip(self.all, all_outputs, strict=True):
            terms[f"gan{adversary.suffix}"] = adversary.generator_loss(outputs)
        return terms, all_outputs[0]

    def match_features(self, real: Tensor, on_fake: Outputs, context: Context) -> Tensor:
        """Return the distance between the first discriminator's features of real and fake images.

        real: what it sees of real images, (N, C, H, W). on_fake: its outputs for the fakes.
        """
        with torch.no_grad():
            on_real = self.first.forward(real, context)
        return distances.feature_matching(on_real, on_fake)

    def diagnose(self, real: Tensor) -> dict[str, Tensor]:
        """Return, for each discriminator, the fraction of held-out images classified as real."""
        fractions = {}
        for adversary in self.all:
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
