"""Figures of the paper, read by eye from its plots: neurons removed, and the score with the top and bottom ones gone.

Dalvi et al. 2019, Figures 4 and 5: German to English, and the language model of English, by cross-model rankings. The
translation models have 2,000 neurons (the paper calls 50 of them 2.5 %); 1,000 of language models follow from the same
sizes with one direction.
"""

from typing import NamedTuple


class Published(NamedTuple):
    """One plot."""

    neurons: int
    whole: float
    """The score of the model as it is."""
    removed: tuple[int, ...]
    top: tuple[float, ...]
    bottom: tuple[float, ...]


PAPER = {
    "nmt": Published(
        neurons=2000,
        whole=27.3,
        removed=(50, 100, 200, 300, 400, 600, 1000),
        top=(15.2, 11.2, 5.8, 3.3, 1.5, 1.0, 0.1),
        bottom=(26.9, 25.6, 21.1, 14.3, 9.1, 4.1, 1.1),
    ),
    "lm": Published(
        neurons=1000,
        whole=52.0,
        removed=(100, 200, 300, 400, 500),
        top=(57.0, 75.0, 113.0, 202.0, 362.0),
        bottom=(55.0, 67.0, 93.0, 148.0, 226.0),
    ),
}
