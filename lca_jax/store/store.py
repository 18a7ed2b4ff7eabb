"""A whole store: the vectors of a corpus' words at chosen layers, with their forms, labels and origin.

On disk it is a folder of `manifest.json`, `words.parquet` and one zarr3 array a site (word, layer, neuron), in shards
of whole words; each shard is one file with a checksum on every chunk and on its index. Words that have no vector keep
rows of zeros: `usable` masks them, and `excluded` counts them by reason. Opening checks that all files have their full
size and that the small ones, which say how the others are read, are unaltered; reading refuses an altered chunk;
`verify` reads every byte. Any number of processes may read. `folder_writer` writes.
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

from lca_jax.axes import Layers, NeuronAxis, choose_layers
from lca_jax.errors import SettingsError, StoreError
from lca_jax.machine.folders import list_files, local_path, name_folder, open_folder, read_file
from lca_jax.store.array import ArrayRead, LazyArray, read_together
from lca_jax.store.description import store_as_html, store_as_text
from lca_jax.store.folder import find_short_files, open_array, refuse_files, verify_files
from lca_jax.store.label_column import number_classes, read_texts
from lca_jax.store.manifest import FileRecord, Manifest
from lca_jax.store.recipe import Recipe, Unit
from lca_jax.store.shard_files import ShardFiles
from lca_jax.store.statistics import STATISTICS, Statistics

MANIFEST = "manifest.json"
WORDS = "words.parquet"
ARRAY = "zarr.json"
"""Name of the file beside each site's shards that describes its array."""
LABEL_PREFIX = "label:"
"""Prefix of the columns that hold labels of the units."""
SENTENCE_LABEL_PREFIX = "sentence_label:"
"""Prefix of the columns that hold labels of each word's sentence; `pool_sentences` makes labels of them."""
PROGRESS = "unfinished/"
"""Folder that is there only while a store is being written; the writer keeps its records in it."""
RECIPE = f"{PROGRESS}recipe.json"


@dataclass(frozen=True, kw_only=True)
class ActivationStore:
    """The vectors of every word of a corpus: in memory, or read from disk or computed when they are used."""

    manifest: Manifest
    """Origin, counts and checksums."""
    words: pa.Table
    """One row a word: `sentence`, `position`, `form`, `pieces` (null where another program made the vectors),
    `excluded` (null, or the reason), `label:TASK` and `sentence_label:TASK` (null: unlabelled). Where units are
    sentences, `form` is the text (a tab between the texts of a pair). Where they are pieces, `position` counts pieces
    and `word` (null for special pieces) is the place of the word. Labels are dictionary arrays."""
    arrays: Mapping[str, LazyArray]
    """The array of each site."""
    folder: ts.KvStore | None
    """The store's folder; None for stores in memory and for those that are computed."""
    memory_statistics: Statistics | None = None
    """Statistics of a store in memory, if they were gathered when it was made."""

    def __repr__(self) -> str:
        """Returns units, sites, tasks, words without a vector, and the place, in a few lines."""
        return store_as_text(self.manifest, tasks=self.tasks, place=self.place)

    def _repr_html_(self) -> str:
        return store_as_html(self.manifest, tasks=self.tasks, place=self.place)

    @property
    def sites(self) -> dict[str, tuple[int, ...]]:
        """Layers of each site, by the model's own numbers."""
        return {site: shape.layers for site, shape in self.manifest.recipe.sites.items()}

    @property
    def unit(self) -> Unit:
        """Kind of the units: `word`, `piece` or `sentence`."""
        return self.manifest.recipe.unit

    @property
    def word_count(self) -> int:
        """Number of words (or pieces or sentences), those without a vector included."""
        return self.manifest.recipe.words

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the label columns."""
        columns: list[str] = self.words.column_names
        return tuple(name.removeprefix(LABEL_PREFIX) for name in columns if name.startswith(LABEL_PREFIX))

    @property
    def excluded(self) -> dict[str, int]:
        """Number of words of the corpus without a vector here, by reason; those that were not chosen are not units."""
        return dict(self.manifest.excluded)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the recipe; two stores made from the same have the same."""
        return self.manifest.recipe.fingerprint

    @property
    def place(self) -> str:
        """Name of the store in messages: its path or URL, or `memory`."""
        return "memory" if self.folder is None else name_folder(self.folder)

    @property
    def in_step(self) -> bool:
        """Whether several processes compute the vectors together, and must all read at the same time."""
        return any(array.in_step for array in self.arrays.values())

    @cached_property
    def usable(self) -> Bool[np.ndarray, "word"]:
        """Whether each word has a vector."""
        return self.words["excluded"].is_null().to_numpy()

    def forms(self) -> list[str]:
        """Returns the words as they are written."""
        return self.words["form"].to_pylist()

    def labels(self, task: str) -> list[str | None]:
        """Returns the label of every word in one task; None where a word is unlabelled.

        Raises:
            SettingsError: The store does not have the task; the message lists those it has.
        """
        return read_texts(self._label_column(task))

    def numbered_labels(self, task: str) -> tuple[tuple[str, ...], Int[np.ndarray, "word"]]:
        """Returns the sorted classes of one task, and the place of every word's class among them; -1 where unlabelled.

        No text of a word is made: for tasks of millions of words.

        Raises:
            SettingsError: The store does not have the task; the message lists those it has.
        """
        return number_classes(self._label_column(task))

    def _label_column(self, task: str) -> pa.ChunkedArray:
        if task not in self.tasks:
            raise SettingsError(
                f"No labels for the task {task!r} in {self.place}. Its tasks: {', '.join(self.tasks) or 'none'}."
            )
        return self.words[LABEL_PREFIX + task]

    def read(self, site: str) -> LazyArray:
        """Returns the array (word, layer, neuron) of one site in its stored type; it is read when it is sliced.

        Raises:
            SettingsError: The store does not have the site; the message lists those it has.
        """
        choose_layers(self.sites, [site], place=self.place)
        return self.arrays[site]

    def axis(self, sites: Sequence[str] | None = None, layers: Layers = None) -> NeuronAxis:
        """Returns the neuron of each column of `matrix`.

        Args:
            sites: Sites in the order of their columns; all sites of the store if None.
            layers: Layers by the model's own numbers, for every site alike or by site; all layers of the store if None.

        Raises:
            SettingsError: The store does not have a site or layer; the message lists those it has.
        """
        return self.manifest.recipe.axis_of(choose_layers(self.sites, sites, layers, place=self.place))

    @property
    def has_statistics(self) -> bool:
        """Whether the store has statistics."""
        return self.memory_statistics is not None or (
            self.folder is not None and STATISTICS in list_files(self.folder, STATISTICS)
        )

    def statistics(self) -> Statistics:
        """Returns means, variances, covariances, classes and quantiles of the neurons, without reading activations.

        Raises:
            StoreError: No statistics were gathered, or their file was altered since.
        """
        if self.memory_statistics is not None:
            return self.memory_statistics
        content = None if self.folder is None else read_file(self.folder, STATISTICS)
        if content is None:
            raise StoreError(
                f"{self.place} has no statistics. Gather them: `gather_statistics(store)` reads the store once; "
                "`extract(…, statistics=Gathering())` and `lca run --statistics` gather them beside an extraction."
            )
        return Statistics.from_bytes(content, self.manifest.recipe, place=self.place)

    def matrix(
        self,
        words: Int[np.ndarray, "word"] | Bool[np.ndarray, "store_word"] | Sequence[int] | None = None,
        *,
        sites: Sequence[str] | None = None,
        layers: Layers = None,
        out: Float32[np.ndarray, "word feature"] | None = None,
    ) -> Float32[np.ndarray, "word feature"]:
        """Returns chosen words and layers as one matrix, layers side by side in the order of `axis(sites, layers)`.

        It is read in parallel, straight into the matrix: the cost in memory is the matrix and a few chunks. All words
        and all layers of one float32 site of a store in memory are a read-only view, which costs nothing.

        Args:
            words: Numbers of words, in the order of the result, or a mask over all words such as `usable`; all if None.
                Words without a vector are zeros.
            sites: Sites in the order of their columns, as in `axis`.
            layers: Layers of the sites, as in `axis`.
            out: Memory to read into, for callers who read again and again: fresh memory costs as much as a third of the
                reading.

        Raises:
            SettingsError: The store does not have a site, layer or word, or `out` has another shape.
            StoreError: A shard was altered since it was written; the message names it.
            DataError: The model computed something that is not a finite number (stores of `recompute`).
        """
        chosen = choose_layers(self.sites, sites, layers, place=self.place)
        numbers = None if words is None else self._numbered(words)
        if out is None and numbers is None and (view := self._view(chosen)) is not None:
            return view
        count = self.word_count if numbers is None else len(numbers)
        shape = (count, self.manifest.recipe.axis_of(chosen).size)
        if out is not None and out.shape != shape:
            raise SettingsError(f"`out` must have the shape {shape}, got {out.shape}.")
        matrix = np.empty(shape, np.float32) if out is None else out
        column, reads = 0, []
        for site, of_site in chosen.items():
            width = self.manifest.recipe.sites[site].width
            columns = matrix[:, column : column + len(of_site) * width]
            positions = [self.sites[site].index(layer) for layer in of_site]
            reads.append(ArrayRead(self.arrays[site], columns.reshape(count, len(of_site), width), numbers, positions))
            column += columns.shape[1]
        read_together(reads)
        return matrix

    def verify(self) -> None:
        """Reads every byte of every file and compares the checksums; a store in memory has none.

        Raises:
            StoreError: Files are missing or altered; the message names each.
        """
        if self.folder is not None:
            read_manifest(self.folder)
            verify_files(self.folder, self.manifest.files)
            if self.has_statistics:
                self.statistics()

    def _view(self, chosen: Mapping[str, tuple[int, ...]]) -> Float32[np.ndarray, "word feature"] | None:
        """Returns all words of one whole float32 site that is in memory, without a copy; None for anything else."""
        site, *others = chosen
        if others or not self.arrays[site].in_memory or chosen[site] != self.sites[site]:
            return None
        vectors = self.arrays[site][:]
        return vectors.reshape(len(vectors), -1) if vectors.dtype == np.float32 else None

    def _numbered(
        self, words: Int[np.ndarray, "word"] | Bool[np.ndarray, "store_word"] | Sequence[int]
    ) -> Int[np.ndarray, "word"]:
        """Returns numbers of words, from numbers or from a mask."""
        given = np.asarray(words)
        if given.dtype == bool:
            if len(given) != self.word_count:
                raise SettingsError(f"A mask needs one value for each of {self.word_count} words, got {len(given)}.")
            return np.flatnonzero(given)
        numbers = given.astype(np.int64)
        outside = numbers[(numbers < 0) | (numbers >= self.word_count)]
        if outside.size:
            raise SettingsError(f"Words of {self.place} run from 0 to {self.word_count - 1}, got {outside[0]}.")
        return numbers


def open_store(path: str | Path) -> ActivationStore:
    """Opens a whole store after checking that each of its files has its full size.

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
        words=_read_words(small[WORDS]),
        arrays={site: open_site(folder, manifest.recipe, site) for site in manifest.recipe.sites},
        folder=folder,
    )


def _read_words(content: bytes) -> pa.Table:
    """Reads the table of words in this thread alone.

    Arrow's own threads let go of `content` after they have handed over the table. Where Python is ending by then, that
    ends the process with SIGABRT, though all its work is done.
    """
    return pq.ParquetFile(io.BytesIO(content), pre_buffer=False).read(use_threads=False)


def open_site(folder: ts.KvStore, recipe: Recipe, site: str) -> LazyArray:
    """Returns the array of one site, of which whole shards can be read."""
    array, path = open_array(folder, site), local_path(folder)
    files = None
    if path is not None:
        _, layers, width = array.shape
        dtype = array.dtype.numpy_dtype
        files = ShardFiles(Path(path), site, layers=layers, width=width, dtype=dtype, shard_words=recipe.shard_words)
    return LazyArray(array, place=name_folder(folder), files=files)


def read_manifest(folder: ts.KvStore) -> Manifest | None:
    """Returns the manifest of a whole store; None where there is none (yet)."""
    text = read_file(folder, MANIFEST)
    return None if text is None else Manifest.from_text(text, place=name_folder(folder))
