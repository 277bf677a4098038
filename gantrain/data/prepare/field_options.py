"""The options of `gantrain prepare` that say what a field's files hold."""

from collections.abc import Collection, Mapping
from typing import Any

from gantrain.core.errors import UserError
from gantrain.data.kinds.kind import Colour
from gantrain.data.kinds.table import KINDS
from gantrain.data.prepare.check import SMALLEST
from gantrain.data.prepare.layouts import FieldSpecs

_MOST_CLASSES = 65536


def apply_field_options(
    field_specs: FieldSpecs,
    *,
    labels: Collection[str] = (),
    kinds: Mapping[str, str] | None = None,
    classes: int | None = None,
    ignore: int | None = None,
    colors: tuple[Colour, ...] | None = None,
    resize: tuple[int, int] | None = None,
) -> FieldSpecs:
    """Return the fields as the user's options describe them.

    The options are those of `prepare`. Raises UserError, in one line, for options that do not fit
    the fields.
    """
    _check_numbers(classes, resize)
    described = _name_kinds(field_specs, labels, kinds or {})
    label_names = [name for name, spec in described.items() if KINDS[spec.kind].has_classes]
    if colors:
        _check_colors(colors, classes, ignore, label_names)
        classes = len(colors)
        for name in label_names:
            described[name] = described[name]._replace(colors=colors)
    changes: dict[str, Any] = {}
    for option, value in (("classes", classes), ("ignore", ignore)):
        if value is not None:
            if not label_names:
                advice = "no field holds class ids; name one with --labels"
                raise UserError(f"--{option} {value}: {advice}")
            changes[option] = value
    if resize is not None:
        changes["size"] = resize
    return {name: spec._replace(**changes) for name, spec in described.items()}


def _check_numbers(classes: int | None, resize: tuple[int, int] | None) -> None:
    """Raises UserError for numbers that no field can have."""
    if resize and min(resize) < SMALLEST:
        least = f"{SMALLEST}x{SMALLEST} is the least"
        raise UserError(f"--resize {resize[0]}x{resize[1]} (height x width) is too small, {least}")
    if classes is not None and not 2 <= classes <= _MOST_CLASSES:
        raise UserError(f"--classes {classes}: give a number in 2..{_MOST_CLASSES}")


def _name_kinds(
    field_specs: FieldSpecs, labels: Collection[str], kinds: Mapping[str, str]
) -> FieldSpecs:
    """Return the fields with the kinds that the user names."""
    described = dict(field_specs)
    for name in sorted(labels):
        _check_can_hold_ids(name, "label", described)
        described[name] = described[name]._replace(kind="label")
    for name, kind in kinds.items():
        _check_can_hold_ids(name, kind, described)
        if name in labels:
            raise UserError(
                f"{KINDS[kind].prepare_option} {name}: it holds class ids already; name another"
                " field"
            )
        described[name] = described[name]._replace(kind=kind)
    return described


def _check_can_hold_ids(name: str, kind: str, field_specs: FieldSpecs) -> None:
    """Raises UserError where `name` is no field, or one half of a side-by-side image."""
    candidates = [other for other, spec in field_specs.items() if spec.half is None]
    if name in candidates:
        return
    listed = ", ".join(candidates)
    if not candidates:
        listed = "side-by-side images only, ids need a folder of their own"
    content = KINDS[kind].content
    option = KINDS[kind].prepare_option
    raise UserError(f"{option} {name}: not a field that can hold {content}; found are {listed}")


def _check_colors(
    colors: tuple[Colour, ...],
    classes: int | None,
    ignore: int | None,
    label_names: Collection[str],
) -> None:
    """Raises UserError where other options contradict the table of --colors."""
    advice = "name label fields with --labels, without --classes"
    if classes:
        raise UserError(f"--colors: found --classes {classes} too, which it counts; {advice}")
    if not label_names:
        raise UserError(f"--colors: no field holds class ids; {advice}")
    last = len(colors) - 1
    if ignore not in (None, last):
        raise UserError(
            f"--ignore {ignore}: with --colors it is the table's last, {last}; move its line"
        )
