"""The metrics of a method on held-out samples."""

import traceback
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from gantrain.core.out_of_memory import is_out_of_memory, naming_too_large, release
from gantrain.core.rng import seed_all
from gantrain.core.world import World
from gantrain.data.batch import channels, normalise, to_files
from gantrain.data.clip_counter import ClipCounter, clipping_ranges
from gantrain.data.loader import held_out_batches
from gantrain.data.scale import describe_held_out
from gantrain.data.shards import Field
from gantrain.data.unpaired import DataSet
from gantrain.methods.base import Batch, Method, float_buffers, is_random_at_test, set_inference
from gantrain.metrics.metric_suite import MetricSuite, Record, full_precision
from gantrain.metrics.registry import SEGMENTATION
from gantrain.metrics.segmentation import Segmentation
from gantrain.metrics.segmenter_training import SegmenterTraining, TrainingPairs
from gantrain.recipe.data_request import data_request, sample_transform
from gantrain.recipe.evaluation_settings import check_pairs
from gantrain.recipe.schema import Recipe

_BATCH = 8


class HeldOut:
    """A held-out set that measures methods. Sample i is the same on any number of ranks.

    fields: those of the data, by role. batch: makes what the method sees of the files' values.
    training: the set whose targets show what metrics of sets give for real images, or None.
    diagnose: measures also by networks that only training has. damaged: a text for each damaged
    sample that this rank read. Raises UserError for metrics whose weights are not available, and
    for metrics of pairs on unpaired data.
    """

    def __init__(
        self,
        recipe: Recipe,
        world: World,
        shards: DataSet,
        *,
        fields: dict[str, Field],
        batch: Callable[[dict[str, Tensor]], Batch],
        training: DataSet | None,
        diagnose: bool = True,
    ) -> None:
        check_pairs(recipe.evaluate.metrics, recipe.data.unpaired)
        self.recipe = recipe
        self.world = world
        self.shards = shards
        self.fields = fields
        self.batch = batch
        self.training = training
        self.diagnose = diagnose
        self.sample_transform = sample_transform(recipe, fields, training=False)
        self.test_time = recipe.test_time.model_dump()
        # Where an output depends on its batch or on chance, a batch of one makes it its own.
        self.batch_size = 1 if is_random_at_test(**self.test_time) else _BATCH
        self.damaged: set[str] = set()
        names = data_request(recipe).names
        fields_by_name = {name: fields[role] for role, name in names.items()}
        self._clip_counter = ClipCounter(clipping_ranges(fields_by_name))
        self._has_reported_clipped = False
        self._positions: tuple[int, ...] = ()  # of the samples of the last batch
        self._has_reported_problems = False
        self._is_unpaired = len(shards.domains) > 1

        options = recipe.evaluate
        self.max_samples = options.max_samples or len(shards)
        self.total = min(self.max_samples, len(shards.domains[0]))  # fakes: one for each source
        suite_names = [name for name in options.metrics if name not in SEGMENTATION]
        self.metric_suite = world.node_leader_first(
            lambda: MetricSuite(
                suite_names,
                world.device,
                options.weights,
                total=self.total,
                crop_border=options.crop_border,
            )
        )
        self.segmenter_training: SegmenterTraining | None = None
        self.segmentation: Segmentation | None = None
        segmentation_names = [name for name in options.metrics if name in SEGMENTATION]
        if segmentation_names:
            self._prepare_segmentation(segmentation_names)

    def _prepare_segmentation(self, names: list[str]) -> None:
        """Load the segmenter, or set up its training.

        The training itself waits for the first use, when a signal finds a run that has begun.
        """
        pairs = None
        if self.training is not None:
            scale = self._scale_identity(self.training, len(self.training))
            identity = f"{scale} {self.recipe.data.source}"
            pairs = TrainingPairs(self.training, self.sample_transform, self.batch, identity)
        self.segmenter_training = SegmenterTraining(
            names,
            self.world,
            fields=self.fields,
            pairs=pairs,
            weights=self.recipe.evaluate.weights.get("unet"),
        )
        network = self.segmenter_training.network
        self.segmentation = Segmentation(names, network, self.segmenter_training.ignored)

    def _batches(self, indices: Sequence[int]) -> Iterator[Batch]:
        for raw in held_out_batches(
            self.shards,
            self.sample_transform,
            indices,
            self.batch_size,
            damaged=self.damaged,
        ):
            self._positions = raw.positions
            self._clip_counter.add({name: images.numpy() for name, images in raw.fields.items()})
            seed_all(self.recipe.seed, raw.positions[0])
            yield self.batch(raw.fields)

    def _report_clipped(self) -> None:
        """Print how many values of files were clipped: once while a run trains."""
        lines = self._clip_counter.lines(self.world.gather)
        if self._has_reported_clipped:
            return
        self._has_reported_clipped = self.diagnose
        for line in lines:
            self.world.say(f"evaluate: {line}")

    def _source(self, batch: Batch) -> Tensor:
        """Return the source as its file has it, without the channels of further inputs."""
        return batch["source"][:, : channels(self.fields["source"])]

    @torch.no_grad()
    def metrics(self, method: Method) -> list[Record]:
        """Return the metrics of the fakes as files would hold them.

        Each sample counts once over all ranks. Every rank calls it.
        """
        set_inference(method, **self.test_time)
        if self.world.size > 1:
            # Each rank has running statistics of batch norm of its own; a checkpoint has rank 0's.
            for buffer in float_buffers(method):
                dist.broadcast(buffer, 0)
        advice = "fewer or other evaluate.metrics need less"
        with full_precision(), naming_too_large("evaluate", self.world.device, advice):
            return self._measure(method)

    def _measure(self, method: Method) -> list[Record]:
        self.metric_suite.reset()
        if self.segmenter_training:
            self.segmenter_training.train_once()
            self.damaged |= self.segmenter_training.damaged
        if self.segmentation:
            self.segmentation.reset()

        # The targets of unpaired data are read by themselves: each counts once, as the sources do.
        if self._is_unpaired:
            self._add_targets("real", self.shards, self.max_samples)
        has_real = self._load_reference("real", self.shards, self.max_samples)
        self._add_fakes(method)
        if not has_real:
            self._store_reference("real", self.shards, self.max_samples)
        # Of the training set itself, one half of the images is compared with the other half.
        if self.training and self.training.fingerprint != self.shards.fingerprint:
            self._add_targets("null", self.training, self.total)

        segmentation: list[Record] = []
        if self.segmentation:
            segmentation = self.segmentation.results(self.world.gather)
        records = [*self.metric_suite.results(), *segmentation]
        self._report_problems(records)
        self._report_clipped()
        return records

    def _add_fakes(self, method: Method) -> None:
        """Add the fakes of this rank's samples, with their targets where these are paired."""
        field = self.fields["target"]
        for batch in self._batches(range(self.world.rank, self.total, self.world.size)):
            fake = self._translate(method, batch)
            as_in_file = normalise(to_files(fake, field), field, fake.dtype, fake.device)
            # The integers of a file would hide NaN.
            as_in_file = as_in_file.masked_fill(fake.isnan(), torch.nan)
            target = batch["target"][:0] if self._is_unpaired else batch["target"]
            scalars = method.measure({**batch, "fake": as_in_file})
            if self.diagnose:
                scalars = scalars | method.diagnose(batch)
            source = self._source(batch)
            self.metric_suite.add(as_in_file, target, source, **scalars)
            if self.segmentation:
                self.segmentation.add(source, as_in_file, target)

    def _report_problems(self, records: list[Record]) -> None:
        """Print once why metrics have no value; outside training a table shows that."""
        if not self.diagnose or self._has_reported_problems:
            return
        self._has_reported_problems = True
        for record in records:
            if record.problem:
                self.world.say(f"evaluate.metrics: {record.name} has no value ({record.problem})")

    def _translate(self, method: Method, batch: Batch) -> Tensor:
        """Translate a batch, one image at a time where memory is short.

        Raises OutOfMemory, which names the sample.
        """
        try:
            return method.translate(batch)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            traceback.clear_frames(error.__traceback__)  # they hold tensors
        device = self.world.device
        release(device)
        advice = "a smaller data.size needs less"
        if device.type == "cuda":
            advice += ", and `gantrain evaluate` takes --device cpu"
        height, width = batch["source"].shape[2:]
        fakes: list[Tensor] = []
        for number, position in enumerate(self._positions):
            sample = f"sample {self.shards.domains[0].key(position)} ({height}x{width})"
            image = {role: images[number : number + 1] for role, images in batch.items()}
            with naming_too_large(sample, device, advice):
                fakes.append(method.translate(image))
        return torch.cat(fakes)

    def _add_targets(self, which: str, data: DataSet, max_samples: int) -> None:
        """Add the targets of a set to the reference `which` unless the cache has it.

        Targets are read without their sources, so that a damaged source leaves out no target.
        """
        if self._load_reference(which, data, max_samples):
            return
        targets = data.domains[-1]
        indices = np.arange(len(targets))
        if which == "null":
            # Neighbours are similar, such as frames of a film or hours of a webcam.
            indices = np.random.default_rng(0).permutation(indices)
        own_indices = indices[:max_samples][self.world.rank :: self.world.size].tolist()
        name = data_request(self.recipe).target
        transform = self.sample_transform.of_target(name)
        field = self.fields["target"]
        for raw in held_out_batches(targets, transform, own_indices, _BATCH, damaged=self.damaged):
            images = normalise(raw.fields[name], field, torch.float32, self.world.device)
            self.metric_suite.add_images(which, images)
        self._store_reference(which, data, max_samples)

    def _scale_identity(self, shards: DataSet, max_samples: int) -> str:
        """Return a text that changes with the content, the scale and the number of the targets."""
        data = self.recipe.data
        scale = describe_held_out(data.size, data.resize)
        samples = min(max_samples, len(shards))
        return f"{shards.fingerprint} {data.target} {data.size} {data.resize} {scale} {samples}"

    def _load_reference(self, which: str, shards: DataSet, max_samples: int) -> bool:
        key = f"{self._scale_identity(shards, max_samples)} {which}"
        return self.metric_suite.load_reference(which, key)

    def _store_reference(self, which: str, shards: DataSet, max_samples: int) -> None:
        # A better copy of damaged data has the same fingerprint.
        if any(self.world.gather(bool(self.damaged))):
            return
        key = f"{self._scale_identity(shards, max_samples)} {which}"
        self.metric_suite.store_reference(which, key)
