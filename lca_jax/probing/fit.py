"""Fits probes to activations and labels: every task, penalty, sample and subset of one store in one call.

`fit_probes` reads a store, `fit_elastic_net` plain arrays. Tasks that label the same words share one X; a task is never
fitted, centred or scaled by words that it does not label, so a probe does not depend on the other tasks of the call.

Memory: X on the devices (and on the host until it is there), or a few blocks of X if it does not fit; what
`batching` says; and on the host a byte a word for the labels of a task. Weights of more than 256 MB lie in files
(`machine.spill`). In a job of several processes each calls `fit_probes` with the same arguments, after
`jax.distributed.initialize()`; each reads the words of its own devices, and all return all probes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from lca_jax.errors import DataError, SettingsError
from lca_jax.machine.spill import Spill
from lca_jax.probing.batching import check_settings, fit_on_matrix
from lca_jax.probing.bootstrap import check_samples, replicate_labellings
from lca_jax.probing.kept_answers import KeptAnswers
from lca_jax.probing.labelling import (
    LARGEST_NUMBER,
    Labelling,
    SampleKind,
    check_classes,
    group_by_words,
    label_tasks,
    take_words,
)
from lca_jax.probing.matrix.held import hold_matrix
from lca_jax.probing.matrix.scale import Scale
from lca_jax.probing.matrix.source import MatrixSource
from lca_jax.probing.matrix.streamed import stream_matrix
from lca_jax.probing.neuron_groups import NeuronGroups
from lca_jax.probing.objective import ElasticNet, MatrixDtype
from lca_jax.probing.probe import Probe
from lca_jax.probing.probe_set import ProbeSet
from lca_jax.probing.problems import Start
from lca_jax.probing.room import choose_streaming
from lca_jax.probing.subsets import MatrixPlan, Subsets, plan_matrices, source_of
from lca_jax.store.store import ActivationStore


def fit_probes(
    store: ActivationStore,
    settings: ElasticNet | None = None,
    *,
    tasks: Sequence[str] | None = None,
    subsets: Subsets = None,
    replicates: int = 0,
    kind: SampleKind = "bootstrap",
    one_vs_rest: bool = False,
    control: bool = True,
    regression: Sequence[str] = (),
    stream: bool | None = None,
    dtype: MatrixDtype = "float32",
    split_over: int = 1,
    groups: NeuronGroups | None = None,
    kept: KeptAnswers | None = None,
) -> ProbeSet:
    """Fits probes for every task, penalty pair and control task, and for every neuron subset and sample of sentences.

    Tasks of sentences have no control task, because its random labels are by word type.

    Args:
        store: Activations of the training words, with their label columns.
        settings: Objective, penalties and solver; the default grid if None.
        tasks: Label columns; None for all that the store has.
        subsets: None for probes of all neurons; `"layers"` for a probe of every layer of every site, named like
            `residual 3`; or subsets by name, each as columns of `store.axis()` or a mask over them. An iteration for
            all layers together costs about as much as one for a probe of all neurons; one for each mask costs as much
            again.
        replicates: Number of samples of the sentences, drawn with the settings' seed, on which everything is fitted
            once more; their probes have `replicate` 1, 2, …
        kind: How: `bootstrap` draws with replacement; `halves` are pairs without a common sentence (1 and 2, 3 and 4).
        one_vs_rest: Whether to fit a probe of two classes for each class, instead of one probe of all classes: `target`
            is the class that it tells from all others. Its two columns of weights are each other's negative.
            Regressions stay as they are.
        control: Whether to fit the control task of each task too. No choice of a penalty depends on it.
        regression: Tasks whose labels are numbers to predict by squared error, instead of classes. Their penalties are
            relative to ½ (z − y)², so they scale with the square of the unit of y; R² takes the place of accuracies.
        stream: Whether X is read from the store block by block at every iteration, instead of being held whole on the
            devices; None decides by the available memory (of a job, by that of the process with the least), and the
            log says which.
        dtype: Type in which X is held: `bfloat16` takes half of the memory. Products and certificates stay float32, for
            the rounded X.
        split_over: Number of devices that share the columns of X, for very wide matrices; the words are split over the
            others.
        groups: A division of the neurons (`correlated_groups`, `index_groups`), for `penalty="group_lasso"`: all
            neurons of a group are in for all classes, or all are out (`penalties.neuron_groups`). The probes do not
            remember it: analyses that train again do so with every neuron as a group of its own.
        kept: Where answers are kept, and those of a call that was killed are found; its key must name this store.

    Returns:
        All problems of the fit: for each task (and target) the pairs of the grid, then the same pairs on its control
        task, if it has one; then all of these on each sample. Probes of one pair on several subsets are neighbours.

    Raises:
        DataError: A task has no labelled word or only one class; an activation is not finite (the message names its
            layer, neuron and word); or a sample has no word of a task.
        SettingsError: A task is unknown (the message lists the known ones), a subset is empty or has columns outside
            the axis, or `replicates` is negative, or odd for halves; or `groups` are those of other neurons, or have
            no use: with another penalty, for probes of single layers, or for the solver `adam`.

    Reference:
        Durrani et al. 2020, §2.1; Hewitt and Liang 2019 (control tasks).
    """
    settings = settings or ElasticNet()
    matrices = plan_matrices(store.axis(), subsets)
    _check_groups(groups, store, matrices)
    check_settings(settings, None if groups is None else groups.group_of_column)
    check_samples(replicates, kind)
    chosen = tuple(tasks if tasks is not None else store.tasks)
    if unknown := set(regression) - set(chosen):
        raise SettingsError(f"`regression` names {sorted(unknown)}, which are not among the tasks {list(chosen)}.")
    labellings = label_tasks(
        store, chosen, seed=settings.seed, one_vs_rest=one_vs_rest, control=control, regression=regression
    )
    sentences = store.words["sentence"].to_numpy()
    replicated = replicate_labellings(labellings, sentences, replicates=replicates, seed=settings.seed, kind=kind)
    by_words = group_by_words(replicated)
    for units, places in by_words:
        for labelling in take_words([replicated[place] for place in places], units):
            check_classes(labelling)
    free, spill = replace(settings, l1=0.0, l2=0.0, solver="adam"), Spill()
    probes: list[Probe] = []
    unpenalized: list[Probe] = []
    for plan in matrices:
        options: dict[str, Any] = {"keep": plan.keep, "subsets": plan.subsets, "spill": spill}
        penalized_of: dict[int, list[Probe]] = {}
        free_of: dict[int, list[Probe]] = {}
        for units, places in by_words:
            source = source_of(store, units, plan)
            streamed = choose_streaming(source, dtype=dtype) if stream is None else stream
            make = stream_matrix if streamed else hold_matrix
            matrix = make(source, standardize=settings.standardize, dtype=dtype, split_over=split_over)
            own = dict(zip(places, take_words([replicated[place] for place in places], units), strict=True))
            grouped = None if groups is None else groups.group_of_column[plan.columns]
            options["kept"] = None if kept is None else kept.about(units, plan.columns, plan.layers, dtype)
            fitted = fit_on_matrix(matrix, list(own.values()), settings, groups=grouped, **options)
            penalized_of |= _by_place(own, fitted)
            real = {place: one for place, one in own.items() if not (one.control or one.replicate)}
            if len(settings.pairs) > 1:
                free_of |= _by_place(real, fit_on_matrix(matrix, list(real.values()), free, **options))
            del matrix  # before the next one takes as much memory
        probes += [probe for place in sorted(penalized_of) for probe in penalized_of[place]]
        unpenalized += [probe for place in sorted(free_of) for probe in free_of[place]]
    return ProbeSet(
        probes=tuple(probes), axis=store.axis(), settings=settings, unpenalized=tuple(unpenalized), store=store
    )


def _by_place(labellings: Mapping[int, Labelling], probes: Sequence[Probe]) -> dict[int, list[Probe]]:
    """Divides probes, labelling outermost, among the places of the labellings."""
    each = len(probes) // max(1, len(labellings))
    return {place: list(probes[first * each : (first + 1) * each]) for first, place in enumerate(labellings)}


def fit_elastic_net(
    X: Float[np.ndarray, "word feature"],
    y: Sequence[object] | Shaped[np.ndarray, " label"],
    *,
    sample_weight: Sequence[float] | Shaped[np.ndarray, " weight"] | None = None,
    l1: float = 1e-3,
    l2: float = 1e-3,
    standardize: bool = True,
    max_iterations: int = 1000,
    tolerance: float = 1e-4,
    penalty: str = "elastic_net",
    regression: bool = False,
) -> Probe:
    """Fits one probe to plain arrays, exactly.

    Args:
        X: Features.
        y: One label for each word: strings, numbers, anything that sorts.
        sample_weight: How much each word counts, in any unit: the loss is the weighted mean. A word of weight 2 counts
            as two equal words, one of weight 0 is left out of the loss. Mean and deviation of `standardize` are always
            those of the words of X as they are, so that one standardised X serves all weightings. A class without any
            weight stays among the classes, with bias −∞. None gives all words the same weight.
        l1: Weight of ‖W‖₁.
        l2: Weight of ‖W‖²_F / 2 (of ‖W‖_F for `penalty="neurox"`).
        standardize: Whether the penalty is on weights of features with mean 0 and deviation 1.
        max_iterations: Maximum number of iterations of the solver.
        tolerance: Largest duality gap, as a share of the objective at zero weights.
        penalty: `elastic_net` or `neurox`.
        regression: Whether `y` are numbers to predict by squared error, ½ (z − y)².

    Returns:
        The probe with its objective, duality gap and iterations; `classes` are the distinct labels in order, as text.

    Raises:
        DataError: There is no word or only one class; a value is not finite; a weight is negative or not finite, or all
            are zero; or the number of labels or weights differs from the number of words in X.
    """
    settings = ElasticNet(
        l1=l1,
        l2=l2,
        penalty=penalty,  # pyright: ignore[reportArgumentType] - checked by ElasticNet
        standardize=standardize,
        max_iterations=max_iterations,
        tolerance=tolerance,
    )
    names, numbers = np.unique(np.asarray(y), return_inverse=True)
    values = np.asarray(y, np.float32) if regression else None
    if values is not None and not (np.abs(values) <= LARGEST_NUMBER).all():
        place = int(np.flatnonzero(~(np.abs(values) <= LARGEST_NUMBER))[0])
        raise DataError(
            f"The numbers `y` must be finite and at most {LARGEST_NUMBER:g}; word {place} has {values[place]}. "
            "Give them in another unit."
        )
    if len(numbers) != len(X):
        raise DataError(f"`X` has {len(X)} words, `y` has {len(numbers)} labels. Give one label for each word.")
    weights = None if sample_weight is None else np.asarray(sample_weight, np.float64)
    if weights is not None and len(weights) != len(X):
        raise DataError(f"`X` has {len(X)} words, `sample_weight` has {len(weights)}. Give one weight for each word.")
    labelling = Labelling(
        task="y",
        control=False,
        classes=() if regression else tuple(str(name) for name in names),
        numbers=np.zeros(len(numbers), np.int32) if regression else numbers.astype(np.int32),
        weights=weights,
        values=values,
    )
    return fit_problems(np.asarray(X, np.float32), [labelling], settings)[0]


def fit_problems(
    X: Float[np.ndarray, "word feature"],
    labellings: Sequence[Labelling],
    settings: ElasticNet,
    *,
    keep: Bool[np.ndarray, "subset feature"] | None = None,
    given: Scale | None = None,
    groups: Int[np.ndarray, " feature"] | None = None,
    start: Start | None = None,
) -> list[Probe]:
    """Fits every labelling with every penalty pair on every feature subset, in as few solves as memory allows.

    Args:
        X: Raw activations of all words, also of those without a label.
        labellings: Tasks, control tasks and weighted versions of them on these words.
        settings: Objective, penalties and solver.
        keep: Feature subsets; None for one subset with all features. Weights of the other features are zero.
        given: Mean and scale of the features in another fit, whose objective this one is to have.
        groups: Number of every feature's group, for the group lasso over groups of neurons.
        start: Where problems start that no stronger penalty of the grid leads to, such as a solution near by; None for
            zero weights. The solution is the same within its certificate.

    Returns:
        Probes, labelling outermost, then pair, then subset.
    """
    for labelling in labellings:
        check_classes(labelling)
    matrix = hold_matrix(MatrixSource.of(X), standardize=settings.standardize, given=given)
    del X  # a gigabyte or two for a whole training set, which callers often make for this call alone
    subsets = [None] * (1 if keep is None else len(keep))
    return fit_on_matrix(matrix, labellings, settings, keep=keep, subsets=subsets, groups=groups, start=start)


def _check_groups(groups: NeuronGroups | None, store: ActivationStore, matrices: Sequence[MatrixPlan]) -> None:
    if groups is None:
        return
    groups.check_axis(store.axis())
    if any(plan.layers is not None for plan in matrices):
        raise SettingsError(
            "Probes of single layers are solved together, and groups of neurons lie across layers. Leave out `groups`, "
            "or `subsets`."
        )
