"""Files through a trained model."""

from collections.abc import Generator
from contextlib import closing
from itertools import groupby, islice
from pathlib import Path

from rich.progress import track

from gantrain import unfinished
from gantrain.console import console, say
from gantrain.data.decode import EXTENSIONS, encode, lossless
from gantrain.data.transforms import Sample
from gantrain.files import write_bytes
from gantrain.inference import Translator

_SUFFIXES = tuple(f".{extension}" for extension in EXTENSIONS)


def find_inputs(inputs: list[Path]) -> list[Path]:
    """The image files that the arguments name; a folder stands for the images in it."""
    files: list[Path] = []
    for path in inputs:
        if not path.exists():
            raise ValueError(f"input: no file or folder {path}")
        inside = sorted(p for p in path.iterdir() if p.suffix.lower() in _SUFFIXES) if path.is_dir() else [path]
        if not inside:
            raise ValueError(f"input: no images in {path}; allowed: {', '.join(_SUFFIXES)}")
        files += inside
    return list(dict.fromkeys(files))


def _write(path: Path, content: bytes, done: int, total: int) -> None:
    """Write a result whole. Raises ValueError that says how far the command got."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, content)
    except OSError as e:
        advice = unfinished.advice(e)
        raise ValueError(f"--out: cannot write {path} ({e.strerror}); {done} of {total} are done; {advice}") from None


def by_stem(option: str, folder: Path) -> dict[str, Path]:
    """The images in a folder by what pairs them with others. Raises ValueError."""
    found: dict[str, Path] = {}
    for file in find_inputs([folder]):
        if (other := found.setdefault(file.stem, file)) != file:
            raise ValueError(f"{option}: {other} and {file} have one name; leave one of them in {folder}")
    return found


def translate_files(
    model: Translator, inputs: list[Path], out: Path, batch_size: int, instances: Path | None = None
) -> list[Path]:
    """Write `out/STEM.png` (`.npy` where PNG can't hold it) for each input, at its size.

    instances: the folder of maps of instance ids, STEM.* for each input, for a model of their edges. Unreadable inputs
    are listed at the end. Raises ValueError where nothing can be done, or where a result exists already; those of the
    same command, which was cut short, are kept.
    """
    files = find_inputs(inputs)
    model.check_instances(instances is not None)
    maps = by_stem("--instances", instances) if instances else {}
    if alone := [file for file in files if instances and file.stem not in maps]:
        named = ", ".join(map(str, alone[:8])) + " ..." * (len(alone) > 8)
        raise ValueError(
            f"--instances: {instances} lacks a map of ids of {len(alone)} inputs: {named}; give NAME.* each"
        )
    kind = lossless(model.target.channels, model.target.dtype)
    results: dict[Path, Path] = {}  # from result to input
    for file in files:
        other = results.setdefault(out / f"{file.stem}.{kind}", file)
        if other != file:
            raise ValueError(f"input: {other} and {file} would both become {file.stem}.{kind}; translate them apart")
    record = unfinished.describe(model.identity, [*files, *maps.values()])
    done = unfinished.begin(out, record, list(results))
    kept = set(done)
    problems: list[str] = []

    def readable() -> Generator[tuple[Path, Sample], None, None]:
        for result, file in track(results.items(), "translating", len(results), console=console, transient=True):
            if result in kept:
                continue
            try:
                yield result, model.read(file, maps.get(file.stem))
            except ValueError as e:
                problems.append(str(e))

    with closing(readable()) as samples:  # an error ends the progress bar, whose thread would go on
        for _, same_size in groupby(samples, key=lambda pair: pair[1]["source"].shape):
            while batch := list(islice(same_size, 1 if model.one_by_one else batch_size)):
                fakes = model.translate_arrays([sample for _, sample in batch])
                for (result, _), fake in zip(batch, fakes, strict=True):
                    _write(result, encode(fake, kind), len(done), len(results))
                    done.append(result)
    unfinished.end(out, record)
    if not done:
        raise ValueError(f"input: none of {len(files)} files could be translated; the first: {problems[0]}")
    for problem in problems:
        say(f"left out: {problem}")
    say(f"{len(done)} images in {out}")
    return done
