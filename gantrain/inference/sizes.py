"""Describe in one line what a translation did to the sizes of images."""

from collections import Counter
from typing import Literal

from gantrain.core.errors import UserError
from gantrain.data.scale import (
    Choice,
    Size,
    TrainedScale,
    described_choice,
    is_lossy,
    reduction,
    text_of,
)

OutputSize = Literal["input", "network"]
_LISTED = 4  # pairs of sizes in one line

# How a user asks for the images' own size, in the command and in Python.
NATIVE_OPTION = "--size native"
NATIVE_ARGUMENT = "size='native'"


def check_choice(size: Choice | None, output_size: str) -> None:
    """Refuse values of `size` and `output_size` that mean nothing. Raises UserError."""
    if not isinstance(output_size, str) or output_size not in ("input", "network"):
        raise UserError(f"output_size: found {output_size!r}, allowed: 'input' or 'network'")
    if size is None or (isinstance(size, str) and size in ("native", "trained")):
        return
    is_pair = isinstance(size, tuple) and len(size) == 2
    if not is_pair or not all(type(length) is int and length > 0 for length in size):
        allowed = "'native', 'trained' or (height, width) in pixels"
        raise UserError(f"size: found {size!r:.60}, allowed: {allowed}")


def result_size(before: Size, network: Size, made: Size) -> Size:
    """Return a result's size at the input's own scale: the input's size times the networks' factor.

    before: the input's size. network: the size that the networks saw. made: the size that they
    returned.
    """
    height = max(1, round(before[0] * made[0] / network[0]))
    width = max(1, round(before[1] * made[1] / network[1]))
    return height, width


class SizeReport:
    """Counts the sizes of translated images, and describes them in one line.

    native: how the user asks for the images' own size, NATIVE_OPTION or NATIVE_ARGUMENT.
    """

    def __init__(
        self, scale: TrainedScale, choice: Choice | None, output_size: OutputSize, native: str
    ) -> None:
        self.scale = scale
        self.choice = scale.default if choice is None else choice
        self.by_default = choice is None
        self.output_size = output_size
        self.native = native
        self.counts: Counter[tuple[Size, Size]] = Counter()

    def add(self, before: Size, network: Size) -> None:
        """Count an image of size `before` that the networks saw at size `network`."""
        self.counts[before, network] += 1

    @property
    def resized(self) -> bool:
        return any(before != network for before, network in self.counts)

    @property
    def is_notable(self) -> bool:
        """Return whether the line is worth printing even for a single image."""
        return self.resized or self._is_surprisingly_native or self._look_like_pairs

    @property
    def _is_surprisingly_native(self) -> bool:
        """Return whether images keep their size by default, although training resized its files."""
        return self.by_default and self.choice == "native" and not self.scale.keeps_sizes

    @property
    def loses_detail(self) -> bool:
        return any(is_lossy(before, network) for before, network in self.counts)

    def line(self) -> str:
        """Return a line on all sizes so far, on lost detail, and on how to keep it."""
        count = sum(self.counts.values())
        images = "1 image" if count == 1 else f"{count} images"
        clauses = [f"{images} at {self._describe_scale()}: {self._list_sizes()}"]
        if self.loses_detail:
            worst = max(reduction(*sizes) for sizes in self.counts)
            clauses.append(f"detail is lost by a reduction of up to {worst:.3g} times")
        if self.resized:
            clauses.append(f"{self.native} keeps the original size")
        elif self._is_surprisingly_native:
            clauses.append(self._describe_training(self.native.replace("native", "trained")))
        if self._look_like_pairs:
            clauses.append(
                "all are twice as wide as the sources of training; if they are pairs side by side, "
                "give their source halves alone"
            )
        return "; ".join(clauses)

    @property
    def _look_like_pairs(self) -> bool:
        """Return whether all images are, relative to their height, twice as wide as in training.

        All files of training had one size then.
        """
        if not self.scale.steps or not self.scale.is_known:
            return False
        source = self.scale.steps[0].before
        if source is None:
            return False
        height, width = source
        return all(before[1] * height == 2 * width * before[0] for before, _ in self.counts)

    def _describe_scale(self) -> str:
        if self.choice == "native":
            return "the original size"
        if self.choice == "trained":
            return "the trained scale" if self.scale.is_known else "an assumed size of training"
        return described_choice(self.choice)

    def _describe_training(self, option: str) -> str:
        """Return what the networks saw in training, and the option that shows them the same."""
        trained = text_of(self.scale.steps[-1].after)
        if not self.scale.is_known:
            return f"the sizes of training are not known, {option} takes {trained}"
        return (
            f"in training the networks saw the source's files resized to {trained}, as {option}"
            " does"
        )

    def _list_sizes(self) -> str:
        """Return the most common sizes, before and after resizing."""
        several = len(self.counts) > 1
        texts = []
        for (before, network), count in self.counts.most_common(_LISTED):
            text = text_of(before)
            if before != network:
                text += f" -> {text_of(network)}"
                if self.output_size == "input":
                    text += " and back"
            texts.append(f"{text} ({count})" if several else text)
        left_out = len(self.counts) - len(texts)
        if left_out:
            texts.append(f"and {left_out} other sizes")
        return ", ".join(texts)
