"""Things made ahead in a thread: in order, no more than asked for, and their errors reach the caller."""

import threading
from contextlib import closing

import pytest

from lca_jax.machine.prefetch import prefetch


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_in_order_and_no_further_ahead_than_asked(ahead: int) -> None:
    made: list[int] = []

    def make(item: int) -> int:
        made.append(item)
        return item**2

    results = []
    for used, result in enumerate(prefetch(make, range(10), ahead=ahead, name="maker")):
        results.append(result)
        assert len(made) <= used + 1 + ahead
    assert results == [item**2 for item in range(10)]
    assert made == list(range(10))


def test_the_maker_has_a_thread_of_its_own() -> None:
    names = set(prefetch(lambda _: threading.current_thread().name, range(3), name="maker"))
    assert len(names) == 1
    assert names.pop().startswith("maker")
    beside = set(prefetch(lambda _: threading.current_thread().name, range(3), ahead=0, name="maker"))
    assert beside == {threading.current_thread().name}, "nothing ahead, no thread"


def test_an_error_comes_where_its_result_would() -> None:
    results = prefetch(lambda item: 1 // item, [1, 0, 1], name="maker")
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_closing_early_ends_the_thread() -> None:
    before = threading.active_count()
    with closing(prefetch(lambda item: item, range(100), ahead=5, name="maker")) as results:
        next(results)
    assert threading.active_count() == before
