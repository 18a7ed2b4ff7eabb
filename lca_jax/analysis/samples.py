"""Rankings of many samples of the training words by one method, for `analysis.stability`.

Methods that read words or their statistics are called once for every sample. Probes are fitted to all samples in one
solve, with the penalty that was chosen for the words as they are or with more l2: `fit_samples` adds them to a set of
probes whose choice is made, and `rank_samples` ranks by each of them.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from lca_jax.analysis.retraining import TrainingWords
from lca_jax.errors import SettingsError
from lca_jax.probing.bootstrap import check_samples, draw_sample
from lca_jax.probing.fit import fit_problems
from lca_jax.probing.labelling import SampleKind, usable_labels
from lca_jax.probing.measuring import MeasuredWords
from lca_jax.probing.objective import ElasticNet
from lca_jax.probing.probe_set import ProbeSet, only_task
from lca_jax.ranking.groups import Groups
from lca_jax.ranking.methods import method_named, rank
from lca_jax.ranking.ranking import Ranking
from lca_jax.ranking.words import Words, read_words


def fit_samples(
    probes: ProbeSet,
    task: str,
    *,
    replicates: int,
    kind: SampleKind = "halves",
    least_l2: float = 0.0,
    training: TrainingWords | None = None,
) -> ProbeSet:
    """Fits the chosen probe of a task to many samples of its sentences, in one solve.

    A set that `fit_probes(replicates=…)` fitted has a probe of every penalty and control task on every sample. This is
    for a set whose penalty is chosen: one probe a sample, with that penalty and the scale of all words.

    Args:
        probes: A selected set with its training store.
        task: The task.
        replicates: Number of samples, drawn with the seed of the probes' settings.
        kind: How they are drawn (`fit_probes`).
        least_l2: The samples' probes have at least this l2, whatever was chosen for the words as they are. Rankings of
            samples agree the more, the more l2 there is (`benchmarks/README.md`).
        training: The training words, where they were read before (`TrainingWords.of`).

    Returns:
        The set of the task's probe and of its samples' probes.

    Raises:
        SettingsError: There is no such probe, it has several penalties, the training store is missing, `replicates`
            is negative, or odd for halves, or `least_l2` is negative.
        DataError: A sample has no word of the task.
    """
    check_samples(replicates, kind)
    whole = probes.one(task)
    training = training or TrainingWords.of(probes, task)
    store = probes.store
    if store is None:
        raise SettingsError("Samples are drawn from the training words: load_probes(folder, store=train_store).")
    sentences = store.words["sentence"].to_numpy()
    # Drawn from all sentences of the store, so that a sample is that of `fit_probes` with the same seed.
    labelled = np.array([label is not None for label in usable_labels(store, task)])
    samples = []
    for number in range(1, replicates + 1):
        weights = draw_sample(sentences, kind=kind, seed=probes.settings.seed, replicate=number)[labelled]
        samples.append(replace(training.real, weights=weights, replicate=number, kind=kind))
    settings = with_least_l2(training.settings, least_l2)
    fitted = fit_problems(training.X, samples, settings, given=training.scale) if samples else []
    return replace(probes, probes=(whole, *fitted), unpenalized=(), search=())


def rank_samples(
    given: ProbeSet | Words,
    task: str | None = None,
    *,
    method: str = "lca",
    replicates: int = 20,
    kind: SampleKind = "halves",
    seed: int = 0,
    groups: Groups | None = None,
    **options: object,
) -> list[Ranking]:
    """Ranks by one method on each of many samples of the sentences.

    Args:
        given: Probes that were fitted to samples (`fit_samples`, `fit_probes(replicates=…)`), for methods that read
            probes: then `replicates`, `kind` and `seed` are theirs. For other methods words: a store, `measured_words`,
            or features and labels (X, y), whose words are sentences of their own.
        task: The task; None for the only one.
        method: Name of the method (`ranking.methods`).
        replicates: Number of samples.
        kind: How they are drawn: `halves` or `bootstrap`.
        seed: Seed of the samples.
        groups: None for neurons, `"index"` or a division of the neurons for groups (`rank_neurons`).
        **options: Further arguments of the method's own function.

    Returns:
        One ranking a sample, in their order.

    Raises:
        SettingsError: The method is unknown or does not read what is given, `replicates` is negative or odd for halves,
            or the probes have no samples.
        DataError: A sample does not allow the ranking: it has one class only, say.
    """
    if method_named(method).reads == "probes":
        if not isinstance(given, ProbeSet) or not given.replicates:
            raise SettingsError(
                f"The ranking method `{method}` reads probes, and these have no samples. Give a set of probes that was "
                "fitted to some: fit_probes(store, replicates=20, kind='halves')."
            )
        task = only_task(given) if task is None else task
        numbers = range(1, given.replicates + 1)
        return [rank(given, task, method=method, groups=groups, replicate=number, **options) for number in numbers]
    if isinstance(given, ProbeSet):
        raise SettingsError(f"The ranking method `{method}` reads words, not probes. Give a store, or (X, y).")
    check_samples(replicates, kind)
    words, rankings = read_words(given, task), []
    for number in range(1, replicates + 1):
        weights = draw_sample(words.sentences, kind=kind, seed=seed, replicate=number)
        rankings.append(rank(_sampled(words, weights), None, method=method, groups=groups, **options))
    return rankings


def with_least_l2(settings: ElasticNet, least: float) -> ElasticNet:
    """Returns the settings of samples: those of the words as they are, with at least so much l2.

    Raises:
        SettingsError: `least` is negative, or the settings have several pairs of penalties.
    """
    if not least >= 0:
        raise SettingsError(f"`least_l2` must be 0 or more, got {least}.")
    if len(settings.pairs) != 1:
        raise SettingsError(f"Samples are fitted with one pair of penalties, got {len(settings.pairs)}.")
    l1, l2 = settings.pairs[0]
    return replace(settings, l1=l1, l2=max(l2, least))


def _sampled(words: MeasuredWords, weights: Float[np.ndarray, " word"]) -> MeasuredWords:
    """Returns the words of a sample, each as often as it was drawn."""
    places = np.repeat(np.arange(len(weights)), weights.astype(np.int64))
    return replace(words, X=words.X[places], gold=words.gold[places], units=words.units[places])
