"""Makes stores that are kept in memory, or whose vectors lie nowhere."""

from collections.abc import Mapping

import numpy as np
import tensorstore as ts

from lca_jax.store.array import LazyArray
from lca_jax.store.recipe import Recipe
from lca_jax.store.statistics import Statistics
from lca_jax.store.store import ActivationStore
from lca_jax.store.units import Units, all_words
from lca_jax.store.writer import ShardArrays, ShardRecord, StoreWriter, make_manifest, words_table
from lca_jax.text.corpus import Corpus


class MemoryWriter(StoreWriter):
    """Fills arrays that stay in memory; nothing is copied. Once whole they are read-only, like a store on disk."""

    def __init__(self, recipe: Recipe) -> None:
        """Reserves memory for the whole store."""
        self._recipe = recipe
        dtype = ts.dtype(recipe.dtype).numpy_dtype
        self._arrays = {
            site: np.zeros((recipe.words, len(shape.layers), shape.width), dtype)
            for site, shape in recipe.sites.items()
        }
        self._records: dict[int, ShardRecord] = {}
        self._shard_statistics: dict[int, bytes | None] = {}
        self._statistics: Statistics | None = None

    def close(self) -> None:  # noqa: D102
        pass

    @property
    def place(self) -> str:  # noqa: D102
        return "memory"

    @property
    def written(self) -> Mapping[str, LazyArray]:  # noqa: D102
        return {site: LazyArray(array) for site, array in self._arrays.items()}

    def record_of(self, shard: int) -> ShardRecord:  # noqa: D102
        return self._records[shard]

    def statistics_of(self, shard: int) -> bytes | None:  # noqa: D102
        return self._shard_statistics[shard]

    def keep_statistics(self, statistics: Statistics) -> None:  # noqa: D102
        self._statistics = statistics

    @property
    def missing(self) -> frozenset[int]:  # noqa: D102
        return frozenset(set(range(self._recipe.shard_count)) - self._records.keys())

    def new_arrays(self, shard: int) -> ShardArrays:  # noqa: D102
        first, last = self._recipe.shard_range(shard)
        return {site: array[first:last] for site, array in self._arrays.items()}

    def write(self, shard: int, arrays: ShardArrays, record: ShardRecord, statistics: bytes | None = None) -> None:  # noqa: ARG002, D102
        self._records[shard] = record
        self._shard_statistics[shard] = statistics

    def finish(self, corpus: Corpus, names: Mapping[str, str], units: Units | None = None) -> ActivationStore:  # noqa: D102
        for array in self._arrays.values():
            array.flags.writeable = False
        return store_without_folder(
            self._recipe,
            corpus,
            names,
            units or all_words(corpus),
            records=self._records,
            arrays=self.written,
            statistics=self._statistics,
        )


def store_without_folder(
    recipe: Recipe,
    corpus: Corpus,
    names: Mapping[str, str],
    units: Units,
    *,
    records: Mapping[int, ShardRecord],
    arrays: Mapping[str, LazyArray],
    statistics: Statistics | None = None,
) -> ActivationStore:
    """Returns a whole store that does not lie on disk.

    Args:
        recipe: What determines the arrays.
        corpus: The words and labels.
        names: Names of `model` and `tokenizer`.
        units: The units of the store.
        records: The records of all shards.
        arrays: The array of every site.
        statistics: Statistics of the whole store, if they were gathered.
    """
    table = words_table(corpus, units, recipe, records)
    manifest = make_manifest(recipe, corpus, names, table, omissions=units.omissions, files={})
    return ActivationStore(manifest=manifest, words=table, arrays=arrays, folder=None, memory_statistics=statistics)
