"""Components of a recipe, such as `{name: unet, width: 64}`, and the classes that they name.

Keyword-only parameters are the recipe's to set, and their defaults are the paper's values. The
other parameters (channels, sizes) are facts that the data know: a recipe may repeat one, and a
contradiction is refused. gantrain.core.component_schema checks a component against the constructor.
"""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict

from gantrain.core.errors import UserError
from gantrain.core.weighted import as_options

Options = dict[str, Any]  # of a component, by the names of its constructor's parameters
Component = str | Options  # a name, or a name with options
Table = dict[str, Any]  # name -> class

MAX_CHANNELS = 2**17  # class ids have one each


class BadComponent(UserError):
    """A class from outside gantrain that does not keep the contract of its table."""


@dataclass(frozen=True, eq=False)
class OneOf:
    """Marks a constructor's parameter as a component chosen from `table`, or as a tuple of them.

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
class Weighted:
    """Marks a constructor's parameter as weighted terms by name, chosen from `table`.

    A recipe's terms are laid on the parameter's default.
    """

    table: Table


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
                for component in value if isinstance(value, list | tuple) else [value]:
                    yield from used_classes(extra.table, component)
            elif isinstance(extra, Each):
                for element in value or ():
                    yield from _inside(extra.of, element)
            elif isinstance(extra, Weighted):
                for term, options_of_term in (value or {}).items():
                    yield extra.table[term]
                    inner = as_options(options_of_term)
                    yield from _inside(extra.table[term], inner if isinstance(inner, dict) else {})


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
