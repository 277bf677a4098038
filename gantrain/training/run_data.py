"""The opened data sets of a run, and the streams of samples that this rank trains on."""

from collections.abc import Iterator

import torch
from torch import Tensor

from gantrain.core.amounts import ceil_div
from gantrain.core.errors import UserError
from gantrain.core.threads import cores, local_ranks
from gantrain.core.world import World
from gantrain.data.batch import data_dims
from gantrain.data.loader import RawBatch, merge_streams, training_loader
from gantrain.data.prefetch import Prefetch, check_cache
from gantrain.data.sample_order import Order
from gantrain.data.shards import Shards
from gantrain.data.unpaired import targets_seed
from gantrain.evaluation.held_out_choice import HeldOutChoice
from gantrain.recipe.data_request import (
    data_request,
    fields_by_role,
    open_data,
    sample_transform,
)
from gantrain.recipe.degradation_sizes import source_size
from gantrain.recipe.field_types import images_in
from gantrain.recipe.schema import Recipe
from gantrain.training import batch_split


class RunData:
    """The data sets that a recipe names, opened on this rank, and the rank's share of them.

    train: the training set. held_out: the set that is measured, or None. test: the set that only
    previews show, where there is no held-out set. held_out_lines: the lines on how both were
    chosen. names: the samples' field of each role (source, target, and the method's inputs).
    fields: the fields by role. dims: the numbers of channels that the networks need. split: how
    each batch is split over ranks and micro-batches. Every rank calls the constructor. Raises
    UserError with one line for each problem.
    """

    def __init__(self, recipe: Recipe, world: World, held_out_choice: HeldOutChoice) -> None:
        self.recipe = recipe
        self.world = world
        micro = None if recipe.micro_batch_size == "auto" else recipe.micro_batch_size
        self.split = batch_split.split(recipe.batch_size, world.size, micro, recipe.data.partitions)
        opened = open_data(recipe, world, is_automatic=held_out_choice.origin != "given")
        self.train = opened.train
        self.held_out = opened.held_out
        self.test = opened.test
        self.held_out_lines = held_out_choice.describe(opened.unusable_test)
        self.names = data_request(recipe).sample_names
        self.fields = fields_by_role(recipe, self.train.fields)
        self.dims = data_dims(self.fields)
        self._check_partitions()

    def _check_partitions(self) -> None:
        """Raise UserError where the training set has fewer shards than partitions."""
        shards = min(len(domain.index.shards) for domain in self.train.domains)
        partitions = self.recipe.data.partitions
        if partitions > shards:
            allowed = f"at most {shards}, the number of shards of data.train"
            raise UserError(f"data.partitions: found {partitions}, allowed: {allowed}")

    @property
    def epoch(self) -> int:
        """The number of images in one epoch; unpaired data count the longer set."""
        return len(self.train)

    def images(self, length: int | str) -> int:
        """Return the number of images in a length that the recipe gives in images or epochs."""
        return images_in(length, self.epoch)

    def streams(self) -> list[tuple[Shards, Order]]:
        """Return the stream of pairs, or the stream of sources and the stream of targets.

        Sources and targets have two seeds, so that nothing keeps them in step.
        """
        recipe_seed = self.recipe.seed
        seeds = (recipe_seed, targets_seed(recipe_seed))
        streams: list[tuple[Shards, Order]] = []
        for domain, seed in zip(self.train.domains, seeds, strict=False):
            shard_sizes = [shard.samples for shard in domain.index.shards]
            streams.append((domain, Order(shard_sizes, seed, self.recipe.data.partitions)))
        return streams

    def node_partitions(self) -> range:
        """Return the partitions of the data that the ranks of this node read."""
        first_rank = self.world.rank - self.world.local_rank
        last_rank = first_rank + local_ranks() - 1
        first = self.split.partitions_of(first_rank)
        last = self.split.partitions_of(last_rank)
        return range(first.start, last.stop)

    def check_cache(self) -> None:
        """Raise UserError where the partitions of this node need a larger cache."""
        check_cache(self.streams(), self.node_partitions())

    def prefetch(self, start: int, stop: int) -> list[Prefetch]:
        """Start to fetch positions [start, stop) of each stream ahead of the loader.

        Only the first rank of a node fetches.
        """
        partitions = range(0) if self.world.local_rank else self.node_partitions()
        return [
            Prefetch(shards, order, partitions, position=start, stop=stop)
            for shards, order in self.streams()
        ]

    def loader(self, start: int, stop: int, workers: int) -> Iterator[RawBatch]:
        """Start the workers, and return this rank's share of each batch.

        The batches cover positions [start, stop) of the streams.
        """
        transform = sample_transform(self.recipe, self.fields, training=True)
        streams = self.streams()
        workers_per_stream = ceil_div(workers, len(streams))
        loaders = []
        for shards, order in streams:
            loader = training_loader(
                shards,
                transform.of(shards.fields),
                order=order,
                start=start,
                stop=stop,
                batch_size=self.recipe.batch_size,
                slots=self.split.slots(self.world.rank),
                workers=workers_per_stream,
                pin=self.world.device.type == "cuda",
            )
            loaders.append(loader)
        return map(merge_streams, *loaders)

    def zeros(self, samples: int) -> dict[str, Tensor]:
        """Return samples of the training size whose values are 0, by field, NHWC in uint8."""
        values: dict[str, Tensor] = {}
        for role, field in self.fields.items():
            is_target = role == "target"
            height, width = self.recipe.data.size if is_target else source_size(self.recipe.data)
            shape = (samples, height, width, field.channels)
            values[self.names[role]] = torch.zeros(shape, dtype=torch.uint8)
        return values

    def workers(self, threads: int) -> int:
        """Return the number of loader processes of this rank, which computes with `threads`."""
        workers = self.recipe.data.workers
        if workers != "auto":
            return int(workers)
        # On CPU the networks need the cores more than the decoder does.
        if self.world.device.type == "cpu":
            return 1 if threads > 1 else 0
        return min(8, max(1, cores() // local_ranks()))
