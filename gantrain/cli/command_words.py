"""The check of the words `recipe=NAME a.b.c=value` of a command line, with advice on wrong ones."""

import difflib
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gantrain.core.error_messages import one_line
from gantrain.core.errors import UserError
from gantrain.recipe import recipe_files

if TYPE_CHECKING:  # whose own import takes a second
    from gantrain.recipe.suggestions import Suggestions

_ALLOWED = "allowed: recipe=NAME a.b.c=value [--import MODULE]"
_BRACKETS = (("[", "]"), ("{", "}"))
_UNITS = ("epoch", "epochs", "image", "images")  # of a length


@dataclass(frozen=True)
class _Option:
    """An option in the style of other projects, `--name value` or `--name=value`."""

    typed: str
    name: str
    value: str


def check_words(words: list[str]) -> None:
    """Raise UserError, one line for each word that is neither `recipe=NAME` nor `a.b.c=value`."""
    problems = []
    rest = list(words)
    for option in _take_options(rest):
        problems.append(
            f"found {one_line(option.typed)}, {_ALLOWED}{_advice_on_option(option, words)}"
        )
    for option in (*_take_spaced(rest), *_take_separated(words, rest)):
        pasted = shlex.quote(f"{option.name}={option.value}")
        advice = _suggestions(words, option) or f"did you mean {pasted}?"
        problems.append(
            f"found {one_line(option.typed)}, allowed: key=value without blanks around =; {advice}"
        )
    for position, word in enumerate(rest):
        problem = _problem_of_word(words, rest, position)
        if problem:
            problems.append(f"found {word!r:.100}, {problem}")
    if problems:
        raise UserError("\n".join(_distinct(problems)))


def _take_options(words: list[str]) -> Iterator[_Option]:
    """Yield the options among the words, which it removes together with their values."""
    position = 0
    while position < len(words):
        if not words[position].startswith("-"):
            position += 1
            continue
        typed = words.pop(position)
        name, equals, value = typed.lstrip("-").partition("=")
        if not equals and _is_value(words, position):
            value = words.pop(position)
            typed = f"{typed} {value}"
        yield _Option(typed, name, value)


def _is_value(words: list[str], position: int) -> bool:
    """Return whether the word at a position can be the value of the option before it."""
    if position >= len(words):
        return False
    return "=" not in words[position] and not _is_option(words[position])


def _take_spaced(words: list[str]) -> Iterator[_Option]:
    """Yield the `key = value`, `key =value` and `key= value` among the words, which it removes."""
    position = 0
    while position < len(words):
        typed = words[position : position + _spaced_words(words[position:])]
        if not typed:
            position += 1
            continue
        name, _, value = "".join(typed).partition("=")
        del words[position : position + len(typed)]
        if position < len(words) and words[position] in _UNITS:
            unit = words.pop(position)
            typed.append(unit)
            value = f"{value} {unit}"
        yield _Option(" ".join(typed), name, value)


def _spaced_words(words: list[str]) -> int:
    """Return how many of the first words are one assignment with blanks around its `=`.

    Returns 0 where they are none.
    """
    first, second, third = (*words[:3], "", "", "")[:3]
    if "=" not in first and second == "=" and third:  # key = value
        return 3
    if "=" not in first and second.startswith("=") and second != "=":  # key =value
        return 2
    is_key = first.endswith("=") and first != "=" and "=" not in first[:-1]
    if is_key and second and "=" not in second and not _is_option(second):  # key= value
        return 2
    return 0


def _take_separated(words: list[str], rest: list[str]) -> Iterator[_Option]:
    """Yield the `key value` among the rest of the words, which it removes. words: all of them."""
    position = 0
    while position + 1 < len(rest):
        name, value = rest[position : position + 2]
        if "=" in name or "=" in value or _is_cut(rest, position) or not _is_key(words, name):
            position += 1
            continue
        has_unit = position + 2 < len(rest) and rest[position + 2] in _UNITS
        typed = rest[position : position + (3 if has_unit else 2)]
        del rest[position : position + len(typed)]
        yield _Option(" ".join(typed), name, " ".join(typed[1:]))


def _is_key(words: list[str], name: str) -> bool:
    """Return whether a word is the name of a key rather than that of a recipe."""
    return name not in recipe_files.available() and _suggestions_for(words).knows(name)


def _is_cut(rest: list[str], position: int) -> bool:
    """Return whether a blank cuts the word off from the one before it, which has an `=`."""
    before = rest[position - 1] if position else ""
    for opening, closing in _BRACKETS:
        if before.count(opening) > before.count(closing):
            return True
    return rest[position] in _UNITS and bool(re.search(r"=[\d.]+$", before))


def _is_option(word: str) -> bool:
    """Return whether a word is an option and no negative number."""
    return word.startswith("-") and not re.fullmatch(r"-[\d.,]+", word)


def _advice_on_option(option: _Option, words: list[str]) -> str:
    """Return what to write instead of an option; empty where nothing is known."""
    if option.name in ("h", "help"):
        return "; `gantrain train --help` describes them"
    if option.name in ("V", "version"):
        return "; did you mean `gantrain --version`?"
    if option.name == "recipe":
        name = option.value or "NAME"
        return f"; did you mean {shlex.quote(f'recipe={name}')}?"
    if difflib.get_close_matches(option.name, ["import"], 1, 0.8):
        return f"; did you mean --import {shlex.quote(option.value or 'MODULE')}?"
    hint = _suggestions(words, option)
    return f"; {hint}" if hint else ""


def _suggestions(words: list[str], option: _Option) -> str:
    """Suggest a key of the recipe on the command line, or else of pix2pix, for an option."""
    return _suggestions_for(words).for_option(option.name, option.value)


def _suggestions_for(words: list[str]) -> "Suggestions":
    """Return the keys of the recipe on the command line, or else of pix2pix."""
    from gantrain.recipe.schema import suggestions

    named = [word.removeprefix("recipe=") for word in words if word.startswith("recipe=")]
    try:
        content = recipe_files.read(named[0] if named else "pix2pix")
    except ValueError:  # which is reported once the words are right
        content = recipe_files.read("pix2pix")
    return suggestions(content)


def _problem_of_word(words: list[str], rest: list[str], position: int) -> str:
    """Return what is wrong with the word at a position of `rest`, and what to write.

    Returns nothing where the word alone does not show a mistake.
    """
    word = rest[position]
    key, equals, value = word.partition("=")
    if not equals:
        return _advice_on_word(words, rest, position)
    if not key:
        example = shlex.quote(f"length={value or 1000}")
        return f"which has no key; write key=value without blanks around =, such as {example}"
    if value or key == "recipe" or not key.isidentifier():
        return ""
    known = _suggestions_for(words)
    hint = "" if key in known.keys else known.for_option(key, "")
    return f"which has no value; {hint}" if hint else ""


def _advice_on_word(words: list[str], rest: list[str], position: int) -> str:
    """Return what is allowed instead of the word at a position of `rest`, which has no `=`."""
    word = rest[position]
    if _is_cut(rest, position):
        before = rest[position - 1]
        quoted = shlex.quote(f"{before} {word}")
        return f"which a blank cuts off from {before!r:.100}; put both into quotes: {quoted:.200}"
    colon = re.fullmatch(r"([A-Za-z_][\w.]*):(\S+)", word)
    if colon:
        option = _Option(word, colon[1], colon[2])
        suggestion = _suggestions(words, option) or f"did you mean {colon[1]}=...?"
        return f"allowed: key=value; {suggestion}"
    close = difflib.get_close_matches(word, recipe_files.available(), 1)
    hint = f"did you mean recipe={one_line(close[0] if close else word)}?"
    is_named = any(other.startswith("recipe=") for other in words)
    if _is_key(words, word) or (is_named and not close):
        hint = _suggestions(words, _Option(word, word, ""))
    allowed = "allowed: recipe=NAME a.b.c=value"
    return f"{allowed}; {hint}" if hint else allowed


def _distinct(problems: list[str]) -> list[str]:
    """Return the problems in their order, each of them once."""
    return list(dict.fromkeys(problems))
