"""Which classes are merged into the order over all classes, and what orders the neurons that one block ties.

The first block of a mass order holds the heaviest neuron of every class, also of a class with two words, whose one or
two neurons have all of its mass: by shares of mass they lead the whole ranking. So classes may be left out that have
fewer words than a minimum, and a block may be ordered by gain instead (`weight_mass.gain_of_weights`).

The papers that set a minimum drop the classes from the task altogether: 100 word types in each split (Torroba Hennigen
et al. 2020; Antverg and Belinkov 2022), 200 words (Fan et al. 2023). Those on the mass order set none, and their rare
labels have more neurons than the frequent ones (`B-UCP` 253, `ITJ` 128; Durrani et al. 2020). Here a class that is left
out is still a class of the probe and has its own ranking in `by_class`; its neurons are merely not merged.
"""

import logging
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Bool, Float

from lca_jax.errors import SettingsError
from lca_jax.probing.weight_mass import gain_of_weights

PUBLISHED_MINIMUM = 100
"""The minimum of the papers that have one, here of words instead of word types."""
TieRule = Literal["share", "gain"]
"""What orders the neurons of one block: the largest share of a class's mass, or the gain of all weights together."""

_log = logging.getLogger(__name__)


class Merged(NamedTuple):
    """What is merged."""

    classes: Bool[np.ndarray, " class"]
    """Which classes are merged."""
    left_out: tuple[str, ...]
    shares: Float[np.ndarray, " class"] | None
    """Share of each class in the training words, for ties by gain; None for ties by share."""

    def gain(self, weights: Float[np.ndarray, "feature class"]) -> Float[np.ndarray, " feature"] | None:
        """Returns what orders a block; None for the share of mass."""
        return None if self.shares is None else gain_of_weights(weights, self.shares)


def choose_merged(
    task: str, classes: Sequence[str], class_words: Sequence[int] | None, *, minimum_words: int, ties: TieRule
) -> Merged:
    """Chooses the classes whose weights are merged.

    Args:
        task: The task.
        classes: Names of the classes; none for a regression, whose weights have one column.
        class_words: Number of training words of each class; None where it is not known.
        minimum_words: Least number of training words of a class that is merged.
        ties: What orders a block.

    Raises:
        SettingsError: The minimum is negative or leaves no class, the rule is unknown, or the words of the classes are
            not known.
    """
    if minimum_words < 0 or ties not in get_args(TieRule):
        raise SettingsError(
            f"`minimum_words` must be 0 or more and `ties` 'share' or 'gain', got {minimum_words} and {ties!r}."
        )
    if not classes or (minimum_words == 0 and ties == "share"):
        return Merged(np.ones(max(1, len(classes)), bool), (), None)
    if class_words is None:
        raise SettingsError(
            "These probes were saved without the number of words of each class. Fit them again, or leave out "
            "`minimum_words` and `ties`."
        )
    counts = np.array(class_words)
    enough = counts >= minimum_words
    if not enough.any():
        raise SettingsError(
            f"No class of `{task}` has {minimum_words} training words; the largest has {counts.max()}. Lower "
            "`minimum_words`."
        )
    left_out = tuple(name for name, kept in zip(classes, enough, strict=True) if not kept)
    if left_out:
        _log.info("%s: fewer than %d words, not merged: %s", task, minimum_words, ", ".join(left_out))
    return Merged(enough, left_out, counts / counts.sum() if ties == "gain" else None)
