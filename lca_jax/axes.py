"""The words for places in a network: site, layer, neuron, and which feature column is which neuron.

Axis names in array shapes, everywhere in the package: `sentence piece word layer neuron feature class problem`.
A neuron is `(site, layer, index)`, never a bare column number; `NeuronAxis` is the one place where the two are
converted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Int

from lca_jax.errors import SettingsError

Site = Literal["residual", "attention", "mlp"]
SITES: tuple[Site, ...] = ("residual", "attention", "mlp")
"""`residual`: hidden states, layer 0 is the embedding output. `attention`: per-head outputs before the output
projection. `mlp`: units after the non-linearity. Layer 0 of the last two is the first block."""
DECODER = "decoder."
"""What stands before the sites of the second stack of an encoder-decoder; its first stack has the plain names."""
DECODER_SITES: tuple[str, ...] = ("decoder.residual", "decoder.attention", "decoder.cross", "decoder.mlp")
"""`decoder.cross`: per-head outputs of the attention to the encoder's states. The others as in `SITES`."""
HEAD = "head."
"""What stands before the sites of a word's head where words are read together with their heads (`pair_words`)."""


class Neuron(NamedTuple):
    """One dimension of one layer at one site; the layer is the model's own number, also where only some were read."""

    site: str
    layer: int
    index: int  # pyright: ignore[reportIncompatibleMethodOverride] - the field's own word; tuple.index goes unused

    def __str__(self) -> str:
        """`residual 3:127`; the site is left out where it is the usual one."""
        place = f"{self.layer}:{self.index}"
        return place if self.site == "residual" else f"{self.site} {place}"


class LayerBlock(NamedTuple):
    """The consecutive feature columns of one layer at one site."""

    site: str
    layer: int
    width: int
    """Number of columns."""
    indices: tuple[int, ...] | None = None
    """The neuron's index in each column; None where all of the layer are held, in their order."""


@dataclass(frozen=True, kw_only=True)
class NeuronAxis:
    """Which neuron each feature column is: blocks of layers side by side, in the order of the columns."""

    blocks: tuple[LayerBlock, ...]
    """The layers, each with its width; no (site, layer) twice."""

    def __post_init__(self) -> None:
        # Blocks that were read from JSON hold lists, which would equal no tuples.
        blocks = [block._replace(indices=tuple(block.indices)) if block.indices else block for block in self.blocks]
        object.__setattr__(self, "blocks", tuple(blocks))
        places = [(block.site, block.layer) for block in self.blocks]
        if len(set(places)) != len(places):
            raise SettingsError(f"Each (site, layer) may stand once on a neuron axis, got {places}.")

    @property
    def size(self) -> int:
        """Number of feature columns."""
        return sum(block.width for block in self.blocks)

    @cached_property
    def block_of_column(self) -> Int[np.ndarray, "feature"]:
        """Position in `blocks` for every column: what layer histograms count."""
        return np.repeat(np.arange(len(self.blocks)), [block.width for block in self.blocks])

    @cached_property
    def index_of_column(self) -> Int[np.ndarray, "feature"]:
        """Index inside its layer for every column."""
        indices = [np.arange(block.width) if block.indices is None else block.indices for block in self.blocks]
        return np.concatenate([np.arange(0), *indices])

    def neuron(self, column: int) -> Neuron:
        """The neuron of one column."""
        if not 0 <= column < self.size:
            raise SettingsError(f"Columns run from 0 to {self.size - 1}, got {column}.")
        block = self.blocks[self.block_of_column[column]]
        return Neuron(block.site, block.layer, int(self.index_of_column[column]))

    def neurons(self, columns: Sequence[int] | Int[np.ndarray, "neuron"]) -> list[Neuron]:
        """The neurons of several columns, in their order."""
        return [self.neuron(int(column)) for column in columns]

    def column(self, neuron: Neuron) -> int:
        """The column of one neuron.

        Raises:
            SettingsError: The axis does not hold the neuron; the message lists the layers that it holds.
        """
        start = 0
        for block in self.blocks:
            if (block.site, block.layer) == (neuron.site, neuron.layer):
                if block.indices is not None and neuron.index not in block.indices:
                    raise SettingsError(
                        f"Layer {block.layer} of `{block.site}` holds {block.width} chosen neurons, {neuron} is none "
                        "of them."
                    )
                if block.indices is not None:
                    return start + block.indices.index(neuron.index)
                if not 0 <= neuron.index < block.width:
                    raise SettingsError(
                        f"Layer {block.layer} of `{block.site}` has {block.width} neurons, got {neuron}."
                    )
                return start + neuron.index
            start += block.width
        held = ", ".join(f"{block.site} {block.layer}" for block in self.blocks)
        raise SettingsError(f"No layer {neuron.layer} of `{neuron.site}` here. Layers held: {held}.")
