"""What a setting of a model may be, by name: the command line lists these without loading JAX."""

from typing import Literal

Precision = Literal["float32", "bfloat16"]
"""Of matrices and hidden states."""
Reading = Literal["sentence-mean", "cls", "first", "last", "mean"]
"""The pieces whose states a classifier reads: of a sentence `sentence-mean` or `cls`, of a word one of the others."""
OF_SENTENCES: tuple[Reading, ...] = ("sentence-mean", "cls")
OF_WORDS: tuple[Reading, ...] = ("first", "last", "mean")
