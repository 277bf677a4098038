"""Translate image files with a trained model, several of one size at once while memory lasts."""

from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing
from itertools import groupby, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.progress import track

from gantrain.core.console import console, say
from gantrain.core.errors import UserError
from gantrain.core.out_of_memory import OutOfMemory, naming_too_large
from gantrain.core.threads import map_in_order, usual_workers
from gantrain.data.decode import encode
from gantrain.data.scale import Choice, Size, text_of
from gantrain.data.transforms import Sample
from gantrain.inference.sizes import OutputSize
from gantrain.inference.translator import Translator, at_output_size

_MOST_THREADS = 4  # that read, and as many that encode
_LARGE_BYTES = 16 << 20  # of a file; its pixels may take much memory
# Photographs gain little from zlib's further levels, which take three times as long (measured).
_PNG_LEVEL = 1


class Item(NamedTuple):
    """An input file with the path of its result.

    sample: the image as the file holds it. seen: the image as the networks see it.
    """

    result: Path
    file: Path
    sample: Sample
    seen: Sample

    @property
    def size(self) -> Size:
        return self.sample["source"].shape[:2]

    @property
    def seen_size(self) -> Size:
        return self.seen["source"].shape[:2]

    def __str__(self) -> str:
        size = text_of(self.size)
        if self.seen_size != self.size:
            size += f", for the networks {text_of(self.seen_size)}"
        return f"{self.file} ({size})"


class _Reading(NamedTuple):
    """The result of reading a file: an item, or a problem. notes: on what was converted."""

    item: Item | None
    problem: str
    notes: list[str]


class _Encoded(NamedTuple):
    """A result as the bytes of its file; None where memory was short, as the problem states."""

    item: Item
    content: bytes | None
    problem: str = ""


class FileTranslation:
    """Translates files, and collects which are left out and what was converted.

    Threads read the next files and encode the last results while the networks run.

    problems: a line for each file that is left out. notes: sentences on what was converted.
    """

    def __init__(self, model: Translator, batch_size: int, size: Choice | None) -> None:
        self.model = model
        self.batch_size = 1 if model.one_by_one else batch_size
        self.size = size
        self.problems: list[str] = []
        self.notes: list[str] = []
        self._threads = usual_workers(_MOST_THREADS)
        self._ahead = self._threads  # images that are read before they are translated, at most
        # Sizes, as the networks see them, of which several images at once need too much memory.
        self._tight: set[Size] = set()
        self._advice = "translate it alone with a smaller --size HEIGHTxWIDTH"
        if model.device.type == "cuda":
            self._advice = f"give --device cpu, or {self._advice}"

    def read(
        self, pending: Mapping[Path, Path], inputs: Mapping[str, Mapping[Path, Path]]
    ) -> Generator[Item, None, None]:
        """Yield the inputs that can be read, in order.

        pending: the images by result. inputs: by role, the file of each image's further input.
        """
        if not pending:
            return  # an empty progress bar leaves an empty line

        def read_one(names: tuple[Path, Path]) -> _Reading:
            result, file = names
            further = {role: files[file] for role, files in inputs.items()}
            return self._read(result, file, further)

        # Several large images at once could need more memory than there is.
        files = [*pending.values()]
        for of_role in inputs.values():
            files += of_role.values()
        if any(map(_is_large, files)):
            self._ahead = 0
        with closing(
            map_in_order(read_one, pending.items(), self._threads, self._ahead)
        ) as readings:
            for reading in track(
                readings, "translating", len(pending), console=console, transient=True
            ):
                self.notes += reading.notes
                if reading.item is None:
                    self.problems.append(reading.problem)
                else:
                    yield reading.item

    def _read(self, result: Path, file: Path, further: Mapping[str, Path]) -> _Reading:
        """Read one input. Several threads call it, so it must not change the object."""
        model = self.model
        notes: list[str] = []
        try:
            what = f"{file} ({file.stat().st_size:,} bytes)"
            advice = "give a smaller copy, or free memory"
            with naming_too_large(what, model.device, advice):
                sample = model.reader.read(file, further, notes)
                seen = _at_size(model, file, sample, self.size)
        except OSError as error:
            return _Reading(None, f"{file}: cannot be read ({error.strerror})", notes)
        except ValueError as error:
            return _Reading(None, str(error), notes)
        return _Reading(Item(result, file, sample, seen), "", notes)

    def translated(self, items: Iterable[Item]) -> Iterator[tuple[Item, np.ndarray]]:
        """Translate images, several of one size at once while memory lasts."""
        for _, same_size in groupby(items, key=lambda item: item.seen_size):
            yield from self._translated(same_size)

    def _translated(self, items: Iterator[Item]) -> Iterator[tuple[Item, np.ndarray]]:
        """Translate images of one size, several at once while memory lasts."""
        while True:
            batch = list(islice(items, self.batch_size))
            if not batch:
                return
            if len(batch) > 1 and batch[0].seen_size not in self._tight:
                try:
                    yield from self._translate(batch)
                    continue
                except OutOfMemory as error:
                    self._tight.add(batch[0].seen_size)
                    say(f"{error}; they are translated one at a time")
            for item in batch:
                try:
                    yield from self._translate([item])
                except OutOfMemory as error:
                    self.problems.append(str(error))

    def _translate(self, batch: list[Item]) -> list[tuple[Item, np.ndarray]]:
        """Translate a batch of images of one size. Raises OutOfMemory."""
        if len(batch) == 1:
            what = str(batch[0])
            advice = self._advice
        else:
            what = f"{len(batch)} images of {text_of(batch[0].seen_size)} at once"
            advice = "--batch-size sets fewer"
        with naming_too_large(what, self.model.device, advice):
            fakes = self.model.translate_arrays([item.seen for item in batch])
        return list(zip(batch, fakes, strict=True))

    def encoded(
        self, translated: Iterable[tuple[Item, np.ndarray]], kind: str, output_size: OutputSize
    ) -> Generator[tuple[Item, bytes], None, None]:
        """Yield the items with the bytes of their results' files, in order."""

        def encode_one(pair: tuple[Item, np.ndarray]) -> _Encoded:
            item, fake = pair
            try:
                with naming_too_large(str(item), self.model.device, self._advice):
                    array = at_output_size(fake, item.sample, item.seen, output_size)
                    return _Encoded(item, encode(array, kind, _PNG_LEVEL))
            except OutOfMemory as error:
                return _Encoded(item, None, str(error))

        with closing(map_in_order(encode_one, translated, self._threads, self._ahead)) as results:
            for result in results:
                if result.content is None:
                    self.problems.append(result.problem)
                else:
                    yield result.item, result.content


def _is_large(file: Path) -> bool:
    try:
        return file.stat().st_size > _LARGE_BYTES
    except OSError:  # which reading reports
        return False


def _at_size(model: Translator, file: Path, sample: Sample, size: Choice | None) -> Sample:
    try:
        return model.reader.at_size(sample, size)
    except ValueError as e:
        raise UserError(f"{file}: {e}") from None
