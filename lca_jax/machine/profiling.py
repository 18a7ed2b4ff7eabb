"""Traces of where the time goes: what the devices compute, and what the host does meanwhile, in stretches with names.

The stretches are `tokenize` (batches are made), `forward` and `pool` (inside the program of the devices), `copy`
(vectors come to the host) and `solve` (probes are fitted). TensorBoard (its plugin `xprof`) and Perfetto show a trace.
Without one a stretch costs about a microsecond. Importing this loads no framework.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lca_jax.machine.files import real_path

_entered: list[str] = []
"""The first stretch since a trace began."""


@contextmanager
def profiling(folder: Path | None) -> Iterator[None]:
    """Traces the block into a folder; of a job every process into one of its own, `process-N`.

    A block that fails leaves a trace of what it did until then; one that fails before its first stretch, since its
    input was refused, leaves none.

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
    traces = place / "plugins/profile"
    made = [parent for parent in (traces, *traces.parents) if not parent.exists()]
    before = set(traces.glob("*"))
    _entered.clear()
    try:
        with jax.profiler.trace(str(place), profiler_options=options):
            yield
    except BaseException:
        if not _entered:
            for trace in set(traces.glob("*")) - before:
                shutil.rmtree(trace, ignore_errors=True)
            with suppress(OSError):  # somebody else's file is there
                for parent in made:
                    parent.rmdir()
        raise


@contextmanager
def stretch(name: str) -> Iterator[None]:
    """Names what the host does in the block, for a trace."""
    import jax

    if not _entered:
        _entered.append(name)
    with jax.profiler.TraceAnnotation(name):
        yield
