"""The parts of a recipe that say how weights are updated: optimiser, learning rate, averages."""

from typing import Literal

from pydantic import Field

from gantrain.core.component import StrictModel
from gantrain.recipe.field_types import Betas, Decay, Eps, Factors, Length, Norm, Positive, Rate


class Optimizer(StrictModel):
    name: Literal["adam", "adamw"] = Field("adam", description="fused Adam or AdamW")
    lr: Rate = Field(2e-4, description="learning rate")
    lr_factors: Factors = Field(
        {}, description="share of lr by network, or start of its parameters' dotted names"
    )
    betas: Betas = (0.5, 0.999)
    eps: Eps = 1e-8
    weight_decay: Decay = 0.0
    grad_clip_norm: Norm | None = Field(
        None, description="the largest norm of the gradients; null: they are not clipped"
    )
    interval_steps: Positive = Field(
        1, description="the phase updates its networks in every n-th step"
    )


class OptimizerChange(StrictModel):
    """What one phase does differently; None keeps the value of `optimizer`."""

    lr: Rate | None = None
    betas: Betas | None = None
    eps: Eps | None = None
    weight_decay: Decay | None = None
    grad_clip_norm: Norm | None = None
    interval_steps: Positive | None = None


class Schedule(StrictModel):
    name: Literal["constant", "linear", "cosine"] = Field(
        "constant",
        description=(
            "the rate by images seen and length: a run that is made longer goes on at a higher rate"
        ),
    )
    decay_fraction: float = Field(
        0.5, gt=0, le=1, description="last fraction of the run, in which the rate falls to 0"
    )
    warmup: Length | None = Field(None, description="images over which the rate rises from 0")


class EMA(StrictModel):
    half_life: Length | None = Field(
        None, description="images in which a weight's share halves; null: no average"
    )
