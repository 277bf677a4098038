"""Translate image files with a trained model, several of one size at once while memory lasts."""

from collections.abc import Generator, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.progress import track

from gantrain.core.console import console, say
from gantrain.core.errors import UserError
from gantrain.core.out_of_memory import OutOfMemory, naming_too_large
from gantrain.data.decode import encode
from gantrain.data.scale import Choice, Size, text_of
from gantrain.data.transforms import Sample
from gantrain.inference.sizes import OutputSize
from gantrain.inference.translator import Translator, at_output_size


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


class FileTranslation:
    """Translates files, and collects which are left out and what was converted.

    problems: a line for each file that is left out. notes: sentences on what was converted.
    """

    def __init__(self, model: Translator, batch_size: int, size: Choice | None) -> None:
        self.model = model
        self.batch_size = 1 if model.one_by_one else batch_size
        self.size = size
        self.problems: list[str] = []
        self.notes: list[str] = []
        # Sizes, as the networks see them, of which several images at once need too much memory.
        self._tight: set[Size] = set()
        self._advice = "translate it alone with a smaller --size HEIGHTxWIDTH"
        if model.device.type == "cuda":
            self._advice = f"give --device cpu, or {self._advice}"

    def read(
        self, pending: Mapping[Path, Path], inputs: Mapping[str, Mapping[Path, Path]]
    ) -> Generator[Item, None, None]:
        """Yield the inputs that can be read.

        pending: the images by result. inputs: by role, the file of each image's further input.
        """
        model = self.model
        if not pending:
            return  # an empty progress bar leaves an empty line
        for result, file in track(
            pending.items(), "translating", len(pending), console=console, transient=True
        ):
            try:
                what = f"{file} ({file.stat().st_size:,} bytes)"
                advice = "give a smaller copy, or free memory"
                with naming_too_large(what, model.device, advice):
                    further = {role: files[file] for role, files in inputs.items()}
                    sample = model.reader.read(file, further, self.notes)
                    seen = _at_size(model, file, sample, self.size)
            except OSError as error:
                self.problems.append(f"{file}: cannot be read ({error.strerror})")
            except ValueError as error:
                self.problems.append(str(error))
            else:
                yield Item(result, file, sample, seen)

    def translated(self, items: Iterator[Item]) -> Iterator[tuple[Item, np.ndarray]]:
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
        self, item: Item, fake: np.ndarray, kind: str, output_size: OutputSize
    ) -> bytes | None:
        """Return the result's file; None where memory is short."""
        try:
            with naming_too_large(str(item), self.model.device, self._advice):
                return encode(at_output_size(fake, item.sample, item.seen, output_size), kind)
        except OutOfMemory as error:
            self.problems.append(str(error))
            return None


def _at_size(model: Translator, file: Path, sample: Sample, size: Choice | None) -> Sample:
    try:
        return model.reader.at_size(sample, size)
    except ValueError as e:
        raise UserError(f"{file}: {e}") from None
