"""Scores descriptions on texts that made none of them (half B): can the neuron be told from its description?

Of each neuron, an activating text is one in its highest fifth on half B, in the direction of its first tag. A scorer
sees the description and a text, never the activation:

- `simulation`: the presence of its tags, weighted by their r;
- `embedding`: the cosine of the text with the names of its tags, signed;
- `detection`: a generator's log-odds of " yes" over " no", asked whether the text has one of the topics;
- `fuzzing`: the same of a marked word of an activating text: the described word, or another of its sentence (units
  that are words).

The first two score all texts of half B; the others as many activating as other texts. Every score stands beside that of
the description of another neuron. Explaining and scoring with one model would measure its agreement with itself, so the
embedder must not be the model that is explained.

Reference: Bills et al. 2023 (simulation); Paulo et al. 2024, "Automatically Interpreting Millions of Features"
(detection, fuzzing, embedding).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int
from scipy.stats import rankdata

from lca_jax.descriptors.describing import Descriptions
from lca_jax.descriptors.embedding import directions, embed
from lca_jax.descriptors.generators import Generator, as_generator
from lca_jax.descriptors.presence import Judge
from lca_jax.errors import DataError, SettingsError
from lca_jax.models.model import Model

DESCRIPTION_SCORERS = ("simulation", "embedding", "detection", "fuzzing")
_ACTIVATING = 0.2
_ASKED = (
    "Topics: food, restaurant\nText: The soup was cold and the waiter ignored us.\nIs the text about one of them? yes\n"
    "Topics: music\nText: We paid for it in April and are still waiting.\nIs the text about one of them? no\n"
    "Topics: city, travel\nText: The train to Berlin was late again.\nIs the text about one of them? yes\n"
    "Topics: sport, health\nText: She sold the old car to her neighbour.\nIs the text about one of them? no\n"
)
_MARKED = (
    "Kinds: number\nText: They walked to «12» shops and paid.\nIs the marked word one of them? yes\n"
    "Kinds: verb, past\nText: They walked to 12 «shops» and paid.\nIs the marked word one of them? no\n"
    "Kinds: name, city\nText: «Berlin» is a very large city, he said.\nIs the marked word one of them? yes\n"
    "Kinds: pronoun\nText: Berlin is a very «large» city, he said.\nIs the marked word one of them? no\n"
)


class DescriptionScores(NamedTuple):
    """How well descriptions tell their neurons, on half B."""

    columns: Int[np.ndarray, " neuron"]
    """Columns of the neurons that were scored."""
    auc: Float64[np.ndarray, " neuron"]
    """Chance that an activating text is scored above another one."""
    balanced_accuracy: Float64[np.ndarray, " neuron"]
    """Mean of the shares of right answers, where as many texts are called activating as there are."""
    correlation: Float64[np.ndarray, " neuron"]
    """Between the score and the activation."""
    null_auc: float
    """Mean AUC of the description of another neuron."""
    null_balanced_accuracy: float
    null_correlation: float


def score_descriptions(
    told: Descriptions,
    *,
    scorer: str = "simulation",
    embedder: Model | None = None,
    judge: Generator | Model | None = None,
    neurons: int | None = None,
    examples: int = 20,
    seed: int = 0,
) -> DescriptionScores:
    """Scores the descriptions of neurons on the texts that made none of them.

    Args:
        told: The descriptions.
        scorer: What scores.
        embedder: Model of texts for `embedding`; not the model that is explained.
        judge: Generator with `log_probabilities` for `detection` and `fuzzing`.
        neurons: Number of neurons, drawn among those with a description; all if None.
        examples: Number of texts of each neuron for `detection` and `fuzzing`, half of them activating.
        seed: Seed of the draws.

    Raises:
        SettingsError: The scorer lacks its model, `examples` is below 2, or `fuzzing` meets units that are not words.
        DataError: No neuron has a description.
    """
    if scorer not in DESCRIPTION_SCORERS:
        raise SettingsError(f"`scorer` must be one of {', '.join(DESCRIPTION_SCORERS)}; got {scorer!r}.")
    columns = told.described
    if not len(columns):
        raise DataError("No neuron has a description to score.")
    rng = np.random.default_rng(seed)
    if neurons is not None and neurons < len(columns):
        columns = np.sort(rng.choice(columns, neurons, replace=False))
    held = np.flatnonzero(~told.half_a)
    signs = told.tags.signs[columns, 0].astype(np.float64)
    activations = told.activations[held][:, columns].astype(np.float64) * signs
    activating = activations > np.quantile(activations, 1 - _ACTIVATING, axis=0)
    others = np.roll(columns, 1)
    if scorer in ("simulation", "embedding"):
        predict = _simulation(told, held) if scorer == "simulation" else _by_embedding(told, held, embedder)
        scores, null = predict(columns) * signs, predict(others) * told.tags.signs[others, 0]
        chosen = np.broadcast_to(np.arange(len(held))[:, None], scores.shape)
    else:
        asked = _judge_of(judge, scorer, told, examples)
        kinds = (activating, activating if scorer == "fuzzing" else ~activating)
        of_neurons = zip(*(kind.T for kind in kinds), strict=True)
        chosen = np.stack([_examples(of_neuron, examples, rng) for of_neuron in of_neurons], axis=1)
        scores, null = (_judged(told, held, chosen, of, asked, scorer, rng) for of in (columns, others))
    truth, values = (np.take_along_axis(table, chosen, axis=0) for table in (activating, activations))
    if scorer == "fuzzing":  # the first half of the examples is marked rightly, the others wrongly
        truth = np.broadcast_to((np.arange(examples) < examples // 2)[:, None], truth.shape)
        values = truth.astype(np.float64)
    known = [_rates(truth, values, table) for table in (scores, null)]
    return DescriptionScores(columns, *known[0], *(float(np.nanmean(rate)) for rate in known[1]))


def _rates(
    truth: Bool[np.ndarray, "text neuron"],
    values: Float64[np.ndarray, "text neuron"],
    scores: Float64[np.ndarray, "text neuron"],
) -> tuple[Float64[np.ndarray, " neuron"], Float64[np.ndarray, " neuron"], Float64[np.ndarray, " neuron"]]:
    """Returns AUC, balanced accuracy and correlation of every column."""
    positive, texts = truth.sum(axis=0), len(truth)
    ranks = rankdata(scores, axis=0)
    auc = ((ranks * truth).sum(axis=0) - positive * (positive + 1) / 2) / np.maximum(positive * (texts - positive), 1)
    # The share of equal scores that are called activating is split evenly.
    highest = np.take_along_axis(np.sort(scores, axis=0), (texts - positive)[None, :].clip(0, texts - 1), axis=0)
    above, level = scores > highest, scores == highest
    share = (positive - above.sum(axis=0)) / np.maximum(level.sum(axis=0), 1)
    called = above + level * share
    hit = (called * truth).sum(axis=0) / np.maximum(positive, 1)
    missed = (called * ~truth).sum(axis=0) / np.maximum(texts - positive, 1)
    moved = [table - table.mean(axis=0) for table in (values, scores)]
    lengths = np.sqrt((moved[0] ** 2).sum(axis=0) * (moved[1] ** 2).sum(axis=0))
    correlation = (moved[0] * moved[1]).sum(axis=0) / np.where(lengths > 0, lengths, np.inf)
    return auc, (hit + 1 - missed) / 2, correlation


_Predict = Callable[[Int[np.ndarray, " neuron"]], Float64[np.ndarray, "text neuron"]]


def _weights(told: Descriptions, columns: Int[np.ndarray, " neuron"]) -> Float64[np.ndarray, "descriptor neuron"]:
    """Returns the r of each neuron's tags; 0 for other descriptors."""
    weights = np.zeros((len(told.found.names), len(columns)))
    for place in range(told.tags.descriptors.shape[1]):
        number, given = told.tags.descriptors[columns, place], told.tags.given[columns, place]
        weights[number, np.arange(len(columns))] += np.where(given, told.matched.r[columns, number], 0)
    return weights


def _simulation(told: Descriptions, held: Int[np.ndarray, " text"]) -> _Predict:
    presence = told.found.presence[held].astype(np.float64)
    deviation = presence.std(axis=0)
    presence = (presence - presence.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    return lambda columns: presence @ _weights(told, columns)


def _by_embedding(told: Descriptions, held: Int[np.ndarray, " text"], embedder: Model | None) -> _Predict:
    if embedder is None:
        raise SettingsError("Scoring by 'embedding' compares vectors: give a model of texts as `embedder`.")
    if embedder.fingerprint == told.explained:
        raise SettingsError(
            "The embedder is the very model whose neurons are described: the score would be a function of its neurons. "
            "Give another embedder."
        )
    asked = told.found.texts.asked()
    texts = directions(embed(embedder, [asked[number] for number in held]).astype(np.float64))
    names = directions(embed(embedder, list(told.found.names)).astype(np.float64))
    cosines = texts @ names.T
    return lambda columns: cosines @ _weights(told, columns)


def _judge_of(given: Generator | Model | None, scorer: str, told: Descriptions, examples: int) -> Judge:
    judge = None if given is None else as_generator(given)
    if not isinstance(judge, Judge):
        raise SettingsError(f"Scoring by {scorer!r} needs a generator with `log_probabilities` as `judge`.")
    if examples < 2 or examples % 2:
        raise SettingsError(f"`examples` must be an even number of at least 2, got {examples}.")
    if scorer == "fuzzing" and told.found.texts.words is None:
        raise SettingsError("Fuzzing marks words: it needs descriptions of words in context, not of whole texts.")
    return judge


def _examples(
    kinds: tuple[Bool[np.ndarray, " text"], ...], examples: int, rng: np.random.Generator
) -> Int[np.ndarray, " example"]:
    """Draws as many texts of either kind, those of the first kind first."""
    half = examples // 2
    return np.concatenate([rng.choice(np.flatnonzero(kind), half, replace=kind.sum() < half) for kind in kinds])


def _judged(
    told: Descriptions,
    held: Int[np.ndarray, " text"],
    chosen: Int[np.ndarray, "example neuron"],
    columns: Int[np.ndarray, " neuron"],
    judge: Judge,
    scorer: str,
    rng: np.random.Generator,
) -> Float64[np.ndarray, "example neuron"]:
    """Returns the judge's log-odds of yes for every example of every neuron."""
    prompts = []
    for place, column in enumerate(columns):
        first = told.tags.signs[column, 0]
        same = told.tags.given[column] & (told.tags.signs[column] == first)
        names = ", ".join(told.found.names[number] for number in told.tags.descriptors[column][same])
        for row, number in enumerate(held[chosen[:, place]]):
            text = " ".join(told.found.texts.texts[number].split())
            if scorer == "detection":
                prompts.append(f"{_ASKED}Topics: {names}\nText: {text}\nIs the text about one of them?")
            else:
                marked = _mark(text, told, int(number), right=row < len(chosen) // 2, rng=rng)
                prompts.append(f"{_MARKED}Kinds: {names}\nText: {marked}\nIs the marked word one of them?")
    chances = judge.log_probabilities(prompts, [" yes", " no"]).astype(np.float64)
    return (chances[:, 0] - chances[:, 1]).reshape(len(columns), -1).T


def _mark(text: str, told: Descriptions, number: int, *, right: bool, rng: np.random.Generator) -> str:
    """Marks the described word of a text, or another one."""
    assert told.found.texts.words is not None
    words, asked = text.split(), told.found.texts.words[number]
    places = [place for place, word in enumerate(words) if (word == asked) == right]
    place = places[int(rng.integers(len(places)))] if places else 0
    return " ".join(f"«{word}»" if spot == place else word for spot, word in enumerate(words))
