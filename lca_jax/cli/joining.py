"""Makes a command one process of a job, where its options ask for that."""

from collections.abc import Iterator
from contextlib import contextmanager

from lca_jax.errors import SettingsError


@contextmanager
def joined(
    join: bool, coordinator: str | None, processes: int | None, process: int | None, *, timeout_s: float
) -> Iterator[None]:
    """Joins the processes of a job before the block, and ends all of them together when one fails in it.

    Args:
        join: Whether to join.
        coordinator: host:port of the first process, where the job's manager does not tell it.
        processes: Number of processes, in the same case.
        process: Number of this process, in the same case.
        timeout_s: Seconds within which all processes must have come.

    Raises:
        SettingsError: Options of a job are given without `join`.
        JobError: Not all processes came, or one was lost.
    """
    from lca_jax.machine.job import ending_together, join_processes

    if not join and (coordinator, processes, process) != (None, None, None):
        raise SettingsError("`--coordinator`, `--processes` and `--process` belong to a job: add `--join`.")
    if join:
        join_processes(coordinator, processes, process, timeout_s=timeout_s)
    with ending_together():
        yield
