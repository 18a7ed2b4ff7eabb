"""Counts what JAX compiles, for tests of programs that must be compiled once."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax

_LOWERED = "/jax/core/compile/jaxpr_to_mlir_module_duration"
"""JAX records this event for every program that it has not compiled before in this process."""


@contextmanager
def count_programs(*, afresh: bool = False) -> Iterator[list[str]]:
    """Yields a list that gets the name of every program that is compiled while the context is open.

    Args:
        afresh: Whether JAX forgets first what this process compiled. A test that expects programs asks for it: another
            test may have run a model of the same shapes.
    """
    names: list[str] = []
    if afresh:
        jax.clear_caches()

    def listen(event: str, duration_secs: float, **facts: str | int) -> None:  # noqa: ARG001 - JAX's names
        if event == _LOWERED:
            names.append(str(facts["fun_name"]))

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield names
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
