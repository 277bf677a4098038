"""What values a recipe's keys may have: lengths, sizes, names."""

import re
import signal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, Strict

from gantrain import metrics


def _length(value: Any) -> int | str:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(epochs?|images?)\s*", str(value))
    if match and match[2].startswith("epoch") and float(match[1]) > 0:
        return f"{match[1]} epochs"
    images = float(match[1]) if match and match[2].startswith("image") else value
    if type(images) not in (int, float) or not 1 <= images < 2**53 or images % 1:
        raise ValueError("allowed: a whole number of images (at least 1), or text like '20 epochs' or '5000 images'")
    return int(images)


def images_in(length: int | str, epoch: int) -> int:
    """A length in images, where one epoch has `epoch` images; at least one."""
    return length if isinstance(length, int) else max(1, round(float(length.split()[0]) * epoch))


def _rule(pattern: str, fits: bool, why: str) -> BeforeValidator:
    """Refuses what doesn't look like `pattern`; or, where `fits` is false, what does."""

    def check(value: Any) -> Any:
        if bool(re.fullmatch(pattern, str(value))) != fits:
            raise ValueError(why)
        return value

    return BeforeValidator(check)


_FP16 = "which needs a loss scale for each optimiser and still overflows in GANs; allowed: auto, bf16, fp32, fp64"
_ZERO_3 = "which shards the weights too: a GAN's phases use one another's networks; allowed: 0, 1, 2"
_FOLDER = "allowed: a plain name, since it names the folder runs/NAME"
_FIELD = "allowed: a field of the data, whose name has letters, digits, _ and -"
# Not those that can't be caught, nor the loader's.
_SIGNALS = "|".join(set(signal.Signals.__members__) - {"SIGKILL", "SIGSTOP", "SIGCHLD", "SIGALRM"})

Length = Annotated[int | str, BeforeValidator(_length)]
Auto = Literal["auto"]
Positive = Annotated[int, Field(ge=1)]
Classes = Annotated[int, Field(ge=2, le=65536)]
Share = Annotated[float, Field(ge=0, lt=1)]
# A file's list is no tuple, which strict types would insist on.
Size = Annotated[tuple[Positive, Positive], Strict(False)]
Factors = dict[str, Annotated[float, Field(gt=0)]]
Betas = Annotated[tuple[Share, Share], Strict(False)]
FolderName = Annotated[str, _rule(r"[^/.\s][^/\n\0]*", True, _FOLDER)]
FieldName = Annotated[str, _rule(r"[A-Za-z0-9_-]{1,64}", True, _FIELD)]
Signal = Annotated[str, _rule(_SIGNALS, True, "allowed: the name of a signal that can be caught, such as SIGUSR1")]
Precision = Annotated[Literal["auto", "bf16", "fp32", "fp64"], _rule("fp16|float16|half", False, _FP16)]
Metric = Annotated[str, AfterValidator(metrics.check)]
ZeroStage = Annotated[Literal[0, 1, 2], _rule("3", False, _ZERO_3)]
