"""The penalties on a method's first discriminator."""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor

from gantrain.core.component import Component, OneOf, build
from gantrain.core.errors import UserError
from gantrain.core.rng import Purpose
from gantrain.losses import PENALTIES
from gantrain.methods.adversarial_game import Adversary, pair
from gantrain.methods.base import Batch, Context

PenaltyOptions = Annotated[tuple[Component, ...], OneOf(PENALTIES)]


class DiscriminatorPenalties:
    """The terms of the penalties of a discriminator that sees a source and an image together.

    A single penalty's term is `penalty`. The terms of several are `penalty_NAME`, with the names in
    the table. Raises UserError where one name occurs twice.
    """

    def __init__(self, penalties: Sequence[Component]) -> None:
        names = [options if isinstance(options, str) else options["name"] for options in penalties]
        for name, count in Counter(names).items():
            if count > 1:
                raise UserError(
                    f"method.penalties: found {name} {count} times, allowed: each penalty once"
                )
        self.penalties = {}
        for name, options in zip(names, penalties, strict=True):
            term = "penalty" if len(names) == 1 else f"penalty_{name}"
            self.penalties[term] = build(PENALTIES, options)

    @property
    def loss_weights(self) -> dict[str, float]:
        """The penalties' weights by the names of their terms.

        A penalty from outside may lack a weight.
        """
        weights = {}
        for term, penalty in self.penalties.items():
            weight = getattr(penalty, "weight", None)
            if weight is not None:
                weights[term] = weight
        return weights

    def terms(
        self, adversary: Adversary, batch: Batch, fake: Tensor, context: Context
    ) -> dict[str, Tensor]:
        """Return the penalties that are due in this turn, by the names of their terms.

        batch: has the source and the target. fake: (N, C, H, W).
        """
        source = batch["source"]
        target = batch["target"]
        terms = {}
        for term, penalty in self.penalties.items():
            if context.is_due(penalty.interval_steps):
                value = penalty(
                    lambda images: adversary.forward(pair(source, images), context),
                    target,
                    fake,
                    _draw_mixing_fractions(target, context),
                )
                # The penalty comes in one of so many turns, so it counts so many times.
                terms[term] = penalty.interval_steps * value
        return terms


def _draw_mixing_fractions(images: Tensor, context: Context) -> Tensor:
    """Draw the fraction of the real image in each mixture of a penalty, (N, 1, 1, 1)."""
    fractions = [context.random(p, Purpose.MIX).random() for p in context.positions]
    tensor = torch.tensor(fractions, dtype=images.dtype).view(-1, 1, 1, 1)
    return tensor.to(images.device, non_blocking=True)
