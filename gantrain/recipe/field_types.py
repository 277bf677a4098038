"""The types of a recipe's values: lengths, sizes, names."""

import re
import signal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, Strict

from gantrain.core.errors import UserError
from gantrain.data.ranges import check_range

# The largest values that a recipe may state. What lies above is a slip of the finger, or would
# never end.
MAX_IMAGES = 10**12
MAX_EPOCHS = 10**6
MAX_BATCH_SIZE = 2**16
MAX_SIDE = 2**16  # pixels
MAX_PIXELS = 2**26  # of an image that is trained on, such as 8192x8192
MAX_COUNT = 10**6

# Characters that break a line or control a terminal.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_LONGEST_PATH = 4000
_LONGEST_NAME = 255  # bytes of a file's name, on most file systems
_LONGEST_FOLDER = 200  # bytes: files beside the folder have longer names

_LENGTHS = (
    f"allowed: a whole number of images (at least 1, at most {MAX_IMAGES:,}), "
    f"or text like '20 epochs' (at most {MAX_EPOCHS:,}) or '5000 images'"
)


def _metric(name: str) -> str:
    """Return the name of a metric. Raises UserError for another name."""
    from gantrain.metrics import registry  # imports torch, which the help of commands goes without

    return registry.check(name)


def _length(value: Any) -> int | str:
    """Return a length as a number of images, or as text such as `20 epochs`."""
    text = str(value) if isinstance(value, str) else ""
    match = re.fullmatch(r"\s*([0-9]{1,30}(?:\.[0-9]{1,30})?)\s*(epochs?|images?)\s*", text)
    if match and match[2].startswith("epoch") and 0 < float(match[1]) <= MAX_EPOCHS:
        return f"{match[1]} epochs"
    images = float(match[1]) if match and match[2].startswith("image") else value
    if type(images) not in (int, float) or not 1 <= images <= MAX_IMAGES or images % 1:
        raise UserError(_LENGTHS)
    return int(images)


def images_in(length: int | str, epoch: int) -> int:
    """Return a length in images, at least one. epoch: images in one epoch."""
    if isinstance(length, int):
        return length
    epochs = float(length.split()[0])
    return max(1, round(epochs * epoch))


def _pair(value: object) -> object:
    """Return a size as height and width; one number is both."""
    if isinstance(value, int) and not isinstance(value, bool):
        return (value, value)
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise UserError(
            "allowed: a size in pixels, which is one number, such as 64, or [height, width]"
        )
    return value


def _area(size: tuple[int, int]) -> tuple[int, int]:
    if size[0] * size[1] > MAX_PIXELS:
        raise UserError(f"allowed: {MAX_PIXELS:,} pixels at most, such as [8192, 8192]")
    return size


def _place(text: str) -> str:
    """Check that a file system may hold a path or URL, and that an error shows it in one line."""
    names = [] if "://" in text else text.split("/")
    longest = max((len(name.encode()) for name in names), default=0)
    if _CONTROL.search(text) or len(text) > _LONGEST_PATH or longest > _LONGEST_NAME:
        raise UserError(
            f"allowed: a path or URL of one line, with names of at most {_LONGEST_NAME} bytes"
        )
    return text


def _folder(name: str) -> str:
    if _CONTROL.search(name) or len(name.encode()) > _LONGEST_FOLDER:
        raise UserError(f"{_FOLDER}, with at most {_LONGEST_FOLDER} bytes")
    return name


def _rule(pattern: str, fits: bool, why: str) -> BeforeValidator:
    """Return a validator that refuses a value unless matching `pattern` is `fits`.

    why: the error's text.
    """

    def check(value: object) -> object:
        if bool(re.fullmatch(pattern, str(value))) != fits:
            raise UserError(why)
        return value

    return BeforeValidator(check)


_FP16 = (
    "which needs a loss scale for each optimiser and still overflows in GANs; allowed: auto, bf16,"
    " fp32, fp64"
)
_ZERO_3 = (
    "which shards the weights too: a GAN's phases use one another's networks; allowed: 0, 1, 2"
)
_FOLDER = "allowed: a plain name, since it names the folder runs/NAME"
_FIELD = "allowed: a field of the data, whose name has letters, digits, _ and -"
# Not those that can't be caught, nor the loader's.
_SIGNALS = "|".join(set(signal.Signals.__members__) - {"SIGKILL", "SIGSTOP", "SIGCHLD", "SIGALRM"})

Length = Annotated[Annotated[int, Field(ge=1, le=MAX_IMAGES)] | str, BeforeValidator(_length)]
AUTO = "auto"
Auto = Literal["auto"]
Positive = Annotated[int, Field(ge=1, le=MAX_COUNT)]
BatchSize = Annotated[int, Field(ge=1, le=MAX_BATCH_SIZE)]
Natural = Annotated[int, Field(ge=0, le=MAX_COUNT)]
Shown = Annotated[int, Field(ge=1, le=256)]
Workers = Annotated[int, Field(ge=0, le=1024)]
Threads = Annotated[int, Field(ge=1, le=4096)]
Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]
Classes = Annotated[int, Field(ge=2, le=65536)]
Rate = Annotated[float, Field(gt=0, le=1e30)]  # an update by more overflows float32
Eps = Annotated[float, Field(gt=0, le=1)]
Decay = Annotated[float, Field(ge=0, le=100)]
Norm = Annotated[float, Field(gt=0, le=1e9)]
Share = Annotated[float, Field(ge=0, lt=1)]
# A file's list is no tuple, which strict types would insist on.
_Sides = Annotated[tuple[Side, Side], Strict(False)]
Size = Annotated[
    _Sides, AfterValidator(_area), BeforeValidator(_pair, json_schema_input_type=Side | _Sides)
]


def as_list(value: object) -> object:
    """Return a single component as a list of one, and null as an empty list."""
    if value is None:
        return []
    return [value] if isinstance(value, str | dict) else value


Factors = dict[str, Annotated[float, Field(gt=0, le=1e6)]]
_Scale = Annotated[float, Field(ge=0.1, le=4)]
Scales = Annotated[tuple[_Scale, _Scale], Strict(False)]
_Value = Annotated[float, Field(ge=-1e30, le=1e30)]
ValueRange = Annotated[tuple[_Value, _Value], Strict(False), AfterValidator(check_range)]
Betas = Annotated[tuple[Share, Share], Strict(False)]
FolderName = Annotated[str, _rule(r"[^/.\s][^/\n\0]*", True, _FOLDER), AfterValidator(_folder)]
Place = Annotated[str, AfterValidator(_place)]
FieldName = Annotated[str, _rule(r"[A-Za-z0-9_-]{1,64}", True, _FIELD)]
FieldNames = Annotated[list[FieldName], Field(min_length=1, max_length=8)]
Signal = Annotated[
    str, _rule(_SIGNALS, True, "allowed: the name of a signal that can be caught, such as SIGUSR1")
]
Precision = Annotated[
    Literal["auto", "bf16", "fp32", "fp64"], _rule("fp16|float16|half", False, _FP16)
]
Metric = Annotated[str, AfterValidator(_metric)]
Metrics = Annotated[list[Metric], Field(max_length=100)]
ZeroStage = Annotated[Literal[0, 1, 2], _rule("3", False, _ZERO_3)]
