"""Makes things one after the other in a thread, a few of them ahead of their use."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def prefetch(
    make: Callable[[_Item], _Result], items: Iterable[_Item], *, ahead: int = 1, name: str
) -> Generator[_Result, None, None]:
    """Yields `make(item)` for each item, in order, with up to `ahead` results made before they are asked for.

    At any time one result is in use, and at most `ahead` others are finished or being made. So `make` may write into
    `ahead + 1` pieces of memory in turn.

    Args:
        make: Function that is called in the thread; an error that it raises is raised here.
        items: Arguments of `make`. The caller's thread takes each one from the iterable when its turn comes.
        ahead: Number of results that are made before they are asked for; with 0 each is made when it is asked for, in
            the caller's thread.
        name: Name of the thread.
    """
    if ahead == 0:
        yield from map(make, items)
        return
    remaining = iter(items)
    coming: deque[Future[_Result]] = deque()
    thread = ThreadPoolExecutor(1, name)
    try:
        coming.extend(thread.submit(make, item) for item in islice(remaining, ahead))
        while coming:
            result = coming.popleft().result()
            coming.extend(thread.submit(make, item) for item in islice(remaining, 1))
            yield result
    finally:
        thread.shutdown(cancel_futures=True)
