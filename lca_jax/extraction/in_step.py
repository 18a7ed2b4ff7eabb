"""Keeps the processes in step whose devices share one copy of a model.

A program on the devices of several processes must be entered by all of them, with the same shapes and in the same
order. The batches follow from the corpus and the settings, so they are the same in all. Errors are not: one process
alone may find its disk full. If it left, the others would wait for it on their devices for ever. So with every batch
all are asked whether one has failed, and one that has goes on running batches until all have heard of it. Where each
process runs the model for itself, nothing of this is done.
"""

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool

from lca_jax.errors import StoreError
from lca_jax.machine.devices import fetch, place_parts, processes_of

_Step = TypeVar("_Step")


class Steps:
    """Asks after every batch whether all processes that share the model are well."""

    def __init__(self, mesh: Mesh, *, ahead: int) -> None:
        """Begins a run.

        Args:
            mesh: The devices of the model.
            ahead: Number of batches that are begun before the answer for a batch is waited for.
        """
        self._mesh = mesh
        self._ahead = ahead
        self._shared = len(processes_of(mesh)) > 1
        self._asked: deque[Bool[Array, ""]] = deque()

    def ask(self, *, failed: bool = False) -> None:
        """Begins to ask, once a batch has begun.

        Args:
            failed: This process's own part of the answer.
        """
        if self._shared:
            parts = (self._mesh.shape["model"],)
            flags = place_parts(
                self._mesh, parts, PartitionSpec("model"), lambda index: np.full(index[0].stop - index[0].start, failed)
            )
            self._asked.append(_any(flags, everywhere=NamedSharding(self._mesh, PartitionSpec())))

    def refuse_failed(self) -> None:
        """Waits for the oldest answer.

        Raises:
            StoreError: Another process has failed.
        """
        if self._asked and fetch(self._asked.popleft()):
            self._shared = False  # all know: nobody waits for this process any more
            raise StoreError(
                f"Stopped, since one of the processes {list(processes_of(self._mesh))}, which share one copy of the "
                "model, failed; its own message says why. Mend that and start the whole job again."
            )

    def run_down(self, begin: Callable[[_Step], None], steps: Iterator[_Step]) -> None:
        """Goes on after an error of this process, until all others have heard of it.

        Args:
            begin: Function that runs the model on a batch.
            steps: The batches that would have come.
        """
        while self._shared and (step := next(steps, None)) is not None:
            begin(step)
            self.ask(failed=True)
            if len(self._asked) > self._ahead and fetch(self._asked.popleft()):
                return


@partial(jax.jit, static_argnames="everywhere")
def _any(flags: Bool[Array, " device"], *, everywhere: NamedSharding) -> Bool[Array, ""]:
    return jax.lax.with_sharding_constraint(jnp.any(flags), everywhere)
