"""Files through a trained model."""

import os
from collections.abc import Iterator
from itertools import groupby, islice
from pathlib import Path

import numpy as np
from rich.progress import track

from gantrain.console import console, say
from gantrain.data.decode import EXTENSIONS, encode
from gantrain.inference import Translator

_SUFFIXES = tuple(f".{extension}" for extension in EXTENSIONS)


def find_inputs(inputs: list[Path]) -> list[Path]:
    """The image files that the arguments name; a folder stands for the images in it.

    Raises ValueError for what does not exist, and for two files of one stem.
    """
    files: list[Path] = []
    for path in inputs:
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in _SUFFIXES)
            if not inside:
                raise ValueError(f"input: no images in {path}; allowed: {', '.join(_SUFFIXES)}")
            files += inside
        elif path.is_file():
            files.append(path)
        else:
            raise ValueError(f"input: no file or folder {path}")
    stems: dict[str, Path] = {}
    for file in files:
        other = stems.setdefault(file.stem, file)
        if other != file:
            raise ValueError(
                f"input: {other} and {file} would both become {file.stem}.png; translate them apart"
            )
    return files


def translate_files(
    model: Translator, inputs: list[Path], out: Path, batch_size: int
) -> list[Path]:
    """Write `out/STEM.png` (`.npy` where PNG can't hold it) for each input, at its size.

    Unreadable inputs are listed at the end. Raises ValueError where nothing can be done, or
    where a result exists already.
    """
    files = find_inputs(inputs)
    channels = model.target.channels
    png = channels <= {"uint8": 4, "uint16": 1, "float32": 0}[model.target.dtype]
    kind = "png" if png else "npy"
    results = {file: out / f"{file.stem}.{kind}" for file in files}
    there = [result for result in results.values() if result.exists()]
    if there:
        raise ValueError(f"--out: {there[0]} exists ({len(there)} in all); choose another folder")
    new = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not os.access(out, os.W_OK):
            raise PermissionError(13, "permission denied")
    except OSError as e:
        raise ValueError(
            f"--out: cannot write {out} ({e.strerror}); choose another folder"
        ) from None
    batch_size = 1 if model.one_by_one else batch_size
    problems: list[str] = []
    done: list[Path] = []

    def readable() -> Iterator[tuple[Path, np.ndarray]]:
        for file in track(files, "translating", console=console, transient=True):
            try:
                yield file, model.read(file)
            except ValueError as e:
                problems.append(str(e))

    for _, same_size in groupby(readable(), key=lambda pair: pair[1].shape):
        while batch := list(islice(same_size, batch_size)):
            fakes = model.translate_arrays([image for _, image in batch])
            for (file, _), fake in zip(batch, fakes, strict=True):
                results[file].write_bytes(encode(fake, kind))
                done.append(results[file])
    if not done:
        if new:
            out.rmdir()
        raise ValueError(
            f"input: none of {len(files)} files could be translated; the first: {problems[0]}"
        )
    for problem in problems:
        say(f"left out: {problem}")
    say(f"{len(done)} images in {out}")
    return done
