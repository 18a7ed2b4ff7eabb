"""Traces of where the time goes: what the devices compute, and what the host does meanwhile, in stretches with names.

The stretches are `tokenize` (batches are made), `forward` and `pool` (inside the program of the devices), `copy`
(vectors come to the host) and `solve` (probes are fitted). TensorBoard (its plugin `xprof`) and Perfetto show a trace.
Without one a stretch costs about a microsecond. Importing this loads no framework.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lca_jax.machine.files import real_path


@contextmanager
def profiling(folder: Path | None) -> Iterator[None]:
    """Traces the block into a folder; of a job every process into one of its own, `process-N`.

    Args:
        folder: The folder; None for no trace.

    Raises:
        SettingsError: The folder is a URL.
    """
    if folder is None:
        yield
        return
    folder = real_path(folder)
    import jax

    place = folder / f"process-{jax.process_index()}" if jax.process_count() > 1 else folder
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0  # every call in Python would be an event, and the trace a hundred times as large
    with jax.profiler.trace(str(place), profiler_options=options):
        yield


@contextmanager
def stretch(name: str) -> Iterator[None]:
    """Names what the host does in the block, for a trace."""
    import jax

    with jax.profiler.TraceAnnotation(name):
        yield
