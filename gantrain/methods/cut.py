"""CUT and FastCUT (Park et al. 2020, arXiv 2007.15651): unpaired translation in one direction."""

from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from gantrain.core.component import Component, Each, OneOf, build
from gantrain.core.rng import Purpose
from gantrain.losses import ADVERSARIAL
from gantrain.losses.patchnce import patch_nce
from gantrain.methods.adversarial_game import Adversaries, Adversary, ExtraDiscriminator, Weight
from gantrain.methods.base import Batch, Context, Method, Phase, Terms
from gantrain.methods.diffaugment import Kind
from gantrain.networks import DISCRIMINATOR, GENERATOR, NETWORKS
from gantrain.networks.blocks import Width
from gantrain.networks.cut_projection import Projection

RESNET: Component = {"name": "resnet", "antialias": True, "upsample": "bilinear", "init": "xavier"}
PATCHGAN: Component = {"name": "patchgan", "norm": "instance", "antialias": True, "init": "xavier"}
LAYERS = ("image", "down0", "down1", "block0", "block4")


class CUT(Method):
    """A patch of the fake should be recognised, by the generator's own features, as the source's
    patch there.

    Minimises gan * adversarial + nce * PatchNCE(source, fake) or, with `identity`, + nce *
    (PatchNCE(source, fake) + PatchNCE(target, G(target))) / 2; the discriminator, which sees one
    image alone, minimises half of its loss. Defaults are CUT's; FastCUT has `nce: 10`, no
    `identity`, and `flip_equivariance`: half of the sources are mirrored for the generator alone,
    so that what it makes must be like the mirrored source's features. `layers` of the generator are
    compared, each at `patches` places, as vectors of `projection_width`; `augment` is pix2pix's.

    Four things differ from the paper's code. Places and mirroring are drawn for each image, not for
    the whole batch, so that they don't depend on ranks and micro-batches. One Adam trains generator
    and projection, which is the same mathematics as two with equal settings. The generator's turn
    is the first: `discriminator_first` is the paper's. Random crops go on while the learning rate
    decays: the paper's code stops them then, because it loads images at the size of the crop from
    the first epoch of the decay on.

    With `identity`, one forward of the generator makes the fakes and the images of the identity
    term, as in the paper's code. Batch norm then mixes the statistics of both. Its running
    statistics move three times a step in the layers that are compared, since the features of the
    made and of the original images are forwards too. Raises ValueError where source and target
    differ in channels, or the generator has no such features."""

    def __init__(
        self,
        source_channels: int,
        target_channels: int,
        *,
        generator: Annotated[Component, OneOf(NETWORKS, GENERATOR)] = RESNET,
        discriminator: Annotated[Component, OneOf(NETWORKS, DISCRIMINATOR)] = PATCHGAN,
        adversarial: Annotated[Component, OneOf(ADVERSARIAL)] = "lsgan",
        gan: Weight = 1.0,
        nce: Weight = 1.0,
        identity: bool = True,
        flip_equivariance: bool = False,
        layers: Annotated[tuple[str, ...], Field(min_length=1, max_length=100)] = LAYERS,
        patches: Annotated[int, Field(ge=2, le=4096)] = 256,
        projection_width: Width = 256,
        temperature: Annotated[float, Field(gt=0, le=1000)] = 0.07,
        augment: tuple[Kind, ...] = (),
        more_discriminators: Annotated[tuple[dict[str, Any], ...], Each(ExtraDiscriminator)] = (),
        order: Literal["generator_first", "discriminator_first"] = "generator_first",
    ) -> None:
        super().__init__()
        if source_channels != target_channels:
            raise ValueError(
                f"cut: found {source_channels} channels of the source and {target_channels} of the"
                " target, allowed: as many, since both are seen by the generator; choose other"
                " data.source and data.target"
            )
        self.networks["generator"] = build(
            NETWORKS, generator, in_channels=source_channels, out_channels=target_channels
        )
        known: dict[str, int] = getattr(self.networks["generator"], "feature_channels", {})
        if missing := [name for name in layers if name not in known]:
            allowed = ", ".join(known) or "none with this generator; choose method.generator=resnet"
            raise ValueError(f"method.layers: found {', '.join(missing)}, allowed: {allowed}")
        self.networks["projection"] = Projection(
            [known[name] for name in layers], width=projection_width
        )
        seen = [target_channels]
        self.adversaries = Adversaries(
            self.networks,
            discriminator,
            adversarial,
            more_discriminators,
            channels=seen,
            gan=gan,
            augment=augment,
        )
        self.nce, self.identity, self.flip_equivariance = nce, identity, flip_equivariance
        patch_weights = {"nce": nce / 2, "identity": nce / 2} if identity else {"nce": nce}
        self.loss_weights = self.adversaries.loss_weights(**patch_weights)
        self.layers, self.patches, self.temperature = layers, patches, temperature
        made = Phase("generator", ("generator", "projection"), self.generator_terms)
        judged = self.adversaries.phases(self.discriminator_terms)
        self.phases = (made, *judged) if order == "generator_first" else (*judged, made)

    def translate(self, batch: Batch) -> Tensor:
        fake: Tensor = self.networks["generator"](batch["source"])
        return fake

    def generator_terms(self, batch: Batch, carried: Batch | None, context: Context) -> Terms:
        generator: Any = self.networks["generator"]
        source, projection = batch["source"], self.networks["projection"]
        originals = torch.cat([source, batch["target"]]) if self.identity else source
        made = generator(*self.mirrored([originals], context))
        fake = made[: len(source)]
        losses, _ = self.adversaries.generator_terms(fake, context)
        features = self.mirrored(generator.features(made, self.layers), context)
        places = self.places(features, context)
        # Queries first: older autocasts keep a weight's copy, and one made without gradient never
        # gets any.
        queries = projection(features, places)
        with torch.no_grad():
            keys = projection(generator.features(originals, self.layers), places)
        nce = patch_nce(queries, keys, self.temperature)  # N, or 2N with the targets'
        if self.identity:
            of_source, of_target = nce.chunk(2)
            losses["nce"] = self.nce / 2 * of_source.mean()
            losses["identity"] = self.nce / 2 * of_target.mean()
        else:
            losses["nce"] = self.nce * nce.mean()
        return Terms(losses, carried={"fake": fake.detach()})

    def discriminator_terms(
        self, adversary: Adversary, batch: Batch, carried: Batch | None, context: Context
    ) -> Terms:
        (source,) = self.mirrored([batch["source"]], context)
        with torch.no_grad():
            fake = carried["fake"] if carried else self.translate({"source": source})
        return adversary.discriminator_terms(batch["target"], fake, context)

    def mirrored(self, maps: list[Tensor], context: Context) -> list[Tensor]:
        """Maps (N or 2N, C, h, w), of drawn samples mirrored: done twice, nothing is."""
        if not self.flip_equivariance:
            return maps
        flips = [context.random(p, Purpose.MIRROR).random() < 0.5 for p in context.positions]
        flips *= len(maps[0]) // len(flips)
        chosen = torch.tensor(flips).view(-1, 1, 1, 1).to(maps[0].device, non_blocking=True)
        return [torch.where(chosen, x.flip(-1), x) for x in maps]

    def places(self, features: list[Tensor], context: Context) -> list[Tensor]:
        """For each of the maps (N or 2N, C, h, w) the places to compare, (N or 2N, P) in [0, h *
        w), none twice.
        """
        # A sample's target, if it is there, takes the numbers after its source's.
        randoms = [context.random(p, Purpose.PATCHES) for p in context.positions]
        randoms *= len(features[0]) // len(randoms)
        drawn = []
        for x in features:
            there = x.shape[2] * x.shape[3]
            places = [r.choice(there, min(self.patches, there), replace=False) for r in randoms]
            drawn.append(torch.tensor(np.stack(places)).to(x.device, non_blocking=True))
        return drawn

    def diagnose(self, batch: Batch) -> dict[str, Tensor]:
        return self.adversaries.diagnose(batch["target"])
