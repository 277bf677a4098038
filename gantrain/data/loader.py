"""Batches from shards: the training stream from any position, and held-out samples in order."""

import signal
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gantrain.core.out_of_memory import OutOfMemory
from gantrain.core.rng import Purpose, random_numbers
from gantrain.data.decode import decode_sample
from gantrain.data.remote import FetchFailed
from gantrain.data.sample_order import Order
from gantrain.data.shards import DamagedSample, Shards
from gantrain.data.transforms import Sample, SampleTransform
from gantrain.data.unpaired import DataSet

_GRACE_SECONDS = 30


class RawBatch(NamedTuple):
    """A rank's share of a batch as it comes from the files: NHWC integers."""

    fields: dict[str, Tensor]
    positions: tuple[int, ...]
    damaged: tuple[str, ...]


class _Stream(Dataset[Any]):
    """Position -> augmented sample; a damaged sample gives way to another one."""

    def __init__(self, shards: Shards, sample_transform: SampleTransform, order: Order) -> None:
        self.shards, self.sample_transform, self.order, self.seed = (
            shards,
            sample_transform,
            order,
            order.seed,
        )

    def __getitem__(self, position: int) -> tuple[Sample, int, list[str]]:
        """Substitutes come from the position's window: of a remote set, no other shards may be
        at hand.
        """
        substitutes = random_numbers(self.seed, position, Purpose.SUBSTITUTE)
        index = self.order[position]
        damaged: list[str] = []
        while True:
            try:
                sample = decode_sample(self.shards, index, self.sample_transform.fields)
                break
            except DamagedSample as e:
                damaged.append(str(e))
                if len(damaged) == 100:
                    raise DamagedSample(f"100 damaged samples in a row, the last: {e}") from None
                index = int(substitutes.choice(self.order.window(position)[1]))
        return (
            self.sample_transform.augment(
                sample, random_numbers(self.seed, position, Purpose.AUGMENTATION)
            ),
            position,
            damaged,
        )

    def __getitems__(self, positions: list[int]) -> list[tuple[Sample, int, list[str]]] | Exception:
        """Return the samples of a batch, or the error that keeps them from being read.

        A worker process that raises an error would add its traceback to the error's text.
        """
        try:
            return [self[position] for position in positions]
        except (DamagedSample, FetchFailed, OutOfMemory) as error:
            return error


def _collate_stream(samples: list[tuple[Sample, int, list[str]]] | Exception) -> Any:
    return samples if isinstance(samples, Exception) else _collate(samples)


def _collate(samples: list[tuple[Sample, int, list[str]]]) -> RawBatch:
    fields = {
        f: torch.from_numpy(np.stack([sample[f] for sample, _, _ in samples]))
        for f in samples[0][0]
    }
    damaged = tuple(text for _, _, texts in samples for text in texts)
    return RawBatch(fields, tuple(position for _, position, _ in samples), damaged)


def _leave_signals_to_the_rank(worker: int) -> None:
    """Ctrl-C and schedulers signal every process, but the rank still needs batches to stop well."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)

    def leave_soon(*_: object) -> None:
        # The rank itself ends a worker by SIGTERM where nothing else did, such as one that waits
        # for a server: a first one may be the scheduler's, a second one is the rank's.
        signal.alarm(_GRACE_SECONDS)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    signal.signal(signal.SIGTERM, leave_soon)


def training_loader(
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
    """The places `slots` of each step's batch, positions [start, stop), in order; to go through
    once. Instead of a batch that cannot be read there is its error, which `merge_streams` raises.
    """
    return DataLoader(
        _Stream(shards, sample_transform, order),
        batch_sampler=([seen + slot for slot in slots] for seen in range(start, stop, batch_size)),
        num_workers=workers,
        collate_fn=_collate_stream,
        worker_init_fn=_leave_signals_to_the_rank,
        pin_memory=pin,
        prefetch_factor=4 if workers else None,
    )


def merge_streams(*streams: RawBatch | Exception) -> RawBatch:
    """The same places of a batch from several streams, as one; each has fields of its own.

    Raises DamagedSample, FetchFailed or OutOfMemory where the workers could not read one of them.
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
    """Nothing where sample `i` is damaged; a damaged target of unpaired data gives way to the
    next one.
    """
    sample: Sample = {}
    for number, side in enumerate(data.domains):  # apart, since two sets' files differ in size
        own = [field for field in sample_transform.fields if field in side.fields]
        for j in range(i, i + (len(side) if number else 1)):
            try:
                sample |= sample_transform.held_out(decode_sample(side, j % len(side), own))
                break
            except DamagedSample as e:
                damaged.append(str(e))
        else:
            return {}
    return sample


def held_out_batches(
    data: DataSet, sample_transform: SampleTransform, indices: Sequence[int], batch_size: int
) -> Iterator[RawBatch]:
    """Samples `indices` without augmentation; damaged ones are left out and named."""
    for start in range(0, len(indices), batch_size):
        damaged: list[str] = []
        read = [
            (_held_out(data, sample_transform, i, damaged), i, list[str]())
            for i in indices[start : start + batch_size]
        ]
        if samples := [one for one in read if one[0]]:
            yield _collate(samples)._replace(damaged=tuple(damaged))
