"""What the fuzzers share: the time limit of a case, and what an error must look like."""

import contextlib
import random
import signal
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import gantrain

LIMIT_SECONDS = 20
PACKAGE = Path(gantrain.__file__).resolve().parent


class TooSlow(BaseException):
    """A case ran past the limit. It is no Exception, so that no handler takes it for damage."""


@contextlib.contextmanager
def limited(case: str) -> Iterator[None]:
    """Fail a case that runs past the limit."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TooSlow(f"{case} ran for more than {LIMIT_SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LIMIT_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def check_error(case: str, error: Exception, lines: int = 1) -> None:
    """Fail unless the error is a user's mistake, raised by gantrain itself, in so many readable
    lines at most.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    assert trace is not None
    raised_in = Path(trace.tb_frame.f_code.co_filename)
    assert isinstance(error, ValueError), f"{case}: {type(error).__name__}: {error}"
    assert raised_in.is_relative_to(PACKAGE), f"{case}: {raised_in} raised {error}"
    text = str(error)
    assert text.strip(), f"{case}: the error has no text"
    assert text.count("\n") < lines, f"{case}: {text}"
    for line in text.splitlines():
        assert len(line) < 2000, f"{case}: {line}"
        control = [character for character in line if unicodedata.category(character) == "Cc"]
        assert not control, f"{case}: {line!r}"


def damage(content: bytes, chance: random.Random) -> bytes:
    """Flip bytes, cut, repeat or insert some, at random places."""
    data = bytearray(content)
    for _ in range(chance.randint(1, 6)):
        if not data:
            break
        at = chance.randrange(len(data))
        # A header decides more than what follows it.
        if chance.random() < 0.5:
            at = min(at, chance.randrange(64))
        kind = chance.choice(["flip", "set", "cut", "insert", "repeat", "remove"])
        if kind == "flip":
            data[at] ^= 1 << chance.randrange(8)
        elif kind == "set":
            data[at] = chance.choice([0, 1, 0x7F, 0x80, 0xFF])
        elif kind == "cut":
            del data[max(at, 1) :]
        elif kind == "insert":
            data[at:at] = chance.randbytes(chance.randint(1, 16))
        elif kind == "repeat":
            data[at:at] = data[at : at + chance.randint(1, 64)]
        else:
            del data[at : at + chance.randint(1, 8)]
    return bytes(data)
