"""Decode every file once, and describe the fields of the data set that the files will make."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

import numpy as np

from gantrain.core.amounts import count_text, list_text
from gantrain.core.errors import UserError
from gantrain.core.own_code import OwnCodeFailed, naming_failure
from gantrain.data import channels
from gantrain.data.decode import cut, decode, unequal
from gantrain.data.field import MOST_CHANNELS, MOST_SIDE
from gantrain.data.kinds.kind import Array, Colour, NotLabels, PixelFormat
from gantrain.data.kinds.table import KINDS
from gantrain.data.prepare.color_table import decode_colours
from gantrain.data.prepare.layouts import FieldSpec, FieldSpecs, File, Files
from gantrain.data.prepare.left_out import TooSmall, UnequalSizes, advise_unequal
from gantrain.data.prepare.value_counts import ValueCounts
from gantrain.data.shards import Field

SMALLEST = 16  # pixels; below it no network here has anything to work on
_NAMED = 3  # files named in an error about labels

CheckedSample = dict[str, Field] | UserError  # a sample's fields, or what is wrong with it


def load(files: Files, field_specs: FieldSpecs, notes: list[str] | None = None) -> dict[str, Array]:
    """Return a sample's fields as HWC arrays of their spec's size; each file is decoded once.

    notes: takes sentences, with their member, on what was converted (see `conversion_notes.py`).
    Raises UserError (NotLabels) that names the file.
    """
    return _resize_as_specified(_load_originals(files, field_specs, notes), field_specs)


def _resize_as_specified(arrays: Mapping[str, Array], field_specs: FieldSpecs) -> dict[str, Array]:
    resized = {}
    for name, array in arrays.items():
        spec = field_specs[name]
        if spec.size:
            kind = KINDS[spec.kind]
            with naming_failure(kind, "resize_for_storage"):
                resized[name] = kind.resize_for_storage(array, *spec.size)
        else:
            resized[name] = array
    return resized


def _load_originals(
    files: Files, field_specs: FieldSpecs, notes: list[str] | None
) -> dict[str, Array]:
    """Return a sample's fields at the sizes that their files have."""

    @cache
    def decoded(member: str, kind: str, colors: Sequence[Colour] | None) -> Array:
        data = files[member].read_bytes()
        own_notes: list[str] = []
        if colors:
            array = decode_colours(data, colors, own_notes)
        else:
            array = decode(data, kind, notes=own_notes)
        if notes is not None:
            notes.extend(f"{member}: {note}" for note in own_notes)
        return array

    arrays = {}
    for name, spec in field_specs.items():
        try:
            array = cut(decoded(spec.member, spec.kind, spec.colors), spec.half)
        except OwnCodeFailed:
            raise
        except (OSError, ValueError) as error:
            error_class = NotLabels if isinstance(error, NotLabels) else UserError
            raise error_class(f"{files[spec.member]}: {error}") from None
        arrays[name] = array
    return arrays


def check_sample(
    files: Files,
    field_specs: FieldSpecs,
    notes: list[str],
    value_counts: ValueCounts,
) -> CheckedSample:
    """Decode a sample, and describe its fields as if it were the whole data set.

    The result is an error where the sample is not usable. notes: as `load` takes them.
    value_counts: takes the values of a usable sample.
    """
    try:
        originals = _load_originals(files, field_specs, notes)
        arrays = _resize_as_specified(originals, field_specs)
        first_file = next(iter(files.values()))
        _check_sizes(arrays, first_file)
        fields = {}
        for name, array in arrays.items():
            spec = field_specs[name]
            field = _describe(array, name, spec, files)
            if spec.size:
                original = originals[name].shape[:2]
                original_sizes = {"original_min_size": original, "original_max_size": original}
                field = field.model_copy(update=original_sizes)
            fields[name] = field
        value_counts.add(arrays, fields)
        return fields
    except OwnCodeFailed:  # no fault of the sample
        raise
    except UserError as problem:
        return problem


def _check_sizes(arrays: dict[str, Array], file: File) -> None:
    """Raises UserError where the fields differ in size, or are too small or too large."""
    unequal_sizes = unequal(arrays)
    if unequal_sizes:
        sizes = [array.shape[:2] for array in arrays.values()]
        raise UnequalSizes(f"{file}: fields differ in height x width: {unequal_sizes}", sizes)
    height, width, _ = next(iter(arrays.values())).shape
    if min(height, width) < SMALLEST:
        raise TooSmall(f"{file}: {height}x{width}, the smallest is {SMALLEST}x{SMALLEST}")
    if max(height, width) > MOST_SIDE:
        largest = f"the largest is {MOST_SIDE}x{MOST_SIDE}; cut it into tiles"
        raise UserError(f"{file}: {height}x{width}, {largest}")


def _describe(array: Array, name: str, spec: FieldSpec, files: Files) -> Field:
    """Return the field that one file's array makes. Raises UserError for values not allowed."""
    file = files[spec.member]
    counts = None
    if KINDS[spec.kind].has_classes:
        counts = _count_ids(array, name, spec, file)
    height, width, count = array.shape
    if count > MOST_CHANNELS:
        raise UserError(f"{file}: {name} has {count} channels, allowed: at most {MOST_CHANNELS}")
    content: dict[str, object] = {
        "channels": count,
        "dtype": array.dtype.name,
        "label_counts": counts,
        "kind": spec.kind,
        "ignore": spec.ignore if counts else None,
        "palette": spec.colors,
    }
    size = (height, width)
    return Field(member=spec.member, half=spec.half, min_size=size, max_size=size, **content)


def _count_ids(array: Array, name: str, spec: FieldSpec, file: File) -> dict[int, int]:
    """Return the number of pixels by class id. Raises NotLabels for ids beyond the classes."""
    ids, pixels = np.unique(array, return_counts=True)
    if spec.classes:
        # With --ignore the last class has no other id than that one.
        own_classes = spec.classes - int(spec.ignore is not None)
        beyond = [str(i) for i in ids if i >= own_classes and i != spec.ignore]
        if beyond:
            classes = f"{spec.classes} classes"
            if spec.ignore is not None:
                classes += f", the last of which is {spec.ignore}"
            raise NotLabels(f"{file}: {name} holds ids beyond {classes}: {list_text(beyond)}")
    return dict(zip(ids.tolist(), pixels.tolist(), strict=True))


def describe_fields(
    samples: Mapping[str, Mapping[str, object]],
    checked: Mapping[str, CheckedSample],
    field_specs: FieldSpecs,
) -> tuple[list[str], list[str], dict[str, Field]]:
    """Return the keys of good samples, a line for each other sample, and the set's fields.

    The most frequent channels and dtype of a field are those of the set, and the widest dtype of
    class ids. Samples that the kind can fit to them when they are decoded are good ones.
    Raises UserError if files of a field of ids cannot hold any, or hold ids beyond its classes:
    leaving them out would hide that the wrong files were given.

    samples: files by key and member; their text names them. checked: as `check_sample` returns it.
    """
    _refuse_wrong_labels(checked)
    problems = [str(result) for result in checked.values() if isinstance(result, UserError)]
    good = {key: fields for key, fields in checked.items() if not isinstance(fields, UserError)}
    if not good:
        count = count_text(len(problems), "sample")
        advice = advise_unequal(checked.values())
        raise UserError(f"none of {count} is usable; the first: {problems[0]}{advice}")
    usual_formats: dict[str, PixelFormat] = {}
    for name, spec in field_specs.items():
        formats = {key: (fields[name].channels, fields[name].dtype) for key, fields in good.items()}
        kind = KINDS[spec.kind]
        with naming_failure(kind, "usual_format"):
            usual = kind.usual_format(Counter(formats.values()))
        for key, pixel_format in formats.items():
            with naming_failure(kind, "can_fit"):
                is_usable = kind.can_fit(pixel_format, usual)
            if not is_usable:
                file = samples[key][spec.member]
                problems.append(
                    f"{file}: {name} has {_format_text(pixel_format)}, most have"
                    f" {_format_text(usual)}"
                )
                del good[key]
        usual_formats[name] = usual
    merged = {}
    for name, spec in field_specs.items():  # only now it is known which samples all fields leave
        field = _merge([fields[name] for fields in good.values()], spec)
        channel_count, dtype = usual_formats[name]
        merged[name] = field.model_copy(update={"channels": channel_count, "dtype": dtype})
    return list(good), problems, merged


def _refuse_wrong_labels(checked: Mapping[str, CheckedSample]) -> None:
    """Raises UserError where files cannot hold the ids that they should hold."""
    wrong = [str(result) for result in checked.values() if isinstance(result, NotLabels)]
    if not wrong:
        return
    subject = f"{len(wrong):,} files do not hold the ids or masks that they should"
    if len(wrong) == 1:
        subject = "1 file does not hold the ids or the mask that it should"
    named = "; ".join(wrong[:_NAMED])
    if len(wrong) > _NAMED:
        named += f"; and {len(wrong) - _NAMED} more"
    advice = (
        "mend them, or give other --labels, --instances or --masks, more --classes, the id of no"
        " class to --ignore, or the table of colours to --colors"
    )
    raise NotLabels(f"{subject}: {named}; {advice}")


def conversions(
    checked: Mapping[str, CheckedSample], good_keys: Iterable[str], fields: Mapping[str, Field]
) -> list[str]:
    """Return a note for each file whose channels are converted to its field's when it is decoded.

    Only the files of good samples count.
    """
    notes = []
    for key in good_keys:
        described = checked[key]
        assert not isinstance(described, UserError)
        for name, field in fields.items():
            own_channels = described[name].channels
            if own_channels != field.channels:
                notes.append(f"{name}: {channels.note(own_channels, field.channels)}")
    return notes


def _format_text(pixel_format: PixelFormat) -> str:
    return f"{count_text(pixel_format[0], 'channel')} of {pixel_format[1]}"


def _merge(fields: list[Field], spec: FieldSpec) -> Field:
    """Return the field of a whole data set from those of its samples."""
    sizes = np.array([field.min_size for field in fields])
    changes: dict[str, object] = {
        "min_size": tuple(sizes.min(axis=0).tolist()),
        "max_size": tuple(sizes.max(axis=0).tolist()),
    }
    if spec.size:
        originals = np.array([field.original_min_size for field in fields])
        changes["original_min_size"] = tuple(originals.min(axis=0).tolist())
        changes["original_max_size"] = tuple(originals.max(axis=0).tolist())
    if KINDS[spec.kind].has_classes:
        counts: Counter[int] = Counter()
        for field in fields:
            counts.update(field.label_counts)
        highest = max(counts.keys() - {spec.ignore}, default=-1)
        ignored_classes = int(spec.ignore is not None)
        changes["classes"] = spec.classes or highest + 1 + ignored_classes
        changes["label_counts"] = dict(sorted(counts.items()))
    return fields[0].model_copy(update=changes)
