"""The adversarial game as the methods share it: discriminators, each with its loss, and both
players' terms.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gantrain.core.component import BadComponent, Component, OneOf, build
from gantrain.losses import ADVERSARIAL, distances
from gantrain.losses.adversarial import AdversarialLoss, Outputs, discriminator_loss, generator_loss
from gantrain.methods.base import Batch, Context, Phase, Terms
from gantrain.methods.diffaugment import DiffAugment
from gantrain.networks import DISCRIMINATOR, NETWORKS

Weight = Annotated[float, Field(ge=0, le=1e9)]
PoolSize = Annotated[int, Field(ge=0, le=10_000)]  # images of the history


def pair(source: Tensor, image: Tensor) -> Tensor:
    return torch.cat([source, image], dim=1)


def mixes_samples(network: nn.Module) -> bool:
    """Return whether an output depends on the other images of its batch, as by batch norm
    without fixed statistics.
    """
    return any(isinstance(m, _BatchNorm) and m.training for m in network.modules())


def run_discriminator(discriminator: nn.Module, images: Tensor) -> Outputs:
    """A discriminator's outputs. Raises BadComponent where one from outside gives something
    else.
    """
    outputs: Outputs = discriminator(images)
    if not _are_outputs(outputs, len(images)):
        found = (
            f"a tensor of shape {tuple(outputs.shape)}"
            if isinstance(outputs, Tensor)
            else type(outputs).__name__
        )
        allowed = (
            f"a list of scales, each a list of features with {len(images)} images, the logits last:"
            " [[logits]]"
        )
        raise BadComponent(
            f"discriminator: {type(discriminator).__name__} gives {found}, allowed: {allowed}"
        )
    return outputs


def _are_outputs(outputs: Any, images: int) -> bool:
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
    """Outputs for two batches, from one forward where that is the same mathematics.

    Batch norm would mix the two batches' statistics, so it gets a forward for each.
    """
    if mixes_samples(discriminator):
        return run_discriminator(discriminator, real), run_discriminator(discriminator, fake)
    both = run_discriminator(discriminator, torch.cat([real, fake]))
    n = len(real)
    return [[x[:n] for x in scale] for scale in both], [[x[n:] for x in scale] for scale in both]


def accuracy(outputs: Outputs, boundary: float) -> Tensor:
    """Share of the logits that call an image real."""
    return torch.stack([(scale[-1].detach() > boundary).float().mean() for scale in outputs]).mean()


@dataclass(frozen=True)
class Adversary:
    """A discriminator with its loss, by which both players' terms are computed.

    side: ends the names of its terms. gan: weight of the generator's term. d: of its own. augment:
    of what it sees. summed: the losses are summed over its scales rather than averaged."""

    side: str
    network: nn.Module
    loss: AdversarialLoss
    gan: float
    d: float
    augment: DiffAugment
    summed: bool = False

    def forward(self, images: Tensor, context: Context) -> Outputs:
        return run_discriminator(self.network, self.augment(images, context))

    def discriminator_terms(self, real: Tensor, fake: Tensor, context: Context) -> Terms:
        """The discriminator's terms from what it is shown of both, (N, C, H, W)."""
        on_real, on_fake = forward_real_fake(
            self.network, self.augment(real, context), self.augment(fake, context)
        )
        scale = self.d * (len(on_real) if self.summed else 1)
        boundary = self.loss.boundary
        right = {
            "d_on_real": accuracy(on_real, boundary),
            "d_on_fake": 1 - accuracy(on_fake, boundary),
        }
        return Terms(
            {f"d{self.side}": scale * discriminator_loss(self.loss, on_real, on_fake)},
            stats={f"{name}{self.side}": share for name, share in right.items()},
        )

    def generator_loss(self, judged: Outputs) -> Tensor:
        """The generator's loss where its images were judged so."""
        return self.gan * (len(judged) if self.summed else 1) * generator_loss(self.loss, judged)


class ExtraDiscriminator:
    """One more discriminator: its network, its loss, and its weight in the generator's loss.

    It has a phase of its own, so that its interval and its rate are
    `phases.discriminator_1.interval_steps` and `.lr`."""

    def __init__(
        self,
        *,
        network: Annotated[Component, OneOf(NETWORKS, DISCRIMINATOR)],
        adversarial: Annotated[Component, OneOf(ADVERSARIAL)] = "hinge",
        weight: Weight = 1.0,
    ) -> None:
        self.network, self.adversarial, self.weight = network, adversarial, weight


class Adversaries:
    """A method's discriminators of one kind of image, built into `networks` as `discriminator`,
    `discriminator_1`, ...

    The first one is the paper's. channels: of the images that stand one behind the other in what
    they see. gan, d, summed: an Adversary's, `gan` of the first one alone. side: comes before the
    numbers."""

    def __init__(
        self,
        networks: nn.ModuleDict,
        discriminator: Component,
        adversarial: Component,
        more: Sequence[dict[str, Any]] = (),
        *,
        channels: list[int],
        gan: float = 1.0,
        d: float = 0.5,
        augment: Sequence[Any] = (),
        summed: bool = False,
        side: str = "",
    ) -> None:
        first = ExtraDiscriminator(network=discriminator, adversarial=adversarial, weight=gan)
        changed = DiffAugment(augment, channels)
        self.all = []
        for i, one in enumerate([first, *(ExtraDiscriminator(**options) for options in more)]):
            end = f"{side}_{i}" if i else side
            facts = {"in_channels": sum(channels), "image_channels": channels[-1]}
            network = networks[f"discriminator{end}"] = build(NETWORKS, one.network, **facts)
            loss = build(ADVERSARIAL, one.adversarial)
            if not isinstance(loss, AdversarialLoss):
                raise BadComponent(
                    f"adversarial: {type(loss).__name__} is no gantrain.losses.AdversarialLoss;"
                    " derive it from that"
                )
            self.all.append(Adversary(end, network, loss, one.weight, d, changed, summed))
        self.first = self.all[0]

    def phases(
        self, terms: Callable[[Adversary, Batch, Batch | None, Context], Terms]
    ) -> list[Phase]:
        """A turn for each."""
        return [
            Phase(f"discriminator{a.side}", (f"discriminator{a.side}",), partial(terms, a))
            for a in self.all
        ]

    def loss_weights(self, **others: float) -> dict[str, float]:
        """The weights of both players' terms, by the terms' names.

        others: the generator's further ones, of which those of weight 0 are not computed.
        """
        weights = {f"gan{one.side}": one.gan for one in self.all}
        weights |= {name: weight for name, weight in others.items() if weight}
        return weights | {f"d{one.side}": one.d for one in self.all}

    def generator_terms(
        self, images: Tensor, context: Context
    ) -> tuple[dict[str, Tensor], Outputs]:
        """The generator's terms, and how the first discriminator judged its images."""
        judged = [one.forward(images, context) for one in self.all]
        terms = {
            f"gan{one.side}": one.generator_loss(outputs)
            for one, outputs in zip(self.all, judged, strict=True)
        }
        return terms, judged[0]

    def match_features(self, real: Tensor, judged: Outputs, context: Context) -> Tensor:
        """Distance of the first discriminator's features of real images to those, `judged`, of
        the fakes.
        """
        with torch.no_grad():
            on_real = self.first.forward(real, context)
        return distances.feature_matching(on_real, judged)

    def diagnose(self, real: Tensor) -> dict[str, Tensor]:
        """What share of held-out images they take for real."""
        return {
            f"d_on_held_out{a.side}": accuracy(a.network(real), a.loss.boundary) for a in self.all
        }
