"""Times competitors side by side, and records with every figure the machine it was measured on.

`time_interleaved` calls each competitor once to warm it up, then all of them in turn, round after round, so that a
disturbance of the machine hits all of them alike. Each `Timing` has the wall and processor seconds of every round, the
share of the machine that other processes took meanwhile, the seconds of the first call, and the part of these that XLA
spent compiling. `clock` times one call and `clock_steps` each item of an iterator; both separate compiling too.
`measure_machine` measures the two ceilings of a roofline: the rate of a large float32 matrix product and the rate at
which memory is read.

The benchmarks decide what is computed, and check that it is right.

Importing this module makes OpenMP threads sleep while they wait (`OMP_WAIT_POLICY=PASSIVE`) unless the environment says
otherwise. PyTorch's threads spin by default and take the cores from the next competitor, so import PyTorch after this
module.
"""

import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import jax
import jax.numpy as jnp

from lca_jax.machine.devices import describe_device
from lca_jax.machine.files import write_text_whole

FORMAT = 1
"""Number of the layout of the result files; `README.md` beside this file documents their keys."""

_COMPILING = "/jax/core/compile/backend_compile_duration"
_PACKAGES = (
    *("lca-jax", "jax", "jaxlib", "flax", "numpy", "transformers", "torch", "h5py"),
    *("scikit-learn", "skglm", "celer", "neurox"),
)

_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds of one competitor."""

    wall_s: tuple[float, ...]
    """Wall seconds of every round."""
    cpu_s: tuple[float, ...]
    """Processor seconds of every round, all threads together."""
    others_share: tuple[float, ...]
    """Share of the machine's processor time that other processes took in every round. Above a few per cent, the wall
    seconds are not the best of this machine. Empty if the system does not say it (Linux does)."""
    first_s: float
    """Wall seconds of the first call, which is not a round: compiling, opening, warming up."""
    compile_s: float
    """Seconds of the first call in which XLA compiled."""

    @property
    def median_s(self) -> float:
        """Median wall seconds of a round."""
        return statistics.median(self.wall_s)

    @property
    def minimum_s(self) -> float:
        """Wall seconds of the fastest round."""
        return min(self.wall_s)

    @property
    def spread(self) -> float:
        """Difference of the slowest and the fastest round, as a share of the median."""
        return (max(self.wall_s) - min(self.wall_s)) / self.median_s

    def as_json(self) -> dict[str, object]:
        """Returns the keys of a competitor in a result file."""
        return {
            "median_s": self.median_s,
            "minimum_s": self.minimum_s,
            "spread": self.spread,
            "cpu_median_s": statistics.median(self.cpu_s),
            "first_s": self.first_s,
            "compile_s": self.compile_s,
            "wall_s": list(self.wall_s),
            "cpu_s": list(self.cpu_s),
            "others_share": list(self.others_share),
        }


@dataclass(frozen=True, kw_only=True)
class Ceiling:
    """The measured limits of this machine."""

    flop_per_s: float
    """Float32 operations a second in a large square matrix product."""
    bytes_per_s: float
    """Bytes a second in a sum over a large array."""

    def floor_s(self, *, flop: float, read_bytes: float = 0.0) -> float:
        """Returns the least seconds that this much work takes on this machine."""
        return max(flop / self.flop_per_s, read_bytes / self.bytes_per_s)

    def as_json(self) -> dict[str, float]:
        """Returns the key `ceiling` of a result file."""
        return {"flop_per_s": self.flop_per_s, "bytes_per_s": self.bytes_per_s}


def time_interleaved(
    competitors: Mapping[str, Callable[[], _Result]], *, repetitions: int
) -> tuple[dict[str, Timing], dict[str, _Result]]:
    """Times competitors in turn: A B C, A B C, … after one first call of each.

    Args:
        competitors: Functions without arguments, by name. The clock stops when the JAX arrays they return are computed.
        repetitions: Number of rounds, 1 or more.

    Returns:
        The timing of each competitor, and the result of its last call.
    """
    if repetitions < 1:
        raise ValueError(f"`repetitions` must be 1 or more, got {repetitions}.")
    results: dict[str, _Result] = {}
    first: dict[str, tuple[float, float]] = {}
    for name, call in competitors.items():
        with _compile_seconds() as compiled:
            results[name], seconds = _clock(call)
        first[name] = (seconds.wall, sum(compiled))
    rounds: dict[str, list[_Seconds]] = {name: [] for name in competitors}
    for _ in range(repetitions):
        for name, call in competitors.items():
            results[name], seconds = _clock(call)
            rounds[name].append(seconds)
    timings = {
        name: _timing(rounds[name], first_s=wall, compile_s=compiled) for name, (wall, compiled) in first.items()
    }
    return timings, results


class Lap(NamedTuple):
    """The seconds of one call."""

    wall_s: float
    cpu_s: float
    compile_s: float
    """The part of the wall seconds in which XLA compiled."""

    def plus(self, other: "Lap") -> "Lap":
        """Returns the sums of both."""
        return Lap(*(one + another for one, another in zip(self, other, strict=True)))

    @property
    def run_s(self) -> float:
        """Wall seconds without compiling."""
        return self.wall_s - self.compile_s


def clock(call: Callable[[], _Result]) -> tuple[_Result, Lap]:
    """Times one call that is too slow for rounds; the clock stops when the JAX arrays it returns are computed."""
    with _compile_seconds() as compiled:
        result, seconds = _clock(call)
    return result, Lap(seconds.wall, seconds.cpu, sum(compiled))


def clock_steps(steps: Iterator[_Result]) -> Iterator[tuple[_Result, Lap]]:
    """Times how long an iterator takes for each item, without the time between the items."""
    ended = object()
    while True:
        item, lap = clock(lambda: next(steps, ended))
        if item is ended:
            return
        yield cast("_Result", item), lap


def time_once(call: Callable[[], _Result]) -> tuple[Timing, _Result]:
    """Times one call like a competitor with a single round."""
    result, seconds = _clock(call)
    return _timing([seconds], first_s=seconds.wall, compile_s=0.0), result


def measure_machine(*, side: int | None = None, repetitions: int = 10) -> Ceiling:
    """Measures the fastest of several products of square float32 matrices, and of sums over 16 · side² numbers.

    Args:
        side: Number of rows of the square; by default 2,048 on a CPU and 8,192 on accelerators.
        repetitions: Number of tries of each.
    """
    side = side or (2048 if jax.default_backend() == "cpu" else 8192)
    square = jnp.ones((side, side), jnp.float32)
    long = jnp.ones((16 * side, side), jnp.float32)
    multiply = jax.jit(lambda matrix: jnp.matmul(matrix, matrix, precision=jax.lax.Precision.HIGHEST))
    add_up = jax.jit(jnp.sum)
    product = _fastest(lambda: multiply(square), repetitions)
    reading = _fastest(lambda: add_up(long), repetitions)
    return Ceiling(flop_per_s=2 * side**3 / product, bytes_per_s=long.nbytes / reading)


def describe_machine() -> dict[str, object]:
    """Describes the machine: processor, devices, memory, versions, and the settings that change timings."""
    return {
        "processor": _processor(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "device": describe_device(),
        "python": platform.python_version(),
        "versions": {name: version for name in _PACKAGES if (version := _version(name))},
        "omp_wait_policy": os.environ["OMP_WAIT_POLICY"],
    }


def load_average() -> list[float]:
    """Returns the mean number of runnable tasks over 1, 5 and 15 minutes; on a quiet machine near 0 before a run."""
    return [round(load, 2) for load in os.getloadavg()]


def write_result(path: Path, benchmark: str, content: Mapping[str, object]) -> None:
    """Writes a result file: the content after the format, the benchmark's name, the day and the machine."""
    head = {"format": FORMAT, "benchmark": benchmark, "day": time.strftime("%Y-%m-%d"), "machine": describe_machine()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**head, **content}, indent=1) + "\n", encoding="utf-8")


def kept(file: Path, make: Callable[[], Any]) -> Any:
    """Returns a piece of a result: made, or as an earlier start made it. Its file of JSON is whole or not there."""
    if not file.exists():
        content = json.dumps(make())
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text_whole(file, content)
    return json.loads(file.read_text("utf-8"))


def rounded(value: Any) -> Any:
    """Returns JSON content with its numbers to four digits."""
    if isinstance(value, dict):
        return {name: rounded(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(part) for part in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def run_parts(
    parts: Mapping[str, Callable[[], object]], names: Sequence[str]
) -> tuple[dict[str, object], dict[str, float]]:
    """Runs some parts of a benchmark.

    Returns:
        The result and the seconds of each part, checks and compiling included.
    """
    measured, seconds = {}, {}
    for name in names:
        measured[name], lap = clock(parts[name])
        seconds[name] = lap.wall_s
    return measured, seconds


def print_table(title: str, rows: Mapping[str, Mapping[str, object]]) -> None:
    """Prints one line for each row and one column for each key, numbers with four significant digits."""
    columns = list(dict.fromkeys(key for row in rows.values() for key in row))
    cells = [[title, *columns]]
    cells += [[name, *(_short(row.get(column, "")) for column in columns)] for name, row in rows.items()]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        print(
            "  ".join(
                [line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))]
            )
        )
    print()


class _Seconds(NamedTuple):
    """The clocks of one call."""

    wall: float
    cpu: float
    machine: float
    """Processor time of all processes."""


def _clock(call: Callable[[], _Result]) -> tuple[_Result, _Seconds]:
    """Returns the result of a call and its seconds."""
    before = (time.perf_counter(), time.process_time(), _machine_s())
    result = jax.block_until_ready(call())
    after = (time.perf_counter(), time.process_time(), _machine_s())
    return result, _Seconds(*(end - start for start, end in zip(before, after, strict=True)))


def _timing(rounds: Sequence[_Seconds], *, first_s: float, compile_s: float) -> Timing:
    cores = os.cpu_count() or 1
    return Timing(
        wall_s=tuple(seconds.wall for seconds in rounds),
        cpu_s=tuple(seconds.cpu for seconds in rounds),
        others_share=tuple(
            max((one.machine - one.cpu) / (cores * one.wall), 0.0) for one in rounds if not math.isnan(one.machine)
        ),
        first_s=first_s,
        compile_s=compile_s,
    )


def _machine_s() -> float:
    """Returns the busy seconds of all processors since the machine started; NaN if the system does not say it."""
    try:
        fields = Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()[1:]
    except OSError:
        return float("nan")
    ticks = [int(field) for field in fields[:8]]
    idle, waiting = ticks[3:5]
    return (sum(ticks) - idle - waiting) / os.sysconf("SC_CLK_TCK")


def _fastest(call: Callable[[], jax.Array], repetitions: int) -> float:
    call().block_until_ready()
    return min(_clock(call)[1].wall for _ in range(repetitions))


@contextmanager
def _compile_seconds() -> Iterator[list[float]]:
    """Collects the seconds of every compilation inside the block."""
    seconds: list[float] = []

    def listen(event: str, duration_secs: float, **_: object) -> None:
        if event == _COMPILING:
            seconds.append(duration_secs)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield seconds
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def _processor() -> str:
    """Returns the model name of the processor, if Linux says it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
