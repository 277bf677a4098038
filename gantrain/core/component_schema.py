"""The pydantic types of components, made from the constructors of a table's classes."""

import difflib
import inspect
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    Strict,
    create_model,
    model_serializer,
)

from gantrain.core.component import (
    MAX_CHANNELS,
    BadComponent,
    Component,
    Each,
    OneOf,
    StrictModel,
    Table,
    Weighted,
)
from gantrain.core.errors import UserError
from gantrain.core.own_code import is_own
from gantrain.core.weighted import (
    LARGEST_WEIGHT,
    LAST_IMAGE,
    as_options,
    check_weight,
    lay_over,
)
from gantrain.core.wording import import_advice

_MOST = 16  # components of one list
_Weight = Annotated[float, Field(ge=0, le=LARGEST_WEIGHT)]
_Image = Annotated[int, Field(ge=0, le=LAST_IMAGE)]
_Fact = Annotated[int, Field(ge=0, le=MAX_CHANNELS)]


def _resolve(hint: object, default: object) -> object:
    """Return the pydantic type of an annotation.

    A component becomes the union of its table's classes, and a tuple of components a list of them.
    """
    bare, *extras = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    for extra in extras:
        if isinstance(extra, OneOf):
            if get_origin(bare) is tuple:
                element: Any = union(extra.allowed(), None, extra)
                return Annotated[tuple[element, ...], Strict(False), Field(max_length=_MOST)]
            usual = default if isinstance(default, str | dict) else None
            component = union(extra.allowed(), usual, extra)
            is_optional = type(None) in get_args(bare)
            return component | None if is_optional else component
        if isinstance(extra, Weighted):
            return _weighted_terms(extra.table, default)
        if isinstance(extra, Each):
            options: Any = _options(extra.of)
            return Annotated[tuple[options, ...], Strict(False), Field(max_length=_MOST)]
    # A file's list is no tuple, which strict types would insist on.
    return Annotated[hint, Strict(False)] if get_origin(bare) is tuple else hint


class _TermModel(StrictModel):
    """The base of the model of a weighted term."""

    weight: Annotated[_Weight | dict[_Image, _Weight], BeforeValidator(check_weight)]


class _TermsModel(StrictModel):
    """The base of a model of weighted terms, which leaves out the terms that are not set."""

    model_config = ConfigDict(validate_default=False)  # a term that is not set is None

    @model_serializer(mode="wrap")
    def _leave_out_unset(self, serialise: SerializerFunctionWrapHandler) -> dict[str, object]:
        terms: dict[str, object] = serialise(self)
        return {name: term for name, term in terms.items() if term is not None}


def _refuse_null(term: object) -> object:
    """Return a term that is set. A null would leave it out, and lose that in a saved recipe."""
    return check_weight(term) if term is None else term


def _weighted_terms(table: Table, default: object) -> Any:
    """Return the pydantic type of weighted terms from `table`, which are laid on the default."""
    fields: dict[str, Any] = {}
    for name, cls in table.items():
        term = _weighted_term(name, cls) | None
        fields[name] = (Annotated[term, BeforeValidator(_refuse_null)], None)
    model: Any = create_model("losses", __base__=_TermsModel, **fields)

    def laid_over(terms: object) -> object:
        if isinstance(terms, dict) and isinstance(default, Mapping):
            return lay_over(default, terms)
        return terms

    return Annotated[model, BeforeValidator(laid_over)]


def _weighted_term(name: str, cls: object) -> Any:
    """Return the pydantic type of one weighted term.

    A broken class from outside stops only the recipes that name the term.
    """
    try:
        base: Any = _options(cls)
        if "weight" in base.model_fields:
            raise BadComponent(
                f"{name}: found an option `weight`, which is the term's own; rename it"
            )
    except BadComponent as error:
        broken = error

        def refuse(term: object) -> object:
            raise broken

        return Annotated[dict[str, Any], BeforeValidator(refuse)]
    term: Any = create_model(name, __base__=(base, _TermModel))  # the last one's fields come first

    def options_of(value: object) -> object:
        options = as_options(value)
        if options is not value:  # a bare weight, of which an error then names the term
            check_weight(value)
        return options

    return Annotated[term, BeforeValidator(options_of)]


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
