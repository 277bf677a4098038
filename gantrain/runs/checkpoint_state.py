"""The content of a checkpoint's state.json, and the check of one that was read."""

import sys
from typing import Annotated, Any, Literal

import pydantic
import torch
from pydantic import (
    BaseModel,
    ConfigDict,
    FiniteFloat,
    NonNegativeInt,
    PositiveInt,
    field_validator,
)

import gantrain
from gantrain.core.error_messages import check
from gantrain.core.errors import UserError
from gantrain.core.extensions import is_module_name
from gantrain.data.batch import data_dims
from gantrain.data.field import Field, check_fields

_MOST_IMAGES = 2**53  # JSON readers keep whole numbers up to there
_MOST_CHANNELS = 2**17  # more than 16-bit class ids and an instance boundary map need

Images = Annotated[int, pydantic.Field(ge=0, lt=_MOST_IMAGES)]
Fact = Annotated[int, pydantic.Field(ge=1, le=_MOST_CHANNELS)]
Version = Annotated[str, pydantic.Field(pattern="^[ -~]{1,100}$")]  # printed when a run resumes
Digest = Annotated[str, pydantic.Field(pattern="^[0-9a-f]{64}$")]


class _StrictModel(BaseModel):
    """The base of what state.json holds.

    It is strict, since pydantic would otherwise take true for 1, and "80" for 80.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Sum(_StrictModel):
    """A meter's sum since the last log point, as the mean over the ranks.

    steps: how many steps it adds up.
    """

    total: FiniteFloat
    steps: Annotated[FiniteFloat, pydantic.Field(gt=0)]


class Progress(_StrictModel):
    """The values that the next row of metrics.jsonl needs of the steps before the checkpoint.

    nonfinite_steps: updates left out so far. nonfinite_in_a_row: those that came last.
    nonfinite_most: the most in a row since the last log point. damaged: a text for each damaged
    sample that was replaced.
    """

    meters: dict[str, Sum] = {}
    nonfinite_steps: NonNegativeInt = 0
    nonfinite_in_a_row: NonNegativeInt = 0
    nonfinite_most: NonNegativeInt = 0
    # Texts; pydantic's own type of texts refuses the undecodable bytes that a file's name may hold.
    damaged: list[Any] = []

    @field_validator("damaged")
    @classmethod
    def _are_texts(cls, texts: list[object]) -> list[object]:
        if any(not isinstance(text, str) for text in texts):
            raise UserError("allowed: texts")
        return texts


class State(_StrictModel):
    """A checkpoint's state.json.

    images_seen: by the whole run. length: images that the stage was to train on, at that time.
    rates: the last learning rate of each phase. fingerprint: of the training data, of unpaired data
    two of them. ranks, micro_batch_size: how the batch was split. precision: that of the steps,
    also where the recipe says `auto`; None where networks were imported. metrics: those of the
    held-out set, measured at this checkpoint. left_marks: a signal came when an evaluation was due,
    which the resumed run makes first. facts: what the data decide of the networks. fields: the
    data's, by role. modules: the names of the user's own modules that the run had imported, which
    are compared with those that a command imports, and never imported by themselves. sha256: of
    each tensor file, by name without its suffix.
    """

    format: int
    images_seen: Images
    length: Images | None = None
    rates: dict[str, FiniteFloat] = {}
    fingerprint: str
    ranks: PositiveInt
    micro_batch_size: PositiveInt
    precision: Literal["bf16", "fp32", "fp64"] | None = None
    metrics: dict[str, float]
    left_marks: bool = False
    facts: dict[str, Fact]
    fields: dict[str, Field]
    versions: dict[str, Version]
    modules: list[str] = []
    progress: Progress = Progress()
    sha256: dict[str, Digest]

    @field_validator("metrics")
    @classmethod
    def _are_numbers(cls, metrics: dict[str, float]) -> dict[str, float]:
        if any(value != value for value in metrics.values()):
            raise UserError("allowed: numbers")
        return metrics

    @field_validator("modules")
    @classmethod
    def _are_modules(cls, names: list[str]) -> list[str]:
        if not all(is_module_name(name) for name in names):
            raise UserError("allowed: names of modules")
        return names

    @field_validator("fields")
    @classmethod
    def _have_roles(cls, fields: dict[str, Field]) -> dict[str, Field]:
        if not {"source", "target"} <= fields.keys():
            raise UserError("allowed: source and target, and the inputs of a method")
        return fields


def versions() -> dict[str, str]:
    """Return the versions on which the bits of a run depend."""
    return {
        "gantrain": gantrain.__version__,
        "torch": torch.__version__,
        "python": sys.version.split()[0],
    }


def parse_state(content: object) -> State:
    """Return the checked state. Raises UserError, with one line for each problem."""
    state = check(State, content)
    check_fields(state.fields)
    expected = data_dims(state.fields)
    if state.facts != expected:
        raise UserError(
            f"facts: found {state.facts}, allowed: {expected}, since that is what its fields say"
        )
    return state


def recorded_modules(content: object) -> list[str]:
    """Return the user's modules that an unchecked state records; none where it is not sound."""
    names = content.get("modules") if isinstance(content, dict) else None
    if not isinstance(names, list):
        return []
    return [name for name in names if isinstance(name, str) and is_module_name(name)]
