"""Making things one after the other in a thread, the next few while the one before is used."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

_Item = TypeVar("_Item")
_Made = TypeVar("_Made")


def make_ahead(make: Callable[[_Item], _Made], items: Iterable[_Item], *, ahead: int = 1, name: str) -> Iterator[_Made]:
    """What is made of every item, in their order.

    At any time one is in use, and no more than `ahead` others are made or being made: the maker may write into so many
    pieces of memory and one more, in turn.

    Args:
        make: Called in the thread; what it raises is raised here.
        items: Looked at when their turn comes.
        ahead: How many are made before they are asked for.
        name: Of the thread.
    """
    remaining = iter(items)
    coming: deque[Future[_Made]] = deque()
    thread = ThreadPoolExecutor(1, name)
    try:
        coming.extend(thread.submit(make, item) for item in islice(remaining, ahead))
        while coming:
            made = coming.popleft().result()
            coming.extend(thread.submit(make, item) for item in islice(remaining, 1))
            yield made
    finally:
        thread.shutdown(cancel_futures=True)
