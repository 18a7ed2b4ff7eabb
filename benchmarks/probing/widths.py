"""Measures problems a second by the width of the batch, and the incumbent, which trains them one by one."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from benchmarks import harness, incumbent
from benchmarks.probing import ours
from benchmarks.probing.batches import describe_batch, print_rows, time_fit
from benchmarks.probing.reached import pose_problem, solution_of
from benchmarks.probing.words import Split, Words
from lca_jax.probing.bootstrap import replicate_labellings
from lca_jax.probing.labelling import Labelling
from lca_jax.probing.objective import ElasticNet

BATCH_SIZES = (32, 512)
"""Batch sizes of the incumbent's procedure: its default and that of the papers."""


def measure_widths(
    split: Split, net: ElasticNet, ceiling: harness.Ceiling, *, widths: Sequence[int], limit_s: float
) -> dict[str, object]:
    """Fits one pair of penalties to growing numbers of bootstrap samples of the sentences, each number in one call.

    Args:
        split: Training words and words held out.
        net: Pair of penalties, on X as it is, and the incumbent's epochs.
        ceiling: Measured limits of this machine.
        widths: Numbers of problems, increasing.
        limit_s: Seconds of a batch. A wider one that would exceed them, at the time per problem of the last one, is
            left out.
    """
    train = split.train
    original = Labelling(task="task", control=False, classes=split.classes, numbers=train.y)
    samples = replicate_labellings([original], train.sentences, replicates=max(widths), seed=0)[1:]
    first = pose_problem(_sampled(split, samples[0]), net)
    rows: dict[str, dict[str, object]] = {}
    last_s = 0.0
    for width in widths:
        if last_s * width > limit_s:
            rows[str(width)] = {"not_run": f"would take about {last_s * width:.0f} s, {limit_s:.0f} allowed"}
            continue
        timed = time_fit(partial(ours.fit_labellings, train.X, samples[:width]), net)
        last_s = timed.lap.run_s / width
        rows[str(width)] = {
            **describe_batch(timed, split, ceiling),
            # A problem's iterates do not depend on the others, so the first problem is the same in every row.
            "first_problem": dict(first.measure(f"{width} problems, the first", solution_of(timed.probes[0]))),
        }
    print_rows("problems", rows)
    competitors = {f"incumbent {size}": _time_incumbent(split, net, ceiling, size) for size in BATCH_SIZES}
    harness.print_table("one by one", competitors)
    return {"words": len(train.y), "batches": rows, "incumbent": competitors, **first.describe()}


def _sampled(split: Split, sample: Labelling) -> Split:
    """Repeats each word as often as the sample has it, for the reference, which has no weights of words."""
    words = np.repeat(np.arange(len(split.train.y)), np.asarray(sample.weights, np.int64))
    return split._replace(train=Words(*(part[words] for part in split.train)))


def _time_incumbent(split: Split, net: ElasticNet, ceiling: harness.Ceiling, batch_size: int) -> dict[str, object]:
    """Times the incumbent's procedure on one problem."""
    train, device = split.train, incumbent.training_device()
    ((l1, l2),) = net.pairs
    run = partial(
        incumbent.train_probe,
        train.X,
        train.y,
        l1=l1,
        l2=l2,
        squared=True,
        batch_size=batch_size,
        device=device,
    )
    run(epochs=1)
    _, lap = harness.clock(lambda: run(epochs=net.epochs))
    flop = 4.0 * train.X.size * len(split.classes) * net.epochs
    return {
        "device": device,
        "seconds": lap.wall_s,
        "cpu_s": lap.cpu_s,
        "problems_per_s": 1 / lap.wall_s,
        "peak_share": flop / lap.wall_s / ceiling.flop_per_s,
    }
