"""A whole store: the vectors of a corpus' words at chosen layers, with their forms, labels and origin.

On disk it is a folder of `manifest.json`, `words.parquet` and one zarr3 array a site (word, layer, neuron), in shards
of whole words; each shard is one file with a checksum on every chunk and on its index. The words that have no vector
keep rows of zeros: `usable` masks them, and `excluded` counts them by reason. Opening checks that all files are there
in full size and that the small ones, which say how the others are read, are unaltered; reading refuses an altered
chunk; `verify` reads every byte. Any number of processes may read. Writing is `writer`'s.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorstore as ts
from jaxtyping import Bool, Float32, Int

from lca_jax.axes import NeuronAxis
from lca_jax.errors import SettingsError, StoreError
from lca_jax.store.array import ArrayRead, LazyArray, read_together
from lca_jax.store.folder import (
    find_short_files,
    list_files,
    local_path,
    name_folder,
    open_array,
    open_folder,
    read_file,
    refuse_files,
    verify_files,
)
from lca_jax.store.manifest import FileRecord, Manifest
from lca_jax.store.recipe import Recipe, Unit
from lca_jax.store.shard_files import ShardFiles
from lca_jax.store.statistics import STATISTICS, Statistics

MANIFEST = "manifest.json"
WORDS = "words.parquet"
ARRAY = "zarr.json"
"""Name of the file beside each site's shards that describes its array."""
LABEL_PREFIX = "label:"
SENTENCE_LABEL_PREFIX = "sentence_label:"
"""Of the labels that a word's sentence has, in a store of words: what `pool_sentences` makes labels of."""
PROGRESS = "unfinished/"
"""Folder that is there only while a store is being written; `writer` keeps its records in it."""
RECIPE = f"{PROGRESS}recipe.json"

Layers = Sequence[int] | Mapping[str, Sequence[int]] | None
"""Layer numbers for every site alike, or for some sites by name; all that there are where nothing is said."""


@dataclass(frozen=True, kw_only=True)
class ActivationStore:
    """The vectors of every word of a corpus: read from disk or computed where they are asked for, or held in memory."""

    manifest: Manifest
    """Origin, counts and checksums."""
    words: pa.Table
    """One row a word: `sentence`, `position`, `form`, `pieces` (null where another program made the vectors),
    `excluded` (null, or the reason), `label:TASK` and `sentence_label:TASK` (null: unlabelled). Where rows are
    sentences, `form` is the text (a tab between the texts of a pair). Where they are pieces, `position` counts pieces
    and `word` (null for special pieces) is the place of the word."""
    arrays: Mapping[str, LazyArray]
    """One array a site."""
    folder: ts.KvStore | None
    """Where it lies; None in memory, and for one that is computed."""
    gathered: Statistics | None = None
    """Statistics of a store in memory, where they were gathered when it was made."""

    @property
    def sites(self) -> dict[str, tuple[int, ...]]:
        """The layers held at each site, by the model's own numbers."""
        return {site: shape.layers for site, shape in self.manifest.recipe.sites.items()}

    @property
    def unit(self) -> Unit:
        """What a row is: a word, a piece or a sentence."""
        return self.manifest.recipe.unit

    @property
    def word_count(self) -> int:
        """Rows of every array: words (or pieces or sentences), those without a vector included."""
        return self.manifest.recipe.words

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the label columns."""
        columns: list[str] = self.words.column_names
        return tuple(name.removeprefix(LABEL_PREFIX) for name in columns if name.startswith(LABEL_PREFIX))

    @property
    def excluded(self) -> dict[str, int]:
        """Words of the corpus without a vector here, counted by reason; those that were not chosen have no row."""
        return dict(self.manifest.excluded)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what determines the arrays: equal for two stores made from the same."""
        return self.manifest.recipe.fingerprint

    @property
    def place(self) -> str:
        """How the store is called in messages: its path or URL, or `memory`."""
        return "memory" if self.folder is None else name_folder(self.folder)

    @cached_property
    def usable(self) -> Bool[np.ndarray, "word"]:
        """Whether each word has a vector."""
        return self.words["excluded"].is_null().to_numpy()

    def forms(self) -> list[str]:
        """The words as they are written."""
        return self.words["form"].to_pylist()

    def labels(self, task: str) -> list[str | None]:
        """The label of every word in one task; None where a word is unlabelled.

        Raises:
            SettingsError: No such task; the message lists the tasks held.
        """
        if task not in self.tasks:
            raise SettingsError(
                f"No labels for the task {task!r} in {self.place}. Tasks held: {', '.join(self.tasks) or 'none'}."
            )
        return self.words[LABEL_PREFIX + task].to_pylist()

    def read(self, site: str) -> LazyArray:
        """The array (word, layer, neuron) of one site in its stored type; nothing is read until it is sliced.

        Raises:
            SettingsError: The site was not extracted; the message lists the sites held.
        """
        if site not in self.arrays:
            raise SettingsError(f"The site {site!r} is not in {self.place}. Sites held: {', '.join(self.arrays)}.")
        return self.arrays[site]

    def axis(self, sites: Sequence[str] | None = None, layers: Layers = None) -> NeuronAxis:
        """Which neuron each column of `matrix` is.

        Args:
            sites: Sites in the order of their columns; all that are held if None.
            layers: The model's own layer numbers, of every site alike or by site; all that are held if None.

        Raises:
            SettingsError: A site or layer was not extracted; the message lists what is held.
        """
        return self.manifest.recipe.axis_of(self._chosen(sites, layers))

    @property
    def has_statistics(self) -> bool:
        """Whether `statistics` has any to give."""
        return self.gathered is not None or (
            self.folder is not None and STATISTICS in list_files(self.folder, STATISTICS)
        )

    def statistics(self) -> Statistics:
        """Means, variances, covariances, classes and quantiles of the neurons; no activation is read.

        Raises:
            StoreError: None were gathered, or their file was altered since.
        """
        if self.gathered is not None:
            return self.gathered
        content = None if self.folder is None else read_file(self.folder, STATISTICS)
        if content is None:
            raise StoreError(
                f"{self.place} has no statistics. Gather them: `gather_statistics(store)` reads the store once; "
                "`extract(…, statistics=Gathering())` and `lca run --statistics` gather them beside an extraction."
            )
        return Statistics.from_bytes(content, self.manifest.recipe, place=self.place)

    def matrix(
        self,
        rows: Int[np.ndarray, "row"] | Bool[np.ndarray, "word"] | Sequence[int] | None = None,
        *,
        sites: Sequence[str] | None = None,
        layers: Layers = None,
        out: Float32[np.ndarray, "row feature"] | None = None,
    ) -> Float32[np.ndarray, "row feature"]:
        """The chosen words and layers as one matrix, layers side by side in the order of `axis(sites, layers)`.

        It is read in parallel, straight into the matrix returned: the cost in memory is the matrix and a few chunks. Of
        a store in memory, all words and all layers of one float32 site are a read-only view, which costs nothing.

        Args:
            rows: The words wanted, by number in their order, or as a mask over all words such as `usable`; all if None.
                Words without a vector are rows of zeros.
            sites: As in `axis`.
            layers: As in `axis`.
            out: Memory to read into, for callers who read again and again: fresh memory costs as much as a third of the
                reading.

        Raises:
            SettingsError: A site, a layer or a row is not held, or `out` has another shape.
            StoreError: A shard was altered since it was written; the message names it.
            DataError: The model computed something that is not a finite number (stores of `recompute`).
        """
        chosen = self._chosen(sites, layers)
        words = None if rows is None else self._numbered(rows)
        if (
            out is None
            and words is None
            and len(chosen) == 1
            and self.arrays[chosen[0][0]].in_memory
            and chosen[0][1] == self.sites[chosen[0][0]]
        ):
            held = self.arrays[chosen[0][0]][:]
            if held.dtype == np.float32:
                return held.reshape(len(held), -1)
        row_count = self.word_count if words is None else len(words)
        shape = (row_count, self.axis(sites, layers).size)
        if out is not None and out.shape != shape:
            raise SettingsError(f"`out` must have the shape {shape}, got {out.shape}.")
        matrix = np.empty(shape, np.float32) if out is None else out
        column, reads = 0, []
        for site, wanted in chosen:
            width = self.manifest.recipe.sites[site].width
            columns = matrix[:, column : column + len(wanted) * width]
            positions = [self.sites[site].index(layer) for layer in wanted]
            reads.append(ArrayRead(self.arrays[site], columns.reshape(row_count, len(wanted), width), words, positions))
            column += columns.shape[1]
        read_together(reads)
        return matrix

    def verify(self) -> None:
        """Reads every byte of every file and compares the checksums; of a store in memory there are none.

        Raises:
            StoreError: Files are missing or altered; the message names each.
        """
        if self.folder is not None:
            read_manifest(self.folder)
            verify_files(self.folder, self.manifest.files)
            if self.has_statistics:
                self.statistics()

    def _chosen(self, sites: Sequence[str] | None, layers: Layers) -> list[tuple[str, tuple[int, ...]]]:
        """The sites and layers asked for, in the order of their columns."""
        chosen = []
        for site in self.sites if sites is None else sites:
            self.read(site)
            held = self.sites[site]
            asked = layers.get(site) if isinstance(layers, Mapping) else layers
            wanted = held if asked is None else tuple(asked)
            absent = [layer for layer in wanted if layer not in held]
            if absent or not wanted:
                raise SettingsError(f"Layers {absent} of `{site}` are not in {self.place}. Layers held: {list(held)}.")
            chosen.append((site, wanted))
        if not chosen:
            raise SettingsError(f"Name at least one site. Sites held: {', '.join(self.sites)}.")
        return chosen

    def _numbered(
        self, rows: Int[np.ndarray, "row"] | Bool[np.ndarray, "word"] | Sequence[int]
    ) -> Int[np.ndarray, "row"]:
        """Word numbers, from numbers or from a mask."""
        asked = np.asarray(rows)
        if asked.dtype == bool:
            if len(asked) != self.word_count:
                raise SettingsError(f"A mask needs one value for each of {self.word_count} words, got {len(asked)}.")
            return np.flatnonzero(asked)
        numbers = asked.astype(np.int64)
        outside = numbers[(numbers < 0) | (numbers >= self.word_count)]
        if outside.size:
            raise SettingsError(f"Words of {self.place} run from 0 to {self.word_count - 1}, got {outside[0]}.")
        return numbers


def open_store(path: str | Path) -> ActivationStore:
    """Opens a whole store after checking that each of its files is there in full size.

    Args:
        path: A local folder, or a URL that tensorstore knows (`gs://…`, `s3://…`).

    Raises:
        StoreError: There is no store, it is unfinished or out of reach, it has another format number, files are missing
            or truncated, or one of the small files was altered.
    """
    folder = open_folder(path)
    manifest = read_manifest(folder)
    if manifest is None:
        if read_file(folder, RECIPE) is not None:
            raise StoreError(
                f"The store {path} is unfinished: a run that writes it is going on, or was stopped. "
                "Run the same extraction again; it goes on from the last whole shard."
            )
        raise StoreError(
            f"{path} is not an activation store: it has no {MANIFEST}. Give the folder that `extract` wrote."
        )
    refuse_files(folder, list(find_short_files(folder, manifest.files).values()))
    small = {name: read_file(folder, name) or b"" for name in manifest.files if name == WORDS or name.endswith(ARRAY)}
    altered = [name for name, content in small.items() if FileRecord.of(content) != manifest.files[name]]
    refuse_files(folder, [f"{name} was altered" for name in altered])
    return ActivationStore(
        manifest=manifest,
        words=pq.read_table(io.BytesIO(small[WORDS])),
        arrays={site: open_site(folder, manifest.recipe, site) for site in manifest.recipe.sites},
        folder=folder,
    )


def open_site(folder: ts.KvStore, recipe: Recipe, site: str) -> LazyArray:
    """The array of one site, of which whole shards can be read."""
    array, path = open_array(folder, site), local_path(folder)
    files = None
    if path is not None:
        _, layers, width = array.shape
        dtype = array.dtype.numpy_dtype
        files = ShardFiles(Path(path), site, layers=layers, width=width, dtype=dtype, shard_words=recipe.shard_words)
    return LazyArray(array, place=name_folder(folder), files=files)


def read_manifest(folder: ts.KvStore) -> Manifest | None:
    """The manifest of a whole store; None where there is none (yet)."""
    text = read_file(folder, MANIFEST)
    return None if text is None else Manifest.from_text(text, place=name_folder(folder))
