"""CycleGAN (Zhu et al. 2017, arXiv 1703.10593): unpaired translation in both directions."""

from functools import partial

import torch
from torch import Tensor, nn

from gantrain.core.component import Component, build
from gantrain.core.errors import UserError
from gantrain.core.rng import Purpose
from gantrain.losses import distances
from gantrain.methods.adversarial_game import (
    AdversarialOption,
    Adversaries,
    DiscriminatorOption,
    ExtraDiscriminators,
    GeneratorOption,
    PoolSize,
    Weight,
)
from gantrain.methods.base import Batch, Context, Method, Phase, Terms
from gantrain.methods.diffaugment import Kind
from gantrain.methods.image_pool import ImagePool
from gantrain.methods.network_roles import NetworkRole
from gantrain.networks import NETWORKS
from gantrain.networks.blocks import mixes_samples

PATCHGAN: Component = {"name": "patchgan", "norm": "instance"}

# Names of the two domains end with these: the fakes of the target domain are `fake`, judged by
# `discriminator`; those of the source domain are `fake_source`, judged by `discriminator_source`.
_TARGET = ""
_SOURCE = "_source"


def translate_all(generator: nn.Module, *images: Tensor) -> tuple[Tensor, ...]:
    """Return the generator's output for each batch of images, (N, C, H, W).

    One forward of all is the same mathematics, except with batch norm. Batch norm would mix the
    batches' statistics, so each batch then gets a forward of its own.
    """
    if mixes_samples(generator):
        return tuple(generator(x) for x in images)
    outputs: Tensor = generator(torch.cat(images))
    return torch.split(outputs, [len(x) for x in images])


class CycleGAN(Method):
    """CycleGAN: a generator in each direction, and a discriminator in each domain.

    G translates a source x, and F translates a target y in the reverse direction. The generators
    minimise the adversarial losses of G(x) and F(y), + cycle * (|F(G(x)) - x| + |G(F(y)) - y|) +
    identity * (|G(y) - y| + |F(x) - x|). Each discriminator minimises half of its loss, on real
    images of its domain and on fakes. Half of the fakes that the first discriminator of a domain
    sees come from a pool of earlier ones.

    The order is that of the paper's code: the generators' phase comes first, and the discriminators
    see the fakes of that phase. With batch norm, a generator's running statistics move once for
    each of its forwards in that phase.

    The defaults are the paper's. `identity` has the value of the published code, which the paper
    uses for paintings.

    Args:
        generator: The network of both generators.
        discriminator: The network of the first discriminator of each domain.
        adversarial: The adversarial loss.
        cycle: The weight of the cycle consistency.
        identity: The weight of the identity term: a generator should not change an image of its own
            output domain.
        pool: The number of earlier fakes in the pool of each domain. 0 has no pool.
        augment: The kinds of DiffAugment that change the images which the discriminators see.
        more_discriminators: Further discriminators in each domain, each with its own loss, weight
            and interval.

    Raises:
        UserError: `identity` is not 0, and source and target differ in channels.
    """

    inference = ("generator", "generator_back")
    roles = {
        "generator_back": NetworkRole("generator", back=True),
        "discriminator_source": NetworkRole("discriminator", back=True),
    }
    has_back = True

    def __init__(
        self,
        source_channels: int,
        target_channels: int,
        *,
        generator: GeneratorOption = "resnet",
        discriminator: DiscriminatorOption = PATCHGAN,
        adversarial: AdversarialOption = "lsgan",
        cycle: Weight = 10.0,
        identity: Weight = 5.0,
        pool: PoolSize = 50,
        augment: tuple[Kind, ...] = (),
        more_discriminators: ExtraDiscriminators = (),
    ) -> None:
        super().__init__()
        if identity and source_channels != target_channels:
            raise UserError(
                f"method.identity: found {identity}, sources of {source_channels} and targets of"
                f" {target_channels} channels; allowed: images of equally many, or"
                " method.identity=0"
            )
        self.cycle = cycle
        self.identity = identity
        self.networks["generator"] = build(
            NETWORKS, generator, in_channels=source_channels, out_channels=target_channels
        )
        self.networks["generator_back"] = build(
            NETWORKS, generator, in_channels=target_channels, out_channels=source_channels
        )
        self.adversaries: dict[str, Adversaries] = {}  # by domain
        for domain, channels in ((_TARGET, target_channels), (_SOURCE, source_channels)):
            self.adversaries[domain] = Adversaries(
                self.networks,
                discriminator,
                adversarial,
                more_discriminators,
                channels=[channels],
                augment=augment,
                suffix=domain,
            )
        self.pools = {"fakes": ImagePool(pool), "fakes_source": ImagePool(pool, Purpose.POOL_BACK)}
        self.loss_weights = {
            **self.adversaries[_TARGET].loss_weights(cycle=cycle, identity=identity),
            **self.adversaries[_SOURCE].loss_weights(),
        }
        generators_phase = Phase(
            "generators", ("generator", "generator_back"), self.generators_terms
        )
        discriminators = range(1 + len(more_discriminators))
        self.phases = (generators_phase, *(self._discriminators_phase(n) for n in discriminators))

    def _discriminators_phase(self, number: int) -> Phase:
        """Return the phase of the discriminators of that number, one of each domain."""
        networks = tuple(adversaries.all[number].name for adversaries in self.adversaries.values())
        name = f"discriminators_{number}" if number else "discriminators"
        return Phase(name, networks, partial(self.discriminators_terms, number))

    def translate(self, batch: Batch) -> Tensor:
        fake: Tensor = self.networks["generator"](batch["source"])
        return fake

    def translate_back(self, batch: Batch) -> Tensor:
        back: Tensor = self.networks["generator_back"](batch["source"])
        return back

    def generators_terms(self, batch: Batch, carried: Batch | None, context: Context) -> Terms:
        source = batch["source"]
        target = batch["target"]
        generator = self.networks["generator"]
        generator_back = self.networks["generator_back"]
        losses: dict[str, Tensor] = {}

        # Three forwards are enough: the second one needs the first one's fake of the target domain,
        # the third one needs the second one's fake of the source domain.
        if self.identity:
            fake, same_target = translate_all(generator, source, target)
            fake_source, cycled_source, same_source = translate_all(
                generator_back, target, fake, source
            )
            losses["identity"] = self.identity * (
                distances.l1(same_target, target) + distances.l1(same_source, source)
            )
        else:
            fake = generator(source)
            fake_source, cycled_source = translate_all(generator_back, target, fake)
        cycled_target = generator(fake_source)

        for domain, made, real in ((_TARGET, fake, target), (_SOURCE, fake_source, source)):
            adversarial, _ = self.adversaries[domain].generator_terms(made, real, context)
            losses |= adversarial
        losses["cycle"] = self.cycle * (
            distances.l1(cycled_source, source) + distances.l1(cycled_target, target)
        )
        return Terms(losses, carried={"fake": fake.detach(), "fake_source": fake_source.detach()})

    def discriminators_terms(
        self, number: int, batch: Batch, carried: Batch | None, context: Context
    ) -> Terms:
        """Return the terms of the discriminators of that number, one of each domain."""
        if not carried:  # the generators had no turn in this step
            with torch.no_grad():
                fake_source = self.networks["generator_back"](batch["target"])
                carried = {"fake": self.translate(batch), "fake_source": fake_source}
        losses: dict[str, Tensor] = {}
        stats: dict[str, Tensor] = {}
        for domain, real in ((_TARGET, batch["target"]), (_SOURCE, batch["source"])):
            fake = carried[f"fake{domain}"]
            if number == 0:
                fake = self.pools[f"fakes{domain}"](fake, context)
            terms = self.adversaries[domain].all[number].discriminator_terms(real, fake, context)
            losses |= terms.losses
            stats |= terms.stats
        return Terms(losses, stats=stats)

    def diagnose(self, batch: Batch) -> dict[str, Tensor]:
        return {
            **self.adversaries[_TARGET].diagnose(batch["target"]),
            **self.adversaries[_SOURCE].diagnose(batch["source"]),
        }

    def measure(self, batch: Batch) -> dict[str, Tensor]:
        # The error of what a file holds: generators learn to hide the source in details that 8 bits
        # cannot represent (arXiv 1712.02950).
        cycled_source = self.networks["generator_back"](batch["fake"])
        return {"cycle_error": distances.l1(cycled_source, batch["source"])}
