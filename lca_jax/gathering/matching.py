"""Finds the words that several stores of one corpus have in common, and reads them side by side.

A word is known by its sentence and its place there. Another choice of words, or words that one model's windows could
not take, so do no harm: what is not in every store with a vector is left out, and counted. The forms of the words that
are matched must be the same, so that another corpus, or another tokenizer's pieces, are refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce

import numpy as np
from jaxtyping import Float, Float32, Int64

from lca_jax.axes import ARRAY_SITE, LayerBlock, Layers, NeuronAxis
from lca_jax.errors import DataError, SettingsError
from lca_jax.gathering.products import Table
from lca_jax.store.finite import name_word_and_feature, place_in_store, refuse_not_finite
from lca_jax.store.store import ActivationStore

Vectors = ActivationStore | Float[np.ndarray, "_word *_neurons"]
"""The vectors of a model: a store, or an array (word, feature) or (word, layer, neuron), whose words are sentences of
their own."""


@dataclass(frozen=True, kw_only=True)
class MatchedWords:
    """The words that all models have a vector of, in the order of the corpus."""

    names: tuple[str, ...]
    """Name of every model without its folder or owner, with its number where two are called the same."""
    axes: tuple[NeuronAxis, ...]
    """The neuron of each column of every model."""
    sentences: Int64[np.ndarray, " word"]
    """Number of each word's sentence."""
    words_of_any: int
    """Number of words that any of the stores has, with a vector or without."""
    left_out: tuple[int, ...]
    """Number of those of which each store has no vector."""
    _sources: tuple[tuple[Vectors, Int64[np.ndarray, " _word"]], ...] = field(repr=False)
    """The vectors of every model, and the numbers there of the matched words."""

    @property
    def count(self) -> int:
        """Number of matched words."""
        return len(self.sentences)

    def tables(self, order: Int64[np.ndarray, " chosen"] | None = None) -> list[Table]:
        """Returns the vectors of the words; of some of them, in any order, if `order` has their numbers here."""
        return [
            _table(source, units if order is None else units[order], axis)
            for (source, units), axis in zip(self._sources, self.axes, strict=True)
        ]

    def refuse_not_finite(self) -> None:
        """Refuses activations that are not finite.

        Raises:
            DataError: One is not; the message names it.
        """
        for table, (source, units), axis in zip(self.tables(), self._sources, self.axes, strict=True):
            is_store = isinstance(source, ActivationStore)
            name = place_in_store(source, units, axis) if is_store else name_word_and_feature
            refuse_not_finite(table.read, len(units), name)


def match_words(
    models: Sequence[Vectors], *, sites: Sequence[str] | None = None, layers: Sequence[Layers] | None = None
) -> MatchedWords:
    """Matches the words of several stores by sentence and place, or the rows of several arrays.

    Args:
        models: Stores of one corpus; or arrays (word, feature) or (word, layer, neuron) of the same words.
        sites: Sites that are read of every store; all if None.
        layers: For each model its layers, by its own numbers, or None for all of them; None for all layers of all.

    Raises:
        SettingsError: There is no model; stores and arrays are mixed; the units or forms of two stores, or the lengths
            of two arrays, differ; a site or layer is unknown.
        DataError: Fewer than two words have a vector in every store.
    """
    chosen = [None] * len(models) if layers is None else list(layers)
    if not models or len(chosen) != len(models):
        raise SettingsError(f"Give at least one model, and layers for each of them; got {len(models)} models.")
    arrays = [np.asarray(model) for model in models if not isinstance(model, ActivationStore)]
    if arrays:
        return _match_arrays(arrays, len(models), restricted=sites is not None or layers is not None)
    stores = [model for model in models if isinstance(model, ActivationStore)]
    if len(kinds := {store.unit for store in stores}) > 1:
        raise SettingsError(f"The stores have units of several kinds ({', '.join(sorted(kinds))}). Extract one kind.")
    keys = [_keys(store) for store in stores]
    if any((np.diff(key) <= 0).any() for key in keys):
        raise SettingsError("A store has several units in one place of a sentence, so they cannot be matched.")
    everything = reduce(np.union1d, keys)
    common = reduce(np.intersect1d, [key[store.usable] for key, store in zip(keys, stores, strict=True)])
    if len(common) < 2:
        raise DataError(
            f"Only {len(common)} of {len(everything):,} {stores[0].unit}s have a vector in every store, and "
            "correlations need 2. Extract the same corpus with each model."
        )
    units = [np.searchsorted(key, common) for key in keys]
    _refuse_other_forms(stores, units)
    return MatchedWords(
        names=_names([store.manifest.names["model"] for store in stores]),
        axes=tuple(store.axis(sites, of) for store, of in zip(stores, chosen, strict=True)),
        sentences=stores[0].words["sentence"].to_numpy()[units[0]].astype(np.int64),
        words_of_any=len(everything),
        left_out=tuple(len(everything) - int(store.usable.sum()) for store in stores),
        _sources=tuple(zip(stores, units, strict=True)),
    )


def _match_arrays(arrays: Sequence[np.ndarray], models: int, *, restricted: bool) -> MatchedWords:
    if len(arrays) < models or restricted:
        raise SettingsError("Give stores, or arrays that have the layers to compare; not both, and no choice of those.")
    shapes = [array.shape for array in arrays]
    if any(len(shape) not in (2, 3) for shape in shapes) or len({shape[0] for shape in shapes}) > 1:
        raise SettingsError(f"Give arrays (word, feature) or (word, layer, neuron) of the same words, got {shapes}.")
    words = np.arange(shapes[0][0], dtype=np.int64)
    if len(words) < 2:
        raise DataError(f"Correlations need 2 words or more, got {len(words)}.")
    blocks = [
        [LayerBlock(ARRAY_SITE, layer, shape[-1]) for layer in range(int(np.prod(shape[1:-1])))] for shape in shapes
    ]
    return MatchedWords(
        names=_names(["array"] * models),
        axes=tuple(NeuronAxis(blocks=tuple(of_array)) for of_array in blocks),
        sentences=words,
        words_of_any=len(words),
        left_out=(0,) * models,
        _sources=tuple((array.reshape(len(words), -1), words) for array in arrays),
    )


def _table(source: Vectors, units: Int64[np.ndarray, " chosen"], axis: NeuronAxis) -> Table:
    if not isinstance(source, ActivationStore):
        return Table(lambda first, last: np.asarray(source[units[first:last]], np.float32), axis.size)
    sites = tuple(dict.fromkeys(block.site for block in axis.blocks))
    layers = {site: [block.layer for block in axis.blocks if block.site == site] for site in sites}

    def read(first: int, last: int) -> Float32[np.ndarray, "word feature"]:
        return source.matrix(units[first:last], sites=sites, layers=layers)

    return Table(read, axis.size)


def _keys(store: ActivationStore) -> Int64[np.ndarray, " unit"]:
    """Returns a number for every unit's sentence and place; units are in the order of the corpus, so these grow."""
    sentence, position = (store.words[name].to_numpy().astype(np.int64) for name in ("sentence", "position"))
    return (sentence << 32) + position


def _refuse_other_forms(stores: Sequence[ActivationStore], units: Sequence[Int64[np.ndarray, " word"]]) -> None:
    forms = [store.words["form"].take(of) for store, of in zip(stores, units, strict=True)]
    for number, (other, own) in enumerate(zip(stores[1:], forms[1:], strict=True), start=1):
        if forms[0].equals(own):
            continue
        place = next(place for place, pair in enumerate(zip(forms[0], own, strict=True)) if pair[0] != pair[1])
        sentence, position = (stores[0].words[name][units[0][place]].as_py() for name in ("sentence", "position"))
        raise SettingsError(
            f"{stores[0].place} and {other.place} are not of one corpus: {stores[0].unit} {position + 1} of sentence "
            f"{sentence + 1} is {forms[0][place].as_py()!r} and {forms[number][place].as_py()!r}. Extract the same "
            "corpus with each model, and words rather than pieces where their tokenizers differ."
        )


def _names(names: Sequence[str]) -> tuple[str, ...]:
    """Returns names without their folders or owners, numbered from 1 where models are called the same."""
    names = [name.rstrip("/").rsplit("/", 1)[-1] for name in names]
    return tuple(
        f"{name} {names[: place + 1].count(name)}" if names.count(name) > 1 else name
        for place, name in enumerate(names)
    )
