"""The section `data` of a recipe."""

from operator import lt
from typing import Annotated, Any

import pydantic
from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from gantrain.core.component import StrictModel
from gantrain.core.errors import UserError
from gantrain.recipe.field_types import (
    Auto,
    Classes,
    FieldName,
    FieldNames,
    Place,
    Positive,
    Scales,
    Size,
    ValueRange,
    Workers,
    as_list,
)


class Data(StrictModel):
    unpaired: bool = Field(
        False,
        description=(
            "true: sources and targets are two unpaired sets; `train` holds the sources,"
            " `train_target` the targets"
        ),
    )
    train: Place | None = Field(
        None,
        description=(
            "the training data: a folder, pattern or URL of shards, a folder of images, or"
            " `synthetic`"
        ),
    )
    train_target: Place | None = Field(
        None, description="the unpaired targets; null: trainA and trainB inside `train`"
    )
    validation: Place | None = Field(
        "auto",
        description=(
            "the held-out images, in any form that `train` takes; auto: gantrain looks beside"
            " `train`; null: none"
        ),
    )
    validation_target: Place | None = Field(
        None, description="the unpaired held-out targets; null: valA and valB in `validation`"
    )
    test: Place | None = Field(
        None,
        description=(
            "test images; previews show them where nothing is held out, and training never"
            " measures them"
        ),
    )
    test_target: Place | None = Field(
        None, description="the unpaired test targets; null: testA and testB inside `test`"
    )
    degrade: Annotated[list[dict[str, Any]], BeforeValidator(as_list)] = Field(
        [],
        max_length=8,
        description="make the source from the target by these degradations, such as {name: jpeg}",
    )
    source: FieldName | FieldNames | None = Field(
        "left",
        description=(
            "the field that the generator receives, or several, such as [t1, t2], whose channels"
            " follow one another; null with `degrade`"
        ),
    )
    target: FieldName = Field("right", description="the field that it learns to produce")
    labels: dict[str, Classes] = Field(
        {}, description="the fields that hold class ids, each with its number of classes"
    )
    inputs: dict[str, FieldName | None] = Field(
        {},
        description=(
            "the fields of further inputs of the method, by role, such as {instances: NAME}"
        ),
    )
    ranges: dict[str, ValueRange] = Field(
        {},
        description="the values that networks see as -1 and 1, by field of 16 bits or floats",
    )
    size: Size = Field(
        (256, 256), description="height and width of the images in training, in pixels"
    )
    resize: Size | None = Field(
        None,
        description=(
            "height and width to which samples are resized before the crop, in pixels; null: they"
            " are not resized"
        ),
    )
    flip: bool = Field(True, description="mirror each sample left to right with probability 1/2")
    vertical_flip: bool = Field(
        False, description="mirror each sample top to bottom with probability 1/2"
    )
    quarter_turns: bool = Field(
        False, description="turn each sample by 0, 90, 180 or 270 degrees; needs a square data.size"
    )
    random_scale: Scales | None = Field(
        None,
        description=(
            "lowest and highest factor by which each sample is resized before the crop, such as"
            " [0.8, 1.25]; null: no random scale"
        ),
    )
    color_jitter: float = Field(
        0.0,
        ge=0,
        le=1,
        description="the largest random change of brightness and contrast, as a fraction",
    )
    color_jitter_source_only: bool = Field(
        False, description="leave the target as it is, and change the colours of the source alone"
    )
    workers: Workers | Auto = Field(
        "auto", description="the number of loader processes of each rank; auto: by the cores"
    )
    cache_gib: float = Field(
        32, gt=0, le=1e6, description="the disk space of a node for shards from a URL, in GiB"
    )
    partitions: Positive = Field(
        1,
        description=(
            "the number of parts into which the shards are divided; a rank reads and fetches only"
            " its own parts"
        ),
    )
    max_bad_fraction: float = Field(
        0.01,
        ge=0,
        le=1,
        description="the fraction of damaged samples above which the run stops",
    )
    max_left_out: float = Field(
        0.5,
        ge=0,
        le=1,
        description=(
            "the fraction of a folder's samples that packing may leave out because they are"
            " unusable or unmatched"
        ),
    )

    @property
    def sources(self) -> list[str]:
        """The fields of the source, in the order of their channels."""
        return _names_of(self.source)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _name_usual_fields(cls, content: object) -> object:
        """Take `image` for both fields of unpaired data, and for the target of a degradation.

        Most such data are folders of single images. A degradation makes the source itself.
        """
        if not isinstance(content, dict):
            return content
        if content.get("degrade"):
            return {"target": "image", **content, "source": None}
        if content.get("unpaired") is True:
            return {"source": "image", "target": "image", **content}
        return content

    # A validator sees the fields above its own. One of them that is wrong itself is absent.

    @field_validator("train_target", "validation_target", "test_target")
    @classmethod
    def _check_target_set(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value and not info.data.get("unpaired"):
            raise UserError("allowed: null; data.unpaired=true makes sources and targets two sets")
        return value

    @field_validator("degrade")
    @classmethod
    def _check_degrade(cls, value: list[object], info: ValidationInfo) -> list[object]:
        if value and info.data.get("unpaired"):
            raise UserError("allowed: [] with data.unpaired, whose sources are a set of their own")
        return value

    @field_validator("source")
    @classmethod
    def _check_sources(
        cls, value: str | list[str] | None, info: ValidationInfo
    ) -> str | list[str] | None:
        if value is None:
            if info.data.get("degrade") == []:
                raise UserError("allowed: the name of a field, except with data.degrade")
            return None
        names = _names_of(value)
        if len(set(names)) < len(names):
            raise UserError("allowed: each field once")
        if len(names) > 1 and info.data.get("unpaired"):
            raise UserError("allowed: one field with data.unpaired")
        return value if len(names) > 1 else names[0]

    @field_validator("target")
    @classmethod
    def _check_target(cls, value: str, info: ValidationInfo) -> str:
        sources = _names_of(info.data.get("source"))
        if value in sources and not info.data.get("unpaired"):
            raise UserError(
                f"allowed: another field than data.source={','.join(sources)}; set both, as in"
                " data.source=right data.target=left"
            )
        return value

    @field_validator("labels")
    @classmethod
    def _check_labels(cls, value: dict[str, int], info: ValidationInfo) -> dict[str, int]:
        sources = _names_of(info.data.get("source"))
        target = info.data.get("target")
        if target and set(value) - {*sources, target} and (sources or info.data.get("degrade")):
            listed = " and ".join([", ".join(sources), target] if sources else [target])
            raise UserError(f"allowed: {listed} (data.source and data.target)")
        return value

    @field_validator("inputs")
    @classmethod
    def _check_inputs(
        cls, value: dict[str, str | None], info: ValidationInfo
    ) -> dict[str, str | None]:
        taken = [*_names_of(info.data.get("source")), info.data.get("target")]
        for field in value.values():
            if field is None:
                continue
            if info.data.get("unpaired"):
                raise UserError("allowed: {} with data.unpaired, whose samples have no more fields")
            if field in taken:
                raise UserError(
                    f"allowed: a field of its own for each input, {field} is used already"
                )
            taken.append(field)
        return value

    @field_validator("ranges")
    @classmethod
    def _check_range_names(
        cls, value: dict[str, tuple[float, float]], info: ValidationInfo
    ) -> dict[str, tuple[float, float]]:
        inputs = info.data.get("inputs", {}).values()
        names = [*_names_of(info.data.get("source")), info.data.get("target"), *inputs]
        known = [name for name in dict.fromkeys(names) if name]
        if known and set(value) - set(known):
            raise UserError(f"allowed: {', '.join(known)} (data.source, data.target, data.inputs)")
        return value

    @field_validator("quarter_turns")
    @classmethod
    def _check_quarter_turns(cls, value: bool, info: ValidationInfo) -> bool:
        size = info.data.get("size")
        if value and size and size[0] != size[1]:
            raise UserError(f"allowed: false, since data.size={list(size)} is not square")
        return value

    @field_validator("random_scale")
    @classmethod
    def _check_random_scale(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value and value[0] > value[1]:
            raise UserError("allowed: the lowest factor first")
        return value

    @field_validator("color_jitter_source_only")
    @classmethod
    def _check_jitter_of_source(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("color_jitter") == 0:
            raise UserError("allowed: false, since data.color_jitter=0 changes no colours")
        if value and info.data.get("degrade"):
            raise UserError("allowed: false, since data.degrade makes the source from the target")
        return value

    @field_validator("resize")
    @classmethod
    def _check_resize(
        cls, value: tuple[int, int] | None, info: ValidationInfo
    ) -> tuple[int, int] | None:
        size = info.data.get("size")
        if value and size and any(map(lt, value, size)):
            raise UserError(
                f"allowed: {list(size)} or more, since data.size is cropped from it; or null"
            )
        return value


def _names_of(source: str | list[str] | None) -> list[str]:
    """Return the fields that `source` names; none where the key is wrong itself."""
    if source is None:
        return []
    return [source] if isinstance(source, str) else list(source)
