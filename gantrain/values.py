"""Types of a recipe's values, with what a wrong one is told."""

import re
import signal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, Strict


def _length(value: Any) -> int | str:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(epochs?|images?)\s*", str(value))
    if match and match[2].startswith("epoch") and float(match[1]) > 0:
        return f"{match[1]} epochs"
    images = float(match[1]) if match and match[2].startswith("image") else value
    number = isinstance(images, int | float) and not isinstance(images, bool)
    if not number or not 1 <= images < 2**53 or images % 1:
        raise ValueError(
            "allowed: a whole number of images (at least 1), or text like '20 epochs' or "
            "'5000 images'"
        )
    return int(images)


def images_in(length: int | str, epoch: int) -> int:
    """A length in images, where one epoch has `epoch` images; at least one."""
    if isinstance(length, int):
        return length
    return max(1, round(float(length.split()[0]) * epoch))


_NOT_FOR_USERS = ("SIGKILL", "SIGSTOP", "SIGCHLD", "SIGALRM")  # the last two are the loader's


def _signal(name: str) -> str:
    if name not in signal.Signals.__members__ or name in _NOT_FOR_USERS:
        raise ValueError("allowed: the name of a signal that can be caught, such as SIGUSR1")
    return name


def _precision(value: Any) -> Any:
    if value in ("fp16", "float16", "half"):
        raise ValueError(
            "which needs a loss scale for each optimiser and still overflows in GANs; "
            "allowed: auto, bf16, fp32, fp64"
        )
    return value


def _text(pattern: str, rule: str) -> AfterValidator:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"allowed: {rule}")
        return text

    return AfterValidator(check)


Length = Annotated[int | str, BeforeValidator(_length)]
Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
# A file's list is no tuple, which strict types would insist on.
Size = Annotated[tuple[Positive, Positive], Strict(False)]
Betas = Annotated[tuple[Share, Share], Strict(False)]
FolderName = Annotated[
    str, _text(r"[^/.\s][^/\n\0]*", "a plain name, since it names the folder runs/NAME")
]
FieldName = Annotated[
    str,
    _text(r"[A-Za-z0-9_-]{1,64}", "a field of the data, whose name has letters, digits, _ and -"),
]
Signal = Annotated[str, AfterValidator(_signal)]
Precision = Annotated[Literal["auto", "bf16", "fp32", "fp64"], BeforeValidator(_precision)]
