"""Random numbers: gantrain's own streams keep their bits, and others name streams of their own."""

import subprocess
import sys

import numpy as np
import pytest

from gantrain.core.rng import Purpose, random_numbers
from gantrain.methods.base import Context

NAMES = ["mine.patches", "mine.codes", "theirs.patches", "POOL", "2", "ä"]


@pytest.mark.parametrize("purpose", Purpose)
def test_own_streams_are_those_of_their_numbers(purpose: Purpose) -> None:
    """Runs of an earlier version go on with the same draws."""
    philox = np.random.Philox(key=[3, 7], counter=[0, 0, 0, purpose.value])
    expected = np.random.Generator(philox).random(8)
    assert np.array_equal(random_numbers(3, 7, purpose).random(8), expected)


def test_every_stream_differs() -> None:
    purposes = [*Purpose, *NAMES]
    draws = {tuple(random_numbers(3, 7, purpose).random(4)) for purpose in purposes}
    assert len(draws) == len(purposes)
    # The numbers of one stream are not those of another one, moved.
    every_number = np.concatenate([random_numbers(3, 7, p).random(1000) for p in purposes])
    assert len(set(every_number.tolist())) == len(every_number)


@pytest.mark.slow
def test_a_name_gives_the_same_numbers_in_another_process() -> None:
    code = (
        "from gantrain.core.rng import random_numbers\n"
        f"print([random_numbers(3, 7, name).random(4).tolist() for name in {NAMES!r}])"
    )
    printed = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    ]
    here = str([random_numbers(3, 7, name).random(4).tolist() for name in NAMES])
    assert printed == [here, here]


def test_a_name_gives_these_numbers() -> None:
    """They are fixed, since a run that continues needs them again."""
    draws = random_numbers(0, 0, "mine.patches").integers(1000, size=4)
    assert draws.tolist() == [527, 767, 856, 770]


def test_a_name_depends_on_seed_and_position_as_a_purpose_does() -> None:
    draws = set()
    for seed in (0, 1):
        for position in (0, 1):
            context = Context(seed, images_seen=0, batch_size=1, positions=(position,))
            draws.add(tuple(context.random(position, "mine.codes").random(4)))
    assert len(draws) == 4


@pytest.mark.parametrize(
    ("purpose", "error", "says"),
    [
        ("", ValueError, "purpose: found an empty text, allowed: a name such as mine.codes"),
        (3, TypeError, "purpose: found int, allowed: a Purpose, or a text such as mine.codes"),
        (None, TypeError, "purpose: found NoneType, allowed: a Purpose, or a text"),
    ],
)
def test_what_names_no_stream_is_refused(
    purpose: object, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        random_numbers(0, 0, purpose)  # type: ignore[arg-type]
