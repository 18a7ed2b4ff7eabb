"""The protocol of writing a store shard by shard, and the table of words and manifest that every writer ends with.

`FolderWriter` writes to disk or to an object store, `MemoryWriter` keeps everything in memory. Shards are written in
any order; a writer is a context, which on leaving lets other processes write.
"""

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import chain
from types import TracebackType
from typing import TypeVar

import numpy as np
import pyarrow as pa
from jaxtyping import Shaped

from lca_jax.machine.devices import describe_device
from lca_jax.machine.json_text import parse_json
from lca_jax.machine.versions import STORE_PACKAGES, package_versions
from lca_jax.store.array import LazyArray
from lca_jax.store.manifest import FileRecord, Manifest
from lca_jax.store.recipe import Recipe
from lca_jax.store.statistics import Statistics
from lca_jax.store.store import ActivationStore
from lca_jax.store.units import Units
from lca_jax.text.corpus import Corpus

ShardArrays = Mapping[str, Shaped[np.ndarray, "word layer neuron"]]
"""The vectors of one shard at every site."""
_Writer = TypeVar("_Writer", bound="StoreWriter")


@dataclass(frozen=True, kw_only=True)
class ShardRecord:
    """What is known of a whole shard beside its arrays, until the store is whole."""

    pieces: list[int] | list[None]
    """Number of pieces of each unit; None where another program made the vectors, which does not say."""
    excluded: dict[int, str]
    """Why a unit has no vector, by its number in the shard."""
    files: dict[str, FileRecord] = field(default_factory=dict)
    """Sizes and checksums of the shard's files, one a site."""

    def to_text(self) -> str:
        """Returns the record as one line of JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_text(cls, text: bytes) -> "ShardRecord":
        """Reads what `to_text` returned."""
        content = parse_json(text)
        return cls(
            pieces=content["pieces"],
            excluded={int(word): reason for word, reason in content["excluded"].items()},
            files={name: FileRecord(**record) for name, record in content["files"].items()},
        )


class StoreWriter(ABC):
    """Takes whole shards and makes a store of them."""

    def __enter__(self: _Writer) -> _Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Lets other processes write; shards that were written stay. After `finish` it does nothing."""

    @property
    @abstractmethod
    def missing(self) -> frozenset[int]:
        """Numbers of the shards that are still to be written."""

    @abstractmethod
    def new_arrays(self, shard: int) -> ShardArrays:
        """Returns zeros to fill with one shard's vectors."""

    @abstractmethod
    def write(self, shard: int, arrays: ShardArrays, record: ShardRecord, statistics: bytes | None = None) -> None:
        """Keeps one whole shard, and the statistics gathered of its units; on return it is safe."""

    @property
    @abstractmethod
    def place(self) -> str:
        """Name of the store in messages."""

    @property
    @abstractmethod
    def written(self) -> Mapping[str, LazyArray]:
        """The arrays of all sites, of which whole shards can be read."""

    @abstractmethod
    def record_of(self, shard: int) -> ShardRecord:
        """Returns the record of a whole shard."""

    @abstractmethod
    def statistics_of(self, shard: int) -> bytes | None:
        """Returns the statistics gathered of a whole shard; None where none were gathered."""

    @abstractmethod
    def keep_statistics(self, statistics: Statistics) -> None:
        """Keeps the statistics of the whole store with it."""

    @abstractmethod
    def finish(self, corpus: Corpus, names: Mapping[str, str], units: Units | None = None) -> ActivationStore:
        """Makes the store whole, once no shard is missing.

        Args:
            corpus: The words and labels.
            names: Names of `model` and `tokenizer`.
            units: The units of the store; all words of the corpus if None.
        """


def words_table(corpus: Corpus, units: Units, recipe: Recipe, records: Mapping[int, ShardRecord]) -> pa.Table:
    """Returns the table of words: one row a unit, in corpus order."""
    pieces = list(chain.from_iterable(records[shard].pieces for shard in range(recipe.shard_count)))
    excluded: list[str | None] = [None] * recipe.words
    for shard, record in records.items():
        for word, reason in record.excluded.items():
            excluded[shard * recipe.shard_words + word] = reason
    columns = units.columns(corpus)
    labels = {name: columns.pop(name) for name in list(columns) if ":" in name}
    facts = {"pieces": pa.array(pieces, pa.int32()), "excluded": pa.array(excluded, pa.string())}
    return pa.table(columns | facts | labels)


def make_manifest(
    recipe: Recipe,
    corpus: Corpus,
    names: Mapping[str, str],
    table: pa.Table,
    *,
    omissions: Mapping[str, int],
    files: Mapping[str, FileRecord],
) -> Manifest:
    """Returns the manifest of a whole store.

    Args:
        recipe: What determined the arrays.
        corpus: The words and labels.
        names: Names of `model` and `tokenizer`.
        table: The table of words.
        omissions: Number of words of the corpus that are not units, by reason.
        files: Sizes and checksums of all other files.
    """
    reasons = Counter(reason for reason in table["excluded"].to_pylist() if reason is not None)
    return Manifest(
        recipe=recipe,
        names=dict(names) | {"corpus": corpus.name},
        counts={
            "sentences": corpus.sentence_count,
            "words": recipe.words,
            "vectors": recipe.words - reasons.total(),
        },
        excluded=dict(sorted((reasons + Counter(omissions)).items())),
        skipped=dict(corpus.skipped),
        machine=describe_device(),
        versions=package_versions(STORE_PACKAGES),
        files=files,
    )
