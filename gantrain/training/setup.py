"""From a recipe to the parts of a run: data, method, optimisers' settings, the batch's split."""

import os
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from gantrain.core.amounts import count_text
from gantrain.core.world import World, cores, local_ranks, set_threads
from gantrain.data.batch import as_batch, data_dims
from gantrain.data.loader import RawBatch, merge_streams, training_loader
from gantrain.data.prefetch import Prefetch, check_cache
from gantrain.data.sample_order import Order
from gantrain.data.scale import held_out_notice
from gantrain.data.shards import Shards
from gantrain.data.unpaired import targets_seed
from gantrain.evaluation.held_out_choice import HeldOutChoice, choose_held_out
from gantrain.methods.base import Batch, Context, Method
from gantrain.metrics.flattery import flattery
from gantrain.recipe import costs, evaluation_settings
from gantrain.recipe.build_method import (
    check_method,
    load_pretrained,
    make_method,
    needs_weights,
    sketch_method,
)
from gantrain.recipe.data_request import data_request, open_data, sample_transform
from gantrain.recipe.field_types import images_in
from gantrain.recipe.schema import Recipe
from gantrain.recipe.size_advice import describe_sizes
from gantrain.runs import checkpoint, run_summary
from gantrain.training import batch_split, conv_timing, init_from, precision, zero
from gantrain.training.ddp import DDPPhase
from gantrain.training.lr_schedule import rate
from gantrain.training.scale_matching import picture_size
from gantrain.training.step import Engine, ParallelPhase


class Assembly:
    """The parts of a run on this rank: its data, opened, and what the recipe says, checked against
    them.

    fields: the data's, by role (source, target, instances); names: the samples' field of each role.
    facts: what they decide of the networks. began: images seen when this stage of the run began.
    held_out_choice: of the whole run, which settled the recipe's `data.validation`. held_out: the
    set that is measured; test: the set that previews alone show, where there is no other. Made on
    all ranks alike. Raises ValueError, one line for each problem."""

    def __init__(
        self,
        recipe: Recipe,
        world: World,
        began: int = 0,
        held_out_choice: HeldOutChoice | None = None,
    ) -> None:
        if held_out_choice is None or not held_out_choice.is_of(recipe.data):
            held_out_choice = choose_held_out(recipe, world)
            recipe = held_out_choice.recipe
        self.held_out_choice = held_out_choice
        self.recipe, self.world, self.began = recipe, world, began
        self.threads = set_threads(recipe.threads, world.device)
        micro = None if recipe.micro_batch_size == "auto" else recipe.micro_batch_size
        self.split = batch_split.split(recipe.batch_size, world.size, micro, recipe.data.partitions)
        self._open()
        self.data_dims = data_dims(self.fields)
        self.sketch = sketch_method(recipe, self.data_dims)
        check_method(recipe, self.sketch)
        self.size_warnings = describe_sizes(recipe, self.sketch, self.data_dims)
        self.memory = self._count_memory()
        costs.check_memory(self.memory, world.device)
        self.unused = self._check_evaluation()
        latest = world.broadcast_from_rank0(
            lambda: checkpoint.latest(recipe.folder / "checkpoints")
        )
        self.init_from = recipe.init_from
        if latest:  # its first weights are needed no more, but a stage begins with the last one's
            self.init_from = str(latest) if began and int(latest.name) == began else None
        self.started = (
            bool(latest) and not self.init_from
        )  # networks that a stage brings begin with their own
        self.seen = int(latest.name) if latest else 0  # images, by the run's latest checkpoint
        self.placed = world.once_per_node(self._place_weights)
        self.precision_choice = precision.choose_precision(
            recipe, world, self.compared_convolutions, began
        )
        self.precision = self.precision_choice.precision
        zero.check(recipe.zero_stage, self.precision, recipe.optimizer.lr_factors)
        # Each phase's optimiser: the common one with the phase's changes.
        changes = {
            name: change.model_dump(exclude_none=True) for name, change in recipe.phases.items()
        }
        self.settings = {
            phase.name: recipe.optimizer.model_copy(update=changes.get(phase.name, {}))
            for phase in self.sketch.phases
        }
        check_cache(self.streams(), self.node_partitions())

    def _place_weights(self) -> list[str]:
        """Try the first weights, on one process of a node, which fetches them; returns the lines
        of `init_from`.
        """
        fetches = needs_weights(self.sketch) and not self.recipe.dry_run
        if not self.init_from and not fetches:
            return []
        method = make_method(self.recipe, self.data_dims)
        lines = self._place(method) if self.init_from else []
        if fetches:
            load_pretrained(method, self.started)
        return lines

    def _count_memory(self) -> costs.Memory:
        ranks = self.world.size if self.recipe.zero_stage else 1
        return costs.count_memory(self.sketch, self._item_bytes, sharded_over=ranks)

    @property
    def _item_bytes(self) -> int:
        return 8 if self.recipe.precision == "fp64" else 4

    def compared_convolutions(self) -> tuple[conv_timing.Convolution, ...]:
        """Return the convolutions of this recipe that show which precision is faster."""
        listed = conv_timing.list_convolutions(
            self.sketch, self.data_dims["source_channels"], self.recipe.data.size
        )
        return conv_timing.choose_convolutions(listed, self.split.micro_batch_size, self.threads)

    def _check_evaluation(self) -> list[str]:
        """Returns a line for each setting of `evaluate` that has no effect. Raises ValueError."""
        if self.held_out is None:
            return []
        options = self.recipe.evaluate
        size = self.recipe.data.size
        return evaluation_settings.check_settings(
            options.metrics, options.weights, options.crop_border, size, self.fields
        )

    def _open(self) -> None:
        """The data sets, made where they have to be; all their problems at once."""
        data = self.recipe.data
        opened = open_data(
            self.recipe, self.world, is_automatic=self.held_out_choice.origin != "given"
        )
        self.train = opened.train
        self.held_out = opened.held_out
        self.test = opened.test
        self.held_out_lines = self.held_out_choice.describe(opened.unusable_test)
        self.names = data_request(self.recipe).names
        self.fields = {role: self.train.fields[name] for role, name in self.names.items()}
        if data.partitions > (shards := min(len(side.index.shards) for side in self.train.domains)):
            allowed = f"at most {shards}, the number of shards of data.train"
            raise ValueError(f"data.partitions: found {data.partitions}, allowed: {allowed}")

    @property
    def epoch(self) -> int:
        """Images in one epoch: of unpaired data, in one of the longer set."""
        return len(self.train)

    @property
    def total(self) -> int:
        """Images seen when the run, or this stage of it, is over, but for filling up the last
        batch.
        """
        return self.began + self.images(self.recipe.length)

    @property
    def end(self) -> int:
        """Images seen when it is over."""
        size = self.recipe.batch_size
        return self.began + -(-(self.total - self.began) // size) * size

    def images(self, length: int | str) -> int:
        return images_in(length, self.epoch)

    def rates(self, images_seen: int) -> dict[str, float]:
        """The learning rate of each phase, by how much of this stage has been seen."""
        schedule = self.recipe.schedule
        warmup = self.images(schedule.warmup) if schedule.warmup else 0
        seen, total = images_seen - self.began, self.total - self.began
        factor = rate(schedule.name, seen, total, schedule.decay_fraction, warmup)
        return {name: settings.lr * factor for name, settings in self.settings.items()}

    @property
    def dtype(self) -> torch.dtype:
        return torch.float64 if self.precision == "fp64" else torch.float32

    @property
    def channels_last(self) -> bool:
        asked = self.recipe.channels_last
        return self.world.device.type == "cuda" if asked == "auto" else bool(asked)

    def method(self) -> Method:
        """A new method; the same weights every time and on every rank."""
        method = make_method(self.recipe, self.data_dims)
        load_pretrained(method, self.started)
        method = method.to(self.world.device, self.dtype)
        if self.init_from:
            self._place(method)
        return method

    def _place(self, method: Method) -> list[str]:
        """Copy the weights that `init_from` names into a method; returns the lines about them."""
        assert self.init_from
        data = self.recipe.data
        size = picture_size(data.size, data.resize, self.fields["target"])
        return init_from.place(method, self.init_from, size)

    def engine(self, distributed: bool = True) -> Engine:
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
            ema_half_life=None if half_life is None else self.images(half_life),
            compile=self.recipe.compile,
        )

    def _wrap(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> ParallelPhase:
        if self.recipe.zero_stage:
            return zero.ZeROPhase(module, optimizer, self.recipe.zero_stage, os.environ)
        return DDPPhase(module, optimizer, self.world.accelerator)

    def batch(self, fields: dict[str, Tensor]) -> Batch:
        """What the files hold, by the data's field, as what the method sees on the device."""
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        raw = {role: fields[name] for role, name in self.names.items()}
        seen = as_batch(raw, self.fields, self.dtype, self.world.device)
        return {role: images.contiguous(memory_format=layout) for role, images in seen.items()}

    def micro_batches(self, raw: RawBatch, images_seen: int) -> tuple[list[Batch], list[Context]]:
        """This rank's share of the batch that begins at `images_seen`, in its pieces."""
        seed, size, batches, contexts = self.recipe.seed, self.split.micro_batch_size, [], []
        for start in range(0, self.split.per_rank, size):
            piece = slice(start, start + size)
            batches.append(self.batch({name: x[piece] for name, x in raw.fields.items()}))
            positions = raw.positions[piece]
            contexts.append(
                Context(seed, images_seen, self.split.batch_size, positions, stage_start=self.began)
            )
        return batches, contexts

    def streams(self) -> list[tuple[Shards, Order]]:
        """The stream of pairs, or that of sources and that of targets: two seeds, so nothing
        keeps them in step.
        """
        seeds, partitions = (
            (self.recipe.seed, targets_seed(self.recipe.seed)),
            self.recipe.data.partitions,
        )
        return [
            (side, Order([shard.samples for shard in side.index.shards], seed, partitions))
            for side, seed in zip(self.train.domains, seeds, strict=False)
        ]

    def node_partitions(self) -> range:
        """The partitions of the data that this node's ranks read."""
        first = self.world.rank - self.world.local_rank
        last = self.split.partitions_of(first + local_ranks() - 1)
        return range(self.split.partitions_of(first).start, last.stop)

    def prefetch(self, images_seen: int) -> list[Prefetch]:
        """One for each stream."""
        partitions = range(0) if self.world.local_rank else self.node_partitions()
        return [
            Prefetch(shards, order, partitions, images_seen, self.total)
            for shards, order in self.streams()
        ]

    def loader(self, start: int, stop: int, workers: int) -> Iterator[RawBatch]:
        """This rank's share of each step's batch, positions [start, stop) of the stream; starts
        the workers.
        """
        seen, streams = sample_transform(self.recipe, self.fields, training=True), self.streams()
        loaders = [
            training_loader(
                shards,
                replace(seen, fields=tuple(name for name in seen.fields if name in shards.fields)),
                order=order,
                start=start,
                stop=stop,
                batch_size=self.recipe.batch_size,
                slots=self.split.slots(self.world.rank),
                workers=-(-workers // len(streams)),
                pin=self.world.device.type == "cuda",
            )
            for shards, order in streams
        ]
        return map(merge_streams, *loaders)

    def workers(self) -> int:
        """Loader processes for this rank."""
        asked = self.recipe.data.workers
        if asked != "auto":
            return int(asked)
        # On CPU the networks need the cores more than the decoder does.
        if self.world.device.type == "cpu":
            return 1 if self.threads > 1 else 0
        return min(8, max(1, cores() // local_ranks()))

    def describe(self) -> list[str]:
        """What will be trained, for the console."""
        networks = self.sketch.networks
        counts = [f"{n} {sum(p.numel() for p in m.parameters()):,}" for n, m in networks.items()]
        still = sum(p.numel() for p in networks.parameters() if not p.requires_grad)
        shows_others = self.held_out is not None or self.test is not None
        notice = (
            held_out_notice(self.recipe.data.size, self.recipe.data.resize)
            if shows_others
            else None
        )
        length = run_summary.describe_length(
            self.total - self.began, self.epoch, self.recipe.batch_size
        )
        return [
            f"data: {run_summary.describe_data(self.train, self.recipe.data.train)}",
            f"length: {length}",
            f"parameters: {', '.join(counts)}{f'; frozen {still:,}' if still else ''}",
            f"losses: {run_summary.describe_losses(self.sketch)}",
            f"memory: {self.memory}",
            *self.unused,
            *([notice] if notice else []),
            *self.held_out_lines,
            *(f"init_from: {line}" for line in self.placed),
            *self.size_warnings,
            *self._doubts(self.sketch),
            *([self.precision_choice.line] if self.precision_choice.line else []),
            (
                f"{self.split}, {self.precision} on {self.world.device.type},"
                f" {count_text(self.threads, 'thread')}"
            ),
        ]

    def describe_costs(self) -> list[str]:
        """Return the lines of a dry run on the steps and on the disk space of the run."""
        size = costs.checkpoint_bytes(self.sketch, self.recipe, self._item_bytes)
        return costs.describe_run(self.recipe, self.epoch, self.total - self.began, size)

    def _doubts(self, method: Method) -> list[str]:
        """Return a warning where the recipe can be trained but is likely to mislead."""
        if self.held_out is None or not self.recipe.checkpoint.best:
            return []
        reason = flattery(self.recipe.evaluate.best_by, {**method.networks, **method.auxiliary})
        return [f"warning: {reason}"] if reason else []
