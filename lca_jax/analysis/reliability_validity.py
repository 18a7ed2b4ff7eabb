"""Reliability beside validity: for every ranking method, how far it reproduces, and what its neurons are worth.

The sentences are divided into three parts. Every method ranks on the first and on the second, each by itself. Its
reliability is the overlap of both first parts, beside that of two random orders. Its validity is the accuracy, on the
third part, of probes trained on its first neurons alone: those from the first part trained on the first part, those
from the second on the second. So nothing is measured on words that made it, and no method gets more words than another.

Either figure by itself misleads. The variance of a neuron hardly changes from half to half and knows nothing of the
labels; a sparse probe finds good neurons, and others of the same worth on the next words. Overlap is that of half the
words, so it is a lower one than that of two studies of the size of both.

Reference: Fan et al. 2023 (comparison of methods); Antverg and Belinkov 2022 (probe and ranking apart); Shah and
Samworth 2013 (complementary halves).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool

from lca_jax.analysis.overlap import chance_overlap, counts_of, first_part, overlap
from lca_jax.analysis.parts import describe, divide_words, to_train
from lca_jax.analysis.readouts.kinds import readout_named
from lca_jax.analysis.samples import with_least_l2
from lca_jax.analysis.validity import constant_accuracy
from lca_jax.errors import SettingsError
from lca_jax.probing.bootstrap import replicate_labellings
from lca_jax.probing.fit import fit_problems
from lca_jax.probing.labelling import SampleKind, tell_from_rest
from lca_jax.probing.measuring import MeasuredWords
from lca_jax.probing.metrics import mean_intervals
from lca_jax.probing.objective import ElasticNet
from lca_jax.probing.probe_set import ProbeSet
from lca_jax.ranking.methods import METHODS, method_named, rank
from lca_jax.ranking.ranking import Ranking
from lca_jax.ranking.words import Words
from lca_jax.tables import html_table, text_table

RANDOM = "random"
"""Name of the row of random orders."""


@dataclass(frozen=True, kw_only=True)
class MethodPoint:
    """One method: a point of the figure."""

    method: str
    overlap: float
    """Share of the first neurons that both halves have."""
    accuracy: float
    """Mean over the halves of the accuracy of a probe trained on the first neurons."""
    low: float
    """Lower end of the 95 % interval of that, over the sentences measured on; other halves would move it further."""
    high: float
    """Upper end of that interval."""
    first: float
    """Accuracy with the neurons of the first half."""
    second: float
    """Accuracy with the neurons of the second half."""


@dataclass(frozen=True, kw_only=True, repr=False)
class ReliabilityAndValidity:
    """Both figures of every method."""

    task: str
    readout: str
    """Name of the probe that measured."""
    share: float
    """Share of the neurons whose overlap is told."""
    shared_neurons: int
    """Their number."""
    neurons: int
    """Number of first neurons that probes were trained on."""
    chance: float
    """Overlap of two random orders, in the mean."""
    chance_high: float
    """The overlap that two random orders exceed with a probability of at most 2.5 %."""
    constant: float
    """Accuracy of the most frequent class of the first half."""
    ranked_on: tuple[str, str]
    """The words of both halves: of rankings and probes. `divide_words` with the same seed returns all three parts."""
    measured_on: str
    """The words of all accuracies."""
    largest_gap: float | None
    """Largest duality gap of the probes that rank, as a share of the constant's objective; None without probes."""
    points: tuple[MethodPoint, ...]

    def __repr__(self) -> str:
        """Describes the comparison in two lines, and the methods in a table."""
        return text_table(self.table(), caption=self._caption(), rows=len(self.points))

    def _repr_html_(self) -> str:
        return html_table(self.table(), caption=self._caption(), rows=len(self.points))

    def table(self) -> dict[str, list[object]]:
        """Returns one row a method, as columns of equal length, ready for `pandas.DataFrame(...)`."""
        return {field.name: [getattr(point, field.name) for point in self.points] for field in fields(MethodPoint)}

    def _caption(self) -> str:
        return (
            f"{self.task}: overlap of the first {self.shared_neurons} neurons of two halves (random "
            f"{self.chance:.3g}), and accuracy of {self.readout} probes trained on the first {self.neurons} (constant "
            f"{self.constant:.4g})\n"
            f"Measured on {self.measured_on}"
        )


def reliability_and_validity(
    given: Words,
    task: str | None = None,
    *,
    methods: Sequence[str] | Mapping[str, Mapping[str, object]] | None = None,
    share: float = 0.05,
    neurons: int | None = None,
    readout: str = "linear",
    settings: ElasticNet | None = None,
    replicates: int = 0,
    kind: SampleKind = "bootstrap",
    least_l2: float = 0.0,
    seed: int = 0,
) -> ReliabilityAndValidity:
    """Measures how far methods reproduce on two halves, and what their neurons are worth on a third part.

    Args:
        given: A store, words that were read before, or features and labels (X, y); divided by sentence into thirds.
        task: The task; None for the only one.
        methods: Names of methods; or rows by their names, each with the arguments of `rank`, as in
            `{"bagged": {"method": "lca", "over": "replicates"}}`; None for all methods. Random orders are always a row.
        share: Share of the neurons whose overlap is told, in (0, 1].
        neurons: Number of first neurons that probes are trained on; None for as many as `share` gives.
        readout: Name of the probe that measures (`analysis.readouts`).
        settings: Objective and one pair of penalties of all linear probes; l1 = l2 = 1e-3 if None.
        replicates: Number of samples of each half that the probes are fitted to as well, for methods that rank over
            samples; they are problems of one solve.
        kind: How samples are drawn.
        least_l2: The probes of samples have at least this l2 (`fit_samples`).
        seed: Seed of the parts, the samples and the random orders.

    Raises:
        SettingsError: A name is unknown, a number is out of range, a method cannot read what is here, or the settings
            have several penalties.
        DataError: There are too few sentences, or a half does not allow a method: it has one class only, say.
    """
    rows = _rows(methods)
    chosen, settings = readout_named(readout), settings or ElasticNet(l1=1e-3, l2=1e-3)
    *halves, rest = divide_words(given, task, parts=3, seed=seed)
    total = rest.axis.size
    (count,) = counts_of([share], total)
    size = count if neurons is None else neurons
    if not 1 <= size <= total:
        raise SettingsError(f"`neurons` must be in 1 to {total}, got {size}.")
    probes: list[ProbeSet] | None = None
    reading = [method for row in rows.values() if (method := method_named(str(row["method"]))).reads == "probes"]
    if reading:
        binary = any(method.one_vs_rest for method in reading)
        stronger = with_least_l2(settings, least_l2)
        probes = [_fitted(half, settings, stronger, replicates, kind, seed, binary=binary) for half in halves]
    rankings = [
        _ranked(rows, half, None if probes is None else probes[place], seed + place)
        for place, half in enumerate(halves)
    ]
    points = []
    for name in rankings[0]:
        pair = [of_half[name] for of_half in rankings]
        right = [
            chosen.on_sets(to_train(half, settings), rest.X, ranking.top(size), [size])[0] == rest.gold
            for half, ranking in zip(halves, pair, strict=True)
        ]
        found = overlap(first_part(pair[0], count), first_part(pair[1], count), count)
        points.append(_point(name, found, right, rest, seed))
    chance = chance_overlap(count, total)
    return ReliabilityAndValidity(
        task=rest.task,
        readout=readout,
        share=share,
        shared_neurons=count,
        neurons=size,
        chance=chance.overlap,
        chance_high=chance.high,
        constant=constant_accuracy(halves[0], rest),
        ranked_on=(describe(halves[0]), describe(halves[1])),
        measured_on=describe(rest),
        largest_gap=max((one.duality_gap / one.null_objective for each in probes or () for one in each), default=None),
        points=tuple(points),
    )


def _rows(
    methods: Sequence[str] | Mapping[str, Mapping[str, object]] | None,
) -> dict[str, dict[str, object]]:
    """Returns the arguments of `rank` for every row."""
    if not isinstance(methods, Mapping):
        return {name: {"method": name} for name in (methods or METHODS)}
    rows: dict[str, dict[str, object]] = {name: {"method": name, **options} for name, options in methods.items()}
    for name, row in rows.items():
        method_named(str(row["method"]))
        if name == RANDOM or row.get("groups") is not None:
            raise SettingsError(f"The row {name!r} must order neurons, not groups, and {RANDOM!r} is a row already.")
    return rows


def _fitted(
    words: MeasuredWords,
    settings: ElasticNet,
    of_samples: ElasticNet,
    replicates: int,
    kind: SampleKind,
    seed: int,
    *,
    binary: bool,
) -> ProbeSet:
    """Fits the probe of a half, and the binary probes of its classes if wanted; and the probes of its samples."""
    real = to_train(words, settings).real
    _, *samples = replicate_labellings([real], words.sentences, replicates=replicates, seed=seed, kind=kind)
    present = np.unique(real.numbers[real.counted]).tolist() if binary else []
    whole = fit_problems(words.X, [real, *(tell_from_rest(real, real.classes[number]) for number in present)], settings)
    fitted = fit_problems(words.X, samples, of_samples) if samples else []
    return ProbeSet(probes=(*whole, *fitted), axis=words.axis, settings=settings)


def _ranked(
    rows: Mapping[str, Mapping[str, object]], words: MeasuredWords, probes: ProbeSet | None, seed: int
) -> dict[str, Ranking]:
    """Ranks by every row on one half, and at random."""
    rankings = {}
    for name, row in rows.items():
        options = {key: value for key, value in row.items() if key != "method"}
        method = str(row["method"])
        reads = probes if probes is not None and method_named(method).reads == "probes" else words
        rankings[name] = rank(reads, words.task, method=method, groups=None, **options)
    order = np.random.default_rng((seed, len(words.X))).permutation(words.axis.size)
    places = np.arange(len(order))
    rankings[RANDOM] = Ranking(
        task=words.task, axis=words.axis, columns=order, scores=-places.astype(np.float64), ties=places
    )
    return rankings


def _point(
    name: str, found: float, right: Sequence[Bool[np.ndarray, " word"]], rest: MeasuredWords, seed: int
) -> MethodPoint:
    both = np.stack(right).mean(axis=0, dtype=np.float64)
    low, high = mean_intervals(both[None], rest.sentences, seed=seed)[0].tolist()
    first, second = (float(of_half.mean()) for of_half in right)
    return MethodPoint(
        method=name, overlap=found, accuracy=float(both.mean()), low=low, high=high, first=first, second=second
    )
