"""Held-out samples through a method: its metrics."""

import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from gantrain.core.out_of_memory import is_out_of_memory, naming_too_large, release
from gantrain.core.rng import seed_all
from gantrain.core.world import World
from gantrain.data.batch import channels, normalise, to_files
from gantrain.data.loader import held_out_batches
from gantrain.data.scale import describe_held_out
from gantrain.data.shards import Field
from gantrain.data.unpaired import DataSet
from gantrain.methods.base import Batch, Method, float_buffers, is_random_at_test, set_inference
from gantrain.metrics import feature_cache
from gantrain.metrics.metric_suite import MetricSuite, Record, full_precision
from gantrain.metrics.registry import SEGMENTATION
from gantrain.metrics.segmentation import BATCH, STEPS, Segmentation, Segmenter, read, told, trained
from gantrain.recipe.data_request import data_request, sample_transform
from gantrain.recipe.evaluation_settings import check_pairs
from gantrain.recipe.schema import Recipe

_BATCH = 8


class HeldOut:
    """A held-out set as a method sees it. Sample i is the same on any number of ranks.

    batch: makes what the method sees of the files' values. training: the set whose targets say what
    metrics of sets give for real images. diagnose: by the networks that training alone has, too.
    Raises ValueError for metrics whose weights can't be had, and for those of pairs where there are
    none."""

    def __init__(
        self,
        recipe: Recipe,
        world: World,
        shards: DataSet,
        fields: dict[str, Field],
        batch: Callable[[dict[str, Tensor]], Batch],
        training: DataSet | None,
        diagnose: bool = True,
    ) -> None:
        check_pairs(recipe.evaluate.metrics, recipe.data.unpaired)
        self.recipe, self.world, self.shards, self.fields = recipe, world, shards, fields
        self.batch, self.training, self.diagnose = batch, training, diagnose
        self.sample_transform, self.test_time = (
            sample_transform(recipe, fields, training=False),
            recipe.test_time.model_dump(),
        )
        # Where an output depends on its batch or on chance, a batch of one makes it its own.
        self.batch_size = 1 if is_random_at_test(**self.test_time) else _BATCH
        self.damaged: set[str] = set()  # of those that this rank read
        self.positions: tuple[int, ...] = ()  # of the samples of the batch that was read last
        self.warned = False
        options = recipe.evaluate
        self.most = options.max_samples or len(shards)
        self.total = min(self.most, len(shards.domains[0]))  # fakes: one for each source
        panels = [name for name in options.metrics if name not in SEGMENTATION]
        self.metric_suite = world.node_leader_first(
            lambda: MetricSuite(
                panels, world.device, options.weights, self.total, options.crop_border
            )
        )
        self.learn: Callable[[], object] | None = None  # what the segmenter has to, first
        segmented = [name for name in options.metrics if name in SEGMENTATION]
        self.segmentation = self._segmentation(segmented) if segmented else None

    def _segmentation(self, names: list[str]) -> Segmentation:
        source, asked, training = self.fields["source"], ", ".join(names), self.training
        if source.kind != "label" or source.classes is None:
            raise ValueError(
                f"evaluate.metrics: {asked} need class ids as the source, found images; choose"
                " others"
            )
        ignored = None if source.ignore is None else source.classes - 1
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = Segmenter(self.fields["target"].channels, source.classes).to(
                self.world.device
            )

        def pairs(data: DataSet) -> Iterator[tuple[Tensor, Tensor]]:
            self.world.say(
                f"{asked}: a segmenter learns from data.train in {STEPS} steps, once for these data"
            )
            random = torch.Generator().manual_seed(0)
            indices = torch.randint(len(data), (STEPS * BATCH,), generator=random).tolist()
            for raw in held_out_batches(data, self.sample_transform, indices, BATCH):
                self.damaged.update(raw.damaged)
                batch = self.batch(raw.fields)
                yield self._source(batch), batch["target"]

        def learnt(data: DataSet, key: str) -> dict[str, Tensor]:
            state = trained(network, pairs(data), ignored)
            if not self.damaged:  # as of features
                feature_cache.store_features(key, state, "unet-")
            return state

        # Rank 0's weights on all, so that they agree.
        found, path = None, self.recipe.evaluate.weights.get("unet")
        if path:
            found = self.world.broadcast_from_rank0(lambda: read(path, network))
        elif training is None:
            where = (
                "data.train, which isn't here; give evaluate.weights={unet: FILE}, another"
                " evaluation's"
            )
            raise ValueError(f"evaluate.metrics: {asked} train their segmenter on {where}")
        else:
            key = told(f"{self._key(training, len(training))} {self.recipe.data.source}")
            found = self.world.broadcast_from_rank0(
                lambda: feature_cache.load_cached_features(key, "unet-")
            )
        if found:
            network.load_state_dict(found)
        elif training is not None:  # later, when a signal finds a run that has begun
            self.learn = lambda: network.load_state_dict(
                self.world.broadcast_from_rank0(lambda: learnt(training, key))
            )
        return Segmentation(names, network, ignored)

    def _batches(self, indices: range) -> Iterator[Batch]:
        for raw in held_out_batches(self.shards, self.sample_transform, indices, self.batch_size):
            self.damaged.update(raw.damaged)
            self.positions = raw.positions
            seed_all(self.recipe.seed, raw.positions[0])
            yield self.batch(raw.fields)

    def _source(self, batch: Batch) -> Tensor:
        """As its file has it: the edges of instances are no class."""
        return batch["source"][:, : channels(self.fields["source"])]

    @torch.no_grad()
    def metrics(self, method: Method) -> list[Record]:
        """Of the fakes as their files would hold them, each sample once over all ranks. Every
        rank calls it.
        """
        set_inference(method, **self.test_time)
        if (
            self.world.size > 1
        ):  # batch norm's running statistics are each rank's own; rank 0's are saved
            for buffer in float_buffers(method):
                dist.broadcast(buffer, 0)
        advice = "fewer or other evaluate.metrics need less"
        with full_precision(), naming_too_large("evaluate", self.world.device, advice):
            return self._metrics(method)

    def _metrics(self, method: Method) -> list[Record]:
        metric_suite, field, apart = (
            self.metric_suite,
            self.fields["target"],
            len(self.shards.domains) > 1,
        )
        metric_suite.reset()
        if self.learn:
            self.learn()
            self.learn = None
        if self.segmentation:
            self.segmentation.reset()
        if apart:  # each once, as the sources
            self._targets("real", self.shards, self.most)
        known = self._recall("real", self.shards, self.most)
        for batch in self._batches(range(self.world.rank, self.total, self.world.size)):
            fake = self._translate(method, batch)
            written = normalise(to_files(fake, field.dtype), field, fake.dtype, fake.device)
            written = written.masked_fill(fake.isnan(), torch.nan)  # integers would hide it
            target = batch["target"][:0] if apart else batch["target"]
            more = method.measure({**batch, "fake": written}) | (
                method.diagnose(batch) if self.diagnose else {}
            )
            metric_suite.add(written, target, self._source(batch), **more)
            if self.segmentation:
                self.segmentation.add(self._source(batch), written, target)
        if not known:
            self._remember("real", self.shards, self.most)
        if self.training:
            self._targets("null", self.training, self.total)
        segmented = self.segmentation.results(self.world.gather) if self.segmentation else []
        records = [*metric_suite.results(), *segmented]
        if self.diagnose and not self.warned:  # in training there is no table that would say so
            self.warned = True
            for record in records:
                if record.problem:
                    self.world.say(
                        f"evaluate.metrics: {record.name} has no value ({record.problem})"
                    )
        return records

    def _translate(self, method: Method, batch: Batch) -> Tensor:
        """Translate a batch, one image at a time where memory is short. Raises OutOfMemory,
        which names the sample.
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
        fakes: list[Tensor] = []
        for number, position in enumerate(self.positions):
            height, width = batch["source"].shape[2:]
            with naming_too_large(
                f"sample {self.shards.domains[0].key(position)} ({height}x{width})", device, advice
            ):
                fakes.append(
                    method.translate(
                        {role: images[number : number + 1] for role, images in batch.items()}
                    )
                )
        return torch.cat(fakes)

    def _targets(self, which: str, data: DataSet, most: int) -> None:
        """Alone: what is wrong with a source costs no target."""
        if self._recall(which, data, most):
            return
        side, name = data.domains[-1], data_request(self.recipe).target
        indices = np.arange(len(side))
        if which == "null":  # neighbours are alike: frames of a film, hours of a webcam
            indices = np.random.default_rng(0).permutation(indices)
        share = indices[:most][self.world.rank :: self.world.size].tolist()
        for raw in held_out_batches(
            side, replace(self.sample_transform, fields=(name,)), share, _BATCH
        ):
            self.damaged.update(raw.damaged)
            images = normalise(
                raw.fields[name], self.fields["target"], torch.float32, self.world.device
            )
            self.metric_suite.add_images(which, images)
        self._remember(which, data, most)

    def _key(self, shards: DataSet, most: int) -> str:
        data = self.recipe.data
        shown = describe_held_out(data.size, data.resize)
        return (
            f"{shards.fingerprint} {data.target} {data.size} {data.resize} {shown}"
            f" {min(most, len(shards))}"
        )

    def _recall(self, which: str, shards: DataSet, most: int) -> bool:
        return self.metric_suite.load_reference(which, f"{self._key(shards, most)} {which}")

    def _remember(self, which: str, shards: DataSet, most: int) -> None:
        if not any(
            self.world.gather(bool(self.damaged))
        ):  # a better copy of the data has the same fingerprint
            self.metric_suite.store_reference(which, f"{self._key(shards, most)} {which}")
