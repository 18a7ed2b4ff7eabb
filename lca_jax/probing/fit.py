"""From activations and labels to probes: every task, penalty, sample and subset of one store in one call.

`fit_probes` reads a store, `fit_elastic_net` plain arrays. Words that have no vector or no label are masked, never
dropped from the matrix: all tasks share one X. Memory: X on the devices (and on the host until it is there) or, where
that is more than there is, a few blocks of it; and what `batching` says. Of several processes that called
`jax.distributed.initialize()` each calls this with the same arguments, reads its own devices' words, and returns all
probes.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from lca_jax.errors import DataError, SettingsError
from lca_jax.probing.batching import fit_on_design
from lca_jax.probing.bootstrap import replicate_labellings
from lca_jax.probing.labelling import (
    Labelling,
    check_classes,
    control_task_of,
    number_labels,
    read_numbers,
    take_words,
    tell_from_rest,
    usable_labels,
)
from lca_jax.probing.matrix.held import MatrixDtype, put_design
from lca_jax.probing.matrix.rows import Rows
from lca_jax.probing.matrix.streamed import choose_streaming, stream_design
from lca_jax.probing.objective import ElasticNet
from lca_jax.probing.probe import Probe
from lca_jax.probing.probe_set import ProbeSet
from lca_jax.probing.subsets import MatrixPlan, Subsets, plan_matrices
from lca_jax.store.finite import place_in_store
from lca_jax.store.store import ActivationStore


def fit_probes(
    store: ActivationStore,
    settings: ElasticNet | None = None,
    *,
    tasks: Sequence[str] | None = None,
    subsets: Subsets = None,
    replicates: int = 0,
    one_vs_rest: bool = False,
    regression: Sequence[str] = (),
    stream: bool | None = None,
    dtype: MatrixDtype = "float32",
    split_over: int = 1,
) -> ProbeSet:
    """Fits probes for every task, penalty pair and control task, and for every neuron subset and bootstrap sample.

    Tasks of sentences have no control task: its random labels are by word type, and sentences have none.

    Args:
        store: Activations of the training words, with their label columns.
        settings: Objective, penalties and solver; the default grid if None.
        tasks: Label columns; None takes all that the store has.
        subsets: None for probes of all neurons; `"layers"` for a probe of every layer of every site, named like
            `residual 3`; or subsets by name, each as columns of `store.axis()` or a mask over them. All layers together
            cost an iteration about what one probe of all neurons does; each mask costs that by itself.
        replicates: Bootstrap samples of the sentences, drawn with the settings' seed, on which everything is fitted
            once more; their probes have `replicate` 1, 2, …
        one_vs_rest: Instead of one probe of all classes, a probe of two for each class: `target` is the class that it
            tells from all others. Its two columns of weights are each other's negative. Regressions stay as they are.
        regression: Tasks whose labels are numbers to predict by squared error, instead of classes. Their penalties are
            relative to ½ (z − y)², so they scale with the square of the unit of y; R² takes the place of accuracies.
        stream: Whether X is read from the store block by block at every iteration, not held by the devices as a whole;
            None decides by the memory at hand, and says so in the log.
        dtype: In which X is held: `bfloat16` takes half of the memory. Products and certificates are float32 all the
            same, for the rounded X.
        split_over: Devices that share the columns of X, for very wide matrices; the words are split over the others.

    Returns:
        All problems of the fit: for each task (and target) the pairs of the grid, then the same pairs on its control
        task, if it has one; then the same on each bootstrap sample. Subsets of one pair stand side by side.

    Raises:
        DataError: A task has no labelled word, or one class only; an activation is not finite (its layer, neuron and
            word are named); a sample has no word of a task.
        SettingsError: An unknown task; the message lists the known ones. Subsets that are empty or no neurons;
            negative `replicates`.

    Reference:
        Durrani et al. 2020, §2.1; Hewitt and Liang 2019 (control tasks).
    """
    settings = settings or ElasticNet()
    if replicates < 0:
        raise SettingsError(f"`replicates` must be 0 or more, got {replicates}.")
    matrices = plan_matrices(store.axis(), subsets)
    chosen = tuple(tasks if tasks is not None else store.tasks)
    if unknown := set(regression) - set(chosen):
        raise SettingsError(f"`regression` names {sorted(unknown)}, which are not among the tasks {list(chosen)}.")
    labellings = _labellings(store, chosen, settings, one_vs_rest=one_vs_rest, regression=regression)
    rows = np.flatnonzero(np.any([labelling.numbers >= 0 for labelling in labellings], axis=0))
    labellings = [take_words(labelling, rows) for labelling in labellings]
    sentences = store.words["sentence"].to_numpy()[rows]
    replicated = replicate_labellings(labellings, sentences, replicates=replicates, seed=settings.seed)
    for labelling in replicated:
        check_classes(labelling)
    free = replace(settings, l1=0.0, l2=0.0, solver="adam")
    real = [labelling for labelling in labellings if not labelling.control]
    probes: list[Probe] = []
    unpenalized: list[Probe] = []
    for plan in matrices:
        source = source_of(store, rows, plan)
        streamed = choose_streaming(source, dtype=dtype) if stream is None else stream
        make = stream_design if streamed else put_design
        design = make(source, standardize=settings.standardize, dtype=dtype, split_over=split_over)
        options = {"keep": plan.keep, "subsets": plan.subsets}
        probes += fit_on_design(design, len(rows), replicated, settings, **options)
        if len(settings.pairs) > 1:
            unpenalized += fit_on_design(design, len(rows), real, free, **options)
    return ProbeSet(
        probes=tuple(probes), axis=store.axis(), settings=settings, unpenalized=tuple(unpenalized), store=store
    )


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
        y: A label a word: strings, numbers, anything that sorts.
        sample_weight: How much each word counts, in any unit: the loss is the weighted mean. Weight 2 is a word given
            twice, weight 0 one that is left out; but mean and deviation of `standardize` are always those of the words
            of X as they are, so that one standardised X serves all weightings. A class without any weight stays among
            the classes, with bias −∞. None: all count the same.
        l1: Weight of ‖W‖₁.
        l2: Weight of ‖W‖²_F / 2 (of ‖W‖_F for `penalty="neurox"`).
        standardize: Whether the penalty is on weights of features with mean 0 and deviation 1.
        max_iterations: Limit of the solver.
        tolerance: Largest duality gap, as a share of the objective at zero weights.
        penalty: `elastic_net` or `neurox`.
        regression: Whether `y` are numbers to predict by squared error, ½ (z − y)².

    Returns:
        The probe with its objective, duality gap and iterations; `classes` are the distinct labels in order, as text.

    Raises:
        DataError: One class only, no word, a value that is not finite, a weight that is negative or not finite, weights
            that are all zero, or as many labels or weights as X has not words.
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
    if values is not None and not np.isfinite(values).all():
        place = int(np.flatnonzero(~np.isfinite(values))[0])
        raise DataError(f"The numbers `y` must be finite; that of word {place} is {values[place]}.")
    if len(numbers) != len(X):
        raise DataError(f"`X` has {len(X)} words, `y` has {len(numbers)} labels. Give one label a word.")
    weights = None if sample_weight is None else np.asarray(sample_weight, np.float64)
    if weights is not None and len(weights) != len(X):
        raise DataError(f"`X` has {len(X)} words, `sample_weight` has {len(weights)}. Give one weight a word.")
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
) -> list[Probe]:
    """Fits every labelling with every penalty pair on every feature subset, in as few solves as memory allows.

    Args:
        X: Raw activations; words without label are masked.
        labellings: Tasks, controls and weighted versions of them on these words.
        settings: Objective, penalties and solver.
        keep: Feature subsets; None is one subset with all features. Weights of features not kept are zero.

    Returns:
        Probes, labelling outermost, then pair, then subset.
    """
    for labelling in labellings:
        check_classes(labelling)
    design, words = put_design(Rows.of(X), standardize=settings.standardize), len(X)
    del X  # of whole training sets a gigabyte or two, which callers often make for this call alone
    subsets = [None] * (1 if keep is None else len(keep))
    return fit_on_design(design, words, labellings, settings, keep=keep, subsets=subsets)


def _labellings(
    store: ActivationStore,
    tasks: Sequence[str],
    settings: ElasticNet,
    *,
    one_vs_rest: bool,
    regression: Sequence[str],
) -> list[Labelling]:
    """Each task and its control, if it has one, on all words of the store; or each class of it, with its control."""
    forms = store.forms()
    labellings: list[Labelling] = []
    for task in tasks:
        labels = usable_labels(store, task)
        real = read_numbers(task, labels) if task in regression else number_labels(task, labels)
        check_classes(real)
        kinds = [real]
        if (control := control_task_of(store, task, seed=settings.seed)) is not None:
            drawn = control.label_like(forms, labels)
            numbered = (
                read_numbers(task, drawn) if task in regression else number_labels(task, drawn, classes=real.classes)
            )
            kinds.append(replace(numbered, control=True))
        if one_vs_rest and real.classes:
            labellings += [tell_from_rest(kind, target) for target in real.classes for kind in kinds]
        else:
            labellings += kinds
    if not labellings:
        raise SettingsError(
            "There is no task to fit: the store has no label column. Give `tasks` when reading the corpus."
        )
    return labellings


def source_of(store: ActivationStore, words: Int[np.ndarray, " word"], plan: MatrixPlan) -> Rows:
    """Returns a source of some words of a store, in the columns of a planned matrix; it reads when it is asked to.

    Args:
        store: The store to read.
        words: Positions of the words among the units of the store, in the order of the matrix.
        plan: The columns, from `plan_matrices`.
    """
    place = place_in_store(store, words, store.axis())
    all_words = len(words) == store.word_count
    all_columns = len(plan.columns) == store.axis(plan.sites).size

    def read_into(first: int, target: Float[np.ndarray, "word feature"]) -> None:
        # None asks for all words, which a store in memory returns as a view.
        units = None if all_words and len(target) == len(words) else words[first : first + len(target)]
        if all_columns:
            store.matrix(units, sites=plan.sites, out=target)
        else:
            target[...] = store.matrix(units, sites=plan.sites)[:, plan.columns]

    return Rows(
        words=len(words),
        features=len(plan.columns),
        read_into=read_into,
        name_place=lambda word, column: place(word, int(plan.columns[column])),
        layers=plan.layers,
    )
