"""Every ranking of this room by its name: `rank(given, task, method=…)`, and the table of methods behind it.

A method is one file of this room and one row of `METHODS`. All of them return a `Ranking`, overall and by class, so
curves, minimal sets, stability and agreement measure all alike. What a method reads is one of three:

    probes       the weights of trained probes
    statistics   means and variances of a store; of words in memory they are computed
    words        the activations themselves

`CROSS_METHODS` rank the neurons of one of several models. They read moments of these models with each other
(`correlate_models`), which are gathered where the models' stores or arrays are given.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from lca_jax.errors import SettingsError
from lca_jax.gathering.correlate import correlate_models
from lca_jax.gathering.cross_moments import CrossMoments
from lca_jax.probing.measuring import MeasuredWords
from lca_jax.probing.probe import Probe
from lca_jax.probing.probe_set import ProbeSet
from lca_jax.ranking.anova import rank_by_anova
from lca_jax.ranking.average_precision import rank_by_average_precision
from lca_jax.ranking.bagged import rank_bagged
from lca_jax.ranking.cross_model import rank_by_max_correlation, rank_by_min_correlation
from lca_jax.ranking.gaussian import rank_by_gaussians
from lca_jax.ranking.group_lasso import rank_by_group_lasso
from lca_jax.ranking.groups import Groups, rank_groups
from lca_jax.ranking.iou import rank_by_iou
from lca_jax.ranking.lca import rank_neurons
from lca_jax.ranking.linear_regression import rank_by_linear_regression
from lca_jax.ranking.mean_distance import rank_by_mean_distance
from lca_jax.ranking.mean_select import rank_by_mean_select
from lca_jax.ranking.mean_weight import rank_by_mean_weight
from lca_jax.ranking.mutual_information import rank_by_mutual_information
from lca_jax.ranking.one_vs_rest import rank_by_one_vs_rest
from lca_jax.ranking.probeless import rank_by_means
from lca_jax.ranking.ranking import Ranking
from lca_jax.ranking.sparse_probe import rank_by_sparse_probes
from lca_jax.ranking.variance import rank_by_variance
from lca_jax.ranking.words import Words, read_words, statistics_of_words
from lca_jax.store.statistics import Statistics
from lca_jax.store.store import ActivationStore


class Method(NamedTuple):
    """One way to rank neurons."""

    reads: Literal["probes", "statistics", "words"]
    """What its function takes first."""
    rank: Callable[..., Ranking]
    score: str
    """What a neuron's score is."""
    labels: bool = True
    """Whether labels play a part: whether the function takes a task."""
    one_vs_rest: bool = False
    """Whether the probes are those that tell one class from all others (`fit_probes(one_vs_rest=True)`)."""


METHODS: dict[str, Method] = {
    "lca": Method("probes", rank_neurons, "1 less the weight mass at which the first class needs it"),
    "bagged": Method("probes", rank_bagged, "mean magnitude of its weights over classes and samples, less for copies"),
    "mean_weight": Method("probes", rank_by_mean_weight, "mean magnitude of its weights over the classes"),
    "one_vs_rest": Method(
        "probes", rank_by_one_vs_rest, "1 less the mass at which the first binary probe needs it", one_vs_rest=True
    ),
    "probeless": Method("statistics", rank_by_means, "sum of the distances of class means"),
    "mean_distance": Method("statistics", rank_by_mean_distance, "distance of a class's mean, in deviations"),
    "anova": Method("statistics", rank_by_anova, "F statistic of the classes"),
    "variance": Method("statistics", rank_by_variance, "variance over all words", labels=False),
    "mean_select": Method("words", rank_by_mean_select, "distance of a class's mean, for the class's range"),
    "average_precision": Method("words", rank_by_average_precision, "best average precision for a class"),
    "iou": Method("words", rank_by_iou, "best intersection over union with a class"),
    "mutual_information": Method("words", rank_by_mutual_information, "bits that its value tells about the class"),
    "group_lasso": Method("words", rank_by_group_lasso, "penalty at which it enters the group lasso"),
    "sparse_probe": Method("words", rank_by_sparse_probes, "1/k of the smallest k-sparse probe that has it"),
    "gaussian": Method("words", rank_by_gaussians, "place in a greedy selection by Gaussians"),
}
"""The methods by name."""


class CrossMethod(NamedTuple):
    """One way to rank the neurons of one of several models."""

    rank: Callable[..., Ranking]
    score: str
    """What a neuron's score is."""
    held_out: float = 0.0
    """Share of the sentences that it holds out to choose by, and of those to measure by."""


CROSS_METHODS: dict[str, CrossMethod] = {
    "max_corr": CrossMethod(rank_by_max_correlation, "largest |r| with a neuron of any other model"),
    "min_corr": CrossMethod(rank_by_min_correlation, "least of the largest |r| with each other model"),
    "lin_reg": CrossMethod(
        rank_by_linear_regression, "R2 on held-out sentences, from a layer of another", held_out=0.2
    ),
}
"""The methods that read several models, by name."""


def method_named(name: str) -> Method:
    """Returns a method.

    Raises:
        SettingsError: There is none of this name; the message lists them all.
    """
    if name not in METHODS:
        several = f" Of several models (`lca.rank`): {', '.join(CROSS_METHODS)}."
        raise SettingsError(f"There is no ranking method {name!r}. Methods: {', '.join(METHODS)}.{several}")
    return METHODS[name]


def rank(
    given: ProbeSet | Probe | Statistics | Words | CrossMoments | list[Any],
    task: str | None = None,
    *,
    method: str = "lca",
    groups: Groups | None = None,
    **options: object,
) -> Ranking:
    """Ranks neurons by any method.

    Args:
        given: What the method reads: probes (`lca`, `bagged`, `mean_weight`, `one_vs_rest`); statistics, or words in
            their place (`probeless`, `mean_distance`, `anova`, `variance`); or words: a store, `measured_words`, or
            features and labels (X, y). For `max_corr`, `min_corr` and `lin_reg` several models: what
            `correlate_models` returned, or a list of the models' stores or arrays, which are gathered then; `of` is
            the number of the model whose neurons are ranked.
        task: The task; None for the only one.
        method: Name of the method, a key of `METHODS` or `CROSS_METHODS`.
        groups: None for neurons; `"index"` for the neurons of one index in all layers as one group, or any division of
            the neurons (`correlated_groups`).
            Methods that read no weights sum the scores of a group's neurons.
        **options: Further arguments of the method's own function.

    Returns:
        The ranking.

    Raises:
        SettingsError: The method is unknown or does not read what is given, or an argument of its function is wrong.
        StoreError: A store is given to a method that reads statistics, and has none.
        DataError: The words do not allow this ranking: one class only, say.
    """
    if method in CROSS_METHODS:
        ranking = _rank_one_of_several(given, method, options)
        return ranking if groups is None else rank_groups(ranking, groups)
    chosen = method_named(method)
    if isinstance(given, CrossMoments | list):
        raise _wrong(method, given, f"one model; several are read by {', '.join(CROSS_METHODS)}")
    if chosen.reads == "probes":
        if not isinstance(given, ProbeSet | Probe):
            raise _wrong(method, given, "probes: fit_probes(store)")
        return chosen.rank(given, task, groups=groups, **options)
    if isinstance(given, ProbeSet | Probe):
        raise _wrong(method, given, "a store, or features and labels (X, y)")
    if chosen.reads == "words":
        if isinstance(given, Statistics):
            raise _wrong(method, given, "a store, or features and labels (X, y)")
        ranking = chosen.rank(given, task, **options)
    else:
        statistics = _statistics(given, task)
        ranking = chosen.rank(statistics, *([_task(statistics, task)] if chosen.labels else []), **options)
    return ranking if groups is None else rank_groups(ranking, groups)


def _rank_one_of_several(given: object, method: str, options: dict[str, object]) -> Ranking:
    """Ranks by moments of several models; those of stores or arrays are gathered."""
    chosen = CROSS_METHODS[method]
    if isinstance(given, list | tuple):
        given = correlate_models(given, within=chosen.held_out > 0, held_out=chosen.held_out)
    if not isinstance(given, CrossMoments):
        raise _wrong(method, given, "several models: a list of their stores, or correlate_models(stores)")
    return chosen.rank(given, **options)


def _statistics(given: Statistics | Words, task: str | None) -> Statistics:
    """Returns statistics; those of a store are read, those of words in memory computed."""
    if isinstance(given, MeasuredWords | tuple):
        return statistics_of_words(read_words(given, task))
    return given.statistics() if isinstance(given, ActivationStore) else given


def _task(statistics: Statistics, task: str | None) -> str:
    if task is None and len(statistics.by_task) != 1:
        raise SettingsError(f"Name one of the tasks of {statistics.place}: {', '.join(statistics.by_task) or 'none'}.")
    return next(iter(statistics.by_task)) if task is None else task


def _wrong(method: str, given: object, wanted: str) -> SettingsError:
    kind = type(given).__name__
    return SettingsError(f"The ranking method `{method}` cannot read a value of type {kind}. Give {wanted}.")
