"""Checks of a data set's fields against the recipe, and against the training set's fields."""

from collections.abc import Mapping

from gantrain.core.errors import UserError
from gantrain.core.own_code import naming_failure
from gantrain.data.batch import channels
from gantrain.data.channels import note
from gantrain.data.kinds.image import range_of
from gantrain.data.kinds.table import KINDS
from gantrain.data.ranges import range_text
from gantrain.data.request import DataRequest
from gantrain.data.shards import Field, Shards
from gantrain.data.unpaired import DataSet

VALIDATION = "data.validation"  # the recipe's key of the held-out data


def check_fields_of(key: str, shards: Shards, request: DataRequest) -> None:
    """Raises UserError, one line for each contradiction between the data and the recipe.

    key: of `data`, such as `train`.
    """
    place = request.option(key)
    problems: list[str] = []
    for role, name in request.names.items():
        if name not in shards.fields:
            problems.append(_describe_missing(role, key, shards, request))
            continue
        field = shards.fields[name]
        problem = _check_kind(role, key, field, request)
        if problem:
            problems.append(problem)
        if role == "target" and KINDS[field.kind].has_exact_values:
            problems.append(
                f"data.target: {name} holds {KINDS[field.kind].content}, a generator produces"
                " images; swap source and target"
            )
        # Held-out samples that are too small to crop are resized.
        if key.startswith("train") and request.resize is None and _is_too_small(field, request):
            problems.append(
                f"data.size: found {list(request.size)}, the smallest sample of {place} has"
                f" {list(field.min_size)}; set data.resize, or a smaller data.size"
            )
    if problems:
        raise UserError("\n".join(dict.fromkeys(problems)))


def _describe_missing(role: str, key: str, shards: Shards, request: DataRequest) -> str:
    """Return the error about a field that the data lack."""
    name = request.names[role]
    present = f"{', '.join(shards.fields)} (the fields of {request.option(key)})"
    problem = f"{_key_of(role, request)}: found {name!r}, allowed: {present}"
    if name in request.kinds:
        problem += "; prepare the data with it"
        if not request.is_for_evaluate:
            problem += f", or data.inputs.{role}=null"
    if request.is_for_evaluate:
        trained = ", ".join(request.names.values())
        problem += f"; the model was trained on fields of the names {trained}"
    return problem


def _check_kind(role: str, key: str, field: Field, request: DataRequest) -> str | None:
    """Return the error about a field whose kind or classes the recipe contradicts, or None."""
    name = request.names[role]
    place = request.option(key)
    content = f"{field.channels}-channel images"
    if KINDS[field.kind].has_exact_values:
        content = KINDS[field.kind].content
    if role in request.inputs and request.inputs[role].kind is not None:
        kind = request.inputs[role].kind
        assert kind is not None
        if field.kind != kind:
            advice = f"prepare it as {KINDS[kind].content}"
            if KINDS[kind].prepare_option:
                advice = f"prepare it with {KINDS[kind].prepare_option} {name}"
            return f"data.inputs.{role}: {name} holds {content} in {place}; {advice}"
    elif KINDS[field.kind].is_further_input:
        key = _key_of(role, request)
        return f"{key}: {name} holds {content} in {place}; that is for data.inputs"
    classes = request.labels.get(name)
    if not classes:
        return None
    if not KINDS[field.kind].has_classes:
        advice = f"{place} holds {content} there; prepare it with --labels {name}"
        return f"data.labels.{name}: the recipe expects class ids, {advice}"
    if classes != channels(field):
        counts = f"the recipe says {classes} classes, {place} has {channels(field)}"
        advice = f"change the recipe, or prepare it with --classes {classes}"
        return f"data.labels.{name}: {counts}; {advice}"
    return None


def _key_of(role: str, request: DataRequest) -> str:
    """Return the key of `data` that names a role's field."""
    if role not in request.inputs:
        return f"data.{role}"
    return "data.source" if request.inputs[role].kind is None else f"data.inputs.{role}"


def _is_too_small(field: Field, request: DataRequest) -> bool:
    return field.min_size[0] < request.size[0] or field.min_size[1] < request.size[1]


def as_learnt(
    train: Mapping[str, Field], held_out: DataSet, option: str = VALIDATION
) -> tuple[DataSet, list[str]]:
    """Return the held-out set with the training set's channels and ranges of values.

    The second result is a line for each conversion. option: the key or option by which the user
    gave the held-out set. A field that cannot be converted stays for `check_same_contents` to
    refuse.
    """
    changed: dict[str, Field] = {}
    lines: list[str] = []
    for name, ours in train.items():
        theirs = held_out.fields[name]
        if not ours.kind == theirs.kind == "image":
            continue
        if ours.dtype == theirs.dtype and range_of(ours) != range_of(theirs):
            if theirs.range is not None:
                lines.append(
                    f"{option}: {name}: networks see the range of data.train,"
                    f" {range_text(range_of(ours))}, and not that of this set,"
                    f" {range_text(theirs.range)}"
                )
            theirs = theirs.model_copy(update={"range": range_of(ours)})
            changed[name] = theirs
        own_format = (theirs.channels, theirs.dtype)
        if own_format != (ours.channels, ours.dtype) and KINDS["image"].can_fit(
            own_format, (ours.channels, ours.dtype)
        ):
            changed[name] = theirs.model_copy(update={"channels": ours.channels})
            conversion = note(theirs.channels, ours.channels).format(files="files")
            lines.append(f"{option}: {name}: {conversion}, as in data.train")
    if changed:
        held_out = held_out.converted(changed)
    return held_out, lines


def check_same_contents(
    train: Mapping[str, Field], held_out: Mapping[str, Field], option: str = VALIDATION
) -> None:
    """Raises UserError where a model of the training set's fields could not see the held-out ones.

    option: the key or option by which the user gave the held-out set.
    """
    for name in train:
        ours = _describe_contents(train[name])
        theirs = _describe_contents(held_out[name])
        if ours != theirs:
            instead = f", or {option}=null" if option.startswith("data.") else ""
            raise UserError(
                f"{option}: {name} has {theirs}, in data.train {ours}; give data of one"
                f" kind{instead}"
            )


def _describe_contents(field: Field) -> str:
    kind = KINDS[field.kind]
    with naming_failure(kind, "describe"):
        return kind.describe(field)
