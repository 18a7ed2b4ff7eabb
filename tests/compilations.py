"""Counts what JAX compiles, for tests of programs that must be compiled once."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax

_LOWERED = "/jax/core/compile/jaxpr_to_mlir_module_duration"
"""JAX records this event for every program that it has not compiled before in this process."""


@contextmanager
def count_programs() -> Iterator[list[str]]:
    """Yields a list that gets the name of every program that is compiled while the context is open."""
    names: list[str] = []

    def listen(event: str, duration_secs: float, **facts: str | int) -> None:  # noqa: ARG001 - JAX's names
        if event == _LOWERED:
            names.append(str(facts["fun_name"]))

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield names
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
