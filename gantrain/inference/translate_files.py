"""Translate files with a trained model."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from gantrain.core.amounts import count_text
from gantrain.core.console import say
from gantrain.core.errors import UserError
from gantrain.core.files import write_bytes
from gantrain.core.paths import check_not_special
from gantrain.data.conversion_notes import summarise
from gantrain.data.decode import lossless
from gantrain.data.formats.format_table import extensions
from gantrain.data.listing import list_images, matching_name, without_extension
from gantrain.data.scale import Choice
from gantrain.inference import result_record
from gantrain.inference.file_translation import FileTranslation
from gantrain.inference.sizes import NATIVE_OPTION, OutputSize, SizeReport, check_choice
from gantrain.inference.translator import Translator

_MOST_NAMED = 10  # of the files that are left out
_MOST_WITHOUT_INPUT = 8  # images that an error names


class TranslatedFiles(NamedTuple):
    """The files of results, and a line for each input that could not be translated."""

    results: list[Path]
    problems: list[str]


def find_inputs(
    inputs: list[Path], report: Callable[[str], None] = say, option: str = "input"
) -> dict[Path, str]:
    """Return the image files that the arguments name, each with the name of its result.

    A folder stands for the images in it and in the folders inside it. Their names keep the
    sub-path, such as `cam1/0`. report: takes lines on files that are left out. option: names the
    arguments in errors. Raises UserError.
    """
    files: dict[Path, str] = {}
    for path in inputs:
        check_not_special(path, option)
        if not path.exists():
            raise UserError(f"{option}: no file or folder {path}")
        if path.is_dir():
            for file, name in _inside(path, report, option).items():
                files.setdefault(file, name)
        else:
            files.setdefault(path, path.stem)
    return files


def _inside(folder: Path, report: Callable[[str], None], option: str) -> dict[Path, str]:
    """Return the images of a folder, each with its sub-path without the extension.

    Raises UserError where there are none.
    """
    listing = list_images(folder)
    skipped = listing.skipped
    if not listing.images:
        example = f" (found: {skipped[0]})" if skipped else ""
        allowed = ", ".join(f".{extension}" for extension in extensions())
        raise UserError(f"{option}: no images in {folder}{example}; allowed: {allowed}")
    for line in skipped[:_MOST_NAMED]:
        report(f"left out: {line}")
    if len(skipped) > _MOST_NAMED:
        report(f"left out: {len(skipped) - _MOST_NAMED} more files in {folder}")
    return {file: without_extension(name) for name, file in listing.images.items()}


def _without_results(files: dict[Path, str], inputs: list[Path], out: Path) -> dict[Path, str]:
    """Return the inputs without earlier results, which may lie inside an input folder."""
    results = out.absolute()
    if not any(folder.absolute() in results.parents for folder in inputs):
        return files
    others = {file: name for file, name in files.items() if results not in file.absolute().parents}
    left_out = len(files) - len(others)
    if left_out:
        say(f"left out: {left_out} images in {out}, which is the folder for results")
    return others


def _note_targets(model: Translator, files: dict[Path, str]) -> None:
    """Report images in a folder named as the model's target, beside one named as its source."""
    data = model.recipe.data
    folders = [name.partition("/")[0] for name in files.values() if "/" in name]
    source = data.sources[0] if data.sources else ""
    if source in folders and data.target in folders:
        count = folders.count(data.target)
        say(
            f"input: {count} of {len(files)} images lie in {data.target}/, which is this model's"
            f" target, and are translated too; give the folder {source} alone to leave"
            " them out"
        )


def _write(path: Path, content: bytes, done: int, total: int) -> None:
    """Write a result whole. Raises UserError that says how far the command got."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, content)
    except OSError as e:
        advice = result_record.advice(e)
        raise UserError(
            f"--out: cannot write {path} ({e.strerror}); {done} of {total} are done; {advice}"
        ) from None


def images_by_stem(
    option: str, folder: Path, report: Callable[[str], None] = say
) -> dict[str, Path]:
    """Return the images in a folder by what pairs them: the sub-path without the extension.

    Raises UserError for two images of one name.
    """
    files: dict[str, Path] = {}
    for file, name in find_inputs([folder], report, option).items():
        other = files.setdefault(matching_name(name), file)
        if other != file:
            raise UserError(
                f"{option}: {other} and {file} have one name; leave one of them in {folder}"
            )
    return files


def _check_not_inputs(results: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Refuse to overwrite an input. Raises UserError."""
    real = {path.resolve() for path in inputs}
    for result in results:
        if result.resolve() in real:
            raise UserError(
                f"--overwrite: {result} is an input, too; choose another folder for --out"
            )


def _further_files(files: Mapping[Path, str], role: str, folder: Path) -> dict[Path, Path]:
    """Return the file of each image's further input, which has the image's name in the folder.

    Raises UserError where one is missing.
    """
    by_name = images_by_stem(f"--input {role}", folder)
    further: dict[Path, Path] = {}
    without: list[Path] = []
    for file, name in files.items():
        key = matching_name(name)
        if key in by_name:
            further[file] = by_name[key]
        else:
            without.append(file)
    if without:
        named = ", ".join(map(str, without[:_MOST_WITHOUT_INPUT]))
        if len(without) > _MOST_WITHOUT_INPUT:
            named += " ..."
        count = count_text(len(without), "image")
        raise UserError(
            f"--input {role}: {folder} lacks a file for {count}: {named}; give NAME.* each"
        )
    return further


def _name_results(files: Mapping[Path, str], out: Path, kind: str) -> dict[Path, Path]:
    """Return the inputs by the path of their result. Raises UserError for two of one name."""
    results: dict[Path, Path] = {}
    for file, stem in files.items():
        name = f"{stem}.{kind}"
        other = results.setdefault(out / name, file)
        if other != file:
            raise UserError(
                f"input: {other} and {file} would both become {name}; translate them into different"
                " folders"
            )
    return results


def translate_files(  # noqa: PLR0913 (the command's options)
    model: Translator,
    inputs: list[Path],
    out: Path,
    batch_size: int,
    further: Mapping[str, Path] | None = None,
    size: Choice | None = None,
    output_size: OutputSize = "input",
    *,
    overwrite: bool = False,
) -> TranslatedFiles:
    """Write `out/NAME.png` (`.npy` where PNG can't hold it) for each input.

    NAME is a file's name, and below a folder its sub-path, such as `cam1/0`. further: by role, the
    folder of what the model takes besides, NAME.* for each image. size, output_size: as in
    `Translator.translate`; one line at the end describes all images' sizes. overwrite: replace all
    existing results.

    The command skips results that the same model has made with the same options from the same
    files. At the end it lists inputs that can't be read, or for which memory is short. Raises
    UserError where nothing can be translated, and where results of another command exist.
    """
    check_choice(size, output_size)
    files = _without_results(find_inputs(inputs), inputs, out)
    _note_targets(model, files)
    folders = further or {}
    model.reader.check_inputs(folders)
    further_files = {role: _further_files(files, role, folder) for role, folder in folders.items()}
    kind = lossless(model.target.channels, model.target.dtype)
    results = _name_results(files, out, kind)
    if overwrite:
        read_files = list(files)
        for of_role in further_files.values():
            read_files += of_role.values()
        _check_not_inputs(results, read_files)

    scale = model.scale.default if size is None else size
    command = hashlib.sha256(f"{model.identity} {scale} {output_size}".encode()).hexdigest()[:32]
    digests: dict[Path, str] = {}
    for result, file in results.items():
        input_files = [file, *(of_role[file] for of_role in further_files.values())]
        digests[result] = result_record.describe_input(input_files)
    model.report_precision()
    skipped = result_record.begin(out, command, digests, overwrite)
    done = list(skipped)
    pending = {result: file for result, file in results.items() if result not in set(skipped)}

    sizes = SizeReport(model.scale, size, output_size, NATIVE_OPTION)
    work = FileTranslation(model, batch_size, size)
    # Closing ends the progress bar and the threads after an error; else they would go on.
    with (
        closing(work.read(pending, further_files)) as items,
        closing(work.encoded(work.translated(items), kind, output_size)) as encoded,
    ):
        for item, content in encoded:
            _write(item.result, content, len(done), len(results))
            sizes.add(item.size, item.seen_size)
            done.append(item.result)
    if not done:
        result_record.forget(out, results)
        raise UserError(
            f"input: none of {len(files)} files could be translated; the first: {work.problems[0]}"
        )
    _report(work, None if len(done) == len(skipped) else sizes)
    summary = f"{count_text(len(done), 'image')} in {out}"
    if model.precision.name != "fp32":
        summary += f", computed in {model.precision.name}"
    if work.problems:
        summary += f", {len(work.problems)} left out"
    say(summary)
    return TranslatedFiles(done, work.problems)


def _report(work: FileTranslation, sizes: SizeReport | None) -> None:
    """Print what was left out, converted and resized. sizes: None where nothing was translated."""
    for problem in work.problems:
        say(f"left out: {problem}")
    for line in [*summarise(work.notes), *work.model.reader.clip_counter.lines()]:
        say(line)
    if sizes is not None:
        say(sizes.line())
