"""Results come in order, threads work ahead by a bounded number, and errors reach the caller."""

import threading
import time
from collections.abc import Iterator

import pytest

from gantrain.core.threads import map_in_order
from gantrain.core.wording import option, speaking_as_command


@pytest.mark.parametrize("threads", [1, 3])
def test_results_come_in_the_order_of_the_items(threads: int) -> None:
    def slowest_first(number: int) -> int:
        time.sleep(0.01 if number % 3 == 0 else 0)
        return number * number

    results = list(map_in_order(slowest_first, range(20), threads, threads))
    assert results == [number * number for number in range(20)]
    assert list(map_in_order(slowest_first, [], threads)) == []


def test_threads_work_ahead_by_their_own_number() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    results = map_in_order(lambda number: number, items(), 3, ahead=3)
    assert next(results) == 0
    assert len(taken) == 4
    results.close()
    assert len(taken) == 4


def test_items_are_taken_in_the_thread_of_the_caller() -> None:
    callers: set[int] = set()
    workers: set[int] = set()

    def items() -> Iterator[int]:
        for number in range(8):
            callers.add(threading.get_ident())
            yield number

    def note(number: int) -> None:
        workers.add(threading.get_ident())

    list(map_in_order(note, items(), 2))
    assert callers == {threading.get_ident()}
    assert threading.get_ident() not in workers


def test_an_error_is_raised_at_the_place_of_its_result() -> None:
    def fail_at_two(number: int) -> int:
        if number == 2:
            raise ValueError("two")
        return number

    results = map_in_order(fail_at_two, range(5), 2, ahead=2)
    assert next(results) == 0
    assert next(results) == 1
    with pytest.raises(ValueError, match="two"):
        next(results)


def test_work_has_the_context_of_the_caller() -> None:
    """Messages of a command then name the command's options."""
    with speaking_as_command():
        names = list(map_in_order(lambda name: option(name), ["size", "out"], 2))
    assert names == ["--size", "--out"]


def test_an_error_of_the_items_comes_after_the_results_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("three")

    results = map_in_order(lambda number: number, items(), 2)
    assert next(results) == 1
    assert next(results) == 2
    with pytest.raises(ValueError, match="three"):
        next(results)
