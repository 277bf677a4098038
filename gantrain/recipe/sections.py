"""The sections `test_time`, `evaluate`, `previews` and `checkpoint` of a recipe."""

from pydantic import Field, ValidationInfo, field_validator

from gantrain.core.component import StrictModel
from gantrain.core.errors import UserError
from gantrain.recipe.field_types import (
    Length,
    Metric,
    Metrics,
    Natural,
    Place,
    Positive,
    Shown,
)


class InferenceMode(StrictModel):
    dropout: bool = Field(
        False, description="keep dropout on in evaluation and translation, as pix2pix does"
    )
    batch_statistics: bool = Field(
        False,
        description=(
            "batch norm uses the image's own statistics in evaluation and translation, as pix2pix"
            " does"
        ),
    )


class Evaluate(StrictModel):
    every: Length = Field("5 epochs", description="how often the run measures held-out samples")
    metrics: Metrics = Field(
        ["l1", "psnr", "ssim"], description="the metrics to measure, such as fid, kid and lpips"
    )
    best_by: Metric = Field(
        "l1", description="the one of the metrics that chooses the best checkpoints"
    )
    weights: dict[str, Place] = Field(
        {}, description="files of weights by network, such as inception: FILE"
    )
    crop_border: Natural = Field(
        0, description="the pixels at each edge that the metrics of pairs leave out"
    )
    max_samples: Positive | None = Field(
        None, description="use only the first n held-out samples; null: all"
    )

    @field_validator("weights")
    @classmethod
    def _check_networks(cls, value: dict[str, str]) -> dict[str, str]:
        from gantrain.metrics.registry import takes_weights  # imports torch

        unknown = [name for name in value if not takes_weights(name)]
        if unknown:
            raise UserError(
                "allowed: inception, squeezenet, lpips, unet or another network's name, not"
                f" {', '.join(unknown)}"
            )
        return value

    @field_validator("best_by")
    @classmethod
    def _check_measured(cls, value: str, info: ValidationInfo) -> str:
        measured = info.data.get("metrics", [value])
        if value not in measured:
            allowed = f"allowed: {', '.join(measured) or 'none'} (evaluate.metrics)"
            names = measured or [value]
            both = f"'evaluate.metrics=[{','.join(names)}]' evaluate.best_by={names[0]}"
            raise UserError(f"{allowed}; set both keys, as in {both}")
        return value


class Previews(StrictModel):
    every: Length = Field("5 epochs", description="how often the run writes a sheet of pictures")
    samples: Shown = Field(
        4,
        description=(
            "the number of samples on a sheet, always the same ones; held-out ones if there are any"
        ),
    )


class Checkpoint(StrictModel):
    every: Length = Field("5 epochs", description="how often the run is saved")
    keep: Positive = Field(2, description="the number of latest checkpoints that the run keeps")
    best: Natural = Field(
        1, description="the number of best checkpoints by evaluate.best_by to keep as well"
    )
