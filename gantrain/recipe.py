"""The typed recipe: what to train. Defaults live here, once."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, create_model, field_validator

from gantrain import component, overrides
from gantrain.methods import METHODS
from gantrain.problems import check
from gantrain.values import Betas, FieldName, FolderName, Length, Positive, Precision, Signal, Size


class _Part(BaseModel):
    # Strict: pydantic would take `batch_size: yes` for 1.
    model_config = ConfigDict(
        extra="forbid", validate_default=True, strict=True, allow_inf_nan=False
    )


class Data(_Part):
    train: str | None = Field(None, description="shards, a folder of images, or `synthetic`")
    validation: str | None = Field(
        None, description="held-out images, in any form that `train` takes"
    )
    source: FieldName = Field("left", description="the field that the generator sees")
    target: FieldName = Field("right", description="the field that it should produce")
    labels: dict[str, Annotated[int, Field(ge=2, le=65536)]] = Field(
        {}, description="fields that hold class ids, and how many classes"
    )
    size: Size = Field((256, 256), description="height and width trained on, pixels")
    resize: Size | None = Field(
        None, description="height and width that samples are resized to before the crop, pixels"
    )
    flip: bool = Field(True, description="mirror half of the samples")
    jitter: float = Field(0.0, ge=0, le=1, description="random brightness and contrast, as a share")
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = Field(
        "auto", description="loader processes per rank"
    )
    max_bad_fraction: float = Field(
        0.01, ge=0, le=1, description="share of damaged samples past which the run stops"
    )

    @field_validator("target")
    @classmethod
    def _differs(cls, target: str, info: ValidationInfo) -> str:
        source = info.data.get("source")
        if target == source:
            raise ValueError(
                f"allowed: another field than data.source={source}; set both, as in "
                "data.source=right data.target=left"
            )
        return target

    @field_validator("labels")
    @classmethod
    def _are_used(cls, labels: dict[str, int], info: ValidationInfo) -> dict[str, int]:
        used = [info.data[role] for role in ("source", "target") if role in info.data]
        if len(used) == 2 and not set(labels) <= set(used):
            raise ValueError(f"allowed: {' and '.join(used)} (data.source and data.target)")
        return labels

    @field_validator("resize")
    @classmethod
    def _holds_the_crop(
        cls, resize: tuple[int, int] | None, info: ValidationInfo
    ) -> tuple[int, int] | None:
        size = info.data.get("size")
        if resize and size and (resize[0] < size[0] or resize[1] < size[1]):
            raise ValueError(
                f"allowed: {list(size)} or more, since data.size is cropped from it; or null"
            )
        return resize


class Optimizer(_Part):
    name: Literal["adam", "adamw"] = Field("adam", description="fused Adam or AdamW")
    lr: float = Field(2e-4, gt=0, description="learning rate")
    betas: Betas = (0.5, 0.999)
    eps: float = Field(1e-8, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    clip: float | None = Field(None, gt=0, description="largest gradient norm")
    every: Positive = Field(1, description="update in every n-th step")


class OptimizerChange(_Part):
    """What one phase does differently; None keeps the value of `optimizer`."""

    lr: float | None = Field(None, gt=0)
    betas: Betas | None = None
    eps: float | None = Field(None, gt=0)
    weight_decay: float | None = Field(None, ge=0)
    clip: float | None = Field(None, gt=0)
    every: Positive | None = None


class Schedule(_Part):
    name: Literal["constant", "linear", "cosine"] = "constant"
    decay: float = Field(
        0.5, gt=0, le=1, description="last share of the run in which the rate falls to 0"
    )
    warmup: Length | None = Field(None, description="images over which the rate rises from 0")


class EMA(_Part):
    half_life: Length | None = Field(
        None, description="images after which a weight's share has halved; null: no average"
    )


class TestTime(_Part):
    dropout: bool = Field(
        False, description="dropout stays on in evaluation and translate (pix2pix)"
    )
    batch_statistics: bool = Field(
        False, description="batch norm uses the image's own statistics there (pix2pix)"
    )


class Evaluate(_Part):
    every: Length = "5 epochs"
    best_by: Literal["l1", "psnr", "ssim"] = Field(
        "l1", description="metric that chooses the best checkpoints"
    )
    max_samples: Positive | None = Field(None, description="use only the first n held-out samples")


class Previews(_Part):
    every: Length = "5 epochs"
    samples: Positive = Field(4, description="held-out samples shown, always the same")


class Checkpoint(_Part):
    every: Length = "5 epochs"
    keep: Positive = Field(2, description="the last n are kept")
    best: Annotated[int, Field(ge=0)] = Field(
        1, description="the n best by evaluate.best_by are kept too"
    )


class Recipe(_Part):
    """A run, fully stated. Lengths are images (a number) or text such as `20 epochs`."""

    name: FolderName = Field(description="the recipe's file name")
    description: str = Field("", description="one line for `gantrain recipes`")
    run: FolderName | None = Field(
        None, description="runs/RUN holds all that the run writes; default: the name"
    )
    method: dict[str, Any] = Field(description="the GAN and its networks and losses")
    data: Data = Data()
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    length: Length = Field("200 epochs", description="how long to train")
    batch_size: Positive = Field(8, description="images per step over all ranks")
    micro_batch_size: Positive | Literal["auto"] | None = Field(
        None, description="images per rank and backward; null: all; auto: the most that fit"
    )
    optimizer: Optimizer = Optimizer()
    phases: dict[str, OptimizerChange] = Field({}, description="optimizer settings by phase")
    schedule: Schedule = Schedule()
    ema: EMA = EMA()
    test_time: TestTime = TestTime()
    evaluate: Evaluate = Evaluate()
    previews: Previews = Previews()
    checkpoint: Checkpoint = Checkpoint()
    precision: Precision = Field(
        "auto", description="auto: bf16 where the hardware computes it, else fp32"
    )
    channels_last: bool | Literal["auto"] = Field(
        "auto", description="NHWC memory format; auto: on a GPU (a CPU is slower with it)"
    )
    compile: bool = Field(False, description="torch.compile each network")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Positive | Literal["auto"] = Field("auto", description="CPU threads per rank")
    log_every: Length = Field(200, description="console, metrics.jsonl and trackers")
    trackers: list[str] = Field(["tensorboard"], description="Accelerate's trackers, by name")
    stop_signal: Signal = Field("SIGUSR1", description="besides SIGTERM and SIGINT: save and leave")
    max_nonfinite: Positive = Field(20, description="non-finite updates in a row that stop the run")
    dry_run: bool = Field(False, description="print what would be trained, and stop")

    def dump(self) -> dict[str, Any]:
        content: dict[str, Any] = self.model_dump(mode="json")
        return content

    def yaml(self) -> str:
        return yaml.safe_dump(self.dump(), sort_keys=False, default_flow_style=None, width=100)


# Keys that may differ between the run's start and its resumption. The data's fingerprint is
# compared apart, so a data set may move.
RESUMABLE = (
    "name", "description", "run", "length", "micro_batch_size", "device", "threads", "log_every",
    "trackers", "stop_signal", "max_nonfinite", "dry_run", "evaluate", "previews", "checkpoint",
    "data.train", "data.validation", "data.workers", "data.max_bad_fraction",
)  # fmt: skip


def _typed() -> type[Recipe]:
    """Recipe with the method's options spelled out; made anew, since the tables may have grown."""
    return create_model(
        "Recipe",
        __base__=Recipe,
        __doc__=Recipe.__doc__,
        method=(
            component.union(METHODS),
            Field(description=Recipe.model_fields["method"].description),
        ),
    )


def schema() -> dict[str, Any]:
    """JSON Schema of a recipe file."""
    content: dict[str, Any] = _typed().model_json_schema()
    return content


def from_dict(content: dict[str, Any]) -> Recipe:
    """Validate; raises ValueError with one line for each problem."""
    typed = check(_typed(), content)
    return Recipe.model_validate(typed.model_dump())


def load(name: str, changes: Iterable[str] = ()) -> Recipe:
    """The recipe of that name or path, with `a.b.c=value` changes.

    Raises ValueError: one line for each problem, all at once.
    """
    return from_dict(overrides.apply(overrides.read(name), changes))


def differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """Lines `key: old -> new` for what may not change when a run is resumed."""
    lines = []
    for key in sorted({*old, *new}):
        path = prefix + key
        if path in RESUMABLE or old.get(key) == new.get(key):
            continue
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            lines += differences(before, after, path + ".")
        else:
            lines.append(f"{path}: {before} -> {after}")
    return lines
