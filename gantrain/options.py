"""Values of the command's options, from what a user writes. Imports nothing heavy."""

from typing import Literal, cast

Size = tuple[int, int]  # height, width
MAX_DIGITS = 9  # of a number of pixels


def parse_size(text: str | None, option: str = "--resize", also: str = "") -> Size | None:
    """`256x512` as (height, width), and `256` as (256, 256).

    option: its name, for the message. also: what else it allows. Raises ValueError.
    """
    if text is None:
        return None
    numbers = text.lower().split("x")
    if len(numbers) > 2 or not all(_is_length(number) for number in numbers):
        allowed = f"{also}HEIGHTxWIDTH in pixels, such as 256x512"
        raise ValueError(f"{option}: found {text!r:.40}, allowed: {allowed}")
    return int(numbers[0]), int(numbers[-1])


def _is_length(text: str) -> bool:
    return text.isdecimal() and len(text) <= MAX_DIGITS and int(text) > 0


def parse_seen_size(text: str | None) -> Literal["native", "trained"] | Size | None:
    """`--size` of `gantrain translate`. Raises ValueError."""
    if text in ("native", "trained"):
        return cast(Literal["native", "trained"], text)
    return parse_size(text, "--size", "native, trained or ")


def parse_output_size(text: str) -> Literal["input", "network"]:
    """`--output-size` of `gantrain translate`. Raises ValueError."""
    if text not in ("input", "network"):
        raise ValueError(f"--output-size: found {text!r:.40}, allowed: input or network")
    return cast(Literal["input", "network"], text)
