"""Batches from shards: the training stream from any position, and held-out samples in order."""

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from gantrain.chance import Purpose, random_numbers
from gantrain.data.decode import decode_sample
from gantrain.data.order import Order
from gantrain.data.shards import DamagedSample, Shards
from gantrain.data.transforms import Sample, Size, augment, held_out

_GRACE_SECONDS = 30


class Raw(NamedTuple):
    """A rank's share of a batch as it comes from the files: NHWC integers."""

    fields: dict[str, Tensor]
    positions: tuple[int, ...]
    damaged: tuple[str, ...]


@dataclass(frozen=True)
class View:
    """How samples are shown: the wanted fields and their geometry."""

    fields: tuple[str, ...]
    labels: frozenset[str]
    size: Size
    resize: Size | None
    flip: bool = False
    jitter: float = 0.0


class _Stream(Dataset[Any]):
    """Position -> augmented sample; a damaged sample gives way to another one."""

    def __init__(self, shards: Shards, view: View, seed: int) -> None:
        self.shards, self.view, self.seed = shards, view, seed
        self.order = Order(len(shards), seed)

    def __getitem__(self, position: int) -> tuple[Sample, int, list[str]]:
        view = self.view
        sample, damaged = self._read(position)
        random = random_numbers(self.seed, position, Purpose.AUGMENTATION)
        sample = augment(
            sample, view.labels, view.size, view.resize, view.flip, view.jitter, random
        )
        return sample, position, damaged

    def _read(self, position: int) -> tuple[Sample, list[str]]:
        """The sample at a position, or the first whole one of its substitutes."""
        substitutes = random_numbers(self.seed, position, Purpose.SUBSTITUTE)
        index = self.order[position]
        damaged: list[str] = []
        while True:
            try:
                return decode_sample(self.shards, index, self.view.fields), damaged
            except DamagedSample as e:
                damaged.append(str(e))
                if len(damaged) == 100:
                    raise DamagedSample(f"100 damaged samples in a row, the last: {e}") from None
                index = int(substitutes.integers(len(self.shards)))


class _Steps(Sampler[list[int]]):
    """One rank's positions of each step, from `start` to `stop`; `slots` are its places."""

    def __init__(self, start: int, stop: int, batch_size: int, slots: range) -> None:
        self.steps = range(start, stop, batch_size)
        self.slots = slots

    def __iter__(self) -> Iterator[list[int]]:
        return ([seen + slot for slot in self.slots] for seen in self.steps)

    def __len__(self) -> int:
        return len(self.steps)


def _collate(samples: list[tuple[Sample, int, list[str]]]) -> Raw:
    fields = {
        f: torch.from_numpy(np.stack([sample[f] for sample, _, _ in samples]))
        for f in samples[0][0]
    }
    damaged = tuple(text for _, _, texts in samples for text in texts)
    return Raw(fields, tuple(position for _, position, _ in samples), damaged)


def _leave_signals_to_the_rank(worker: int) -> None:
    """Ctrl-C and schedulers signal every process, but the rank still needs batches to stop well."""
    for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    # The rank itself ends a worker by SIGTERM where nothing else did: so not at once, but surely.
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(_GRACE_SECONDS))


def training_loader(
    shards: Shards,
    view: View,
    *,
    seed: int,
    start: int,
    stop: int,
    batch_size: int,
    slots: range,
    workers: int,
    pin: bool = False,
) -> DataLoader[Any]:
    """The places `slots` of each step's batch, positions [start, stop), in order."""
    return DataLoader(
        _Stream(shards, view, seed),
        batch_sampler=_Steps(start, stop, batch_size, slots),
        num_workers=workers,
        collate_fn=_collate,
        worker_init_fn=_leave_signals_to_the_rank,
        pin_memory=pin,
        prefetch_factor=4 if workers else None,
    )


def held_out_batches(shards: Shards, view: View, indices: range, batch_size: int) -> Iterator[Raw]:
    """Samples `indices` without augmentation; damaged ones are left out and named."""
    for start in range(0, len(indices), batch_size):
        samples: list[tuple[Sample, int, list[str]]] = []
        damaged: list[str] = []
        for index in indices[start : start + batch_size]:
            try:
                sample = decode_sample(shards, index, view.fields)
                sample = held_out(sample, view.labels, view.size, view.resize)
                samples.append((sample, index, []))
            except DamagedSample as e:
                damaged.append(str(e))
        if samples:
            yield _collate(samples)._replace(damaged=tuple(damaged))
