"""Components of a recipe, `{name: unet, width: 64}`, checked against the class's constructor.

Keyword-only parameters are the recipe's to set, and their defaults are the paper's values. The
other parameters (channels, sizes) are facts that the data know: a recipe may repeat one, and a
contradiction is refused.
"""

import difflib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, create_model

from gantrain.core.errors import UserError
from gantrain.core.own_code import is_own
from gantrain.core.wording import import_advice

Options = dict[str, Any]  # of a component, by the names of its constructor's parameters
Component = str | Options  # a name, or a name with options
Table = dict[str, Any]  # name -> class

_MOST = 16  # components of one list
MAX_CHANNELS = 2**17  # class ids have one each
_Fact = Annotated[int, Field(ge=0, le=MAX_CHANNELS)]


class BadComponent(UserError):
    """A class from outside gantrain that does not keep the contract of its table."""


@dataclass(frozen=True, eq=False)
class OneOf:
    """Marks a constructor's parameter as a component chosen from `table`.

    facts: allows only classes whose constructors take exactly one of these sets of facts from the
    data. None allows all.
    """

    table: Table
    facts: tuple[tuple[str, ...], ...] | None = None

    def allowed(self) -> Table:
        """Return the entries of the table that are allowed here.

        It is called when a recipe is read, since a table may have grown after import.
        """
        if self.facts is None:
            return dict(self.table)
        return {name: cls for name, cls in self.table.items() if tuple(facts_of(cls)) in self.facts}

    def describe_unfit(self, name: object) -> str:
        """Return why an entry of the table is not allowed here.

        The text is empty for a name that the table does not have.
        """
        if not isinstance(name, str) or name not in self.table or self.facts is None:
            return ""
        parameters = ", ".join(facts_of(self.table[name]))
        allowed = " or ".join(f"({', '.join(facts)})" for facts in self.facts)
        return f"{name} is built from ({parameters}), here from {allowed}; "


@dataclass(frozen=True, eq=False)
class Each:
    """Marks a constructor's parameter as a list of options for the constructor of `of`."""

    of: type


class StrictModel(BaseModel):
    """The base of the sections of a recipe.

    It is strict, since pydantic would otherwise take `batch_size: yes` for 1.
    """

    model_config = ConfigDict(
        extra="forbid",
        validate_default=True,
        strict=True,
        allow_inf_nan=False,
        protected_namespaces=(),
    )


def text_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the dotted keys of a recipe that take text and no number."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from text_keys(field.annotation, f"{prefix}{name}.")
            continue
        is_union = get_origin(field.annotation) in (Union, UnionType)
        members = get_args(field.annotation) if is_union else (field.annotation,)
        kinds = {_bare(member) for member in members}
        if str in kinds and kinds.isdisjoint({bool, int, float}):
            yield prefix + name


def _bare(hint: object) -> object:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def facts_of(cls: object) -> list[str]:
    """Return the names of the constructor's parameters that the data decide."""
    if not isinstance(cls, type):
        return []
    parameters = inspect.signature(cls).parameters
    return [name for name, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD]


def _resolve(hint: object, default: object) -> object:
    """Return the pydantic type of an annotation.

    A component becomes the union of its table's classes.
    """
    bare, *extras = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    for extra in extras:
        if isinstance(extra, OneOf):
            usual = default if isinstance(default, str | dict) else None
            component = union(extra.allowed(), usual, extra)
            is_optional = type(None) in get_args(bare)
            return component | None if is_optional else component
        if isinstance(extra, Each):
            options: Any = _options(extra.of)
            return Annotated[tuple[options, ...], Strict(False), Field(max_length=_MOST)]
    # A file's list is no tuple, which strict types would insist on.
    return Annotated[hint, Strict(False)] if get_origin(bare) is tuple else hint


def _options(cls: object, name: str = "") -> type[BaseModel]:
    """Return a pydantic model of the class's constructor.

    It has the component's name as well, where the component has one. Raises UserError, in one
    line, for a constructor that gives no such model.
    """
    try:
        return _model(cls, name)
    except BadComponent:  # of a component inside this one
        raise
    # Annotations that mean nothing and types that pydantic does not know raise various errors.
    except Exception as error:
        if not is_own(cls):
            raise
        reason = " ".join(str(error).partition("For further information")[0].split())
        allowed = (
            "a class whose parameters have types that a recipe can hold, such as `*, width: int"
            " = 64`"
        )
        described = f"{name}: {getattr(cls, '__qualname__', cls)} can't be a part of a recipe"
        raise BadComponent(f"{described} ({reason:.300}), allowed: {allowed}") from None


def _model(cls: Any, name: str) -> type[BaseModel]:
    hints = _hints(cls)
    fields: dict[str, Any] = {"name": (Literal[name], ...)} if name else {}
    for p in inspect.signature(cls).parameters.values():
        if p.kind is p.KEYWORD_ONLY:
            default = ... if p.default is p.empty else p.default
            fields[p.name] = (_resolve(hints[p.name], default), default)
        else:
            hint = _Fact if hints[p.name] is int else hints[p.name]
            fields[p.name] = (hint | None, Field(None, exclude_if=lambda v: v is None))
    return create_model(
        name or cls.__name__, __base__=StrictModel, __doc__=inspect.getdoc(cls), **fields
    )


def _hints(cls: object) -> dict[str, Any]:
    """Return the annotations of a constructor's parameters.

    Raises UserError for a parameter without one, and for what is no class.
    """
    if not inspect.isclass(cls):
        raise UserError(f"found {type(cls).__name__}, which is no class")
    hints = get_type_hints(cls.__init__, include_extras=True)
    for p in inspect.signature(cls).parameters.values():
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            raise UserError(f"{p} stands for any parameters, and a recipe has to know their names")
        if p.name not in hints:
            raise UserError(f"{p.name} has no annotation")
    return hints


def union(table: Table, default: Component | None = None, place: OneOf | None = None) -> Any:
    """Return the pydantic type of a component from `table`.

    A bare name stands for `{name: ...}`; options without a name are laid on `default`. place:
    explains why an entry of a larger table is not allowed.
    """
    models, broken = _sound_models(table)

    def named(value: object) -> object:
        options = _with_name(value, default)
        name = options.get("name") if isinstance(options, dict) else value
        # The lists take any value, also one that has no hash.
        if isinstance(options, dict) and name in list(broken):
            raise broken[name]
        if not isinstance(options, dict) or name not in list(table):
            raise UserError(_describe_unknown(name, table, place))
        return options

    tagged: object = models[0]
    if len(models) > 1:
        tagged = Annotated[Union[models], Field(discriminator="name")]  # noqa: UP007
    return Annotated[tagged, BeforeValidator(named)]


def _with_name(value: object, default: Component | None) -> object:
    """Return a component as a mapping with its name; another value stays as it is.

    default: gives the name, and options, where the mapping has no name.
    """
    if isinstance(value, str):
        return {"name": value}
    if default and isinstance(value, dict) and "name" not in value:
        usual = {"name": default} if isinstance(default, str) else default
        return {**usual, **value}
    return value


def _describe_unknown(name: object, table: Table, place: OneOf | None) -> str:
    """Describe what is allowed instead of a name that the table does not have."""
    unfit = place.describe_unfit(name) if place else ""
    advice = _outside(name) + _similar(name, table)
    return f"{unfit}allowed: {', '.join(table)}, as a name or as {{name: ...}}{advice}"


def _sound_models(table: Table) -> tuple[tuple[type[BaseModel], ...], dict[str, BadComponent]]:
    """Return the pydantic models of a table's entries.

    The second value holds, by name, what is wrong with entries that have no model. A broken entry
    from outside stops only the recipes that name it. Raises BadComponent where all are broken.
    """
    models: list[type[BaseModel]] = []
    broken: dict[str, BadComponent] = {}
    for name, cls in table.items():
        try:
            models.append(_options(cls, name))
        except BadComponent as error:
            broken[name] = error
    if broken and not models:
        raise next(iter(broken.values()))
    return tuple(models), broken


def _similar(name: object, table: Table) -> str:
    """Return a suggestion for a name that is none of the table's; empty where none is similar."""
    close = difflib.get_close_matches(name, table, 1) if isinstance(name, str) else []
    return f"; did you mean {close[0]}?" if close else ""


def _outside(name: object) -> str:
    """Return the advice on a name that the table lacks: a user's own module may have it."""
    is_name = isinstance(name, str) and name.isidentifier()
    return f"; an own one needs {import_advice()}" if is_name else ""


def used_classes(table: Table, config: Component) -> Iterator[type]:
    """Yield the class that a component names, and those of the components inside it."""
    options = {"name": config} if isinstance(config, str) else config
    cls = table[options["name"]]
    yield cls
    yield from _inside(cls, options)


def _inside(cls: Any, options: Options) -> Iterator[type]:
    for name, hint in get_type_hints(cls.__init__, include_extras=True).items():
        value = options.get(name)
        extras = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
        for extra in extras:
            if isinstance(extra, OneOf) and value is not None:
                yield from used_classes(extra.table, value)
            elif isinstance(extra, Each):
                for element in value or ():
                    yield from _inside(extra.of, element)


def build(table: Table, config: Component, **facts: Any) -> Any:
    """Build the component that `config` names, from its options and those `facts` that it takes.

    Raises UserError if the recipe contradicts a fact.
    """
    options = {"name": config} if isinstance(config, str) else dict(config)
    name = options.pop("name")
    cls = table[name]
    lacking = sorted(getattr(cls, "__abstractmethods__", ()))
    if lacking:
        raise BadComponent(
            f"{name}: {cls.__name__} lacks {', '.join(lacking)}; define it in {cls.__module__}"
        )
    for fact in facts_of(cls):
        if fact in facts and options.setdefault(fact, facts[fact]) != facts[fact]:
            raise UserError(
                f"{name}.{fact}: the recipe says {options[fact]}, the data give {facts[fact]}; "
                f"remove {fact} from the recipe or choose other data"
            )
    return cls(**options)
