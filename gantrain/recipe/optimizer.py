"""The sections of a recipe on updates of weights: optimiser, learning rate, EMA."""

from typing import Literal

from pydantic import Field

from gantrain.core.component import StrictModel
from gantrain.recipe.field_types import Betas, Decay, Eps, Factors, Length, Norm, Positive, Rate


class Optimizer(StrictModel):
    name: Literal["adam", "adamw"] = Field("adam", description="fused Adam or AdamW")
    lr: Rate = Field(2e-4, description="the learning rate")
    lr_factors: Factors = Field(
        {}, description="factors of lr by network, or by the beginning of its parameters' names"
    )
    betas: Betas = Field((0.5, 0.999), description="the decay rates of Adam's two averages")
    eps: Eps = Field(1e-8, description="the constant that Adam adds to its denominator")
    weight_decay: Decay = Field(0.0, description="the weight decay")
    grad_clip_norm: Norm | None = Field(
        None, description="the largest norm of the gradients; null: they are not clipped"
    )
    interval_steps: Positive = Field(
        1, description="the phase updates its networks in every n-th step"
    )


class OptimizerChange(StrictModel):
    """The settings of one phase that differ; None keeps the value of `optimizer`."""

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
            "how the rate falls with the images seen; a run that is made longer goes on at a higher"
            " rate"
        ),
    )
    decay_fraction: float = Field(
        0.5, gt=0, le=1, description="last fraction of the run, in which the rate falls to 0"
    )
    warmup: Length | None = Field(None, description="the length over which the rate rises from 0")


class EMA(StrictModel):
    half_life: Length | None = Field(
        None, description="the length after which a weight's influence has halved; null: no average"
    )
