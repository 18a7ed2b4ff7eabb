"""Plain arrays in place of stores: a probe of `fit_elastic_net`, and matrices with their labels, all the way.

A matrix has one layer of the site `array`, whose neurons are its columns. Its words stand in no sentences: each is one
of its own, and there is no control task, since there are no word types.
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Shaped

from lca_jax.axes import ARRAY_SITE, LayerBlock, NeuronAxis
from lca_jax.errors import DataError

Arrays: TypeAlias = tuple[Float[np.ndarray, "_word _feature"], Sequence[object] | Shaped[np.ndarray, " _word"]]
"""Features of words (word, feature), and one label for each."""


def array_axis(features: int) -> NeuronAxis:
    """Returns the names of the columns of a matrix."""
    return NeuronAxis(blocks=(LayerBlock(ARRAY_SITE, 0, features),))


def check_arrays(arrays: Arrays) -> tuple[Float[np.ndarray, "word feature"], list[str]]:
    """Returns features in float32, and labels as text.

    Raises:
        DataError: There are not as many labels as words, or a feature is not a finite number.
    """
    X, y = np.asarray(arrays[0], np.float32), np.asarray(arrays[1])
    if X.ndim != 2 or y.shape != (len(X),):
        raise DataError(f"Give a matrix (word, feature) and one label for each word, got {X.shape} and {y.shape}.")
    if not np.isfinite(X).all():
        word, column = (int(place[0]) for place in np.nonzero(~np.isfinite(X)))
        raise DataError(f"The features must be finite numbers; word {word} has {X[word, column]} in column {column}.")
    return X, [str(label) for label in y]
