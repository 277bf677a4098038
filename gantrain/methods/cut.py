"""CUT and FastCUT (Park et al. 2020, arXiv 2007.15651): unpaired translation in one direction."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from gantrain.core.component import Component, build
from gantrain.core.errors import UserError
from gantrain.core.rng import Purpose
from gantrain.losses.patchnce import draw_places, patch_nce
from gantrain.methods.adversarial_game import (
    AdversarialOption,
    Adversaries,
    Adversary,
    DiscriminatorOption,
    ExtraDiscriminators,
    GeneratorOption,
    Weight,
)
from gantrain.methods.base import Batch, Context, Method, Phase, Terms, find_kept_forward
from gantrain.methods.diffaugment import Kind
from gantrain.networks import NETWORKS
from gantrain.networks.blocks import Width, drops_units, mixes_samples, padded_size
from gantrain.networks.cut_projection import Projection
from gantrain.networks.gradient_checkpointing import is_recomputed
from gantrain.networks.protocol import capabilities_of, feature_channels_of, takes_layers

RESNET: Component = {"name": "resnet", "antialias": True, "upsample": "bilinear", "init": "xavier"}
PATCHGAN: Component = {"name": "patchgan", "norm": "instance", "antialias": True, "init": "xavier"}
LAYERS = ("image", "down0", "down1", "block0", "block4")


class CUT(Method):
    """CUT: a patch of the fake should resemble the source's patch at the same place.

    It should resemble that patch more than the other patches of the source, in the generator's own
    features. The generator G minimises gan * adversarial + nce * PatchNCE(source, fake), or with
    `identity` gan * adversarial + nce * (PatchNCE(source, fake) + PatchNCE(target, G(target))) / 2.
    The discriminator sees one image, and minimises half of its loss.

    The defaults are those of CUT. FastCUT has `nce: 10`, no `identity`, and `flip_equivariance`.
    The generator then sees half of the sources mirrored, and the features of its fakes must match
    the mirrored features of the sources.

    Four things differ from the paper's code:

    - The generator's phase comes first. `order: discriminator_first` is the paper's.
    - Places and mirroring are drawn for each image, not for the whole batch, so that they do not
      depend on ranks and micro-batches.
    - One Adam trains the generator and the projection. Two with equal settings are the same
      mathematics.
    - Random crops continue while the learning rate decays. The paper's code stops them then,
      because it loads images at the size of the crop from the first epoch of the decay on.

    With `identity`, one forward of the generator makes the fakes and the images of the identity
    term, as in the paper's code. Batch norm then mixes the statistics of both. In the compared
    layers, its running statistics move three times a step, because the features of the generated
    images and of the original images are forwards too.

    Args:
        generator: The network that translates. It must return the features of `layers`.
        discriminator: The first discriminator. It sees one image.
        adversarial: The adversarial loss.
        gan: The weight of the generator's adversarial loss.
        nce: The weight of PatchNCE.
        identity: Adds PatchNCE of a target and its own translation. Both terms then have half of
            the weight `nce`.
        flip_equivariance: Mirrors half of the sources for the generator, as in FastCUT.
        layers: The layers of the generator whose features PatchNCE compares.
        patches: The number of places that PatchNCE compares in each layer.
        projection_width: The number of channels of the vectors that PatchNCE compares.
        temperature: The number by which PatchNCE divides the similarities.
        augment: The kinds of DiffAugment that change the images which the discriminators see.
        more_discriminators: Further discriminators, each with its own loss, weight and interval.
        order: The phase that comes first in a step. `discriminator_first` is the paper's order.

    Raises:
        UserError: Source and target differ in channels, or the generator has no such features.
    """

    def __init__(
        self,
        source_channels: int,
        target_channels: int,
        *,
        generator: GeneratorOption = RESNET,
        discriminator: DiscriminatorOption = PATCHGAN,
        adversarial: AdversarialOption = "lsgan",
        gan: Weight = 1.0,
        nce: Weight = 1.0,
        identity: bool = True,
        flip_equivariance: bool = False,
        layers: Annotated[tuple[str, ...], Field(min_length=1, max_length=100)] = LAYERS,
        patches: Annotated[int, Field(ge=2, le=4096)] = 256,
        projection_width: Width = 256,
        temperature: Annotated[float, Field(gt=0, le=1000)] = 0.07,
        augment: tuple[Kind, ...] = (),
        more_discriminators: ExtraDiscriminators = (),
        order: Literal["generator_first", "discriminator_first"] = "generator_first",
    ) -> None:
        super().__init__()
        if source_channels != target_channels:
            raise UserError(
                f"cut: found {source_channels} channels of the source and {target_channels} of the"
                " target, allowed: as many, since both are seen by the generator; choose other"
                " data.source and data.target"
            )
        self.nce = nce
        self.identity = identity
        self.flip_equivariance = flip_equivariance
        self.layers = layers
        self.patches = patches
        self.temperature = temperature
        self.networks["generator"] = build(
            NETWORKS, generator, in_channels=source_channels, out_channels=target_channels
        )
        channels = feature_channels_of(self.networks["generator"])
        _check_layers(layers, channels)
        self.networks["projection"] = Projection(
            [channels[name] for name in layers], width=projection_width
        )
        self.adversaries = Adversaries(
            self.networks,
            discriminator,
            adversarial,
            more_discriminators,
            channels=[target_channels],
            generator_weight=gan,
            augment=augment,
        )
        patch_weights = {"nce": nce / 2, "identity": nce / 2} if identity else {"nce": nce}
        self.loss_weights = self.adversaries.loss_weights(**patch_weights)

        generator_phase = Phase(
            "generator",
            ("generator", "projection"),
            self.generator_terms,
            forward=self.generate,
        )
        discriminator_phases = self.adversaries.phases(self.discriminator_terms)
        if order == "generator_first":
            self.phases = (generator_phase, *discriminator_phases)
        else:
            self.phases = (*discriminator_phases, generator_phase)

    def translate(self, batch: Batch) -> Tensor:
        fake: Tensor = self.networks["generator"](batch["source"])
        return fake

    def originals(self, batch: Batch) -> Tensor:
        """Return the images that the generator sees in its turn, (N or 2N, C, H, W).

        They are the sources and, with `identity`, the targets, which should stay as they are.
        """
        if self.identity:
            return torch.cat([batch["source"], batch["target"]])
        return batch["source"]

    def generate(self, batch: Batch, context: Context) -> Batch:
        """Return the generator's images of the originals, `generated`, and the `fake`s among them.

        The result also has the features of the originals (`features_0`, ...), from which PatchNCE's
        keys come, where this forward has them.
        """
        generator = self.networks["generator"]
        (inputs,) = self.mirrored([self.originals(batch)], context)
        made = {}
        if self._forward_has_keys(inputs):
            generated, features = generator(inputs, self.layers)
            for i, maps in enumerate(features):
                made[_features_name(i)] = maps.detach()
        else:
            generated = generator(inputs)
        made["generated"] = generated
        made["fake"] = generated[: len(batch["source"])]
        return made

    def _forward_has_keys(self, inputs: Tensor) -> bool:
        """Return whether a forward of these inputs has the features that PatchNCE compares.

        Other inputs, another draw of dropout, padded images and batch norm (whose statistics the
        features would move) make them differ. With gradient checkpointing, a layer that returns its
        inner features could not be computed again.
        """
        generator = self.networks["generator"]
        if self.flip_equivariance or not takes_layers(generator):
            return False
        if mixes_samples(generator) or drops_units(generator) or is_recomputed(generator):
            return False
        limits = capabilities_of(generator)
        height, width = inputs.shape[-2:]
        size = (height, width)
        return padded_size(size, limits.multiple, limits.padded_minimum) == size

    def generator_terms(self, batch: Batch, carried: Batch | None, context: Context) -> Terms:
        generator: Any = self.networks["generator"]
        projection = self.networks["projection"]
        made = find_kept_forward(carried, "generated") or self.generate(batch, context)
        generated = made["generated"]
        fake = made["fake"]
        losses, _ = self.adversaries.generator_terms(fake, batch["target"], context)

        # Features of the generated images are mirrored back, to lie where the originals' lie.
        features = self.mirrored(generator.features(generated, self.layers), context)
        places = self.places(features, context)
        # Queries come first: older autocasts cache the cast of a weight, and a cast that is made
        # without gradient never gets any.
        queries = projection(features, places)
        with torch.no_grad():
            if _features_name(0) in made:
                original_features = [made[_features_name(i)] for i in range(len(self.layers))]
            else:
                original_features = generator.features(self.originals(batch), self.layers)
            keys = projection(original_features, places)
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
        """Return the maps, (N or 2N, C, h, w), with those of half of the samples mirrored.

        The same samples are drawn in every call of a step, so a second call undoes the first one.
        Without `flip_equivariance` the maps stay as they are.
        """
        if not self.flip_equivariance:
            return maps
        flips = [context.random(p, Purpose.MIRROR).random() < 0.5 for p in context.positions]
        # Targets, where they follow the sources, are mirrored with them.
        repeats = len(maps[0]) // len(flips)
        chosen = torch.tensor(flips * repeats).view(-1, 1, 1, 1)
        chosen = chosen.to(maps[0].device, non_blocking=True)
        return [torch.where(chosen, x.flip(-1), x) for x in maps]

    def places(self, features: list[Tensor], context: Context) -> list[Tensor]:
        """Draw the places to compare, for each of the maps (N or 2N, C, h, w).

        Returns for each map (N or 2N, P) different numbers in [0, h * w), row by row.
        """
        generators = [context.random(p, Purpose.PATCHES) for p in context.positions]
        # A sample's target, where it follows the sources, takes the numbers after its source's.
        generators *= len(features[0]) // len(generators)
        return draw_places(features, generators, self.patches)

    def diagnose(self, batch: Batch) -> dict[str, Tensor]:
        return self.adversaries.diagnose(batch["target"])


def _features_name(number: int) -> str:
    """Return the name of the originals' features of one layer in the result of `generate`."""
    return f"features_{number}"


def _check_layers(layers: Sequence[str], channels: Mapping[str, int]) -> None:
    """Raise UserError for layers of which the generator has no features.

    channels: of the features that it has, by layer.
    """
    missing = [name for name in layers if name not in channels]
    if missing:
        allowed = ", ".join(channels) or "none with this generator; choose method.generator=resnet"
        raise UserError(f"method.layers: found {', '.join(missing)}, allowed: {allowed}")
