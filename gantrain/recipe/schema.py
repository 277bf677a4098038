"""The typed recipe: what to train. Defaults live here, once.

The module needs no torch until a recipe is validated, so that the help of `gantrain train` is
quick.
"""

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, create_model

from gantrain.core import component_schema
from gantrain.core.component import StrictModel, text_keys
from gantrain.core.error_messages import check
from gantrain.core.errors import UserError
from gantrain.core.yaml12 import dump_yaml
from gantrain.recipe import recipe_files
from gantrain.recipe.data_section import Data
from gantrain.recipe.field_types import (
    Auto,
    BatchSize,
    FolderName,
    Length,
    Place,
    Positive,
    Precision,
    Signal,
    Threads,
    ZeroStage,
    as_list,
)
from gantrain.recipe.optimizer import EMA, Optimizer, OptimizerChange, Schedule
from gantrain.recipe.sections import Checkpoint, Evaluate, InferenceMode, Previews
from gantrain.recipe.suggestions import Suggestions, check_method_is_named


class Recipe(StrictModel):
    """A run, fully stated. Lengths are images (a number) or text such as `20 epochs`."""

    name: FolderName = Field(description="the recipe's file name")
    description: str = Field("", description="one line for `gantrain recipes`")
    run: FolderName | None = Field(
        None, description="runs/RUN holds all that the run writes; default: the name"
    )
    init_from: Place | list[Place] | None = Field(
        None,
        description="the first weights: a run, a checkpoint, or one or several files to import",
    )
    freeze: list[str] = Field(
        [], description="the networks, or the beginnings of parameter names, that are not trained"
    )
    stages: list[dict[str, Any]] = Field(
        [],
        max_length=32,
        description="the stages of the run, in order; each states what differs in it",
    )
    method: dict[str, Any] = Field(description="the GAN and its networks and losses")
    data: Data = Data()
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(
        0, description="the seed of the first weights, the order of samples and the augmentation"
    )
    length: Length = Field(
        "200 epochs",
        description=(
            "how long to train; a larger one continues a run, at the longer run's learning rate"
        ),
    )
    batch_size: BatchSize = Field(8, description="the number of images in a step, over all ranks")
    micro_batch_size: BatchSize | Auto | None = Field(
        None,
        description=(
            "the number of images in one backward pass of a rank; null: all; auto: the most that"
            " fit"
        ),
    )
    optimizer: Optimizer = Optimizer()
    phases: dict[str, OptimizerChange] = Field(
        {}, description="settings of `optimizer` that differ in a phase, by its name"
    )
    schedule: Schedule = Schedule()
    ema: EMA = EMA()
    test_time: InferenceMode = InferenceMode()
    # Not validated here, since the table of metrics needs torch. A test validates the defaults.
    evaluate: Evaluate = Evaluate.model_construct()
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
    compile: bool = Field(False, description="compile each network with torch.compile")
    deterministic: bool = Field(
        False,
        description=(
            "use only algorithms that give the same bits each time, which a GPU needs for a"
            " bit-identical resume; slower"
        ),
    )
    gradient_checkpointing: bool = Field(
        False,
        description="save memory: the backward pass computes the generators' layers again",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="auto: a GPU if there is one"
    )
    threads: Threads | Auto = Field("auto", description="the number of CPU threads of each rank")
    log_every: Length = Field(
        200, description="how often the console, metrics.jsonl and the trackers get a row"
    )
    trackers: list[str] = Field(["tensorboard"], description="Accelerate's trackers, by name")
    tracker_failure: Literal["stop", "continue"] = Field(
        "stop",
        description="what a failed tracker does: save and stop the run, or train on without it",
    )
    tracker_project: FolderName | None = Field(
        None, description="the project in W&B and its like; null: $WANDB_PROJECT, else gantrain"
    )
    stop_signal: Signal = Field(
        "SIGUSR1",
        description="one more signal, besides SIGTERM and SIGINT, that saves and ends the run",
    )
    max_nonfinite: Positive = Field(
        20, description="the number of non-finite updates in a row that stops the run"
    )
    dry_run: bool = Field(False, description="print what would be trained, and stop")

    @property
    def folder(self) -> Path:
        """The folder of the run, relative to the working folder."""
        return Path("runs") / (self.run or self.name)

    def dump(self) -> dict[str, Any]:
        return self.model_dump(mode="json")

    def yaml(self) -> str:
        return dump_yaml(self.dump())


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
    "deterministic",
    "dry_run",
)


def _typed() -> type[Recipe]:
    """Return Recipe with the method's options spelled out, for the tables as they are now."""
    from gantrain.data.degradations.degradation_table import DEGRADATIONS
    from gantrain.losses import ADVERSARIAL, PENALTIES, PERCEPTUAL, RECONSTRUCTION
    from gantrain.methods import METHODS
    from gantrain.networks import NETWORKS

    # All tables whose entries a recipe may name.
    losses = (ADVERSARIAL, PENALTIES, PERCEPTUAL, RECONSTRUCTION)
    tables = (METHODS, NETWORKS, *losses, DEGRADATIONS)
    return _build_typed(tuple(tuple(table.items()) for table in tables))


@functools.lru_cache(maxsize=4)
def _build_typed(tables: tuple[object, ...]) -> type[Recipe]:
    """Build the model, once for each content of the tables.

    Code from outside may extend the tables. Building takes 0.1 s.
    """
    from gantrain.data.degradations.degradation_table import DEGRADATIONS
    from gantrain.methods import METHODS

    method = (
        component_schema.union(METHODS),
        Field(description=Recipe.model_fields["method"].description),
    )
    degradation: Any = component_schema.union(DEGRADATIONS)
    degradations: Any = Annotated[list[degradation], BeforeValidator(as_list)]
    description = Data.model_fields["degrade"].description
    degrade: Any = (degradations, Field([], max_length=8, description=description))
    data_type = create_model("Data", __base__=Data, __doc__=Data.__doc__, degrade=degrade)
    data = (data_type, Field(default_factory=data_type))
    return create_model("Recipe", __base__=Recipe, __doc__=Recipe.__doc__, method=method, data=data)


def schema() -> dict[str, Any]:
    """JSON Schema of a recipe file, which may extend another and has its name from its file."""
    content = _typed().model_json_schema()
    del content["required"], content["properties"]["name"]
    content["properties"]["extends"] = {
        "type": "string",
        "description": "the recipe that this one changes",
    }
    return content


def suggestions(content: dict[str, object]) -> Suggestions:
    """Return the suggestions for unknown keys of a recipe of that content."""
    return Suggestions(_typed(), content)


def from_dict(content: dict[str, object]) -> Recipe:
    """Validate a recipe's content. Raises UserError with one line for each problem."""
    from gantrain.recipe.degradation_sizes import check_degradation
    from gantrain.recipe.evaluation_settings import check_pairs

    check_method_is_named(content)
    typed = check(_typed(), content, advise=suggestions(content).advise)
    recipe = Recipe.model_validate(typed.model_dump())
    check_pairs(recipe.evaluate.metrics, recipe.data.unpaired)
    check_degradation(recipe.data)
    stages(recipe)
    return recipe


def stages(recipe: Recipe) -> list[Recipe]:
    """Return the recipe of each stage, itself without stages; without stages, the recipe alone.

    Raises UserError with one line for each problem.
    """
    problems: list[str] = []
    stage_recipes: list[Recipe] = []
    for number, changes in enumerate(recipe.stages):
        keys_of_run = [key for key in changes if key in _OF_THE_RUN]
        if keys_of_run:
            problems.append(
                f"stages.{number}: found {', '.join(keys_of_run)}, which is the whole run's; set it"
                " outside of stages"
            )
            continue
        content = {**recipe.dump(), "stages": []}
        if changes:
            content = recipe_files.merge(content, changes)
        try:
            stage_recipes.append(from_dict(content))
        except ValueError as error:
            problems += [f"stages.{number}.{line}" for line in str(error).splitlines()]
    if problems:
        raise UserError("\n".join(problems))
    return stage_recipes or [recipe]


def load(name: str, changes: Iterable[str] = ()) -> Recipe:
    """Return the recipe of that name or path, with `a.b.c=value` changes.

    Raises UserError: one line for each problem, all at once.
    """
    changes = list(changes)
    content = recipe_files.apply(recipe_files.read(name), changes, set(text_keys(Recipe)))
    _check_source_is_made(content, changes)
    return from_dict(content)


def _check_source_is_made(content: dict[str, object], changes: list[str]) -> None:
    """Raise UserError where a user names a source beside a degradation, which makes it."""
    data = content.get("data")
    if not isinstance(data, dict) or not data.get("degrade") or data.get("source") is None:
        return
    if any(change.startswith("data.source=") for change in changes):
        raise UserError(
            f"data.source: found {data['source']}, allowed: null, since data.degrade makes the"
            " source from data.target"
        )
