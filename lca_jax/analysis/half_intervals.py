"""The interval of a number over the sentences, from the same number of complementary half-samples.

With the number d of both halves of P divisions of the sentences,

    error² = mean over the divisions of (d₁ - d₂)² / 4,        interval = value ± t(P) · error

since halves have twice the variance of the whole and no sentence in common. It is of numbers that are means over the
words, or nearly so.

Reference: McCarthy 1969, "Pseudo-replication: half samples".
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64
from scipy.special import stdtrit

_SURE = 0.975


class Interval(NamedTuple):
    """A number with its 95 % interval over the sentences."""

    value: float
    low: float
    high: float

    def within(self, least: float, most: float) -> "Interval":
        """Returns it with its ends in a range, such as that of shares: beyond it the normal law says nothing."""
        return Interval(self.value, max(self.low, least), min(self.high, most))


def interval_of_halves(value: float, halves: Float64[np.ndarray, " half"]) -> Interval:
    """Returns a number with its interval.

    Args:
        value: The number of all words.
        halves: The number of every half; the first two are of one division, and so on.
    """
    pairs = halves.reshape(-1, 2)
    error = np.sqrt(np.mean((pairs[:, 0] - pairs[:, 1]) ** 2) / 4)
    reach = float(stdtrit(len(pairs), _SURE) * error)
    return Interval(value, value - reach, value + reach)
