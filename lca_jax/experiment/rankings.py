"""The rankings of a run by the name that its settings give, all of one kind: whole, of each half, and by class.

`bagged` is the mean over the half-samples with near copies discounted (`ranking.bagged`), `mass` the order of weight
mass of the one chosen probe, as Dalvi et al. 2019 publish it (`ranking.lca`). Whatever is told of a ranking, its
reliability above all, is told of the ranking of that name.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from lca_jax.analysis.samples import rank_samples
from lca_jax.errors import SettingsError
from lca_jax.experiment.config import Experiment, RankingName
from lca_jax.probing.probe_set import ProbeSet, load_probes
from lca_jax.probing.weight_mass import class_levels
from lca_jax.ranking.bagged import mean_magnitudes, rank_bagged, reading_classes
from lca_jax.ranking.lca import neurons_by_class, rank_neurons
from lca_jax.ranking.ranking import Ranking

_RULES: dict[RankingName, tuple[str, str]] = {
    "bagged": (
        "mean weight over classes and half-samples, times 0.9 for each better neuron of the same residual index",
        "lower column",
    ),
    "mass": ("weight mass, least level over the classes", "larger share of a class's mass, then lower column"),
}
"""What orders neurons, and what orders those of equal score."""


@dataclass(frozen=True, kw_only=True)
class Rankings:
    """The rankings of all tasks of a run."""

    name: RankingName
    probes: ProbeSet
    """The chosen probes."""
    samples: ProbeSet | None
    """The chosen probes and those of their half-samples; None without half-samples."""

    @property
    def rule(self) -> str:
        """What orders neurons, in a few words."""
        return _RULES[self.name][0]

    @property
    def tie_rule(self) -> str:
        """What orders neurons of equal score."""
        return _RULES[self.name][1]

    def of(self, task: str) -> Ranking:
        """Returns the ranking of a task."""
        return rank_neurons(self.probes, task) if self.name == "mass" else rank_bagged(self._halves, task)

    def of_halves(self, task: str) -> Sequence[Ranking]:
        """Returns the ranking of every half-sample, by the probe of that half alone."""
        return rank_samples(self._halves, task, method="lca" if self.name == "mass" else "bagged")

    def by_class(
        self, task: str, first: Int[np.ndarray, " neuron"], *, replicate: int = 0
    ) -> dict[str, Int[np.ndarray, " _"]]:
        """Divides the first neurons of a ranking among the classes that read them.

        Args:
            task: The task.
            first: The leading neurons of the ranking of the run, or of a half-sample.
            replicate: Number of that half-sample, whose probe counts; 0 for the run.
        """
        if self.name == "mass":
            probes = self._halves if replicate else self.probes
            return neurons_by_class(probes, task, count=len(first), replicate=replicate)
        return reading_classes(self._halves, task, first, replicate=replicate)

    def first_class(self, task: str, columns: Int[np.ndarray, " neuron"]) -> Int[np.ndarray, " neuron"]:
        """Returns the number of the class that reads each neuron most; -1 for neurons without weight.

        By mass it is the class that needs the neuron first; of several the one of whose mass it is the largest part.
        """
        if self.name == "bagged":
            magnitude = mean_magnitudes(self._halves, task)
            order = np.argmax(magnitude, axis=1)
        else:
            magnitude = np.abs(self.probes.one(task).weights.astype(np.float64))
            share = magnitude / np.maximum(magnitude.sum(axis=0, keepdims=True), 1e-300)
            order = np.lexsort((-share, class_levels(magnitude)), axis=1)[:, 0]
        return np.where(magnitude.max(axis=1) > 0, order, -1)[columns]

    @property
    def _halves(self) -> ProbeSet:
        if self.samples is None:
            raise SettingsError("This needs half-samples, and the run has none: give `replicates` of 2 or more.")
        return self.samples


def load_rankings(settings: Experiment, *, probes: ProbeSet | None = None) -> Rankings:
    """Returns the rankings of a run that is done up to them; its probes are read unless they are given."""
    samples = load_probes(settings.out / "replicates") if settings.replicates else None
    probes = load_probes(settings.out / "probes") if probes is None else probes
    return Rankings(name=settings.ranking, probes=probes, samples=samples)
