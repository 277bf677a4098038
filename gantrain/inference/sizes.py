"""What a translation did to the sizes of images, as one line for the user."""

from collections import Counter
from typing import Literal

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

# How a user asks for the images' own size: of the command, and in Python.
NATIVE_OPTION = "--size native"
NATIVE_ARGUMENT = "size='native'"


def check_choice(size: Choice | None, output_size: str) -> None:
    """Refuse values of `size` and `output_size` that mean nothing. Raises ValueError."""
    if not isinstance(output_size, str) or output_size not in ("input", "network"):
        raise ValueError(f"output_size: found {output_size!r}, allowed: 'input' or 'network'")
    if size is None or (isinstance(size, str) and size in ("native", "trained")):
        return
    is_pair = isinstance(size, tuple) and len(size) == 2
    if not is_pair or not all(type(length) is int and length > 0 for length in size):
        allowed = "'native', 'trained' or (height, width) in pixels"
        raise ValueError(f"size: found {size!r:.60}, allowed: {allowed}")


def result_size(before: Size, network: Size, made: Size) -> Size:
    """The size of a result at the input's own scale: the input's size, times the networks' factor.

    before: the input's size. network: what the networks saw of it. made: what they gave.
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
        """Return whether a user should hear of the sizes even for a single image."""
        return self.resized or self._is_surprisingly_native or self._look_like_pairs

    @property
    def _is_surprisingly_native(self) -> bool:
        """Return whether images keep their size by default, although training resized its files."""
        return self.by_default and self.choice == "native" and not self.scale.keeps_sizes

    @property
    def loses_detail(self) -> bool:
        return any(is_lossy(before, network) for before, network in self.counts)

    def line(self) -> str:
        """All sizes so far, whether detail is lost, and how to keep it."""
        count = sum(self.counts.values())
        images = "1 image" if count == 1 else f"{count} images"
        parts = [f"{images} at {self._scale()}: {self._listed()}"]
        if self.loses_detail:
            worst = max(reduction(*sizes) for sizes in self.counts)
            parts.append(f"detail is lost by a reduction of up to {worst:.3g} times")
        if self.resized:
            parts.append(f"{self.native} keeps the original size")
        elif self._is_surprisingly_native:
            parts.append(self._training(self.native.replace("native", "trained")))
        if self._look_like_pairs:
            parts.append(
                "all are twice as wide as the sources of training; if they are pairs side by side, "
                "give their source halves alone"
            )
        return "; ".join(parts)

    @property
    def _look_like_pairs(self) -> bool:
        """Return whether all images have twice the width, relative to the height, that all files
        of training had.
        """
        source = self.scale.steps[0].before if self.scale.steps and self.scale.is_known else None
        if source is None:
            return False
        return all(before[1] * source[0] == 2 * source[1] * before[0] for before, _ in self.counts)

    def _scale(self) -> str:
        if self.choice == "native":
            return "the original size"
        if self.choice == "trained":
            return "the trained scale" if self.scale.is_known else "an assumed size of training"
        return described_choice(self.choice)

    def _training(self, option: str) -> str:
        """What the networks saw in training, and the option that shows them the same."""
        trained = text_of(self.scale.steps[-1].after)
        if not self.scale.is_known:
            return f"the sizes of training are not known, {option} takes {trained}"
        return (
            f"in training the networks saw the source's files resized to {trained}, as {option}"
            " does"
        )

    def _listed(self) -> str:
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
