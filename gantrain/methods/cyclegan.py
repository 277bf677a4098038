"""CycleGAN (Zhu et al. 2017, arXiv 1703.10593)."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from gantrain.chance import Purpose
from gantrain.component import Component, OneOf, build
from gantrain.diffaugment import DiffAugment, Kind
from gantrain.losses import ADVERSARIAL, distances
from gantrain.losses.adversarial import discriminator_loss, generator_loss
from gantrain.method import Batch, Context, Method, Phase, Terms
from gantrain.methods.pix2pix import Weight, accuracy, judge_both, mixes_samples, share_above
from gantrain.networks import DISCRIMINATOR, GENERATOR, NETWORKS
from gantrain.pool import ImagePool

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

    The generators minimise, for x of the sources and y of the targets, the adversarial losses of G(x) and F(y), plus
    cycle * (|F(G(x)) - x| + |G(F(y)) - y|) + identity * (|G(y) - y| + |F(x) - x|). Each discriminator minimises half
    of its loss, on images of which half come from a history. Defaults are the paper's (`identity` that of its code,
    and of its paintings); `augment` is pix2pix's. Raises ValueError for `identity` where source and target differ in
    channels.
    """

    inference = ("generator", "generator_back")

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
        pool: Annotated[int, Field(ge=0)] = 50,
        augment: tuple[Kind, ...] = (),
    ) -> None:
        super().__init__()
        if identity and source_channels != target_channels:
            found = f"found {identity}, sources of {source_channels} and targets of {target_channels} channels"
            raise ValueError(f"method.identity: {found}; allowed: images of equally many, or method.identity=0")
        there = {"in_channels": source_channels, "out_channels": target_channels}
        back = {"in_channels": target_channels, "out_channels": source_channels}
        self.networks = nn.ModuleDict()
        self.networks["generator"] = build(NETWORKS, generator, **there)
        self.networks["generator_back"] = build(NETWORKS, generator, **back)
        self.networks["discriminator"] = build(NETWORKS, discriminator, in_channels=target_channels)
        self.networks["discriminator_source"] = build(NETWORKS, discriminator, in_channels=source_channels)
        self.auxiliary = nn.ModuleDict()
        self.adversarial = build(ADVERSARIAL, adversarial)
        self.cycle, self.identity = cycle, identity
        self.augment = {s: DiffAugment(augment, [c]) for s, c in (("", target_channels), ("_source", source_channels))}
        self.pools = {"fakes": ImagePool(pool), "fakes_source": ImagePool(pool, Purpose.POOL_BACK)}
        self.phases = (
            Phase("generators", ("generator", "generator_back"), self.generators_terms),
            Phase("discriminators", ("discriminator", "discriminator_source"), self.discriminators_terms),
        )

    def translate(self, batch: Batch) -> Tensor:
        fake: Tensor = self.networks["generator"](batch["source"])
        return fake

    def generators_terms(self, batch: Batch, carried: Batch | None, context: Context) -> Terms:
        networks, source, target = self.networks, batch["source"], batch["target"]
        there, back = networks["generator"], networks["generator_back"]
        losses: dict[str, Tensor] = {}
        # Three forwards do: the last one needs a fake of the second, the second one of the first.
        if self.identity:
            fake, same_target = translate_all(there, source, target)
            fake_source, cycled_source, same_source = translate_all(back, target, fake, source)
            losses["identity"] = self.identity * (distances.l1(same_target, target) + distances.l1(same_source, source))
        else:
            fake = there(source)
            fake_source, cycled_source = translate_all(back, target, fake)
        cycled_target = there(fake_source)
        for side, made in (("", fake), ("_source", fake_source)):
            judged = networks[f"discriminator{side}"](self.augment[side](made, context))
            losses[f"gan{side}"] = generator_loss(self.adversarial, judged)
        losses["cycle"] = self.cycle * (distances.l1(cycled_source, source) + distances.l1(cycled_target, target))
        return Terms(losses, carried={"fake": fake.detach(), "fake_source": fake_source.detach()})

    def discriminators_terms(self, batch: Batch, carried: Batch | None, context: Context) -> Terms:
        if carried is None:  # the generators had no turn in this step
            with torch.no_grad():
                back = self.networks["generator_back"](batch["target"])
                carried = {"fake": self.translate(batch), "fake_source": back}
        losses, stats = dict[str, Tensor](), dict[str, Tensor]()
        for side, real in (("", batch["target"]), ("_source", batch["source"])):
            shown = self.pools[f"fakes{side}"](carried[f"fake{side}"], context)
            shown, truth = (self.augment[side](x, context) for x in (shown, real))
            on_real, on_fake = judge_both(self.networks[f"discriminator{side}"], truth, shown)
            losses[f"d{side}"] = 0.5 * discriminator_loss(self.adversarial, on_real, on_fake)
            stats |= accuracy(on_real, on_fake, self.adversarial.boundary, side)
        return Terms(losses, stats=stats)

    def diagnose(self, batch: Batch) -> dict[str, Tensor]:
        networks, boundary, source = self.networks, self.adversarial.boundary, batch["source"]
        return {
            "d_on_held_out": share_above(networks["discriminator"](batch["target"]), boundary),
            "d_on_held_out_source": share_above(networks["discriminator_source"](source), boundary),
        }

    def measure(self, batch: Batch) -> dict[str, Tensor]:
        # Of what a file holds: generators learn to hide the source in what 8 bits can't (arXiv 1712.02950).
        return {"cycle_error": distances.l1(self.networks["generator_back"](batch["fake"]), batch["source"])}
