"""Names for places in a network: sites, layers and neurons, and the neuron of each feature column.

Axis names in array shapes, everywhere in the package: `sentence piece word layer neuron feature class problem`.
A neuron is `(site, layer, index)`, never a bare column number. `NeuronAxis` is the one place that converts between the
two, and `LayerBlock.name` is the one name of a layer of a site.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Int

from lca_jax.errors import SettingsError

Site = Literal["residual", "attention", "mlp", "cell", "gates"]
SITES: tuple[Site, ...] = ("residual", "attention", "mlp")
"""`residual`: hidden states, layer 0 is the embedding output. `attention`: per-head outputs before the output
projection. `mlp`: units after the non-linearity. Layer 0 of the last two is the first block."""
DECODER = "decoder."
"""Prefix of the sites of an encoder-decoder's second stack; the sites of its first stack have the plain names."""
DECODER_SITES: tuple[str, ...] = ("decoder.residual", "decoder.attention", "decoder.cross", "decoder.mlp")
"""`decoder.cross`: per-head outputs of the attention to the encoder's states. The others are as in `SITES`."""
ARRAY_SITE = "array"
"""The site of plain arrays, whose neurons are their columns."""
LSTM_SITES: tuple[Site, ...] = ("residual", "cell", "gates")
"""The sites of an LSTM stack. `residual`: the word vectors, then the output of every layer. `cell`: the memory cells.
`gates`: what opens them, after the non-linearities: all input gates of a direction, then its forget gates, the new
contents and the output gates. Layer 0 of the last two is the first LSTM. Edits of these two act on what the next slots
read as well; an edit of `residual` acts on the next layer alone."""
LSTM_DECODER_SITES: tuple[str, ...] = ("decoder.residual", "decoder.cell", "decoder.cross", "decoder.gates")
"""The sites of an LSTM decoder."""
HEAD = "head."
"""Prefix of the sites of a word's head, where words are read together with their heads (`pair_words`)."""


class Neuron(NamedTuple):
    """One dimension of one layer at one site. The layer has the model's own number, also where only some were read."""

    site: str
    layer: int
    index: int  # pyright: ignore[reportIncompatibleMethodOverride] - the field's own word; tuple.index goes unused

    def __str__(self) -> str:
        """Returns `3:127` for a neuron of the residual stream, and `mlp 3:127` for one of another site."""
        place = f"{self.layer}:{self.index}"
        return place if self.site == "residual" else f"{self.site} {place}"


class LayerBlock(NamedTuple):
    """The consecutive feature columns of one layer at one site."""

    site: str
    layer: int
    width: int
    """Number of columns."""
    indices: tuple[int, ...] | None = None
    """The neuron's index in each column; None if the block has all neurons of the layer, in their order."""

    @property
    def name(self) -> str:
        """Name of the layer, e.g. `residual 3`: the same in subsets, messages, tables and results."""
        return f"{self.site} {self.layer}"


@dataclass(frozen=True, kw_only=True)
class NeuronAxis:
    """Assigns a neuron to each feature column: blocks of layers side by side, in the order of the columns."""

    blocks: tuple[LayerBlock, ...]
    """The layers, each with its width; each (site, layer) at most once."""

    def __post_init__(self) -> None:
        # Blocks read from JSON hold lists, and a list never equals a tuple.
        blocks = [block._replace(indices=tuple(block.indices)) if block.indices else block for block in self.blocks]
        object.__setattr__(self, "blocks", tuple(blocks))
        if len({(block.site, block.layer) for block in blocks}) != len(blocks):
            raise SettingsError(f"A neuron axis must have each layer of a site once, got {self.layer_names}.")

    @property
    def size(self) -> int:
        """Number of feature columns."""
        return sum(block.width for block in self.blocks)

    @property
    def layer_names(self) -> list[str]:
        """Names of the blocks, in their order, e.g. `["residual 0", "residual 1"]`."""
        return [block.name for block in self.blocks]

    @cached_property
    def block_of_column(self) -> Int[np.ndarray, "feature"]:
        """Position in `blocks` of every column's block; histograms over layers count these."""
        return np.repeat(np.arange(len(self.blocks)), [block.width for block in self.blocks])

    @cached_property
    def index_of_column(self) -> Int[np.ndarray, "feature"]:
        """Index of every column's neuron within its layer."""
        indices = [np.arange(block.width) if block.indices is None else block.indices for block in self.blocks]
        return np.concatenate([np.arange(0), *indices])

    def neuron(self, column: int) -> Neuron:
        """Returns the neuron of one column."""
        if not 0 <= column < self.size:
            raise SettingsError(f"Columns run from 0 to {self.size - 1}, got {column}.")
        block = self.blocks[self.block_of_column[column]]
        return Neuron(block.site, block.layer, int(self.index_of_column[column]))

    def neurons(self, columns: Sequence[int] | Int[np.ndarray, "neuron"]) -> list[Neuron]:
        """Returns the neurons of several columns, in the order given."""
        return [self.neuron(int(column)) for column in columns]

    def column(self, neuron: Neuron) -> int:
        """Returns the column of one neuron.

        Raises:
            SettingsError: The axis does not have the neuron; the message lists its layers.
        """
        start = 0
        for block in self.blocks:
            if (block.site, block.layer) == (neuron.site, neuron.layer):
                if block.indices is not None and neuron.index not in block.indices:
                    raise SettingsError(
                        f"Only {block.width} neurons of layer {block.layer} of `{block.site}` were chosen, "
                        f"and {neuron} is not among them."
                    )
                if block.indices is not None:
                    return start + block.indices.index(neuron.index)
                if not 0 <= neuron.index < block.width:
                    raise SettingsError(
                        f"Layer {block.layer} of `{block.site}` has {block.width} neurons, got {neuron}."
                    )
                return start + neuron.index
            start += block.width
        raise SettingsError(
            f"This axis has no layer {neuron.layer} of `{neuron.site}`. It has: {', '.join(self.layer_names)}."
        )


Layers = Sequence[int] | Mapping[str, Sequence[int]] | None
"""Layer numbers for every site alike, or by site; None for all layers. A site that a mapping leaves out has all."""


def choose_layers(
    known: Mapping[str, Sequence[int]], sites: Sequence[str] | None = None, layers: Layers = None, *, place: str
) -> dict[str, tuple[int, ...]]:
    """Returns the chosen layers of each site, in the requested order: the one rule wherever layers are chosen.

    Args:
        known: All sites and their layers.
        sites: Names of sites, each once; all if None.
        layers: Layer numbers for every site alike, or by site; all if None.
        place: Name of the model or store in messages.

    Raises:
        SettingsError: A site or a layer is unknown, one is named twice, or none is; the message lists the known ones.
    """
    names = tuple(known) if sites is None else tuple(sites)
    by_site = layers if isinstance(layers, Mapping) else dict.fromkeys(names, layers)
    if unknown := [name for name in (*names, *by_site) if name not in known]:
        raise SettingsError(f"There is no site {unknown[0]!r} in {place}. Its sites: {', '.join(known)}.")
    if not names or len(set(names)) != len(names):
        raise SettingsError(f"`sites` must name at least one site, each once, got {names}.")
    if others := sorted(set(by_site) - set(names)):
        raise SettingsError(f"`layers` names {', '.join(others)}, but the chosen sites are {', '.join(names)}.")
    return {name: _check_layers(name, known[name], by_site.get(name), place=place) for name in names}


def _check_layers(site: str, known: Sequence[int], layers: Sequence[int] | None, *, place: str) -> tuple[int, ...]:
    chosen = tuple(known) if layers is None else tuple(layers)
    if not chosen or len(set(chosen)) != len(chosen) or not set(chosen) <= set(known):
        is_range = list(known) == list(range(len(known)))
        numbers = f"run from 0 to {len(known) - 1}" if is_range else f"are {', '.join(map(str, known))}"
        raise SettingsError(
            f"Layers of `{site}` in {place} {numbers}; name at least one, each once. Got {', '.join(map(str, chosen))}."
        )
    return chosen
