"""The typed recipe: what to train. Defaults live here, once."""

import re
import signal
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model

from gantrain import component, overrides
from gantrain.methods import METHODS
from gantrain.problems import check


def _length(value: int | str) -> int | str:
    if isinstance(value, int):
        if value < 1:
            raise ValueError("must be at least 1 image")
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(epochs?|images?)\s*", value)
    if not match or float(match[1]) <= 0:
        raise ValueError("must be a number of images, or text like '20 epochs' or '5000 images'")
    if match[2].startswith("image"):
        return int(float(match[1]))
    return f"{match[1]} epochs"


Length = Annotated[int | str, AfterValidator(_length)]
Size = Annotated[tuple[int, int], Field(description="height, width")]
Positive = Annotated[int, Field(ge=1)]


def images_in(length: int | str, epoch: int) -> int:
    """A length in images, where one epoch has `epoch` images; at least one."""
    if isinstance(length, int):
        return length
    return max(1, round(float(length.split()[0]) * epoch))


def _signal(name: str) -> str:
    if not name.startswith("SIG") or not hasattr(signal, name):
        raise ValueError("must be a signal's name, such as SIGUSR1 or SIGUSR2")
    return name


def _precision(value: str) -> str:
    if value in ("fp16", "float16", "half"):
        raise ValueError(
            "fp16 needs a loss scale for each optimiser and still overflows in GANs; use bf16"
        )
    return value


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_default=True)


class Data(_Part):
    train: str | None = Field(None, description="shards, a folder of images, or `synthetic`")
    validation: str | None = Field(
        None, description="held-out images, in any form that `train` takes"
    )
    source: str = Field("left", description="the field that the generator sees")
    target: str = Field("right", description="the field that it should produce")
    labels: dict[str, Positive] = Field(
        {}, description="fields that hold class ids, and how many classes"
    )
    size: tuple[Positive, Positive] = Field(
        (256, 256), description="height and width trained on, pixels"
    )
    resize: tuple[Positive, Positive] | None = Field(
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


class Optimizer(_Part):
    name: Literal["adam", "adamw"] = Field("adam", description="fused Adam or AdamW")
    lr: float = Field(2e-4, gt=0, description="learning rate")
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (
        0.5,
        0.999,
    )
    eps: float = Field(1e-8, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    clip: float | None = Field(None, gt=0, description="largest gradient norm")
    every: Positive = Field(1, description="update in every n-th step")


class OptimizerChange(_Part):
    """What one phase does differently; None keeps the value of `optimizer`."""

    lr: float | None = Field(None, gt=0)
    betas: tuple[float, float] | None = None
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

    name: str = Field(description="the recipe's file name")
    description: str = Field("", description="one line for `gantrain recipes`")
    run: str | None = Field(
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
    precision: Annotated[str, AfterValidator(_precision)] = Field(
        "auto",
        description="auto, bf16, fp32 or fp64",
        pattern="^(auto|bf16|fp32|fp64|fp16|float16|half)$",
    )
    channels_last: bool = Field(True, description="NHWC memory format")
    compile: bool = Field(False, description="torch.compile each network")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Positive | Literal["auto"] = Field("auto", description="CPU threads per rank")
    log_every: Length = Field(200, description="console, metrics.jsonl and trackers")
    trackers: list[str] = Field(["tensorboard"], description="Accelerate's trackers, by name")
    stop_signal: Annotated[str, AfterValidator(_signal)] = Field(
        "SIGUSR1", description="besides SIGTERM and SIGINT: save and leave"
    )
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
    "name", "description", "run", "length", "micro_batch_size", "device", "threads", "log_every", "trackers",
    "stop_signal", "max_nonfinite", "dry_run", "evaluate", "previews", "checkpoint",
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
