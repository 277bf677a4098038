"""The setup of a run: its data, the method, the optimisers' settings, the precision."""

import os

import torch
from torch import Tensor, nn

from gantrain.core.amounts import ceil_div
from gantrain.core.world import World, set_threads
from gantrain.data.batch import as_batch
from gantrain.data.loader import RawBatch
from gantrain.evaluation.held_out import HeldOut
from gantrain.evaluation.held_out_choice import HeldOutChoice, choose_held_out
from gantrain.methods.base import Batch, Context, Method
from gantrain.recipe import conv_timing, costs, evaluation_settings
from gantrain.recipe.augmentation_advice import describe_augmentation
from gantrain.recipe.build_method import (
    check_method,
    load_pretrained,
    make_method,
    sketch_method,
    try_pretrained,
)
from gantrain.recipe.degradation_sizes import source_size
from gantrain.recipe.optimizer import Optimizer
from gantrain.recipe.schema import Recipe
from gantrain.recipe.size_advice import describe_padding, describe_sizes
from gantrain.runs import checkpoint
from gantrain.training import init_from, precision, zero
from gantrain.training.ddp import DDPPhase
from gantrain.training.degradation_trial import try_degradations
from gantrain.training.kind_trial import try_kinds
from gantrain.training.lr_schedule import rate
from gantrain.training.output_size import check_output_size
from gantrain.training.phase_runner import ParallelPhase
from gantrain.training.run_data import RunData
from gantrain.training.scale_matching import picture_size
from gantrain.training.step import Engine


class RunSetup:
    """The parts of a run on this rank, checked before a network gets any memory.

    data: the opened data sets and the streams of samples. stage_start: the images seen when this
    stage of the run begins. images_seen: those seen at the run's latest checkpoint. sketch: the
    method without memory for its weights. settings: the optimiser's settings by phase. size_notes:
    the lines on padding that no warning is about.
    held_out_choice: the choice of the whole run, which settled the recipe's `data.validation`.
    Every rank calls the constructor. Raises UserError with one line for each problem.
    """

    def __init__(
        self,
        recipe: Recipe,
        world: World,
        stage_start: int = 0,
        held_out_choice: HeldOutChoice | None = None,
    ) -> None:
        if held_out_choice is None or not held_out_choice.is_of(recipe.data):
            held_out_choice = choose_held_out(recipe, world)
            recipe = held_out_choice.recipe
        self.recipe = recipe
        self.world = world
        self.stage_start = stage_start
        self.threads = set_threads(recipe.threads, world.device)
        self.data = RunData(recipe, world, held_out_choice)

        # The method, without memory for its weights.
        self.sketch = sketch_method(recipe, self.data.dims)
        check_method(recipe, self.sketch)
        check_output_size(recipe, self.sketch, self.data.fields)
        try_degradations(recipe, self.data.fields["target"])
        try_kinds(self.data.fields, recipe.data.size)
        self.data_warnings = [
            *describe_sizes(recipe, self.sketch, self.data.dims),
            *describe_augmentation(recipe, self.data.fields),
        ]
        self.size_notes = describe_padding(recipe, self.sketch)
        self.memory = self._count_memory()
        costs.check_memory(self.memory, world.device)
        self.evaluation_notes = self._check_evaluation()

        # The first weights, and how far the run is.
        self._find_first_weights()
        self.init_from_lines = world.once_per_node(self._try_first_weights)

        # The precision and the optimisers.
        self.precision_choice = precision.choose_precision(
            recipe, world, self.compared_convolutions, stage_start
        )
        self.precision = self.precision_choice.precision
        zero.check(recipe.zero_stage, self.precision, recipe.optimizer.lr_factors)
        self.settings = self._optimizer_settings()
        self.data.check_cache()

    def _count_memory(self) -> costs.Memory:
        ranks = self.world.size if self.recipe.zero_stage else 1
        return costs.count_memory(self.sketch, self.item_bytes, sharded_over=ranks)

    @property
    def item_bytes(self) -> int:
        """The bytes of one weight."""
        return 8 if self.recipe.precision == "fp64" else 4

    def _check_evaluation(self) -> list[str]:
        """Return a line for each setting of `evaluate` that has no effect. Raises UserError."""
        if self.data.held_out is None:
            return []
        options = self.recipe.evaluate
        return evaluation_settings.check_settings(
            options.metrics,
            options.weights,
            options.crop_border,
            size=self.recipe.data.size,
            fields=self.data.fields,
        )

    def _find_first_weights(self) -> None:
        """Set from where the networks get their first weights, and the images already seen."""
        latest = self.world.broadcast_from_rank0(
            lambda: checkpoint.latest(self.recipe.folder / "checkpoints")
        )
        self.images_seen = int(latest.name) if latest else 0
        self.init_from = self.recipe.init_from
        if latest:
            # The run no longer needs its first weights, but a stage begins with the weights of the
            # stage before it.
            begins_stage = self.stage_start > 0 and self.images_seen == self.stage_start
            self.init_from = str(latest) if begins_stage else None
        # Networks that a stage adds begin with weights of their own.
        self.has_started = latest is not None and not self.init_from

    def _try_first_weights(self) -> list[str]:
        """Try the first weights on one process of a node, which downloads them where needed.

        No weight is drawn. Returns the lines about `init_from`.
        """
        lines = self._load_init_from(self.sketch, is_trial=True) if self.init_from else []
        if not self.recipe.dry_run:
            try_pretrained(self.recipe, self.data.dims, self.sketch, self.has_started)
        return lines

    def _load_init_from(self, method: Method, *, is_trial: bool = False) -> list[str]:
        """Copy the weights that `init_from` names into a method; return the lines about them.

        is_trial: nothing is copied.
        """
        assert self.init_from
        data = self.recipe.data
        size = picture_size(data.size, data.resize, self.data.fields["target"])
        return init_from.place(method, self.init_from, size, is_trial=is_trial)

    def compared_convolutions(self) -> tuple[conv_timing.Convolution, ...]:
        """Return the convolutions of this recipe that show which precision is faster."""
        convolutions = conv_timing.list_convolutions(
            self.sketch, self.data.dims["source_channels"], source_size(self.recipe.data)
        )
        micro_batch_size = self.data.split.micro_batch_size
        return conv_timing.choose_convolutions(convolutions, micro_batch_size, self.threads)

    def _optimizer_settings(self) -> dict[str, Optimizer]:
        """Return the settings of each phase's optimiser: the common ones with its own changes."""
        settings: dict[str, Optimizer] = {}
        for phase in self.sketch.phases:
            change = self.recipe.phases.get(phase.name)
            update = {} if change is None else change.model_dump(exclude_none=True)
            settings[phase.name] = self.recipe.optimizer.model_copy(update=update)
        return settings

    @property
    def length(self) -> int:
        """The images that the run, or this stage of it, asks for."""
        return self.data.images(self.recipe.length)

    @property
    def total(self) -> int:
        """The images seen when the run or this stage is over.

        Images that only fill up the last batch are not counted.
        """
        return self.stage_start + self.length

    @property
    def end(self) -> int:
        """The images seen when the run or this stage is over."""
        batch_size = self.recipe.batch_size
        steps = ceil_div(self.length, batch_size)
        return self.stage_start + steps * batch_size

    def rates(self, images_seen: int) -> dict[str, float]:
        """Return the learning rate of each phase, by how much of this stage has been seen."""
        schedule = self.recipe.schedule
        factor = rate(
            schedule.name,
            images_seen - self.stage_start,
            self.length,
            decay_fraction=schedule.decay_fraction,
            warmup=self.data.images(schedule.warmup) if schedule.warmup else 0,
        )
        return {name: settings.lr * factor for name, settings in self.settings.items()}

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights."""
        return torch.float64 if self.precision == "fp64" else torch.float32

    @property
    def channels_last(self) -> bool:
        """Return whether images and weights lie in memory with their channels last."""
        choice = self.recipe.channels_last
        return self.world.device.type == "cuda" if choice == "auto" else bool(choice)

    def method(self) -> Method:
        """Return a new method, with the same weights every time and on every rank."""
        method = make_method(self.recipe, self.data.dims)
        load_pretrained(method, self.has_started)
        method = method.to(self.world.device, self.dtype)
        if self.init_from:
            self._load_init_from(method)
        return method

    def engine(self, distributed: bool = True) -> Engine:
        """Return a new engine with a new method. distributed: phases span the ranks."""
        method = self.method()
        if self.channels_last:
            method = method.to(memory_format=torch.channels_last)
        half_life = self.recipe.ema.half_life
        if self.recipe.zero_stage and self.world.device.type == "cpu":
            self.world.say(
                "DeepSpeed compiles its communication for a CPU, once: it may take minutes"
            )
        return Engine(
            method,
            self.world.device,
            self.settings,
            wrap=self._wrap if distributed else DDPPhase,
            rank=self.world.rank,
            seed=self.recipe.seed,
            bf16=self.precision == "bf16",
            ema_half_life=None if half_life is None else self.data.images(half_life),
            compile=self.recipe.compile,
        )

    def _wrap(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> ParallelPhase:
        if self.recipe.zero_stage:
            return zero.ZeROPhase(module, optimizer, self.recipe.zero_stage, os.environ)
        return DDPPhase(module, optimizer, self.world.accelerator)

    def make_held_out(self) -> HeldOut | None:
        """Return the held-out set that measures methods, or None where nothing is held out.

        Every rank calls it. Raises UserError for metrics whose weights are not available.
        """
        data = self.data
        if data.held_out is None:
            return None
        return HeldOut(
            self.recipe,
            self.world,
            data.held_out,
            fields=data.fields,
            batch=self.batch,
            training=data.train,
        )

    def batch(self, values: dict[str, Tensor]) -> Batch:
        """Return the files' values, by the field of the data, as the method's batch on the device.

        values: NHWC integers.
        """
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        by_role = {role: values[name] for role, name in self.data.names.items()}
        batch = as_batch(by_role, self.data.fields, self.dtype, self.world.device)
        return {role: images.contiguous(memory_format=layout) for role, images in batch.items()}

    def micro_batches(self, raw: RawBatch, images_seen: int) -> tuple[list[Batch], list[Context]]:
        """Return this rank's share of the batch that begins at `images_seen`, in micro-batches."""
        split = self.data.split
        batches: list[Batch] = []
        contexts: list[Context] = []
        for start in range(0, split.per_rank, split.micro_batch_size):
            piece = slice(start, start + split.micro_batch_size)
            batches.append(self.batch({name: x[piece] for name, x in raw.fields.items()}))
            context = Context(
                self.recipe.seed,
                images_seen,
                split.batch_size,
                raw.positions[piece],
                stage_start=self.stage_start,
            )
            contexts.append(context)
        return batches, contexts
