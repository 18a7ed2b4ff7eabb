"""The probes of `benchmarks.fine_tuning`, and what rankings before and after a tuning say of the papers' claim.

Every comparison stands beside two kinds of noise. *Words*: the interval over half-samples of one model, and the overlap
that two rankings of one order would have. *Seeds*: the interval over the seeds of the tuning (Student's t), and the
overlap between rankings after tunings that differ by their seed alone. The halves are of the same words for every seed,
so the mean over seeds has all of their noise: the squares of both reaches add up.

The claim is that salient neurons move to lower layers (Durrani et al. 2023, section 5.4). It `holds` where that
interval of the move lies below 0, and `fails` where it lies above 0; else the move is `within noise`.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from scipy.special import stdtrit

from lca_jax.analysis.agreement import agreement
from lca_jax.analysis.relocation import Relocation, measure_relocation
from lca_jax.analysis.retraining import TrainingWords, hits_of_nested_sets
from lca_jax.analysis.samples import rank_samples
from lca_jax.analysis.spare_sets import lower_layers
from lca_jax.probing.measuring import measured_words
from lca_jax.probing.probe_set import ProbeSet
from lca_jax.ranking.methods import rank
from lca_jax.ranking.ranking import Ranking
from lca_jax.store.store import ActivationStore

RANKINGS = ("bagged", "lca")
"""The ranking of runs, and the papers'."""
_SURE = 0.975


class Probed(NamedTuple):
    """The rankings of one model for one task, by method."""

    whole: dict[str, Ranking]
    halves: dict[str, list[Ranking]]
    accuracy: dict[str, Any]
    """Of probes on other sentences (`measure_parts`)."""

    @classmethod
    def of(cls, probes: ProbeSet, task: str, accuracy: dict[str, Any]) -> "Probed":
        """Ranks the neurons by the probe of all words and by those of the half-samples."""
        return cls(
            {by: rank(probes, task, method=by) for by in RANKINGS},
            {by: rank_samples(probes, task, method=by) for by in RANKINGS},
            accuracy,
        )

    def relocation(self, after: "Probed", by: str, share: float) -> Relocation:
        """Compares with the same task in a model after a tuning."""
        return measure_relocation(
            self.whole[by], after.whole[by], halves_before=self.halves[by], halves_after=after.halves[by], share=share
        )

    def state(self, share: float) -> dict[str, Any]:
        """Returns accuracies, and by ranking the salient neurons in each layer and their mean layer."""
        rankings = {}
        for by in RANKINGS:
            still = self.relocation(self, by, share)
            rankings[by] = {"layers": still.layers_before.tolist(), "centre": still.centre_before._asdict()}
        return {"accuracy": self.accuracy, "rankings": rankings}


def measure_parts(probes: ProbeSet, other: ActivationStore, task: str, share: float) -> dict[str, Any]:
    """Measures the probe, and probes trained again on parts of the neurons, on other sentences.

    Returns:
        Accuracy of `all` neurons, of the `first` and the `last` by `bagged`, and of all layers from the lowest
        `up_to_layer` 0, 1, …; number of `words` measured.
    """
    one, axis = probes.one(task), probes.axis
    words = measured_words(other, axis, task, one.classes)
    training, order = TrainingWords.of(probes, task), rank(probes, task, method=RANKINGS[0]).columns
    count = round(share * axis.size)
    first, last = (
        float(hits_of_nested_sets(training, words, columns, [count]).mean()) for columns in (order, order[::-1])
    )
    by_layer = lower_layers(training, words, axis, least=0.0).accuracies
    whole = float((one.predict(words.X) == words.gold).mean())
    return {"all": whole, "first": first, "last": last, "up_to_layer": list(by_layer), "words": len(words.gold)}


def compare(before: Probed, after: dict[int, Probed], by: str, share: float) -> dict[str, Any]:
    """Compares one ranking before with those after tunings, given by their seeds."""
    moved = {seed: before.relocation(one, by, share) for seed, one in after.items()}
    pairs = [
        agreement(one.whole[by], other.whole[by], shares=(share,)).points[0].overlap
        for one, other in combinations(after.values(), 2)
    ]
    shifts = [one.shift for one in moved.values()]
    over_seeds = interval_over_seeds([shift.value for shift in shifts])
    both = with_words(over_seeds, float(np.mean([shift.high - shift.value for shift in shifts])))
    return {
        "seeds": {str(seed): _shift(one) for seed, one in moved.items()},
        "over_seeds": over_seeds,
        "over_seeds_and_words": both,
        "overlap_between_seeds": float(np.mean(pairs)) if pairs else None,
        "claim": verdict_of(both),
    }


def interval_over_seeds(shifts: Sequence[float]) -> dict[str, float | None]:
    """Returns the mean of the seeds' shifts with its 95 % interval; of one seed there is no interval."""
    count, value = len(shifts), float(np.mean(shifts))
    if count == 1:
        return {"value": value, "low": None, "high": None}
    reach = float(stdtrit(count - 1, _SURE) * np.std(shifts, ddof=1) / np.sqrt(count))
    return {"value": value, "low": value - reach, "high": value + reach}


def with_words(over_seeds: dict[str, float | None], reach: float) -> dict[str, float | None]:
    """Returns a mean over seeds whose interval also has the reach of that of the words."""
    value, high = over_seeds["value"], over_seeds["high"]
    if value is None or high is None:
        return over_seeds
    both = float(np.hypot(high - value, reach))
    return {"value": value, "low": value - both, "high": value + both}


def verdict_of(move: dict[str, float | None]) -> str:
    """Returns what an interval of the move says of the claim that salient neurons move to lower layers."""
    low, high = move["low"], move["high"]
    if high is not None and high < 0:
        return "holds"
    return "fails" if low is not None and low > 0 else "within noise"


def _shift(one: Relocation) -> dict[str, Any]:
    names = ("overlap", "chance", "ceiling", "of_ceiling")
    overlap = {name: getattr(one.overlap, name) for name in names}
    return {**one.shift._asdict(), "verdict": one.verdict, **overlap}
