"""Limits how many samples packing may leave out.

Training on a small rest of the samples would go unnoticed.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from gantrain.core.errors import UserError

Size = tuple[int, int]  # height, width

_UNMATCHED = "names without a partner"
_SIZES = "sizes differ"
_SMALL = "too small"
_DAMAGED = "damaged or not usable"
_KIND = "channels or depth differ from most"


class TooManyLeftOut(UserError):
    """More samples are left out than the limit allows.

    reason: the counts, the most frequent reason and the remedy. fraction: the limit that goes on
    without these samples. The message has both, in the words of `gantrain prepare`.
    """

    def __init__(self, reason: str, fraction: float) -> None:
        super().__init__(f"{reason}; --max-left-out {fraction:g} goes on without them")
        self.reason = reason
        self.fraction = fraction


class UnequalSizes(UserError):
    """A sample whose fields differ in size. sizes: (height, width) of each field."""

    def __init__(self, message: str, sizes: Iterable[Size]) -> None:
        super().__init__(message)
        self.sizes = list(sizes)


class TooSmall(UserError):
    """A sample with too few pixels for any network."""


def check_left_out(
    place: object,
    looks: Mapping[str, object],
    good: Collection[str],
    fields: Sequence[str],
    *,
    unmatched: int = 0,
    names_remedy: str = "",
    limit: float,
) -> None:
    """Stop where more than the fraction `limit` of the samples is left out.

    looks: what was found in each sample that has all its files, by key; an exception says why it is
    unusable. good: the keys of the samples that are packed. fields: their names. unmatched: samples
    that lack files. names_remedy: what to do about these. Raises TooManyLeftOut, a UserError of
    one line with the counts, the most frequent reason and what to do.
    """
    total = len(looks) + unmatched
    left = total - len(good)
    if left <= limit * total:
        return
    reasons = Counter(_reason(look) for key, look in looks.items() if key not in good)
    reasons[_UNMATCHED] += unmatched
    ((reason, count),) = reasons.most_common(1)
    noun = {1: "images", 2: "pairs"}.get(len(fields), "samples")
    mostly = "" if count == left else f"{count} of them: "
    examples = [
        str(look)
        for look in looks.values()
        if isinstance(look, UserError) and _reason(look) == reason
    ]
    example = f" (such as {examples[0]})" if examples else ""
    allowed = math.ceil(100 * left / total) / 100
    remedy = names_remedy if reason == _UNMATCHED else suggest_remedy(reason, looks.values())
    raise TooManyLeftOut(
        f"{place}: {left} of {total} {noun} left out: {mostly}{reason}{example}; {remedy}", allowed
    )


def suggest_remedy(reason: str, looks: Iterable[object]) -> str:
    """Describe what the user can do about the most frequent reason, where it lies in the files."""
    if reason == _SIZES:
        height, width = _usual_size(looks)
        return f"`--resize {height}x{width}` makes them equal"
    remedies = {
        _SMALL: "`--resize HEIGHTxWIDTH` enlarges them",
        _KIND: "convert all files to one kind",
    }
    return remedies.get(reason, "mend the files or remove them")


def suggest_names(names: Mapping[str, Sequence[str]], layout: str, has_patterns: bool) -> str:
    """Describe what the user can do about names without a partner.

    names: the sub-paths of each field's files, without their extensions.
    """
    endings = {field: _common_ending(own) for field, own in names.items()}
    if layout != "folders" or has_patterns or not any(endings.values()):
        return "compare the files' names, and add what is missing"
    patterns = " ".join(f"--pattern {field}={{}}{ending}" for field, ending in endings.items())
    return f"where only the endings of names differ, `{patterns}` matches them"


def _common_ending(names: Sequence[str]) -> str:
    """Return the ending of most names from their last underscore on, such as `_label`.

    The result is "" where most names have no ending in common.
    """
    endings = Counter("_" + name.rpartition("_")[2] for name in names if "_" in name)
    if not endings:
        return ""
    ((ending, count),) = endings.most_common(1)
    return ending if 2 * count > len(names) else ""


def advise_unequal(looks: Iterable[object]) -> str:
    """Return the remedy, after "; ", where the first unusable sample has a wrong size; else ""."""
    looks = list(looks)
    problems = [look for look in looks if isinstance(look, UserError)]
    if not problems or _reason(problems[0]) not in (_SIZES, _SMALL):
        return ""
    return f"; {suggest_remedy(_reason(problems[0]), looks)}"


def _reason(look: object) -> str:
    if isinstance(look, UnequalSizes):
        return _SIZES
    if isinstance(look, TooSmall):
        return _SMALL
    return _DAMAGED if isinstance(look, UserError) else _KIND


def _usual_size(looks: Iterable[object]) -> Size:
    """Return the most frequent size of a field in samples of unequal sizes.

    Of equally frequent sizes it is the smallest.
    """
    counts: Counter[Size] = Counter()
    for look in looks:
        if isinstance(look, UnequalSizes):
            counts.update(look.sizes)
    return min(counts, key=lambda size: (-counts[size], size))
