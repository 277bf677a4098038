"""Batches from shards: the training stream from any position, and held-out samples in order."""

import signal
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gantrain.core.out_of_memory import OutOfMemory
from gantrain.core.own_code import OwnCodeFailed
from gantrain.core.rng import Purpose, random_numbers
from gantrain.core.threads import map_in_order
from gantrain.data.decode import decode_sample
from gantrain.data.remote import FetchFailed
from gantrain.data.sample_order import Order
from gantrain.data.shards import DamagedSample, Shards
from gantrain.data.transforms import Sample, SampleTransform
from gantrain.data.unpaired import DataSet

_GRACE_SECONDS = 30
_HELD_OUT_SEED = 0  # every run, whatever its seed, measures the same degraded images
_MOST_DAMAGED = 100  # in a row
PREFETCHED = 4  # batches that each worker of a training loader makes ahead
_FEWEST_AHEAD = 4  # held-out samples that are decoded before they are needed


class RawBatch(NamedTuple):
    """A rank's share of a training batch as it comes from the files.

    fields: NHWC integers. positions: of its samples in the stream. damaged: a line for each sample
    that could not be read.
    """

    fields: dict[str, Tensor]
    positions: tuple[int, ...]
    damaged: tuple[str, ...]


class _ReadSample(NamedTuple):
    """A sample of the stream. damaged: a line for each sample that it replaces."""

    fields: Sample
    position: int
    damaged: list[str]


class _Stream(Dataset[_ReadSample]):
    """The augmented sample at a position; another sample replaces a damaged one."""

    def __init__(self, shards: Shards, sample_transform: SampleTransform, order: Order) -> None:
        self.shards = shards
        self.sample_transform = sample_transform
        self.order = order
        self.seed = order.seed

    def __getitem__(self, position: int) -> _ReadSample:
        """Return the sample at a position, or a substitute from the position's window.

        Other shards of a remote set may not have been fetched.
        """
        substitutes = random_numbers(self.seed, position, Purpose.SUBSTITUTE)
        index = self.order[position]
        damaged: list[str] = []
        while True:
            try:
                sample = decode_sample(self.shards, index, self.sample_transform.fields)
                break
            except DamagedSample as error:
                damaged.append(str(error))
                if len(damaged) == _MOST_DAMAGED:
                    raise DamagedSample(
                        f"{_MOST_DAMAGED} damaged samples in a row, the last: {error}"
                    ) from None
                index = int(substitutes.choice(self.order.window(position).samples))
        random = random_numbers(self.seed, position, Purpose.AUGMENTATION)
        augmented = self.sample_transform.augment(sample, random)
        shown = self.sample_transform.with_source(augmented, self.seed, position)
        return _ReadSample(shown, position, damaged)

    def __getitems__(self, positions: list[int]) -> list[_ReadSample] | Exception:
        """Return the samples of a batch, or the error that keeps them from being read.

        A worker process that raises an error would add its traceback to the error's text.
        """
        try:
            return [self[position] for position in positions]
        except (DamagedSample, FetchFailed, OutOfMemory, OwnCodeFailed) as error:
            return error


def _collate_stream(samples: list[_ReadSample] | Exception) -> RawBatch | Exception:
    return samples if isinstance(samples, Exception) else _collate(samples)


def _collate(samples: list[_ReadSample]) -> RawBatch:
    damaged: list[str] = []
    for sample in samples:
        damaged += sample.damaged
    positions = tuple(sample.position for sample in samples)
    return RawBatch(_stack([sample.fields for sample in samples]), positions, tuple(damaged))


def _stack(samples: list[Sample]) -> dict[str, Tensor]:
    """Return the samples' fields as NHWC tensors."""
    fields = {}
    for name in samples[0]:
        fields[name] = torch.from_numpy(np.stack([sample[name] for sample in samples]))
    return fields


def _leave_signals_to_the_rank(worker: int) -> None:
    """Ignore the signals that Ctrl-C and schedulers send to every process of a job.

    The rank still needs batches to stop well.
    """
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)

    def leave_soon(*_: object) -> None:
        # A first SIGTERM may be the scheduler's. A second one is the rank's, which ends a worker
        # that nothing else has ended, such as one that waits for a server.
        signal.alarm(_GRACE_SECONDS)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    signal.signal(signal.SIGTERM, leave_soon)


def training_loader(  # noqa: PLR0913 (all by name; an object would only carry them here)
    shards: Shards,
    sample_transform: SampleTransform,
    *,
    order: Order,
    start: int,
    stop: int,
    batch_size: int,
    slots: Sequence[int],
    workers: int,
    pin: bool = False,
) -> DataLoader[Any]:
    """Return a loader of the positions [start, stop), in order, to be iterated once.

    slots: the places of each step's batch that this rank takes.
    A batch that cannot be read is its error, which `merge_streams` raises.
    """

    def positions() -> Iterator[list[int]]:
        for images_seen in range(start, stop, batch_size):
            yield [images_seen + slot for slot in slots]

    return DataLoader(
        _Stream(shards, sample_transform, order),
        batch_sampler=positions(),
        num_workers=workers,
        collate_fn=_collate_stream,
        worker_init_fn=_leave_signals_to_the_rank,
        pin_memory=pin,
        prefetch_factor=PREFETCHED if workers else None,
    )


def merge_streams(*streams: RawBatch | Exception) -> RawBatch:
    """Return the same places of a batch from several streams as one batch.

    Each stream has fields of its own.

    Raises DamagedSample, FetchFailed, OutOfMemory or OwnCodeFailed where the workers could not read
    one of them.
    """
    fields: dict[str, Tensor] = {}
    positions: tuple[int, ...] = ()
    damaged: tuple[str, ...] = ()
    for raw in streams:
        if isinstance(raw, Exception):
            raise raw
        fields |= raw.fields
        positions = raw.positions
        damaged += raw.damaged
    return RawBatch(fields, positions, damaged)


def _held_out(
    data: DataSet, sample_transform: SampleTransform, i: int, damaged: list[str]
) -> Sample:
    """Return sample `i` without augmentation; it is empty where the sample is damaged.

    Of unpaired data, the next target replaces a damaged one. damaged: takes a line for each.
    """
    sample: Sample = {}
    for number, domain in enumerate(data.domains):
        names = [name for name in sample_transform.fields if name in domain.fields]
        candidates = len(domain) if number > 0 else 1
        for candidate in range(i, i + candidates):
            try:
                decoded = decode_sample(domain, candidate % len(domain), names)
                # The files of two sets differ in size, so each domain is shown by itself.
                shown = sample_transform.held_out(decoded)
                sample |= sample_transform.with_source(shown, _HELD_OUT_SEED, i)
                break
            except DamagedSample as error:
                damaged.append(str(error))
        else:
            return {}
    return sample


class _HeldOutSample(NamedTuple):
    """A held-out sample; it has no fields where it is damaged."""

    position: int
    fields: Sample
    damaged: list[str]


class HeldOutBatch(NamedTuple):
    """Held-out samples as they come from the files.

    fields: NHWC integers. positions: of the samples in the set.
    """

    fields: dict[str, Tensor]
    positions: tuple[int, ...]


def held_out_batches(
    data: DataSet,
    sample_transform: SampleTransform,
    indices: Sequence[int],
    batch_size: int,
    *,
    damaged: set[str],
) -> Iterator[HeldOutBatch]:
    """Yield the samples `indices` without augmentation, and leave out damaged ones.

    A batch whose samples are all damaged is left out. Threads decode the next samples meanwhile.
    damaged: takes a line for each damaged sample.
    """

    def read(i: int) -> _HeldOutSample:
        lines: list[str] = []
        return _HeldOutSample(i, _held_out(data, sample_transform, i, lines), lines)

    ahead = max(batch_size, _FEWEST_AHEAD)
    with closing(map_in_order(read, indices, ahead=ahead)) as readings:
        while True:
            batch = list(islice(readings, batch_size))
            if not batch:
                return
            for reading in batch:
                damaged.update(reading.damaged)
            whole = [reading for reading in batch if reading.fields]
            if whole:
                fields = _stack([reading.fields for reading in whole])
                positions = tuple(reading.position for reading in whole)
                yield HeldOutBatch(fields, positions)
