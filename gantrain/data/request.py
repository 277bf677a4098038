"""The data that a recipe, or `gantrain evaluate`, requests."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from gantrain.core.wording import option_of_set
from gantrain.data.ranges import Range

FURTHER_SOURCE = "source"  # the roles of further fields of the source are source2, source3, ...


class UnpairedRequest(NamedTuple):
    """The two sets of an unpaired recipe: the field of each, and the places of the targets."""

    source: str
    target: str
    train: str | None
    validation: str | None
    test: str | None = None

    def targets_of(self, key: str) -> str | None:
        """Return the place of the targets of a set: `train`, `validation` or `test`."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[key]


class InputRequest(NamedTuple):
    """The field of an input that a method takes beside source and target, and its kind.

    kind: None for a further field of the source, which may be an image or a label map.
    """

    field: str
    kind: str | None


@dataclass(frozen=True)
class DataRequest:
    """The fields and sizes that a recipe requests of its data.

    source, target: the samples' fields. For one of two unpaired sets, the other set's field is "".
    labels: the number of classes by field. ranges: the ranges of values that the recipe chooses, by
    field. inputs: further fields of the source, as `source2` and so on, and then what the method
    takes besides, by role, in the order of the channels. unpaired:
    the two sets of unpaired data. test_set: the name of a test set that `gantrain evaluate` was
    given; errors then name that command's options, and no key of a recipe.
    made_fields: the fields that a degradation makes from the target, by role.
    needs_samples: samples are read. Otherwise synthetic data need not be drawn.
    """

    recipe: str
    source: str
    target: str
    labels: dict[str, int]
    size: tuple[int, int]
    resize: tuple[int, int] | None
    cache_gib: float = math.inf
    unpaired: UnpairedRequest | None = None
    inputs: Mapping[str, InputRequest] = field(default_factory=dict)
    max_left_out: float = 0.5
    test_set: str | None = None
    needs_samples: bool = True
    ranges: Mapping[str, Range] = field(default_factory=dict)
    made_fields: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_for_evaluate(self) -> bool:
        return self.test_set is not None

    def option(self, key: str) -> str:
        """Return the recipe's key or the command's option that gives the data of a key.

        key: of `data`, such as `train`.
        """
        return f"data.{key}" if self.test_set is None else option_of_set(key, self.test_set)

    @property
    def kinds(self) -> dict[str, str]:
        """The kinds that fields must have, by name, where the method states one."""
        kinds: dict[str, str] = {}
        for requested in self.inputs.values():
            if requested.kind is not None:
                kinds[requested.field] = requested.kind
        return kinds

    @property
    def source_roles(self) -> list[str]:
        """The roles of the fields of the source, in the order of the channels."""
        further = [role for role, requested in self.inputs.items() if requested.kind is None]
        return ["source", *further]

    @property
    def further_sources(self) -> list[str]:
        """The fields of the source behind its first one."""
        return [self.inputs[role].field for role in self.source_roles[1:]]

    @property
    def chosen_ranges(self) -> dict[str, Range]:
        """The ranges that the recipe chooses, by the fields of `names`."""
        if self.unpaired is None:
            return dict(self.ranges)
        chosen: dict[str, Range] = {}
        for name, field_name in (
            (self.source, self.unpaired.source),
            (self.target, self.unpaired.target),
        ):
            if field_name in self.ranges:
                chosen[name] = self.ranges[field_name]
        return chosen

    @property
    def sample_names(self) -> dict[str, str]:
        """The samples' fields by role, with those that a degradation makes."""
        source = self.made_fields.get("source", self.source)
        return {"source": source, **self.names, **self.made_fields}

    @property
    def names(self) -> dict[str, str]:
        """The fields that data sets hold, by role."""
        names = {"source": self.source, "target": self.target}
        for role, requested in self.inputs.items():
            names[role] = requested.field
        return {role: name for role, name in names.items() if name}
