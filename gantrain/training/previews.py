"""The preview sheet of a run: the same few samples each time, with the generator's outputs."""

from collections.abc import Iterator

import numpy as np
import torch

from gantrain.core.rng import seed_all
from gantrain.data.batch import COMMON_ROLES, channels
from gantrain.data.loader import held_out_batches
from gantrain.data.pictures import at_equal_size, sheet, viewable
from gantrain.data.unpaired import DataSet
from gantrain.methods.base import Batch, Method, is_random_at_test, set_inference
from gantrain.recipe.data_request import sample_transform
from gantrain.training.setup import RunSetup

_BATCH = 8


class Previews:
    """Draws held-out samples, or those of a test set, or training samples without augmentation.

    label: "", `test` or `training`, which names files and tags. damaged: a text for each damaged
    sample. Training samples are the first of the run's own order, so they follow from its seed.
    """

    def __init__(self, setup: RunSetup) -> None:
        self.recipe = setup.recipe
        self.fields = setup.data.fields
        self.batch = setup.batch
        self.sample_transform = sample_transform(setup.recipe, setup.data.fields, training=False)
        self.test_time = setup.recipe.test_time.model_dump()
        self.damaged: set[str] = set()
        samples = setup.recipe.previews.samples
        self.label = ""
        self.data: DataSet = setup.data.train
        self.indices = list(range(samples))
        if setup.data.held_out is not None:
            self.data = setup.data.held_out
        elif setup.data.test is not None:
            self.label = "test"
            self.data = setup.data.test
        else:
            self.label = "training"
            self.indices = _first_of_training(setup, samples)
        self.indices = [index for index in self.indices if index < len(self.data)]

    def _batches(self) -> Iterator[Batch]:
        # Where an output depends on its batch or on chance, a batch of one makes it its own.
        batch_size = 1 if is_random_at_test(**self.test_time) else _BATCH
        for raw in held_out_batches(
            self.data,
            self.sample_transform,
            self.indices,
            batch_size,
            damaged=self.damaged,
        ):
            seed_all(self.recipe.seed, raw.positions[0])
            yield self.batch(raw.fields)

    @torch.no_grad()
    def draw(self, method: Method) -> np.ndarray | None:
        """Return a sheet, HW3 in uint8, a row for each sample.

        The columns are the source, each further input of the method, the generated image and the
        target. The sheet is None where all samples are damaged.
        """
        set_inference(method, **self.test_time)
        source = self.fields["source"]
        target = self.fields["target"]
        further = [role for role in self.fields if role not in COMMON_ROLES]
        rows = []
        for batch in self._batches():
            fake = method.translate(batch)
            # Without the channels of further inputs.
            as_in_file = batch["source"][:, : channels(source)]
            inputs = [(batch[role], self.fields[role]) for role in further]
            shown = [(as_in_file, source), *inputs, (fake, target), (batch["target"], target)]
            pictures = [viewable(images, field) for images, field in shown]
            rows.append(at_equal_size(pictures))
        if not rows:
            return None
        return sheet([np.concatenate(column) for column in zip(*rows, strict=True)])


def _first_of_training(setup: RunSetup, samples: int) -> list[int]:
    """Return the samples at the first positions of the stream of pairs, or of sources.

    They come from the partitions of this node, which holds no other shards of remote data.
    """
    shards, order = setup.data.streams()[0]
    own_partitions = setup.data.node_partitions()
    chosen: list[int] = []
    for position in range(len(shards)):
        if len(chosen) == samples:
            break
        if position % setup.recipe.data.partitions in own_partitions:
            chosen.append(order[position])
    return chosen
