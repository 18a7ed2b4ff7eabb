"""From activations and labels to probes: every penalty of the grid and the control task in one solve.

`fit_probes` reads a store, `fit_elastic_net` plain arrays. Words that have no vector or no label are masked, never
dropped from the matrix: all tasks share one X. Memory: X on the devices (and on the host until it is there), and about
ten arrays of (problem, word, class) in float32; the problems are solved in batches that keep those under
`_BATCH_BYTES` each.
"""

import logging
import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Shaped

from lca_jax.activations.store import ActivationStore
from lca_jax.errors import DataError, NotConverged, SettingsError
from lca_jax.probing.adam import solve_adam
from lca_jax.probing.design import Design, Gram, gram, put_design
from lca_jax.probing.labelling import Labelling, check_classes, control_task_of, number_labels, take_rows, usable_labels
from lca_jax.probing.objective import ElasticNet
from lca_jax.probing.probe import Probe
from lca_jax.probing.probe_set import ProbeSet
from lca_jax.probing.problems import Solution, make_problems
from lca_jax.probing.proximal import solve

_log = logging.getLogger(__name__)
_BATCH_BYTES = 300e6


def fit_probes(
    store: ActivationStore, settings: ElasticNet | None = None, *, tasks: Sequence[str] | None = None
) -> ProbeSet:
    """Fits probes for every task, penalty pair and control task.

    Args:
        store: Activations of the training words, with their label columns.
        settings: Objective, penalties and solver; the default grid if None.
        tasks: Label columns; None takes all that the store has.

    Returns:
        All problems of the fit: for each task the pairs of the grid, then the same pairs on its control task.

    Raises:
        DataError: A task has no labelled word, or one class only; an activation is not finite.
        SettingsError: An unknown task; the message lists the known ones.

    Reference:
        Durrani et al. 2020, §2.1; Hewitt and Liang 2019 (control tasks).
    """
    settings = settings or ElasticNet()
    forms = store.forms()
    labellings: list[Labelling] = []
    for task in tasks if tasks is not None else store.tasks:
        labels = usable_labels(store, task)
        real = number_labels(task, labels)
        check_classes(real)
        drawn = control_task_of(store, task, seed=settings.seed).label_like(forms, labels)
        labellings += [real, replace(number_labels(task, drawn, classes=real.classes), control=True)]
    if not labellings:
        raise SettingsError(
            "There is no task to fit: the store has no label column. Give `tasks` when reading the corpus."
        )
    rows = np.flatnonzero(np.any([labelling.numbers >= 0 for labelling in labellings], axis=0))
    chosen = [take_rows(labelling, rows) for labelling in labellings]
    # The host's matrix goes as soon as the devices have theirs: it is half of the memory.
    everything = len(rows) == len(forms)
    design = put_design(store.matrix() if everything else store.matrix(rows), standardize=settings.standardize)
    probes = _fit_on_design(design, len(rows), chosen, settings)
    unpenalized: list[Probe] = []
    if len(settings.pairs) > 1:
        free = replace(settings, l1=0.0, l2=0.0, solver="adam")
        real_tasks = [labelling for labelling in chosen if not labelling.control]
        unpenalized = _fit_on_design(design, len(rows), real_tasks, free)
    return ProbeSet(
        probes=tuple(probes), axis=store.axis(), settings=settings, unpenalized=tuple(unpenalized), store=store
    )


def fit_elastic_net(
    X: Float[np.ndarray, "word feature"],
    y: Sequence[object] | Shaped[np.ndarray, " label"],
    *,
    l1: float = 1e-3,
    l2: float = 1e-3,
    standardize: bool = True,
    max_iterations: int = 1000,
    tolerance: float = 1e-4,
    penalty: str = "elastic_net",
) -> Probe:
    """Fits one probe to plain arrays, exactly.

    Args:
        X: Features.
        y: A label a word: strings, numbers, anything that sorts.
        l1: Weight of ‖W‖₁.
        l2: Weight of ‖W‖²_F / 2 (of ‖W‖_F for `penalty="neurox"`).
        standardize: Whether the penalty is on weights of features with mean 0 and deviation 1.
        max_iterations: Limit of the solver.
        tolerance: Largest duality gap, as a share of the objective at zero weights.
        penalty: `elastic_net` or `neurox`.

    Returns:
        The probe with its objective, duality gap and iterations; `classes` are the distinct labels in order, as text.

    Raises:
        DataError: One class only, no word, a value that is not finite, or as many labels as X has not words.
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
    if len(numbers) != len(X):
        raise DataError(f"`X` has {len(X)} words, `y` has {len(numbers)} labels. Give one label a word.")
    labelling = Labelling(
        task="y", control=False, classes=tuple(str(name) for name in names), numbers=numbers.astype(np.int32)
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
        labellings: Tasks and controls on these words; those with the same classes are solved together.
        settings: Objective, penalties and solver.
        keep: Feature subsets; None is one subset with all features.

    Returns:
        Probes, labelling outermost, then pair, then subset.
    """
    for labelling in labellings:
        check_classes(labelling)
    design, words = put_design(X, standardize=settings.standardize), len(X)
    del X  # of whole training sets a gigabyte or two, which callers often make for this call alone
    return _fit_on_design(design, words, labellings, settings, keep=keep)


def _fit_on_design(
    design: Design,
    words: int,
    labellings: Sequence[Labelling],
    settings: ElasticNet,
    *,
    keep: Bool[np.ndarray, "subset feature"] | None = None,
) -> list[Probe]:
    """`fit_problems` on words that the devices have; rows of the design after `words` are padding."""
    subsets = np.ones((1, design.X.shape[1]), bool) if keep is None else keep
    metric = gram(design, words=words) if settings.solver == "proximal" else None
    probes: list[Probe] = []
    start = 0
    while start < len(labellings):
        stop = start + 1
        while stop < len(labellings) and labellings[stop].classes == labellings[start].classes:
            stop += 1
        probes += _fit_alike(design, metric, words, labellings[start:stop], subsets, settings)
        start = stop
    _warn_if_not_converged(probes, settings)
    return probes


def _fit_alike(
    design: Design,
    metric: Gram | None,
    words: int,
    labellings: Sequence[Labelling],
    subsets: Bool[np.ndarray, "subset feature"],
    settings: ElasticNet,
) -> list[Probe]:
    """Problems with the same classes."""
    kinds = [(labelling, pair, keep) for labelling in labellings for pair in settings.pairs for keep in subsets]
    classes = labellings[0].classes
    batch = max(1, int(_BATCH_BYTES / (4 * words * len(classes))))
    probes: list[Probe] = []
    for start in range(0, len(kinds), batch):
        part = kinds[start : start + batch]
        problems = make_problems(
            np.stack([labelling.numbers for labelling, _, _ in part]),
            classes=len(classes),
            l1=np.array([pair[0] for _, pair, _ in part]),
            l2=np.array([pair[1] for _, pair, _ in part]),
            keep=np.stack([keep for _, _, keep in part]),
        )
        squared = settings.penalty == "elastic_net"
        if metric is not None:
            solution = solve(
                design,
                metric,
                problems,
                squared=squared,
                tolerance=settings.tolerance,
                max_iterations=settings.max_iterations,
            )
        else:
            solution = solve_adam(
                design,
                problems,
                words=words,
                squared=squared,
                epochs=settings.epochs,
                batch_size=settings.batch_size,
                learning_rate=settings.learning_rate,
                proximal_step=settings.proximal_step,
                tolerance=settings.tolerance,
                seed=settings.seed,
            )
        _log.info(
            "%s: %d problems of %d classes, %d iterations at most",
            labellings[0].task,
            len(part),
            len(classes),
            solution.iterations.max(),
        )
        probes += [
            _probe(design, solution, position, labelling, pair, settings)
            for position, (labelling, pair, _) in enumerate(part)
        ]
    return probes


def _probe(
    design: Design,
    solution: Solution,
    position: int,
    labelling: Labelling,
    pair: tuple[float, float],
    settings: ElasticNet,
) -> Probe:
    mean, scale = np.asarray(design.mean), np.asarray(design.scale)
    weights = np.ascontiguousarray(solution.weights[position].T)
    bias = solution.bias[position]
    if not settings.standardize:
        # The solver centres in any case; on raw features the centre belongs into the bias.
        bias = bias - mean @ weights
        mean = np.zeros_like(mean)
    return Probe(
        task=labelling.task,
        control=labelling.control,
        l1=pair[0],
        l2=pair[1],
        penalty=settings.penalty,
        solver=settings.solver,
        classes=labelling.classes,
        weights=weights,
        bias=bias,
        mean=mean,
        scale=scale,
        objective=float(solution.objective[position]),
        null_objective=float(solution.null_objective[position]),
        duality_gap=float(solution.duality_gap[position]),
        iterations=int(solution.iterations[position]),
        converged=bool(solution.converged[position]),
        words=int((labelling.numbers >= 0).sum()),
    )


def _warn_if_not_converged(probes: Sequence[Probe], settings: ElasticNet) -> None:
    failed = [probe for probe in probes if not probe.converged]
    if failed and settings.solver == "proximal":
        worst = max(failed, key=lambda probe: probe.duality_gap / probe.null_objective)
        warnings.warn(
            f"{len(failed)} of {len(probes)} problems reached {settings.max_iterations} iterations; the worst "
            f"(l1={worst.l1:g}, l2={worst.l2:g}) has a duality gap of {worst.duality_gap / worst.null_objective:.1e} "
            f"of the objective at zero weights, wanted {settings.tolerance:.0e}. "
            "Raise max_iterations or the penalties.",
            NotConverged,
            stacklevel=3,
        )
