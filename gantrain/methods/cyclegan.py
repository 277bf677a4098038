"""CycleGAN (Zhu et al. 2017, arXiv 1703.10593)."""

from functools import partial
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from gantrain.core.component import Component, Each, OneOf, build
from gantrain.core.rng import Purpose
from gantrain.losses import ADVERSARIAL, distances
from gantrain.methods.adversarial_game import (
    Adversaries,
    ExtraDiscriminator,
    PoolSize,
    Weight,
    mixes_samples,
)
from gantrain.methods.base import Batch, Context, Method, Phase, Terms
from gantrain.methods.diffaugment import Kind
from gantrain.methods.image_pool import ImagePool
from gantrain.networks import DISCRIMINATOR, GENERATOR, NETWORKS

PATCHGAN: Component = {"name": "patchgan", "norm": "instance"}


def translate_all(generator: nn.Module, *images: Tensor) -> tuple[Tensor, ...]:
    """The generator's output for each batch, from one forward where that is the same mathematics.

    Batch norm would mix the batches' statistics, so it gets a forward for each.
    """
    if mixes_samples(generator):
        return tuple(map(generator, images))
    return generator(torch.cat(images)).split([len(x) for x in images])  # type: ignore[no-any-return]


class CycleGAN(Method):
    """Generators G from source to target and F back; a discriminator of the images of each side.

    The generators minimise, for x of the sources and y of the targets, the adversarial losses of
    G(x) and F(y), plus cycle * (|F(G(x)) - x| + |G(F(y)) - y|) + identity * (|G(y) - y| + |F(x) -
    x|). Each discriminator minimises half of its loss, on images of which half come from a history.
    Defaults are the paper's (`identity` that of its code, and of its paintings); `augment` is
    pix2pix's. Raises ValueError for `identity` where source and target differ in channels.

    The order is that of the paper's code: the generators' turn is first, and the discriminators see
    the fakes of that turn. With batch norm, a generator's running statistics move once for each of
    its forwards in that turn."""

    inference = ("generator", "generator_back")
    has_back = True

    def __init__(
        self,
        source_channels: int,
        target_channels: int,
        *,
        generator: Annotated[Component, OneOf(NETWORKS, GENERATOR)] = "resnet",
        discriminator: Annotated[Component, OneOf(NETWORKS, DISCRIMINATOR)] = PATCHGAN,
        adversarial: Annotated[Component, OneOf(ADVERSARIAL)] = "lsgan",
        cycle: Weight = 10.0,
        identity: Weight = 5.0,
        pool: PoolSize = 50,
        augment: tuple[Kind, ...] = (),
        more_discriminators: Annotated[tuple[dict[str, Any], ...], Each(ExtraDiscriminator)] = (),
    ) -> None:
        super().__init__()
        if identity and source_channels != target_channels:
            found = (
                f"found {identity}, sources of {source_channels} and targets of {target_channels}"
                " channels"
            )
            raise ValueError(
                f"method.identity: {found}; allowed: images of equally many, or method.identity=0"
            )
        there = {"in_channels": source_channels, "out_channels": target_channels}
        back = {"in_channels": target_channels, "out_channels": source_channels}
        self.networks["generator"] = build(NETWORKS, generator, **there)
        self.networks["generator_back"] = build(NETWORKS, generator, **back)
        of_side = partial(
            Adversaries,
            self.networks,
            discriminator,
            adversarial,
            more_discriminators,
            augment=augment,
        )
        self.adversaries = {
            side: of_side(channels=[channels], side=side)
            for side, channels in (("", target_channels), ("_source", source_channels))
        }
        self.cycle, self.identity = cycle, identity
        to_target = self.adversaries[""].loss_weights(cycle=cycle, identity=identity)
        self.loss_weights = to_target | self.adversaries["_source"].loss_weights()
        self.pools = {"fakes": ImagePool(pool), "fakes_source": ImagePool(pool, Purpose.POOL_BACK)}
        generators = Phase("generators", ("generator", "generator_back"), self.generators_terms)
        self.phases = (generators, *map(self._discriminators, range(1 + len(more_discriminators))))

    def _discriminators(self, number: int) -> Phase:
        """The turn of the discriminators of that number, one a side."""
        names = tuple(f"discriminator{one.all[number].side}" for one in self.adversaries.values())
        end = f"_{number}" if number else ""
        return Phase(f"discriminators{end}", names, partial(self.discriminators_terms, number))

    def translate(self, batch: Batch) -> Tensor:
        fake: Tensor = self.networks["generator"](batch["source"])
        return fake

    def translate_back(self, batch: Batch) -> Tensor:
        back: Tensor = self.networks["generator_back"](batch["source"])
        return back

    def generators_terms(self, batch: Batch, carried: Batch | None, context: Context) -> Terms:
        networks, source, target = self.networks, batch["source"], batch["target"]
        there, back = networks["generator"], networks["generator_back"]
        losses: dict[str, Tensor] = {}
        # Three forwards do: the last one needs a fake of the second, the second one of the first.
        if self.identity:
            fake, same_target = translate_all(there, source, target)
            fake_source, cycled_source, same_source = translate_all(back, target, fake, source)
            losses["identity"] = self.identity * (
                distances.l1(same_target, target) + distances.l1(same_source, source)
            )
        else:
            fake = there(source)
            fake_source, cycled_source = translate_all(back, target, fake)
        cycled_target = there(fake_source)
        for side, made in (("", fake), ("_source", fake_source)):
            losses |= self.adversaries[side].generator_terms(made, context)[0]
        losses["cycle"] = self.cycle * (
            distances.l1(cycled_source, source) + distances.l1(cycled_target, target)
        )
        return Terms(losses, carried={"fake": fake.detach(), "fake_source": fake_source.detach()})

    def discriminators_terms(
        self, number: int, batch: Batch, carried: Batch | None, context: Context
    ) -> Terms:
        """Of the discriminators of that number, one a side; the history of fakes is the first
        ones'.
        """
        if not carried:  # the generators had no turn in this step
            with torch.no_grad():
                back = self.networks["generator_back"](batch["target"])
                carried = {"fake": self.translate(batch), "fake_source": back}
        losses, stats = dict[str, Tensor](), dict[str, Tensor]()
        for side, real in (("", batch["target"]), ("_source", batch["source"])):
            fake = carried[f"fake{side}"]
            shown = fake if number else self.pools[f"fakes{side}"](fake, context)
            terms = self.adversaries[side].all[number].discriminator_terms(real, shown, context)
            losses |= terms.losses
            stats |= terms.stats
        return Terms(losses, stats=stats)

    def diagnose(self, batch: Batch) -> dict[str, Tensor]:
        there, back = self.adversaries[""], self.adversaries["_source"]
        return there.diagnose(batch["target"]) | back.diagnose(batch["source"])

    def measure(self, batch: Batch) -> dict[str, Tensor]:
        # Of what a file holds: generators learn to hide the source in what 8 bits can't (arXiv
        # 1712.02950).
        return {
            "cycle_error": distances.l1(
                self.networks["generator_back"](batch["fake"]), batch["source"]
            )
        }
