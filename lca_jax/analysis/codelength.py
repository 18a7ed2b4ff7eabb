"""Minimum description length of a task's labels by online codes: how easily a probe learns them, not only how well.

Labels are sent in blocks. The first block is sent by the uniform code, log₂ K bits a word. Each later block is sent by
the probe that was fitted to the words before it, −log₂ p(label | vector) bits a word. A representation from which few
words teach the task has a short code. Compression is N·log₂ K by the code's length: 1 is no better than uniform.

Every prefix is a weighting of the words of one matrix, so all fits are one batch of one solve; they have the penalty
of the task's probe and its scale (both ends of the code have the vectors). A fitted distribution p over K classes gets
half a word of each class beside its n words, (n·p + ½) / (n + K/2): without it the code would be infinite for a class
that the prefix lacks. Sentences are sent in a random order, whole.

Reference: Voita and Titov 2020, "Information-theoretic probing with minimum description length", §2.2 and §3.1 (block
ends); Krichevsky and Trofimov 1981 (half a count).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from lca_jax.analysis.retraining import TrainingWords
from lca_jax.errors import SettingsError
from lca_jax.probing.fit import fit_problems
from lca_jax.probing.labelling import Labelling
from lca_jax.probing.probe import Probe

BLOCK_ENDS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.0625, 0.125, 0.25, 0.5, 1.0)
"""Shares of the words at which blocks end."""
_BLOCK = 8192
"""Words whose probabilities are computed at once."""


@dataclass(frozen=True, kw_only=True)
class OnlineCode:
    """The length of a code of a task's labels on its training words."""

    task: str
    control: bool
    """Whether the labels are those of the control task."""
    classes: int
    words: tuple[int, ...]
    """Number of words up to the end of each block."""
    bits: tuple[float, ...]
    """Length of each block."""

    @property
    def length(self) -> float:
        """Length of the code, in bits."""
        return sum(self.bits)

    @property
    def uniform(self) -> float:
        """Length of the uniform code, in bits."""
        return self.words[-1] * float(np.log2(self.classes))

    @property
    def compression(self) -> float:
        """Length of the uniform code by that of this one."""
        return self.uniform / self.length


def online_codes(
    training: TrainingWords, *, ends: Sequence[float] = BLOCK_ENDS, seed: int = 0
) -> tuple[OnlineCode, OnlineCode | None]:
    """Measures the online code of a task, and that of its control task where it has one, in one solve.

    Args:
        training: The training words of the task.
        ends: Shares of the words at which blocks end, ascending to 1. A block ends with the sentence that reaches it;
            ends that fall in one sentence are one.
        seed: Seed of the order of the sentences.

    Raises:
        SettingsError: `ends` do not ascend to 1, or the task is a regression.
    """
    if not ends or list(ends) != sorted(set(ends)) or not ends[0] > 0 or ends[-1] != 1:
        raise SettingsError(f"`ends` must be ascending shares of the words up to 1, got {list(ends)}.")
    if not training.real.classes:
        raise SettingsError(f"`{training.real.task}` is a regression: online codes are of classes.")
    order, counts = _blocks(training, ends, seed)
    labellings = [training.real] if training.control is None else [training.real, training.control]
    prefixes = [_prefix(labelling, order[:count]) for labelling in labellings for count in counts[:-1]]
    probes = []
    if prefixes:
        probes = fit_problems(training.X, prefixes, training.settings, given=training.scale)
    of_one = len(counts) - 1
    codes = [
        _code(training, labelling, probes[number * of_one : (number + 1) * of_one], order, counts)
        for number, labelling in enumerate(labellings)
    ]
    return codes[0], codes[1] if len(codes) > 1 else None


def _blocks(training: TrainingWords, ends: Sequence[float], seed: int) -> tuple[Int[np.ndarray, " word"], list[int]]:
    """Returns the words in the order in which they are sent, and their number up to the end of each block."""
    labelled = np.flatnonzero(training.real.numbers >= 0)
    sentences = labelled if training.sentences is None else training.sentences[labelled]
    _, place = np.unique(sentences, return_inverse=True)
    turn = np.random.default_rng(seed).permutation(place.max() + 1)[place]
    order = np.argsort(turn, kind="stable")
    sizes = np.cumsum(np.bincount(turn))
    reached = np.searchsorted(sizes, np.ceil(np.asarray(ends) * len(labelled) - 1e-9))
    return labelled[order], sorted({int(sizes[min(place, len(sizes) - 1)]) for place in reached})


def _prefix(labelling: Labelling, words: Int[np.ndarray, " word"]) -> Labelling:
    weights = np.zeros(len(labelling.numbers), np.float32)
    weights[words] = 1
    return replace(labelling, weights=weights)


def _code(
    training: TrainingWords,
    labelling: Labelling,
    probes: Sequence[Probe],
    order: Int[np.ndarray, " word"],
    counts: Sequence[int],
) -> OnlineCode:
    classes = len(labelling.classes)
    bits = [counts[0] * float(np.log2(classes))]
    for probe, start, end in zip(probes, counts[:-1], counts[1:], strict=True):
        chances = np.concatenate(
            [
                _chances(probe, training.X[words], labelling.numbers[words])
                for words in np.split(order[start:end], range(_BLOCK, end - start, _BLOCK))
            ]
        )
        bits.append(float(-np.log2((start * chances + 0.5) / (start + classes / 2)).sum()))
    return OnlineCode(
        task=labelling.task, control=labelling.control, classes=classes, words=tuple(counts), bits=tuple(bits)
    )


def _chances(
    probe: Probe, X: Float[np.ndarray, "word feature"], gold: Int[np.ndarray, " word"]
) -> Float[np.ndarray, " word"]:
    """Returns the probability that a probe gives to each word's class."""
    scores = ((X - probe.mean) / probe.scale) @ probe.weights + probe.bias
    wide = scores.astype(np.float64)
    wide -= wide.max(axis=1, keepdims=True)
    powers = np.exp(wide)
    return powers[np.arange(len(gold)), gold] / powers.sum(axis=1)
