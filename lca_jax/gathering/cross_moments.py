"""Moments of several models' neurons with each other, over the words of one corpus: what cross-model methods read.

They are the summed products of every neuron with every neuron of each other model, and with those of its own layer.
Parts of the sentences may be kept apart: regressions are fitted to the first, choose their settings on the second and
are measured on the third. `gathering.correlate` gathers them.

Bytes on the host: 4·d·e for models of d and e neurons (MiniLM with multilingual E5, 2,688 and 4,992: 54 MB), and 4·w²
for every layer w wide; for each part.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, reduce
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

from lca_jax.axes import NeuronAxis
from lca_jax.errors import SettingsError
from lca_jax.gathering.correlations import correlations_of
from lca_jax.gathering.products import Columns, Product, Shuffle, as_held
from lca_jax.tables import html_table, text_table


class PartMoments(NamedTuple):
    """Moments of some of the words; squares and products are summed, of distances from the means of these words."""

    words: int
    """Number of words."""
    means: tuple[Float64[np.ndarray, " _feature"], ...]
    """Means of every model's neurons."""
    squares: tuple[Float64[np.ndarray, " _feature"], ...]
    """Squares of every model's neurons."""
    products: Mapping[Product, Float32[np.ndarray, "_column _feature"]]
    """Products of neurons with each other."""
    shuffled: Mapping[Shuffle, Float32[np.ndarray, "_drawn _feature"]]
    """Products of a model's drawn neurons, at shuffled words, with another model's neurons."""

    def merge(self, other: "PartMoments") -> "PartMoments":
        """Returns the moments of the words of both, which have none in common."""
        words = self.words + other.words
        both, share = self.words * other.words / words, other.words / words
        apart = [theirs - ours for ours, theirs in zip(self.means, other.means, strict=True)]

        def far(of: Columns | Shuffle) -> Float64[np.ndarray, " _column"]:
            return apart[of.table][of.first : of.last] if isinstance(of, Columns) else apart[of.table][list(of.columns)]

        def between(
            one: Float64[np.ndarray, " _row"], other: Float64[np.ndarray, " _column"]
        ) -> Float32[np.ndarray, "_row _column"]:
            return np.outer((both * one).astype(np.float32), other.astype(np.float32))

        return PartMoments(
            words=words,
            means=tuple(mean + share * own for mean, own in zip(self.means, apart, strict=True)),
            squares=tuple(
                as_held(ours + theirs + both * own**2)
                for ours, theirs, own in zip(self.squares, other.squares, apart, strict=True)
            ),
            products={
                pair: block + other.products[pair] + between(*map(far, pair)) for pair, block in self.products.items()
            },
            shuffled={
                drawn: block + other.shuffled[drawn] + between(far(drawn), apart[drawn.other])
                for drawn, block in self.shuffled.items()
            },
        )


@dataclass(frozen=True, kw_only=True, repr=False)
class CrossMoments:
    """Moments of several models' neurons with each other, and how they are found there."""

    names: tuple[str, ...]
    """Names of the models."""
    axes: tuple[NeuronAxis, ...]
    """The neuron of each column of every model."""
    words_of_any: int
    """Number of words that any of the stores has."""
    left_out: tuple[int, ...]
    """Number of those of which each store has no vector."""
    parts: tuple[PartMoments, ...] = field(repr=False)
    """All words; or the words to fit, to choose and to measure by."""

    def __repr__(self) -> str:
        """Says how many words were matched, and describes the models in a table."""
        return text_table(self.table(), caption=self._caption())

    def _repr_html_(self) -> str:
        return html_table(self.table(), caption=self._caption())

    def table(self) -> dict[str, list[object]]:
        """Returns one row a model, as columns of equal length, ready for `pandas.DataFrame(...)`."""
        return {
            "model": [*self.names],
            "layers": [len(axis.blocks) for axis in self.axes],
            "neurons": [axis.size for axis in self.axes],
            "words_left_out": [*self.left_out],
        }

    @property
    def words(self) -> int:
        """Number of words that all models have a vector of."""
        return sum(part.words for part in self.parts)

    @cached_property
    def whole(self) -> PartMoments:
        """The moments of all words."""
        return reduce(PartMoments.merge, self.parts)

    def others(self, of: int) -> list[int]:
        """Returns the numbers of the models that a model is compared with.

        Raises:
            SettingsError: There is no model of this number, or no other one.
        """
        if not 0 <= of < len(self.names) or len(self.names) < 2:
            raise SettingsError(
                f"`of` must be the number of one of two or more models, from 0; got {of} of {len(self.names)}."
            )
        return [model for model in range(len(self.names)) if model != of]

    def across(self, part: PartMoments, one: int, other: int) -> Float32[np.ndarray, "feature other_feature"]:
        """Returns the summed products of the neurons of two models over the words of a part.

        Raises:
            SettingsError: The two were not compared.
        """
        first, second = sorted((one, other))
        if max(one, other) < len(self.axes) and (pair := (self._all(first), self._all(second))) in part.products:
            return part.products[pair] if one <= other else part.products[pair].T
        raise SettingsError(
            f"Models {one} and {other} were not compared. Models run from 0 to {len(self.names) - 1}; a model is "
            "compared with itself by `correlate_models(…, itself=True)`."
        )

    def within(self, part: PartMoments, model: int, layer: int) -> Float32[np.ndarray, "neuron _neuron"]:
        """Returns the summed products of the neurons of one layer, by its number among the layers that were read.

        Raises:
            SettingsError: They were not gathered.
        """
        own = layer_slices(self.axes[model])[layer]
        columns = Columns(model, own.start, own.stop)
        if (columns, columns) in part.products:
            return part.products[columns, columns]
        if (self._all(model), self._all(model)) in part.products:
            return part.products[self._all(model), self._all(model)][own, own]
        raise SettingsError(
            "Products within layers were not gathered. Gather them: `correlate_models(…, within=True)`."
        )

    def correlation(self, one: int, other: int) -> Float64[np.ndarray, "feature other_feature"]:
        """Returns Pearson's correlations of the neurons of two models; 0 with a neuron that never changes.

        Raises:
            SettingsError: The two were not compared.
        """
        squares = self.whole.squares
        return correlations_of(self.across(self.whole, one, other), squares[one], squares[other])

    def null_correlation(self, one: int, other: int) -> Float64[np.ndarray, "drawn other_feature"]:
        """Returns the correlations of drawn neurons of one model, at shuffled words, with the neurons of another.

        Raises:
            SettingsError: There is no null of these two.
        """
        for drawn, block in self.whole.shuffled.items():
            if (drawn.table, drawn.other) == (one, other):
                squares = self.whole.squares
                return correlations_of(block, squares[one][list(drawn.columns)], squares[other])
        raise SettingsError("No null was gathered. Say how many neurons are drawn: `correlate_models(…, drawn=256)`.")

    def _all(self, model: int) -> Columns:
        return Columns(model, 0, self.axes[model].size)

    def _caption(self) -> str:
        parts = f", in parts of {', '.join(f'{part.words:,}' for part in self.parts)}" if len(self.parts) > 1 else ""
        return f"{self.words:,} of {self.words_of_any:,} words have a vector in every model{parts}"


def layer_slices(axis: NeuronAxis) -> list[slice]:
    """Returns the columns of every layer."""
    ends = np.cumsum([0, *(block.width for block in axis.blocks)]).tolist()
    return [slice(first, last) for first, last in pairwise(ends)]
