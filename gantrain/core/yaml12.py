"""The reader and the writer of YAML: the core schema of YAML 1.2, within fixed bounds.

PyYAML alone reads YAML 1.1, in which `010` is 8, `1:30` is 90, `yes` is true and `2026-11-28` is a
date. This module keeps PyYAML's scanner and parser and replaces its table of implicit types by that
of YAML 1.2.2, section 10.3. ruamel.yaml reads 1.2 itself, but it is one more dependency (accelerate
brings PyYAML in any case) and it would need the same bounds. A recipe may come with a downloaded
checkpoint, so the reader refuses what could hang or execute.
"""

import math
import re
import stat
from pathlib import Path
from typing import Any, ClassVar

import yaml

from gantrain.core.errors import UserError

MAX_BYTES = 1_000_000
MAX_NODES = 10_000  # after each alias is replaced by what it stands for
MAX_DEPTH = 100
MAX_DIGITS = 40  # Python's own limit for reading a whole number is 4,300

_TAG = "tag:yaml.org,2002:"
_MERGE = f"{_TAG}merge"
_INT = r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"
_FLOAT = (
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
# The implicit types: the pattern of the whole scalar, and the characters with which it may begin.
_CORE_SCHEMA = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (_INT, list("-+0123456789")),
    "float": (_FLOAT, list("-+.0123456789")),
}
_UNWANTED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


_INVALID = "not valid YAML: "  # before an error of PyYAML


class _Refused(yaml.MarkedYAMLError):
    """Valid YAML that a recipe may not hold."""

    def __init__(self, node: yaml.Node | yaml.Event, problem: str) -> None:
        mark: Any = node.start_mark
        super().__init__(problem=problem, problem_mark=mark)


_PyYAML: Any = yaml.SafeLoader  # whose types leave out most of what is used here
_Key = str | int
_Pair = tuple[yaml.Node, yaml.Node]  # of a mapping: the node of a key, and that of its value


class _Loader(_PyYAML):  # type: ignore[misc]
    """A loader of the core schema that counts nodes while it composes them, in linear time."""

    yaml_implicit_resolvers: ClassVar[dict[Any, Any]] = {}
    yaml_constructors: ClassVar[dict[Any, Any]] = {}

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = 0
        self.nodes = 0
        self.nodes_of_anchor: dict[str, int] = {}

    def compose_document(self) -> yaml.Node:
        event = self.peek_event()
        if event.version not in (None, (1, 2)):
            version = ".".join(map(str, event.version))
            raise _Refused(event, f"found %YAML {version}, allowed: YAML 1.2; remove that line")
        node: yaml.Node = super().compose_document()
        return node

    def compose_node(self, parent: yaml.Node | None, index: object) -> yaml.Node:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            # An anchor that is still being composed has no count yet.
            if event.anchor in self.anchors and event.anchor not in self.nodes_of_anchor:
                problem = f"the alias *{event.anchor} stands inside its own anchor"
                raise _Refused(event, f"{problem}; write the values out")
            self._count(event, self.nodes_of_anchor.get(event.anchor or "", 0))
            target: yaml.Node = super().compose_node(parent, index)
            return target
        nodes_before = self.nodes
        self._count(event, 1)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _Refused(event, f"found more than {MAX_DEPTH} levels of nesting; write fewer")
        node: yaml.Node = super().compose_node(parent, index)
        self.depth -= 1
        if event.anchor is not None:
            self.nodes_of_anchor[event.anchor] = self.nodes - nodes_before
        return node

    def _count(self, event: yaml.Event, nodes: int) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            counting = "an alias counting as all that it stands for"
            raise _Refused(event, f"found more than {MAX_NODES:,} values, {counting}; write fewer")

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        own: dict[_Key, _Pair] = {}
        merged: list[yaml.MappingNode] = []
        for key_node, value_node in node.value:
            key = self._key(key_node)
            if key in own:
                raise _Refused(key_node, f"key {key!r} appears twice; remove one")
            own[key] = (key_node, value_node)
            if key_node.tag == _MERGE:
                merged = self._merged_mappings(value_node)
        # PyYAML's own merge gives wrong values where a mapping is merged before it is constructed
        # itself.
        node.value = self._merge(own, merged)
        return node

    def _merged_mappings(self, node: yaml.Node) -> list[yaml.MappingNode]:
        """Return the mappings behind `<<`."""
        mappings: list[yaml.MappingNode] = []
        for value in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if not isinstance(value, yaml.MappingNode):
                allowed = "a mapping, or a list of mappings"
                raise _Refused(value, f"found a value behind <<, allowed: {allowed}")
            mappings.append(value)
        return mappings

    def _merge(self, own: dict[_Key, _Pair], mappings: list[yaml.MappingNode]) -> list[_Pair]:
        """Return the pairs of nodes, those of `mappings` first.

        A mapping's own key replaces a merged one.
        """
        if not mappings:
            return list(own.values())
        pairs: dict[_Key, _Pair] = {}
        for mapping in reversed(mappings):  # of several, the first one decides
            for key_node, value_node in mapping.value:
                pairs[self._key(key_node)] = (key_node, value_node)
        pairs.update((key, pair) for key, pair in own.items() if pair[0].tag != _MERGE)
        return list(pairs.values())

    def _key(self, node: yaml.Node) -> _Key:
        if node.tag in (f"{_TAG}str", _MERGE):
            return str(node.value)
        if node.tag == f"{_TAG}int":  # of a schedule over images seen
            return _construct_int(self, node)
        kind = node.tag.removeprefix(_TAG)
        allowed = "text or a whole number"
        raise _Refused(
            node, f"found a key of the type {kind}, allowed: {allowed}; put it in quotes"
        )


def _construct_null(loader: _Loader, node: yaml.Node) -> None:
    _scalar(loader, node, "null")


def _construct_bool(loader: _Loader, node: yaml.Node) -> bool:
    return _scalar(loader, node, "bool").lower() == "true"


def _construct_int(loader: _Loader, node: yaml.Node) -> int:
    text = _scalar(loader, node, "int")
    if len(text) > MAX_DIGITS:
        problem = f"found a whole number of {len(text)} digits"
        raise _Refused(node, f"{problem}, allowed: {MAX_DIGITS} at most")
    bases = {"0o": 8, "0x": 16}
    return int(text, bases.get(text[:2], 10))


def _construct_float(loader: _Loader, node: yaml.Node) -> float:
    text = _scalar(loader, node, "float").lower()
    if text.endswith((".inf", ".nan")):
        return float(text.replace(".", ""))
    number = float(text)
    if math.isinf(number):
        problem = f"found {text:.40}, which is past the largest number, 1.8e308"
        raise _Refused(node, f"{problem}; give a smaller one")
    return number


def _construct_text(loader: _Loader, node: yaml.Node) -> str:
    text: str = loader.construct_scalar(node)
    unwanted = _UNWANTED.search(text)
    if unwanted:
        character = f"U+{ord(unwanted[0]):04X}"
        raise _Refused(node, f"found the control character {character} in a text; remove it")
    return text


def _scalar(loader: _Loader, node: yaml.Node, kind: str) -> str:
    """Return the scalar's text; raises _Refused where it has an explicit tag that does not fit."""
    text: str = loader.construct_scalar(node)
    pattern, _ = _CORE_SCHEMA[kind]
    if not re.fullmatch(pattern, text):
        raise _Refused(node, f"found !!{kind} before {text!r:.40}, which is none; remove the tag")
    return text


def _refuse_tag(loader: _Loader, node: yaml.Node) -> None:
    tag = node.tag
    if tag.startswith(_TAG):
        tag = f"!!{tag.removeprefix(_TAG)}"
    raise _Refused(node, f"found the tag {tag:.80}, allowed: none; a recipe holds plain values")


for _kind, (_pattern, _first) in _CORE_SCHEMA.items():
    _Loader.add_implicit_resolver(f"{_TAG}{_kind}", re.compile(rf"^(?:{_pattern})\Z"), _first)
_Loader.add_implicit_resolver(_MERGE, re.compile(r"^<<\Z"), ["<"])
_Loader.add_constructor(f"{_TAG}null", _construct_null)
_Loader.add_constructor(f"{_TAG}bool", _construct_bool)
_Loader.add_constructor(f"{_TAG}int", _construct_int)
_Loader.add_constructor(f"{_TAG}float", _construct_float)
_Loader.add_constructor(f"{_TAG}str", _construct_text)
_Loader.add_constructor(_MERGE, _construct_text)  # `<<` as a value
_Loader.add_constructor(f"{_TAG}seq", _PyYAML.construct_yaml_seq)
_Loader.add_constructor(f"{_TAG}map", _PyYAML.construct_yaml_map)
_Loader.add_constructor(None, _refuse_tag)


def parse_yaml(text: str, where: str) -> object:
    """Return the content of a YAML text.

    where: names the text in errors. Raises UserError, in one line.
    """
    if len(text) > MAX_BYTES:
        raise UserError(
            f"{where}: found {len(text):,} characters, allowed: {MAX_BYTES:,}; write less"
        )
    if text.startswith("\ufeff"):
        raise UserError(f"{where}: line 1: found a byte order mark; save it as UTF-8 without one")
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as e:
        problem = _describe_marked(e)
    except yaml.reader.ReaderError as e:
        before = text[: e.position]
        place = f"line {before.count(chr(10)) + 1}, column {e.position - before.rfind(chr(10))}: "
        character = f"U+{ord(text[e.position]):04X}"
        problem = f"{place}found the control character {character}; remove it"
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as e:
        problem = f"{_INVALID}{' '.join(str(e).split())}"
    raise UserError(f"{where}: {problem}")


def _describe_marked(error: yaml.MarkedYAMLError) -> str:
    """Describe an error of PyYAML, or a refusal, with its line and its column."""
    problem = str(error.problem or error.context)
    if problem.startswith("but "):  # PyYAML's sentence begins in its other half
        problem = f"{error.context} {problem}"
    mark = error.problem_mark or error.context_mark
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    invalid = "" if isinstance(error, _Refused) else _INVALID
    return f"{invalid}{place}{' '.join(problem.split())}"


def read_mapping(path: Path) -> dict[str, object]:
    """Return the mapping in a YAML file. Raises UserError, in one line that names the file."""
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise UserError(f"{path}: found no ordinary file, allowed: a YAML file")
        if about.st_size > MAX_BYTES:
            raise UserError(
                f"{path}: found {about.st_size:,} bytes, allowed: {MAX_BYTES:,}; is it a recipe?"
            )
        text = path.read_bytes().decode("utf-8")
    except OSError as e:
        raise UserError(f"{path}: cannot be read ({e.strerror})") from None
    except UnicodeDecodeError as e:
        raise UserError(f"{path}: cannot be read as text ({e}); save it as UTF-8") from None
    content = parse_yaml(text, str(path))
    if not isinstance(content, dict):
        kinds: dict[type, str] = {list: "a list", type(None): "nothing"}
        described = kinds.get(type(content), f"{content!r:.100}")
        raise UserError(f"{path}: found {described}, allowed: a mapping `key: value`")
    return content


class _Dumper(yaml.SafeDumper):
    """A dumper that quotes each text that YAML 1.1 or 1.2 would read as another type."""

    def ignore_aliases(self, data: object) -> bool:
        return True


# These come beside PyYAML's own types, which are those of YAML 1.1.
for _kind, (_pattern, _first) in _CORE_SCHEMA.items():
    _Dumper.add_implicit_resolver(f"{_TAG}{_kind}", re.compile(rf"^(?:{_pattern})\Z"), _first)
_Dumper.add_implicit_resolver(f"{_TAG}bool", re.compile(r"^[yYnN]\Z"), list("yYnN"))


def dump_yaml(content: object) -> str:
    """Return the content as YAML, from which parse_yaml makes equal values of equal types."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=100)
