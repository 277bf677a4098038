"""The typed recipe: what to train. Defaults live here, once."""

import functools
from collections.abc import Iterable
from operator import lt
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field, ValidationInfo, create_model, field_validator

from gantrain.core import component
from gantrain.core.component import StrictModel, text_keys
from gantrain.core.error_messages import check
from gantrain.core.yaml12 import dump_yaml
from gantrain.losses import ADVERSARIAL, PENALTIES, PERCEPTUAL
from gantrain.methods import METHODS
from gantrain.metrics.registry import takes_weights
from gantrain.networks import NETWORKS
from gantrain.recipe import recipe_files
from gantrain.recipe.evaluation_settings import check_pairs
from gantrain.recipe.field_types import (
    Auto,
    BatchSize,
    Classes,
    FieldName,
    FolderName,
    Length,
    Metric,
    Metrics,
    Natural,
    Place,
    Positive,
    Precision,
    Shown,
    Signal,
    Size,
    Threads,
    Workers,
    ZeroStage,
)
from gantrain.recipe.optimizer import EMA, Optimizer, OptimizerChange, Schedule
from gantrain.recipe.suggestions import Suggestions, check_method_is_named


class Data(StrictModel):
    unpaired: bool = Field(
        False, description="`train` holds sources alone, `train_target` targets alone"
    )
    train: Place | None = Field(
        None, description="shards (folder, pattern or URL), a folder of images, or `synthetic`"
    )
    train_target: Place | None = Field(
        None, description="unpaired targets; null: of trainA and trainB in `train`"
    )
    validation: Place | None = Field(
        "auto",
        description=(
            "held-out images, in any form that `train` takes; auto: beside `train`; null: none"
        ),
    )
    validation_target: Place | None = Field(
        None, description="unpaired targets; null: of valA and valB"
    )
    test: Place | None = Field(
        None,
        description=(
            "test images, which previews show where nothing is held out; never measured in training"
        ),
    )
    test_target: Place | None = Field(
        None, description="unpaired targets; null: of testA and testB"
    )
    source: FieldName = Field("left", description="the field that the generator sees")
    target: FieldName = Field("right", description="the field that it should produce")
    labels: dict[str, Classes] = Field(
        {}, description="fields that hold class ids, and how many classes"
    )
    instances: FieldName | None = Field(
        None,
        description="the field of instance ids, whose edges the source has as a further channel",
    )
    size: Size = Field((256, 256), description="height and width trained on, pixels")
    resize: Size | None = Field(
        None, description="height and width to resize samples to before the crop, pixels"
    )
    flip: bool = Field(True, description="mirror half of the samples")
    color_jitter: float = Field(
        0.0, ge=0, le=1, description="largest random change of brightness and contrast, a fraction"
    )
    workers: Workers | Auto = Field("auto", description="loader processes per rank")
    cache_gib: float = Field(
        32, gt=0, le=1e6, description="disk space of a node for shards from a URL, GiB"
    )
    partitions: Positive = Field(
        1, description="parts of the shards, of which a rank reads and fetches some only"
    )
    max_bad_fraction: float = Field(
        0.01, ge=0, le=1, description="share of damaged samples past which the run stops"
    )
    max_left_out: float = Field(
        0.5,
        ge=0,
        le=1,
        description=(
            "fraction of a folder's samples that may be unusable or unmatched when it is packed"
        ),
    )

    @pydantic.model_validator(mode="before")
    @classmethod
    def _single_images(cls, content: Any) -> Any:
        """Sets of their own are mostly folders of single images, whose field is called so."""
        unpaired = isinstance(content, dict) and content.get("unpaired") is True
        return {"source": "image", "target": "image", **content} if unpaired else content

    @field_validator(
        "train_target",
        "validation_target",
        "test_target",
        "target",
        "labels",
        "instances",
        "resize",
    )
    @classmethod
    def _fits(cls, value: Any, info: ValidationInfo) -> Any:
        """Against the fields before it, of which those that are wrong themselves are absent."""
        source, target, size, unpaired = (
            info.data.get(name) for name in ("source", "target", "size", "unpaired")
        )
        if (info.field_name or "").endswith("_target") and value and not unpaired:
            rule = "null; data.unpaired=true makes sources and targets two sets"
        elif info.field_name == "target" and value == source and not unpaired:
            rule = (
                f"another field than data.source={source}; set both, as in data.source=right"
                " data.target=left"
            )
        elif info.field_name == "labels" and source and target and set(value) - {source, target}:
            rule = f"{source} and {target} (data.source and data.target)"
        elif info.field_name == "instances" and value and (unpaired or value in (source, target)):
            rule = "null with data.unpaired; else another field than data.source and data.target"
        elif info.field_name == "resize" and any(map(lt, value or (), size or ())):
            rule = f"{list(info.data['size'])} or more, since data.size is cropped from it; or null"
        else:
            return value
        raise ValueError(f"allowed: {rule}")


class InferenceMode(StrictModel):
    dropout: bool = Field(
        False, description="dropout stays on in evaluation and translate (pix2pix)"
    )
    batch_statistics: bool = Field(
        False, description="batch norm uses the image's own statistics there (pix2pix)"
    )


class Evaluate(StrictModel):
    every: Length = Field("5 epochs", description="how often held-out samples are measured")
    metrics: Metrics = Field(
        ["l1", "psnr", "ssim"], description="what is measured, such as fid, kid, lpips"
    )
    best_by: Metric = Field(
        "l1", description="the one of the metrics that chooses the best checkpoints"
    )
    weights: dict[str, Place] = Field(
        {}, description="weight files by network, such as inception: FILE"
    )
    crop_border: Natural = Field(
        0, description="pixels at each edge that metrics of pairs leave out"
    )
    max_samples: Positive | None = Field(None, description="use only the first n held-out samples")

    @field_validator("weights")
    @classmethod
    def _are_of_networks(cls, value: dict[str, str]) -> dict[str, str]:
        if odd := [name for name in value if not takes_weights(name)]:
            raise ValueError(
                "allowed: inception, squeezenet, lpips, unet or another network's name, not"
                f" {', '.join(odd)}"
            )
        return value

    @field_validator("best_by")
    @classmethod
    def _is_measured(cls, value: str, info: ValidationInfo) -> str:
        if value not in (measured := info.data.get("metrics", [value])):
            allowed = f"allowed: {', '.join(measured) or 'none'} (evaluate.metrics)"
            names = measured or [value]
            both = f"'evaluate.metrics=[{','.join(names)}]' evaluate.best_by={names[0]}"
            raise ValueError(f"{allowed}; set both keys, as in {both}")
        return value


class Previews(StrictModel):
    every: Length = Field("5 epochs", description="how often a sheet of pictures is made")
    samples: Shown = Field(
        4, description="samples shown, always the same; held-out ones if there are any"
    )


class Checkpoint(StrictModel):
    every: Length = Field("5 epochs", description="how often the run is saved")
    keep: Positive = Field(2, description="the last n are kept")
    best: Natural = Field(1, description="the n best by evaluate.best_by are kept too")


class Recipe(StrictModel):
    """A run, fully stated. Lengths are images (a number) or text such as `20 epochs`."""

    name: FolderName = Field(description="the recipe's file name")
    description: str = Field("", description="one line for `gantrain recipes`")
    run: FolderName | None = Field(
        None, description="runs/RUN holds all that the run writes; default: the name"
    )
    init_from: Place | list[Place] | None = Field(
        None, description="first weights: a run, a checkpoint, or a file or files to import"
    )
    freeze: list[str] = Field(
        [], description="parameters not trained: networks, or the starts of dotted names"
    )
    stages: list[dict[str, Any]] = Field(
        [], max_length=32, description="one after the other, each with what differs in it"
    )
    method: dict[str, Any] = Field(description="the GAN and its networks and losses")
    data: Data = Data()
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(
        0, description="of weights, order and augmentation"
    )
    length: Length = Field(
        "200 epochs",
        description=(
            "how long to train; a larger one continues a run, at the longer run's learning rate"
        ),
    )
    batch_size: BatchSize = Field(8, description="images per step over all ranks")
    micro_batch_size: BatchSize | Auto | None = Field(
        None, description="images per rank and backward; null: all; auto: the most that fit"
    )
    optimizer: Optimizer = Optimizer()
    phases: dict[str, OptimizerChange] = Field({}, description="optimizer settings by phase")
    schedule: Schedule = Schedule()
    ema: EMA = EMA()
    test_time: InferenceMode = InferenceMode()
    evaluate: Evaluate = Evaluate()
    previews: Previews = Previews()
    checkpoint: Checkpoint = Checkpoint()
    precision: Precision = Field(
        "auto",
        description="auto: bf16 on GPUs that compute it, and on CPUs where it is faster; else fp32",
    )
    channels_last: bool | Auto = Field(
        "auto", description="NHWC memory format; auto: on a GPU (a CPU is slower with it)"
    )
    zero_stage: ZeroStage = Field(
        0, description="0: DDP; 1, 2: DeepSpeed's ZeRO, optimisers sharded over the ranks"
    )
    compile: bool = Field(False, description="torch.compile each network")
    gradient_checkpointing: bool = Field(
        False, description="less memory: generators are computed twice"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="auto: a GPU where there is one"
    )
    threads: Threads | Auto = Field("auto", description="CPU threads per rank")
    log_every: Length = Field(200, description="console, metrics.jsonl and trackers")
    trackers: list[str] = Field(["tensorboard"], description="Accelerate's trackers, by name")
    tracker_failure: Literal["stop", "continue"] = Field(
        "stop", description="a tracker that fails: save and stop, or train on without it"
    )
    tracker_project: FolderName | None = Field(
        None, description="the project in W&B and its like; null: $WANDB_PROJECT, else gantrain"
    )
    stop_signal: Signal = Field("SIGUSR1", description="besides SIGTERM and SIGINT: save and leave")
    max_nonfinite: Positive = Field(20, description="non-finite updates in a row that stop the run")
    dry_run: bool = Field(False, description="print what would be trained, and stop")

    @property
    def folder(self) -> Path:
        """Of the run, from where it is started."""
        return Path("runs") / (self.run or self.name)

    def dump(self) -> dict[str, Any]:
        return self.model_dump(mode="json")

    def yaml(self) -> str:
        return dump_yaml(self.dump())


# All tables whose entries a recipe may name.
_TABLES = (METHODS, NETWORKS, ADVERSARIAL, PENALTIES, PERCEPTUAL)
# Keys that no stage may change.
_OF_THE_RUN = (
    "name",
    "run",
    "seed",
    "init_from",
    "stages",
    "device",
    "trackers",
    "tracker_failure",
    "tracker_project",
    "zero_stage",
    "dry_run",
)


def _typed() -> type[Recipe]:
    """Return Recipe with the method's options spelled out, for the tables as they are now."""
    return _build_typed(tuple(tuple(table.items()) for table in _TABLES))


@functools.lru_cache(maxsize=4)
def _build_typed(tables: tuple[Any, ...]) -> type[Recipe]:
    """Build the model once for each content of the tables, which code from outside may extend;
    it takes 0.1 s.
    """
    method = (
        component.union(METHODS),
        Field(description=Recipe.model_fields["method"].description),
    )
    return create_model("Recipe", __base__=Recipe, __doc__=Recipe.__doc__, method=method)


def schema() -> dict[str, Any]:
    """JSON Schema of a recipe file, which may extend another and has its name from its file."""
    content = _typed().model_json_schema()
    del content["required"], content["properties"]["name"]
    content["properties"]["extends"] = {
        "type": "string",
        "description": "the recipe that this one changes",
    }
    return content


def suggestions(content: dict[str, Any]) -> Suggestions:
    """What to suggest for unknown keys of a recipe of that content."""
    return Suggestions(_typed(), content)


def from_dict(content: dict[str, Any]) -> Recipe:
    """Validate; raises ValueError with one line for each problem."""
    check_method_is_named(content)
    typed = check(_typed(), content, advise=suggestions(content).advise)
    recipe = Recipe.model_validate(typed.model_dump())
    check_pairs(recipe.evaluate.metrics, recipe.data.unpaired)
    stages(recipe)
    return recipe


def stages(recipe: Recipe) -> list[Recipe]:
    """The recipe of each stage, itself without stages; of a run without any, its own.

    Raises ValueError with one line for each problem.
    """
    problems, found = list[str](), list[Recipe]()
    for i, changes in enumerate(recipe.stages):
        if whole := [key for key in changes if key in _OF_THE_RUN]:
            problems.append(
                f"stages.{i}: found {', '.join(whole)}, which is the whole run's; set it outside of"
                " stages"
            )
            continue
        try:
            base = {**recipe.dump(), "stages": []}
            found.append(from_dict(recipe_files.merge(base, changes) if changes else base))
        except ValueError as e:
            problems += [f"stages.{i}.{line}" for line in str(e).splitlines()]
    if problems:
        raise ValueError("\n".join(problems))
    return found or [recipe]


def load(name: str, changes: Iterable[str] = ()) -> Recipe:
    """The recipe of that name or path, with `a.b.c=value` changes.

    Raises ValueError: one line for each problem, all at once.
    """
    return from_dict(recipe_files.apply(recipe_files.read(name), changes, set(text_keys(Recipe))))
