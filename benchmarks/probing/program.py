"""The parts that `bench_probe` and `bench_grid` share: their options, and the frame of a result."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks import harness, incumbent
from benchmarks.probing.reached import MAX_ITERATIONS
from benchmarks.probing.words import Source, Split, describe_input, read_words
from lca_jax.probing.objective import ElasticNet

TOLERANCE = 1e-4
"""Tolerance of the exact solver when it is compared, as a share of the objective at zero weights."""

Parts = Mapping[str, Callable[[], object]]
"""The parts of a program by name; each returns its content in the result file."""


@dataclass(frozen=True, kw_only=True)
class ProbingSettings:
    """Options of both programs."""

    source: Source = field(default_factory=Source)
    l1: float = 1e-3
    """Weight of ‖W‖₁ where there is one pair of penalties."""
    l2: float = 1e-3
    """Weight of the second term where there is one pair of penalties."""
    out: Path | None = None
    """Result file; without it the tables are only printed."""
    quick: bool = False
    """400 words, and little of everything else: tries the program, measures nothing."""

    @property
    def net(self) -> ElasticNet:
        """The elastic net on X as it is, and the settings of the solvers."""
        return ElasticNet(
            l1=self.l1,
            l2=self.l2,
            tolerance=TOLERANCE,
            max_iterations=MAX_ITERATIONS,
            epochs=2 if self.quick else 10,
            standardize=False,
        )

    @property
    def few_words(self) -> Source:
        """The source of a quick trial."""
        return replace(self.source, words=min(400, self.source.words), held_out=100)


def measure_parts(
    settings: ProbingSettings, names: Sequence[str], make: Callable[[Split, harness.Ceiling], Parts]
) -> dict[str, object]:
    """Reads the words, runs some parts on them, and returns the content of the result file.

    Args:
        settings: Settings of the program.
        names: Names of the parts to run.
        make: Function that makes all parts, from the words and the limits of this machine.
    """
    split = read_words(settings.source)
    ceiling = harness.measure_machine(side=256 if settings.quick else None)
    before = harness.load_average()
    measured, seconds = harness.run_parts(make(split, ceiling), names)
    return {
        "input": {**describe_input(settings.source, split), "l1": settings.l1, "l2": settings.l2},
        "incumbent_device": incumbent.training_device(),
        "load": {"before": before, "after": harness.load_average()},
        "ceiling": ceiling.as_json(),
        "part_s": seconds,
        **measured,
    }
