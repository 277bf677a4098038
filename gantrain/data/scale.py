"""The scale at which training shows its images, and the sizes of an image of any size at it.

All sizes are (height, width) in pixels. The trained scale is that of held-out samples.
`held_out_resize` is its rule, and `TrainedScale` applies it to the files that a user translates.
"""

from dataclasses import dataclass
from typing import Literal

from gantrain.core.errors import UserError
from gantrain.data.field import Field

Size = tuple[int, int]
Choice = Literal["native", "trained"] | Size

# From this ratio of data.resize to data.size on, what is cropped away is no mere augmentation.
LARGE_RATIO = 1.25
# An importer knows no sizes of training files, and states this one.
UNKNOWN: Size = (1, 1)
# Pixels a side. A ratio of sizes from a foreign index could ask for any amount of memory.
MAX_ENLARGED = 32768
# A reduction by this factor in an axis is named as a loss of detail.
LOSSY_REDUCTION = 2


def text_of(size: Size) -> str:
    return f"{size[0]}x{size[1]}"


def held_out_resize(size: Size, resize: Size | None) -> Size | None:
    """Return the size to which a held-out sample is resized before its centre crop, or None.

    size, resize: the recipe's `data.size` and `data.resize`. Of the two axes' ratios, the larger
    one counts.
    """
    if resize is None:
        return None
    ratio = max(resize[0] / size[0], resize[1] / size[1])
    return resize if ratio >= LARGE_RATIO else size


def describe_held_out(size: Size, resize: Size | None) -> str:
    """Describe what a method sees of a held-out sample.

    The text is part of the keys of cached features.
    """
    resized = held_out_resize(size, resize)
    if resized is None:
        return f"the centre {text_of(size)} of each sample"
    if resized == size:
        return f"each sample resized to {text_of(size)}"
    return f"the centre {text_of(size)} of each sample resized to {text_of(resized)}"


def held_out_notice(size: Size, resize: Size | None) -> str | None:
    """Return a line on held-out samples that keep the scale of a large `data.resize`, or None."""
    resized = held_out_resize(size, resize)
    if resized in (None, size):
        return None
    shown = describe_held_out(size, resize)
    rule = f"data.resize is {LARGE_RATIO} times data.size or more"
    return f"held-out samples: {shown}, since {rule}; at data.size they would have another scale"


def described_choice(choice: Choice) -> str:
    """Return a choice as a user of the command writes it."""
    return choice if isinstance(choice, str) else text_of(choice)


def is_lossy(before: Size, after: Size) -> bool:
    """Return whether a resize loses detail that a user should know about."""
    return reduction(before, after) >= LOSSY_REDUCTION


def reduction(before: Size, after: Size) -> float:
    """Return the factor by which a resize reduces an image, in the axis that it reduces more."""
    return max(before[0] / after[0], before[1] / after[1])


@dataclass(frozen=True)
class Step:
    """A resize of training. before: the size that all files had, or None where they had several."""

    before: Size | None
    after: Size

    def apply(self, size: Size) -> Size:
        """Return an image's size after this step: scaled by the ratios, or always `after`."""
        if self.before is None:
            return self.after
        height = _scaled(size[0], self.before[0], self.after[0])
        width = _scaled(size[1], self.before[1], self.after[1])
        return height, width


def _scaled(length: int, before: int, after: int) -> int:
    """Return the length times after / before, rounded; exact, since all are integers."""
    return max(1, (2 * length * after + before) // (2 * before))


@dataclass(frozen=True)
class TrainedScale:
    """The resizes that training applied to one field's files.

    steps: its resizes, in order: that of `prepare --resize`, then that of the recipe. Each one is
    applied by itself, so that a training file gives the very pixels that `evaluate` sees. default:
    the choice for files that come without one. is_known: False where the scale is assumed, since
    neither an imported file nor its user states it.
    """

    steps: tuple[Step, ...]
    default: Literal["native", "trained"]
    is_known: bool = True

    def sizes(self, size: Size, choice: Choice | None = None) -> list[Size]:
        """Return the sizes to which an image of `size` is resized, in order; empty where it stays.

        The last of them, or `size` itself, is what the networks see. Raises UserError for a size
        past reason.
        """
        chosen = self.default if choice is None else choice
        if chosen == "native":
            return []
        if isinstance(chosen, tuple):
            return _checked(size, [chosen])
        sizes = [size]
        for step in self.steps:
            sizes.append(step.apply(sizes[-1]))
        return _checked(size, sizes[1:])

    @property
    def keeps_sizes(self) -> bool:
        """Return whether the trained scale is that of the files themselves."""
        return not self.steps


def _checked(size: Size, sizes: list[Size]) -> list[Size]:
    """Return the sizes without those that change nothing. Raises UserError for too large ones."""
    changed = []
    current = size
    for after in sizes:
        if max(after) > max(MAX_ENLARGED, *size):
            change = f"{text_of(size)} would become {text_of(after)}"
            allowed = f"an image may be enlarged to {MAX_ENLARGED} pixels a side"
            raise UserError(f"size: {change}, {allowed}; give another size")
        if after != current:
            changed.append(after)
        current = after
    return changed


def trained_scale(
    source: Field, target: Field, *, paired: bool, size: Size, resize: Size | None
) -> TrainedScale:
    """Return the scale at which a model was trained on its source's files.

    source, target: the fields in the direction of the translation. paired: they came as pairs.
    size, resize: the recipe's `data.size` and `data.resize`.
    """
    held_out = held_out_resize(size, resize)
    if source.max_size == UNKNOWN:
        if held_out is None:
            return TrainedScale((Step(None, size),), "native", is_known=False)
        return TrainedScale((Step(None, held_out),), "trained")
    steps = _steps(source, held_out)
    # Pairs of different sizes are those of a model that changes the size, which no resize may hide.
    changes_size = paired and _original_sizes(source) != _original_sizes(target)
    return TrainedScale(steps, "native" if changes_size or not steps else "trained")


def _steps(field: Field, held_out: Size | None) -> tuple[Step, ...]:
    steps = []
    packed = field.min_size if field.min_size == field.max_size else None
    originals = _original_sizes(field)
    if packed is not None and originals != (packed, packed):
        before = originals[0] if originals[0] == originals[1] else None
        steps.append(Step(before, packed))
    if held_out is not None and held_out != packed:
        steps.append(Step(packed, held_out))
    return tuple(steps)


def _original_sizes(field: Field) -> tuple[Size, Size]:
    """Return the smallest and the largest size of a field's files before `prepare --resize`."""
    if field.original_min_size is None or field.original_max_size is None:
        return field.min_size, field.max_size
    return field.original_min_size, field.original_max_size
