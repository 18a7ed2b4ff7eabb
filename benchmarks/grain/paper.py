"""Figures of the paper, read by eye from its plots: neurons removed, and the score with the top and bottom ones gone.

Dalvi et al. 2019, Figures 4, 5 and 7; models of 2,000 neurons in translation and 1,000 in language modelling, where the
number for language models is taken from the same architecture with one direction.
"""

NEURONS = {"nmt": 2000, "lm": 1000}
PAPER = {
    "nmt": {
        "whole": 27.3,
        "removed": (50, 100, 200, 300, 400, 600, 1000),
        "top": (15.2, 11.2, 5.8, 3.3, 1.5, 1.0, 0.1),
        "bottom": (26.9, 25.6, 21.1, 14.3, 9.1, 4.1, 1.1),
    },
    "lm": {
        "whole": 52.0,
        "removed": (100, 200, 300, 400, 500),
        "top": (57.0, 75.0, 113.0, 202.0, 362.0),
        "bottom": (55.0, 67.0, 93.0, 148.0, 226.0),
    },
}
"""German to English (Figure 4) and the language model of English (Figure 5), by cross-model rankings."""
