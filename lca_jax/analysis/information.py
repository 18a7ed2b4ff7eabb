"""What the first neurons of a ranking tell about the classes, in bits: a lower bound by Gaussians, as a curve.

    I(V; h) ≥ H(V) + 1/N Σ log₂ p(v_i | h_i)

with the entropy H(V) of the classes of the measured words, and the posterior of class-conditional Gaussians
(`probing.gaussian`) trained on other words. A bound may fall where neurons are added whose values are far from
Gaussian, and the information of more neurons is never less; so the curve has the largest bound so far, of it the share
of H(V) (LBNI), and the largest accuracy so far (LBA).

Reference: Torroba Hennigen, Williams and Cotterell 2020, "Intrinsic Probing through Dimension Selection", sections 3.3
and 5.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np
from jaxtyping import Int

from lca_jax.analysis.parts import describe, refuse_common_sentences
from lca_jax.errors import DataError, SettingsError
from lca_jax.probing.gaussian import Prior, gather_gaussians, log_posteriors
from lca_jax.probing.measuring import measured_words
from lca_jax.ranking.ranking import Ranking
from lca_jax.ranking.words import Words, read_words
from lca_jax.tables import html_table, text_table


@dataclass(frozen=True, kw_only=True)
class InformationPoint:
    """The first neurons of one number."""

    neurons: int
    bits: float
    """The bound of these neurons by themselves; below 0 where their Gaussians mislead."""
    bound: float
    """The largest of the bounds up to here, 0 at least."""
    share: float
    """`bound` as a share of the entropy of the classes (LBNI)."""
    accuracy: float
    """Accuracy of these Gaussians."""
    best_accuracy: float
    """The largest accuracy up to here (LBA)."""


@dataclass(frozen=True, kw_only=True, repr=False)
class InformationCurve:
    """Points by growing number of neurons."""

    task: str
    entropy: float
    """Entropy of the classes of the measured words, in bits."""
    constant: float
    """Accuracy of the most frequent training class."""
    left_out: int
    """Words of classes that training has no words of, which are not measured."""
    trained_on: str
    measured_on: str
    units: Int[np.ndarray, " word"] = field(repr=False)
    """Position of each measured word among the units of its store."""
    points: tuple[InformationPoint, ...]

    def __repr__(self) -> str:
        """Describes the curve in two lines, and its points in a table."""
        return text_table(self.table(), caption=self._caption())

    def _repr_html_(self) -> str:
        return html_table(self.table(), caption=self._caption())

    def table(self) -> dict[str, list[object]]:
        """Returns one row a point, as columns of equal length, ready for `pandas.DataFrame(...)`."""
        return {each.name: [getattr(point, each.name) for point in self.points] for each in fields(InformationPoint)}

    def _caption(self) -> str:
        return (
            f"Information of the first neurons about {self.task}, at least, of {self.entropy:.4g} bits (most frequent "
            f"class {self.constant:.4g})\nMeasured on {self.measured_on}"
        )


def information_curve(
    ranking: Ranking,
    training: Words,
    test: Words,
    *,
    task: str | None = None,
    sizes: Sequence[int] = (1, 2, 5, 10, 20, 50),
    shared: bool = False,
    prior: Prior = "class",
) -> InformationCurve:
    """Measures how many bits the first neurons of any ranking tell about the classes.

    Args:
        ranking: The ranking; its first neurons are taken.
        training: The words of the Gaussians: a store, words that were read before, or features and labels (X, y).
        test: Other words to measure on, of the same neurons.
        task: The task; None for the only one.
        sizes: Numbers of neurons, growing.
        shared: Whether all classes have one covariance.
        prior: Whose variances the prior of a covariance has.

    Raises:
        SettingsError: Sizes do not grow or are out of range, the words are of other neurons or another task, or the two
            parts share a sentence.
        DataError: No word can be measured, or training has one class only.
    """
    steps = list(sizes)
    if not steps or steps != sorted(set(steps)) or steps[0] < 1 or steps[-1] > len(ranking.columns):
        raise SettingsError(f"`sizes` must grow, from 1 to {len(ranking.columns)} at most, got {steps}.")
    train = read_words(training, task)
    words = measured_words(test, train.axis, train.task, train.classes)
    if ranking.axis != train.axis:
        raise SettingsError(
            f"The ranking orders {ranking.axis.size} neurons, the words have {train.axis.size}. Give its own."
        )
    refuse_common_sentences(train, words, made="Gaussians")
    counts = np.bincount(train.gold[train.gold >= 0], minlength=len(train.classes))
    measured = np.isin(words.gold, np.flatnonzero(counts))
    if (counts > 0).sum() < 2 or not measured.any():
        raise DataError(
            f"Information needs two classes of `{train.task}` in training and measured words of them; there are "
            f"{int((counts > 0).sum())} and {int(measured.sum())}."
        )
    columns, gold = ranking.top(steps[-1]), words.gold[measured]
    gaussians = gather_gaussians(
        train.X[:, columns], train.gold, classes=len(train.classes), shared=shared, prior=prior
    )
    posteriors = log_posteriors(gaussians, words.X[measured][:, columns], steps)
    shares = np.bincount(gold) / len(gold)
    entropy = float(-(shares * np.log2(np.maximum(shares, 1e-300))).sum())
    bits = entropy + posteriors[:, np.arange(len(gold)), gold].mean(axis=1) / np.log(2)
    return InformationCurve(
        task=train.task,
        entropy=entropy,
        constant=float((gold == counts.argmax()).mean()),
        left_out=int((~measured).sum()),
        trained_on=describe(train),
        measured_on=describe(words),
        units=words.units[measured],
        points=_points(steps, bits.tolist(), (posteriors.argmax(axis=2) == gold).mean(axis=1).tolist(), entropy),
    )


def _points(
    steps: Sequence[int], bits: Sequence[float], accuracies: Sequence[float], entropy: float
) -> tuple[InformationPoint, ...]:
    points, bound, best = [], 0.0, 0.0
    for neurons, here, accuracy in zip(steps, bits, accuracies, strict=True):
        bound, best = max(bound, here), max(best, accuracy)
        points.append(
            InformationPoint(
                neurons=neurons,
                bits=here,
                bound=bound,
                share=bound / entropy if entropy else 0.0,
                accuracy=accuracy,
                best_accuracy=best,
            )
        )
    return tuple(points)
