"""Every ranking method beside the run's own, for reliability and validity: the page's central figure (`--methods`).

The training sentences are divided into thirds: two of them rank, each by itself, and the last one measures. Probes have
the penalty that the run chose, and those of half-samples the l2 of its ranking, so the figure is of the run's words and
objective; it costs the fits of two thirds of the words, each with as many half-samples as the run has, and every method
twice.
"""

from dataclasses import asdict

from lca_jax.analysis.reliability_validity import reliability_and_validity
from lca_jax.analysis.retraining import TrainingWords
from lca_jax.experiment.config import Experiment
from lca_jax.store.store import ActivationStore


def methods_entry(training: TrainingWords, store: ActivationStore, settings: Experiment) -> dict[str, object]:
    """Returns the `methods` entry of a task: one point a method.

    Args:
        training: The training words of the task, and the chosen penalty.
        store: Their activations.
        settings: The experiment.
    """
    found = reliability_and_validity(
        store,
        training.real.task,
        settings=training.settings,
        replicates=settings.replicates,
        kind="halves",
        least_l2=settings.halves_l2,
        seed=settings.seed,
    )
    plain = asdict(found)
    return {name: plain[name] for name in plain if name not in ("task", "ranked_on", "measured_on")}
