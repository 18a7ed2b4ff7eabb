"""Control of a property: neurons are shifted from one class towards another while the model runs.

A probe says what can be read from a model; this says whether what it writes follows the neurons that were found. Any
edit of some neurons changes texts, so a changed text proves nothing. What is counted, each by itself: the target class
is reached; the class is erased; all else is as it was; and how far the texts are from those without edits. Beside
every set of neurons stand random neurons of the same layers, with the same shift.

All sets, sizes and strengths are one compiled program; a point costs one run of the model over the text. With strength
0 `translate` leaves everything as it is, which is the model itself; `clamp` sets neurons to the target's mean. `zero`
is the ablation to compare both with.

References:
    Bau et al. 2019, section 6. Antverg and Belinkov 2022, section 4.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from lca_jax.axes import DECODER, Layers
from lca_jax.errors import DataError, SettingsError
from lca_jax.interventions.choices import EDITED, Edited
from lca_jax.interventions.control.answers import Answering, Answers
from lca_jax.interventions.control.judging import Excess, Judged, quality_of, rest_same
from lca_jax.interventions.control.property_change import ControlClaim, ControlPoint, PropertyControl
from lca_jax.interventions.control.shifts import ClassPair, Shift, class_pair, shift_neurons
from lca_jax.interventions.control.word_rows import edit_words
from lca_jax.interventions.edited_runs import run_edits
from lca_jax.interventions.edits import stack_edits
from lca_jax.interventions.sets import Order, orders_of, spans_of
from lca_jax.models.model import Model
from lca_jax.ranking.ranking import Ranking
from lca_jax.store.statistics import Statistics

Chosen = Edited | Sequence[Sequence[bool]]
"""Words that are edited: by name, or a mask that is shaped like the sentences."""
_EXAMPLES = 5


def control_property(
    model: Model,
    rankings: Ranking | Mapping[str, Ranking],
    statistics: Statistics,
    output: Answering,
    *,
    source: str,
    target: str,
    sizes: Sequence[int],
    strengths: Sequence[float],
    task: str | None = None,
    shift: Shift = "clamp",
    where: Chosen = "class",
    layers: Layers = None,
    random: int = 5,
    seed: int = 0,
) -> PropertyControl:
    """Shifts the first neurons of rankings from one class towards another, and counts what becomes of the output.

    Args:
        model: The model, with its head unless a probe answers.
        rankings: One ranking, or several by their names, all of the same neurons.
        statistics: `store.statistics()` of the store that was ranked: the means of the classes.
        output: What is compared: `WrittenTexts` (translations or continuations), `PredictedWords`, or `ProbeAccuracy`
            of a probe of later layers than those that are edited.
        source: The class that is left.
        target: The class that is aimed at.
        sizes: Numbers of neurons that are shifted.
        strengths: How far they are shifted: see `shifts`.
        task: The task; that of the first ranking if None.
        shift: `clamp` (Bau et al. 2019), `translate` (Antverg and Belinkov 2022), or `zero`, with strength 0.
        where: Which words are edited: `class`, those that the corpus labels with the source class; `words`; `all`
            slots; or a mask. Units without an edited word do not count.
        layers: Layers whose neurons are shifted; all of the rankings if None.
        random: Number of random sets.
        seed: Seed of the random sets and of the intervals.

    Returns:
        The record: every set with its shares and intervals, and claims with their outcome.

    Raises:
        SettingsError: A name is unknown, a size is out of range, a strength has no meaning, or slots of a text that is
            being written are chosen.
        DataError: The rankings are of other neurons than the statistics, a class has no words, no word is chosen, or no
            answer without edits shows the source class.
    """
    named = {rankings.task: rankings} if isinstance(rankings, Ranking) else dict(rankings)
    orders = orders_of(named, sets=("top", "matched"), layers=layers, random=random, seed=seed)
    task = task or next(iter(named.values())).task
    pair = class_pair(statistics, task, source=source, target=target)
    if next(iter(named.values())).axis != pair.axis:
        raise DataError(f"The rankings and the statistics of {statistics.place} must be of the same neurons.")
    sizes = [span.last for span in spans_of(sizes, sweep="cumulative", size=len(orders[0].columns))]
    words = _words(output, where, task=task, source=source)
    amounts = [float(strength) for strength in dict.fromkeys(strengths)]
    plan = _Plan(orders=orders, sizes=sizes, strengths=amounts, shift=shift)
    answers = _run(model, output, plan, pair, words=words)
    judged = _judge(answers, words, source=source, target=target, output=output)
    excess = {False: Excess.of(judged, judged.target, draws=random, seed=seed)}
    if judged.otherwise_same is not None:
        excess[True] = Excess.of(judged, judged.target & judged.otherwise_same, draws=random, seed=seed)
    return PropertyControl(
        output=output.name,
        task=task,
        source=source,
        target=target,
        shift=shift,
        where=where if isinstance(where, str) else "mask",
        units=int(judged.source[0].sum()),
        target_units=int(judged.target[0].sum()),
        all_units=len(judged.sentences),
        draws=random,
        points=tuple(plan.points(judged, excess[False], seed=seed)),
        claims=tuple(
            plan.claim(name, of, clean=clean, source=source, target=target)
            for name in named
            for clean, of in excess.items()
        ),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Plan:
    """The points in their order: the model as it is, then (order, size, strength)."""

    orders: Sequence[Order]
    sizes: Sequence[int]
    strengths: Sequence[float]
    shift: Shift

    def __post_init__(self) -> None:
        if not self.strengths or (self.shift == "translate" and not any(self.strengths)):
            raise SettingsError(
                f"`strengths` must name at least one strength that changes something, got {self.strengths}."
            )

    def sets(self) -> list[tuple[str, int, float, int, list[int]]]:
        """Returns ranking, size, strength, the point of the top and those of its random draws."""
        found = []
        for number, order in enumerate(self.orders):
            if order.set != "top":
                continue
            random = [n for n, one in enumerate(self.orders) if (one.ranking, one.set) == (order.ranking, "matched")]
            for place, size in enumerate(self.sizes):
                for step, strength in enumerate(self.strengths):
                    points = [self._number(one, place, step) for one in (number, *random)]
                    found.append((order.ranking, size, strength, points[0], points[1:]))
        return found

    def points(self, judged: Judged, excess: Excess, *, seed: int) -> list[ControlPoint]:
        """Makes the records, each top followed by its random neurons."""
        made = []
        for ranking, size, strength, top, random in self.sets():
            over = excess.over([(top, random)])
            for of, numbers in (("top", [top]), ("matched", random)):
                is_top = of == "top"
                made.append(
                    ControlPoint(
                        ranking=ranking,
                        set=of,
                        size=size,
                        strength=strength,
                        **judged.shares(numbers),  # pyright: ignore[reportArgumentType] - None where nothing is known
                        excess=over.value if is_top else None,
                        excess_low=over.low if is_top else None,
                        excess_high=over.high if is_top else None,
                        quality=quality_of(judged, numbers, seed=seed),
                        draws=() if is_top else tuple(excess.share[0, numbers].tolist()),
                        examples=judged.examples(numbers, _EXAMPLES) if is_top else (),
                    )
                )
        return made

    def claim(self, ranking: str, excess: Excess, *, clean: bool, source: str, target: str) -> ControlClaim:
        """Compares a ranking with random neurons, over all its points."""
        over = excess.over(
            [
                (top, random)
                for name, _, strength, top, random in self.sets()
                if name == ranking and (strength or self.shift != "translate")
            ]
        )
        return ControlClaim(
            ranking=ranking,
            shift=self.shift,
            source=source,
            target=target,
            clean=clean,
            excess=over.value,
            low=over.low,
            high=over.high,
            outcome="holds" if over.low > 0 else "fails" if over.high < 0 else "within noise",
        )

    def _number(self, order: int, size: int, strength: int) -> int:
        return 1 + (order * len(self.sizes) + size) * len(self.strengths) + strength


def _words(output: Answering, where: Chosen, *, task: str, source: str) -> Bool[np.ndarray, " word"] | None:
    """Returns which words of the corpus are edited; None for all slots."""
    corpus = output.corpus
    if not isinstance(where, str):
        if [len(row) for row in where] != [len(sentence) for sentence in corpus.sentences]:
            raise SettingsError(f"A mask of words must be shaped like the sentences of {corpus.name}.")
        words = np.array([bool(one) for row in where for one in row], bool)
    elif where not in EDITED:
        raise SettingsError(f"`where` must be one of {', '.join(EDITED)}, or a mask of words; got {where!r}.")
    elif where == "all":
        return None
    elif where == "words":
        words = np.ones(corpus.word_count, bool)
    elif task not in corpus.labels:
        raise SettingsError(
            f"{corpus.name} has no labels of `{task}`, so the words of its classes are not known. Give a labelled "
            "corpus, a mask, or `where='words'`."
        )
    else:
        words = np.array([label == source for label in corpus.flat_labels(task)], bool)
    if not words.any():
        raise DataError(f"No word of {corpus.name} is edited: none is chosen by `where`, {source!r} of `{task}`.")
    return words


def _run(
    model: Model,
    output: Answering,
    plan: _Plan,
    pair: ClassPair,
    *,
    words: Bool[np.ndarray, " word"] | None,
) -> Answers:
    """Runs the model as it is and with the edits of all points."""
    ranked = len(plan.orders[0].columns)
    chosen = [np.zeros(0, np.int64)]
    amounts = [plan.strengths[0]]
    for order in plan.orders:
        for size in plan.sizes:
            chosen += [order.columns[:size]] * len(plan.strengths)
            amounts += plan.strengths
    edits = stack_edits(
        [
            shift_neurons(model, columns, pair, shift=plan.shift, strength=strength, ranked=ranked)
            for columns, strength in zip(chosen, amounts, strict=True)
        ]
    )
    if words is not None and any(site.startswith(DECODER) for site in edits):
        raise SettingsError("Words of a text that is being written cannot be chosen: edit the decoder in `all` slots.")
    batches = output.batches if words is None else edit_words(output.batches, output.places, words)
    edited = "all" if words is None else "words"
    return output.answers(
        run_edits(model, batches, edits, score=output.score, further=output.further, where=edited, name=output.name)
    )


def _judge(
    answers: Answers,
    words: Bool[np.ndarray, " word"] | None,
    *,
    source: str,
    target: str,
    output: Answering,
) -> Judged:
    """Keeps the units with an edited word, and looks for source and target in their answers."""
    if words is None:
        edited = np.ones(len(answers.sentences), bool)
    elif answers.words is None:
        of_word = np.repeat(np.arange(output.corpus.sentence_count), [len(one) for one in output.corpus.sentences])
        edited = np.isin(answers.sentences, of_word[words])
    else:
        edited = words[answers.words]
    said = np.array(answers.said, object)
    same = answers.otherwise_same
    if answers.texts is None:
        same = rest_same(answers.changed, answers.sentences, said[0] == source)
    kept = np.flatnonzero(edited)
    if not (said[0, kept] == source).any():
        names, counts = np.unique([str(one) for one in said[0, kept]], return_counts=True)
        found = ", ".join(f"{name} ({count})" for name, count in zip(names, counts, strict=True)) or "none"
        raise DataError(
            f"No answer of the model as it is shows {source!r} where a word is edited, so nothing can be turned into "
            f"{target!r}. Classes found in {output.name}: {found}. If most answers show none, the classes are told by "
            "words that the model does not say, such as those of another language."
        )
    return Judged(
        source=said[:, kept] == source,
        target=said[:, kept] == target,
        none=np.array([[one is None for one in of_point] for of_point in said[:, kept]], bool),
        changed=answers.changed[:, kept],
        otherwise_same=None if same is None else same[:, kept],
        sentences=answers.sentences[kept],
        texts=None if answers.texts is None else [[point[unit] for unit in kept.tolist()] for point in answers.texts],
        metrics=answers.metrics,
    )
