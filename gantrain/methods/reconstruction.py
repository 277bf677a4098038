"""The weighted reconstruction losses of a method with pairs, `method.losses`."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor, nn

from gantrain.core.component import BadComponent, Weighted, build
from gantrain.core.own_code import naming_failure
from gantrain.core.weighted import (
    TermWeight,
    as_options,
    check_weight,
    is_zero,
    lay_over,
    weight_at,
)
from gantrain.losses import RECONSTRUCTION
from gantrain.losses.adversarial import at_least_float32
from gantrain.losses.reconstruction_loss import TAKEN, ReconstructionLoss
from gantrain.methods.adversarial_game import JudgedImages
from gantrain.methods.base import Batch, Context, Input, Method

# What methods with pairs take beside the source and the target. A mask may weight a loss.
PAIRED_INPUTS = {"mask": Input("mask"), **Method.inputs}

LossOptions = Annotated[Mapping[str, Any], Weighted(RECONSTRUCTION)]


class Reconstruction:
    """The reconstruction losses of a method, built into `auxiliary` by their names.

    defaults, losses: weights or options by name; `losses` is laid on the defaults. A weight of 0
    leaves a term out. channels: of the target. Raises UserError.
    """

    def __init__(
        self,
        auxiliary: nn.ModuleDict,
        defaults: Mapping[str, Any],
        losses: Mapping[str, Any],
        *,
        channels: int,
    ) -> None:
        self.weights: dict[str, TermWeight] = {}
        self.losses: dict[str, ReconstructionLoss] = {}
        terms = lay_over(defaults, losses)
        for name in RECONSTRUCTION:  # whose order is that of the sum
            if name not in terms:
                continue
            options = as_options(terms[name])
            assert isinstance(options, dict)
            options = dict(options)
            weight = check_weight(options.pop("weight"))
            if is_zero(weight):
                continue
            loss = build(RECONSTRUCTION, {**options, "name": name}, channels=channels)
            _check_loss(name, loss)
            self.weights[name] = weight
            self.losses[name] = loss
            auxiliary[name] = loss

    def terms(
        self, batch: Batch, fake: Tensor, judged: JudgedImages, context: Context
    ) -> dict[str, Tensor]:
        """Return the weighted losses by name.

        A scheduled loss whose weight is 0 at the moment is 0, and is not computed. batch: has the
        target. fake: (N, C, H, W). judged: the first discriminator's outputs.
        """
        # What a loss may take, by the loss's name; only what it takes is computed.
        parts: dict[str, Callable[[str], object]] = {
            "fake": lambda name: fake,
            "target": lambda name: batch["target"],
            "pixel_weights": lambda name: pixel_weights(self.losses[name], batch),
            "on_fake": lambda name: judged.on_fake,
            "on_real": lambda name: judged.on_real,
            "generators": lambda name: _generators(name, context),
        }
        terms: dict[str, Tensor] = {}
        for name, loss in self.losses.items():
            weight = weight_at(self.weights[name], context.images_seen - context.stage_start)
            if weight == 0:
                terms[name] = at_least_float32(fake.new_zeros(()))
                continue
            taken = [parts[part](name) for part in loss.takes]
            with naming_failure(loss, "forward"):
                terms[name] = weight * loss(*taken)
        return terms


def _check_loss(name: str, loss: object) -> None:
    """Raise BadComponent for a class from outside that does not keep the contract."""
    if not isinstance(loss, ReconstructionLoss):
        raise BadComponent(
            f"method.losses.{name}: {type(loss).__name__} is no gantrain.ReconstructionLoss; derive"
            " it from that"
        )
    unknown = [part for part in loss.takes if part not in TAKEN]
    if unknown:
        raise BadComponent(
            f"method.losses.{name}: {type(loss).__name__}.takes: found {unknown[0]!r:.100},"
            f" allowed: {', '.join(TAKEN)}"
        )


def _generators(name: str, context: Context) -> list[np.random.Generator]:
    """Return a generator of random numbers for each sample, of a stream of the loss's own."""
    return [context.random(position, f"losses.{name}") for position in context.positions]


def pixel_weights(loss: ReconstructionLoss, batch: Batch) -> Tensor | None:
    """Return the weight of each pixel, (N, 1, H, W), or None where all have 1."""
    if loss.weight_by is None:
        return None
    part = at_least_float32(batch[loss.weight_by])
    if loss.class_weights is None:
        return part
    weights = torch.ones_like(part[:, :1])
    for number, weight in loss.class_weights.items():
        # A pixel of the class has 1 in its channel.
        weights = weights + (weight - 1) * part[:, number : number + 1]
    return weights
