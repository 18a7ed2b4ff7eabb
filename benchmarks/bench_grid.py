"""Measures many probes at once: problems a second by width of the batch, the papers' whole grid, and scaling.

    python -m benchmarks.bench_grid --corpus en_ewt-ud-train.conllu.gz --out grid.json

Words, features and classes are those of `bench_probe`, on the elastic net. There are four parts, which `--parts`
chooses from:

`sizes`. Bootstrap samples in one call and one after another, from 500 words × 384 neurons × 2 classes up: no size may
be slower in a batch than alone, and `busy_share` says how near running problems come to the measured peak.

`widths`. P problems in one call of the package, for P = 1, 2, 4, 16, 64, 128, on an accelerator 1, 10, 100, 1,000: one
pair of penalties on P bootstrap samples of the sentences, which are equally hard and share only X (on a CPU its first
5,000 words). The incumbent's procedure trains one problem after the other on the same device. On an NVIDIA GPU this
part is the headline, if PyTorch sees the GPU too.

`grid`. The 64 pairs {0, 1e-1, …, 1e-7}² of the papers, each for the task and its control: 128 problems in one call. It
measures the seconds for each problem, against one problem alone (`--l1`, `--l2`) and against the incumbent; how many
are certified to 1e-4 within `--max-iterations`; and how far the incumbent's procedure gets on the pairs of
`probing.grid.COMPARED`.

`scaling`. One problem, by words, by features, and by devices: on a CPU by virtual devices in child processes, each with
a core of its own as long as there are cores.

Checks. Objectives are measured again in float64, and a certificate must cover the distance to the best point known. In
`scaling`, and in `widths` for the problem that all batches share, that point is a reference solved to 1e-6; in `grid`,
for every problem, it is the best of all 64 probes of the grid and the incumbent's, which are all feasible for every
pair. Anything else is an error.

Seconds are wall seconds of one call without those in which XLA compiled (`compile_s`). All but the grid are called once
before with a tolerance that zero weights meet, which traces and compiles the same programs.

The floor. `probing.ours` counts the work of each problem. For all columns together, with n = 200,000 words, d = 9,984
neurons (13 layers of 768) and k = 1,700 columns (100 problems of 17 classes), in the solver's float32:

    two products with X     2 · 2·n·d·k = 13.6 TFLOP an iteration, X read twice: 16.0 GB
    10 inner steps and 1    11 · 4·384·d·k = 0.29 TFLOP an iteration, in the thin metric of 384 words
    scores, residuals, …    about ten passes over n·k numbers: 13.6 GB an iteration

    assumed                             H200                        TPU v5e
    float32 operations                  67 TFLOP/s, no tensor core  33 TFLOP/s: six bfloat16 passes at 197
    memory                              141 GB at 4.8 TB/s          16 GB at 0.82 TB/s
    products with X, operations         203 ms                      414 ms
    inner steps, operations             4 ms                        9 ms
    all of the bytes                    6 ms                        36 ms
    an iteration, at least              207 ms                      423 ms
    100 problems, 60 iterations         12.4 s: 8.0 problems/s      25.4 s: 3.9 problems/s
    columns at which a product with X
    costs as much as reading it         28                          80

The rates are the vendors'; none of this has been measured. All columns at once need X and ten arrays of n·k, 22 GB,
which fit an H200 and not a v5e. The solver takes 1,024 columns at a time, 60 problems, and `lca_jax.probing.batching`
keeps each such array under 300 MB on a device, 22 problems here, which fit both. Then X is read five times as often: 19
and 109 ms an iteration more, still less than the operations take. X held in bfloat16 (`fit_probes(dtype=…)`: three
passes at 989 and 197 TFLOP/s, half of the bytes) would bring the products of an iteration to 41 and 207 ms. The
incumbent's procedure on the same words is 62,500 steps for each problem, one after the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import jax
import tyro

from benchmarks import harness
from benchmarks.probing.grid import measure_grid
from benchmarks.probing.program import Parts, ProbingSettings, measure_parts
from benchmarks.probing.scaling import measure_scaling
from benchmarks.probing.sizes import measure_sizes
from benchmarks.probing.widths import measure_widths
from benchmarks.probing.words import Split

GRID = (0.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)

Part = Literal["sizes", "widths", "grid", "scaling"]


@dataclass(frozen=True, kw_only=True)
class Settings(ProbingSettings):
    """Settings of the benchmark."""

    parts: tuple[Part, ...] = ("sizes", "widths", "grid", "scaling")
    """The parts that are run."""
    grid_values: tuple[float, ...] = GRID
    """Values of l1 and of l2; every pair of them is fitted."""
    max_iterations: int = 200
    """Maximum number of iterations of a problem of the grid."""
    widths: tuple[int, ...] | None = None
    """Numbers of problems in a batch; by default 1 to 128 on a CPU, 1 to 1,000 elsewhere."""
    size_words: tuple[int, ...] = (500, 2500, 9000, 20_000)
    """Numbers of words of the sizes."""
    size_features: tuple[int, ...] = (384, 768, 2688)
    """Numbers of neurons of the sizes."""
    size_classes: tuple[int, ...] = (2, 17, 45)
    """Numbers of classes of the sizes."""
    size_problems: tuple[int, ...] = (1, 8, 64, 128, 1000)
    """Numbers of problems of the sizes."""
    shares: tuple[float, ...] = (0.125, 0.25, 0.5)
    """Shares of the words and of the features, for the scaling; all words and features are measured too."""
    devices: tuple[int, ...] = (1, 2, 4, 8)
    """Numbers of virtual devices."""
    width_words: int | None = None
    """Number of leading training words for the widths; by default 5,000 on a CPU, all elsewhere."""
    limit_s: float = 120.0
    """Seconds of a batch. A wider one that would exceed them, at the time per problem of the last one, is left out."""

    def words_of_widths(self, count: int) -> int:
        """Returns the number of training words on which the widths are measured."""
        return min(self.width_words or (5000 if jax.default_backend() == "cpu" else count), count)

    @property
    def batches(self) -> tuple[int, ...]:
        """The widths that are measured on this machine."""
        on_cpu = (1, 2, 4, 16, 64, 128)
        return self.widths or (on_cpu if jax.default_backend() == "cpu" else (1, 10, 100, 1000))


def main(arguments: Sequence[str] | None = None) -> None:
    description = "Many probes at once."
    settings = tyro.cli(Settings, args=arguments, description=description, config=(tyro.conf.OmitArgPrefixes,))
    if settings.quick:
        settings = replace(
            settings,
            source=settings.few_words,
            grid_values=(1e-2, 1e-3),
            widths=(1, 2),
            size_words=(200,),
            size_features=(64,),
            size_classes=(2, 17),
            size_problems=(1, 4),
            shares=(0.5,),
            devices=(1, 2),
        )
    content = measure(settings)
    if settings.out:
        harness.write_result(settings.out, "grid", content)


def measure(settings: Settings) -> dict[str, object]:
    """Runs the chosen parts, prints their tables and returns the content of the result file."""
    net = settings.net

    def make(split: Split, ceiling: harness.Ceiling) -> Parts:
        return {
            "sizes": lambda: measure_sizes(
                split,
                net,
                ceiling,
                words=settings.size_words,
                features=settings.size_features,
                classes=settings.size_classes,
                problems=settings.size_problems,
                limit_s=settings.limit_s,
            ),
            "widths": lambda: measure_widths(
                split.leading(settings.words_of_widths(len(split.train.y))),
                net,
                ceiling,
                widths=settings.batches,
                limit_s=settings.limit_s,
            ),
            "grid": lambda: measure_grid(
                split, net, ceiling, values=settings.grid_values, max_iterations=settings.max_iterations
            ),
            "scaling": lambda: measure_scaling(split, net, ceiling, shares=settings.shares, devices=settings.devices),
        }

    return measure_parts(settings, settings.parts, make)


if __name__ == "__main__":
    main()
