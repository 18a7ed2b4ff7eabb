"""Measures batches of many sizes against the same problems one after another, and against the work of those that run.

A cell is words × neurons × classes × problems. The problems are bootstrap samples of the sentences, so they share only
X. `ratio` is the time of a problem of the batch over its time alone, `busy_share` the operations of running problems
over what the device could make in that time. Their operations, for n words, d neurons and k classes: 4·n·d·k in the two
products, and the inner steps in the metric (`lca_jax.probing.matrix.metric`). Idle lanes, the softmax and everything
element-wise count as nothing.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np

from benchmarks import harness
from benchmarks.probing import ours
from benchmarks.probing.batches import print_rows, time_fit
from benchmarks.probing.words import Split
from lca_jax.probing.bootstrap import replicate_labellings
from lca_jax.probing.labelling import Labelling
from lca_jax.probing.objective import ElasticNet
from lca_jax.probing.solvers.iteration import iteration_operations

_ALONE = 3
"""Problems that are timed one after another; the time of all is that of these, by their number."""


def measure_sizes(
    split: Split,
    net: ElasticNet,
    ceiling: harness.Ceiling,
    *,
    words: Sequence[int],
    features: Sequence[int],
    classes: Sequence[int],
    problems: Sequence[int],
    limit_s: float,
) -> dict[str, dict[str, object]]:
    """Fits one pair of penalties to bootstrap samples, in one call and one after another.

    Args:
        split: Training words; the leading words and neurons are taken.
        net: Pair of penalties.
        ceiling: Measured limits of this machine.
        words: Numbers of words.
        features: Numbers of neurons.
        classes: Numbers of classes: those of the task by their number modulo it or, for more, by the word's place too.
        problems: Numbers of problems in a call.
        limit_s: Seconds that a batch may take, by the time of one problem alone; others are left out.
    """
    rows: dict[str, dict[str, object]] = {}
    for count, width, kinds in ((n, d, k) for n in words for d in features for k in classes):
        if count > len(split.train.y) or width > split.train.X.shape[1]:
            there = f"{len(split.train.y)} words and {split.train.X.shape[1]} neurons"
            rows[f"{count} words, {width} neurons, {kinds} classes"] = {"not_run": f"the input has {there}"}
            continue
        few = split.leading(count).with_features(width).train
        original = _labelling(few.y, kinds)
        samples = replicate_labellings([original], few.sentences, replicates=max(*problems, _ALONE), seed=0)[1:]
        one_by_one = partial(_fit_each, few.X, samples[:_ALONE])
        alone = time_fit(one_by_one, net)
        alone_s = alone.lap.run_s / _ALONE
        for size in problems:
            name = f"{count} words, {width} neurons, {kinds} classes, {size} problems"
            if alone_s * size > limit_s:
                rows[name] = {"not_run": f"would take about {alone_s * size:.0f} s, {limit_s:.0f} allowed"}
                continue
            timed = time_fit(partial(ours.fit_labellings, few.X, samples[:size]), net)
            iterations = sum(probe.iterations for probe in timed.probes)
            flop = iterations * float(iteration_operations(count, width, kinds))
            rows[name] = {
                **timed.as_json(),
                "alone_s": alone_s,
                "ratio": timed.lap.run_s / size / alone_s,
                "iterations": iterations,
                "certified": sum(probe.converged for probe in timed.probes),
                "floor_s": flop / ceiling.flop_per_s,
                "busy_share": flop / ceiling.flop_per_s / timed.lap.run_s,
            }
            print_rows("size", {name: rows[name]})
    return rows


def _fit_each(X: np.ndarray, labellings: Sequence[Labelling], net: ElasticNet) -> list:
    return [probe for labelling in labellings for probe in ours.fit_labellings(X, [labelling], net)]


def _labelling(numbers: np.ndarray, classes: int) -> Labelling:
    """Makes a task of so many classes out of class numbers."""
    own = int(numbers.max()) + 1
    spread = numbers if classes <= own else numbers + own * (np.arange(len(numbers)) % -(-classes // own))
    names = tuple(f"c{number:03d}" for number in range(classes))
    return Labelling(task="task", control=True, classes=names, numbers=(spread % classes).astype(np.int32))
