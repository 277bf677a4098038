"""Files through a trained model."""

from collections.abc import Callable, Generator
from contextlib import closing
from itertools import groupby, islice
from pathlib import Path

from rich.progress import track

from gantrain import unfinished
from gantrain.console import console, say
from gantrain.data.decode import EXTENSIONS, encode, lossless
from gantrain.data.listing import list_images, matching_name, without_extension
from gantrain.data.notes import summarise
from gantrain.data.scale import Choice
from gantrain.data.transforms import Sample
from gantrain.files import write_bytes
from gantrain.inference import Translator, at_output_size
from gantrain.paths import check_not_special
from gantrain.sizes import NATIVE_OPTION, OutputSize, SizeReport, check_choice

_MOST_NAMED = 10  # of the files that are passed over


def find_inputs(inputs: list[Path], report: Callable[[str], None] = say, option: str = "input") -> dict[Path, str]:
    """The image files that the arguments name, and by each the name of its result.

    A folder stands for the images in it and in the folders inside it; their names keep the sub-path, such as
    `cam1/0`. report: gets lines on files that are passed over. option: names the arguments in errors. Raises
    ValueError.
    """
    files: dict[Path, str] = {}
    for path in inputs:
        check_not_special(path, option)
        if not path.exists():
            raise ValueError(f"{option}: no file or folder {path}")
        if path.is_dir():
            for file, name in _inside(path, report, option).items():
                files.setdefault(file, name)
        else:
            files.setdefault(path, path.stem)
    return files


def _inside(folder: Path, report: Callable[[str], None], option: str) -> dict[Path, str]:
    """The images of a folder by their sub-paths without the extension. Raises ValueError where there are none."""
    listing = list_images(folder)
    skipped = listing.skipped
    if not listing.images:
        found = f" (found: {skipped[0]})" if skipped else ""
        raise ValueError(f"{option}: no images in {folder}{found}; allowed: {', '.join(f'.{e}' for e in EXTENSIONS)}")
    for line in skipped[:_MOST_NAMED]:
        report(f"left out: {line}")
    if len(skipped) > _MOST_NAMED:
        report(f"left out: {len(skipped) - _MOST_NAMED} more files in {folder}")
    return {file: without_extension(name) for name, file in listing.images.items()}


def _without_results(files: dict[Path, str], inputs: list[Path], out: Path) -> dict[Path, str]:
    """The inputs without earlier results, where these lie in a folder inside an input folder."""
    results = out.absolute()
    if not any(folder.absolute() in results.parents for folder in inputs):
        return files
    kept = {file: name for file, name in files.items() if results not in file.absolute().parents}
    if len(kept) < len(files):
        say(f"left out: {len(files) - len(kept)} images in {out}, which is the folder for results")
    return kept


def _note_targets(model: Translator, files: dict[Path, str]) -> None:
    """Report images that lie in a folder named as the model's target, beside one named as its source."""
    data = model.recipe.data
    folders = [name.partition("/")[0] for name in files.values() if "/" in name]
    if data.source in folders and data.target in folders:
        count = folders.count(data.target)
        say(
            f"input: {count} of {len(files)} images lie in {data.target}/, which is this model's target, and are "
            f"translated too; give the folder {data.source} alone to leave them out"
        )


def _write(path: Path, content: bytes, done: int, total: int) -> None:
    """Write a result whole. Raises ValueError that says how far the command got."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, content)
    except OSError as e:
        advice = unfinished.advice(e)
        raise ValueError(f"--out: cannot write {path} ({e.strerror}); {done} of {total} are done; {advice}") from None


def by_stem(option: str, folder: Path, report: Callable[[str], None] = say) -> dict[str, Path]:
    """The images in a folder by what pairs them with others: the sub-path without the extension. Raises ValueError."""
    found: dict[str, Path] = {}
    for file, name in find_inputs([folder], report, option).items():
        if (other := found.setdefault(matching_name(name), file)) != file:
            raise ValueError(f"{option}: {other} and {file} have one name; leave one of them in {folder}")
    return found


def _at_size(model: Translator, file: Path, sample: Sample, size: Choice | None) -> Sample:
    try:
        return model.at_size(sample, size)
    except ValueError as e:
        raise ValueError(f"{file}: {e}") from None


def translate_files(
    model: Translator,
    inputs: list[Path],
    out: Path,
    batch_size: int,
    instances: Path | None = None,
    size: Choice | None = None,
    output_size: OutputSize = "input",
) -> list[Path]:
    """Write `out/NAME.png` (`.npy` where PNG can't hold it) for each input.

    size, output_size: as in `Translator.translate`; one line at the end describes all images' sizes.

    NAME is a file's name, and below a folder its sub-path, such as `cam1/0`. instances: the folder of maps of instance
    ids, NAME.* for each input, for a model of their edges. Unreadable inputs are listed at the end. The results of the
    same command, where it was cut short, are kept. Raises ValueError where nothing can be done, or where another
    result exists already.
    """
    check_choice(size, output_size)
    files = _without_results(find_inputs(inputs), inputs, out)
    _note_targets(model, files)
    model.check_instances(instances is not None)
    maps = by_stem("--instances", instances) if instances else {}
    if alone := [file for file in files if instances and matching_name(files[file]) not in maps]:
        named = ", ".join(map(str, alone[:8])) + " ..." * (len(alone) > 8)
        raise ValueError(
            f"--instances: {instances} lacks a map of ids of {len(alone)} inputs: {named}; give NAME.* each"
        )
    kind = lossless(model.target.channels, model.target.dtype)
    results: dict[Path, Path] = {}  # from result to input
    for file in files:
        name = f"{files[file]}.{kind}"
        other = results.setdefault(out / name, file)
        if other != file:
            raise ValueError(f"input: {other} and {file} would both become {name}; translate them apart")
    command = f"{model.identity} {size} {output_size}"
    record = unfinished.describe(command, [*files, *maps.values()])
    done = unfinished.begin(out, record, list(results))
    kept = set(done)
    problems: list[str] = []
    notes: list[str] = []

    sizes = SizeReport(model.scale, size, output_size, NATIVE_OPTION)

    def readable() -> Generator[tuple[Path, Sample, Sample], None, None]:
        """Each result with its input as the file holds it, and as the networks see it."""
        for result, file in track(results.items(), "translating", len(results), console=console, transient=True):
            if result in kept:
                continue
            try:
                sample = model.read(file, maps.get(matching_name(files[file])), notes)
                yield result, sample, _at_size(model, file, sample, size)
            except ValueError as e:
                problems.append(str(e))

    with closing(readable()) as samples:  # an error ends the progress bar, whose thread would go on
        for _, same_size in groupby(samples, key=lambda item: item[2]["source"].shape):
            while batch := list(islice(same_size, 1 if model.one_by_one else batch_size)):
                fakes = model.translate_arrays([seen for _, _, seen in batch])
                for (result, sample, seen), fake in zip(batch, fakes, strict=True):
                    content = encode(at_output_size(fake, sample, seen, output_size), kind)
                    _write(result, content, len(done), len(results))
                    sizes.add(sample["source"].shape[:2], seen["source"].shape[:2])
                    done.append(result)
    unfinished.end(out, record)
    if not done:
        raise ValueError(f"input: none of {len(files)} files could be translated; the first: {problems[0]}")
    for problem in problems:
        say(f"left out: {problem}")
    for line in summarise(notes):
        say(line)
    say(sizes.line())
    say(f"{len(done)} images in {out}" + (f", {len(problems)} left out" if problems else ""))
    return done
