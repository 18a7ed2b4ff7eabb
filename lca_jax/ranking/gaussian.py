"""Ranks neurons by intrinsic probing: greedily, by what Gaussians of the neurons so far tell about held-out words.

Each step takes the neuron with which the held-out words' classes become most likely under class-conditional Gaussians
(`probing.gaussian`), so a neuron that repeats what the ones before it say is passed over. The papers differ in which
words choose: the method is defined on a validation split, and so is the code of Antverg and Belinkov; NeuroX's chooses
on the words that made the Gaussians, where every neuron looks useful. Here words are held out, always.

`analysis.information` measures what the neurons of any ranking tell, in bits of a third part of the words (LBNI).

Reference: Torroba Hennigen, Williams and Cotterell 2020, "Intrinsic Probing through Dimension Selection", section 3.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float64

from lca_jax.errors import DataError, SettingsError
from lca_jax.probing.gaussian import Prior
from lca_jax.probing.measuring import MeasuredWords, measured_words
from lca_jax.ranking.gaussian_selection import select_by_gaussians
from lca_jax.ranking.ranking import Ranking, rank_by_scores
from lca_jax.ranking.words import Words, hold_out, read_words


def rank_by_gaussians(
    words: Words,
    task: str | None = None,
    *,
    count: int = 50,
    dev: Words | None = None,
    held_out: float = 0.2,
    prior: Prior = "class",
    target: str | None = None,
    seed: int = 0,
) -> Ranking:
    """Ranks the neurons that a greedy selection by Gaussians takes, in its order; the others share one tie.

    Args:
        words: A store, words that were read before, or features and labels (X, y).
        task: The task; None for the only one.
        count: Number of neurons to select; at most all. 50 as published.
        dev: Words to choose by, of the same neurons; None to hold out a part of `words`, by sentence.
        held_out: That part, in (0, 1).
        prior: Whose variances the prior of a class's covariance has: its own (`"class"`, as published), or those within
            all classes together (`"within"`, steadier for rare classes, and that of the Gaussian readouts).
        target: A class to tell from all others; None for all classes. The method has no ranking by class, since one
            selection serves all: this asks for that of one class.
        seed: Seed of the part that is held out.

    Returns:
        The ranking. The score of a selected neuron is the number of selected ones that it is not after; all others have
        0 and are tied, in the order of what each would have told as the last one.

    Raises:
        SettingsError: A number is out of its range, there is no such class, the dev words are of other neurons or
            another task, or a store has several tasks and none is named.
        DataError: No word is labelled, fewer than two classes have words outside the part that is held out, no word of
            them is held out, or an activation is not finite.
    """
    whole = read_words(words, task)
    if not count >= 1:
        raise SettingsError(f"`count` must be 1 or more, got {count}.")
    if dev is None:
        train, chosen_by = hold_out(whole, held_out, seed=seed)
    else:
        train, chosen_by = whole, measured_words(dev, whole.axis, whole.task, whole.classes)
    if target is not None:
        train, chosen_by = (_told_apart(part, target) for part in (train, chosen_by))
    numbers = np.unique(train.gold[train.gold >= 0])
    # Words of a class that training never saw cannot be told by any neuron.
    of_train, of_dev = (np.isin(part.gold, numbers) for part in (train, chosen_by))
    if len(numbers) < 2 or not of_dev.any():
        raise DataError(
            f"Gaussians need two classes of `{whole.task}` to be made of, and held-out words of them; there are "
            f"{len(numbers)} and {int(of_dev.sum())}. Give more text, or words of your own as `dev`."
        )
    found = select_by_gaussians(
        train.X[of_train],
        np.searchsorted(numbers, train.gold[of_train]),
        chosen_by.X[of_dev],
        np.searchsorted(numbers, chosen_by.gold[of_dev]),
        count=min(count, whole.axis.size),
        prior=prior,
    )
    scores = np.zeros(whole.axis.size)
    scores[found.order] = np.arange(len(found.order), 0, -1)
    name = whole.task if target is None else f"{whole.task}: {target}"
    return rank_by_scores(name, whole.axis, scores, within=_finite(found.last))


def _told_apart(words: MeasuredWords, target: str) -> MeasuredWords:
    """Returns words whose classes are one class and all others."""
    if target not in words.classes:
        raise SettingsError(f"`{words.task}` has no class {target!r}. Classes: {', '.join(words.classes)}.")
    return replace(words, classes=("others", target), gold=(words.gold == words.classes.index(target)).astype(np.int32))


def _finite(scores: Float64[np.ndarray, " feature"]) -> Float64[np.ndarray, " feature"]:
    return np.where(np.isfinite(scores), scores, 0.0)
