"""Writes whole stores as one file for other programs: Arrow, which `datasets`, pandas and Polars read, and safetensors.

Both are written some thousands of words at a time, which bounds the memory, and get their names once they are whole.
Neither is read back into a store. Words without a vector keep their zeros, and are marked in `excluded` or `usable`.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Shaped

from lca_jax.errors import SettingsError
from lca_jax.machine.files import write_whole
from lca_jax.machine.urls import refuse_url
from lca_jax.store.in_order import in_order
from lca_jax.store.store import LABEL_PREFIX, ActivationStore

_SAFETENSORS_TYPES = {
    "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int32": "I32", "int64": "I64", "bool": "BOOL",
}  # fmt: skip
_ALIGNMENT_BYTES = 8


def write_arrow(store: ActivationStore, path: str | Path) -> Path:
    """Writes a table in Arrow's streaming format: the columns of `store.words`, and a column of vectors per layer.

    The columns of vectors are named `SITE:LAYER`, e.g. `residual:0`, by the model's own layer numbers, and hold lists
    of fixed size. `datasets.Dataset.from_file` maps the file into memory, `load_dataset("arrow", data_files=…)` copies
    it into its cache. Arrow has no bfloat16: such numbers are written as float32, which holds them exactly. The
    metadata of the schema holds the store's recipe and names under `lca_jax`.

    Args:
        store: A whole store.
        path: File to write; its name ends in `.arrow`.

    Returns:
        The file.

    Raises:
        SettingsError: The name does not end in `.arrow`.
        StoreError: The file exists already.
    """
    path = _named(path, ".arrow")
    of_layers = {
        f"{site}:{layer}": (site, position)
        for site, layers in store.sites.items()
        for position, layer in enumerate(layers)
    }
    number = pa.float16() if store.manifest.recipe.dtype == "float16" else pa.float32()
    fields = [
        pa.field(name, pa.list_(number, store.manifest.recipe.sites[site].width))
        for name, (site, _) in of_layers.items()
    ]
    schema = pa.schema([*store.words.schema, *fields], metadata={"lca_jax": json.dumps(_origin(store))})
    with write_whole([path]) as [unfinished], pa.ipc.new_stream(unfinished, schema) as writer:
        for words in in_order(store):
            vectors = {site: _with_arrow_type(store.read(site)[words]) for site in store.sites}
            columns = [
                pa.FixedSizeListArray.from_arrays(pa.array(vectors[site][:, position].ravel()), vectors[site].shape[-1])
                for site, position in of_layers.values()
            ]
            table = store.words.slice(words.start, words.stop - words.start).combine_chunks()
            facts = [table[name].combine_chunks() for name in table.column_names]
            writer.write_batch(pa.record_batch([*facts, *columns], schema=schema))
    return path


def write_safetensors(store: ActivationStore, path: str | Path) -> list[Path]:
    """Writes named tensors, and beside them `NAME.parquet` with the columns of `store.words`.

    | tensor | shape, type |
    | --- | --- |
    | `residual`, or another site | (word, layer, neuron), as stored |
    | `residual.layers` | (layer), int64: the model's own numbers |
    | `sentence` | (word), int32: number of the word's sentence |
    | `label:TASK` | (word), int32: place in the classes, -1 for a word without a label |
    | `usable` | (word), Boolean: whether the word has a vector |

    The metadata of the file holds, as JSON, `classes` (of every task, in order) and `lca_jax` (recipe and names).

    Args:
        store: A whole store.
        path: File to write; its name ends in `.safetensors`.

    Returns:
        Both files, the tensors first.

    Raises:
        SettingsError: The name does not end in `.safetensors`.
        StoreError: A file exists already.
    """
    path = _named(path, ".safetensors")
    classes = {task: sorted({label for label in store.labels(task) if label is not None}) for task in store.tasks}
    small: dict[str, np.ndarray] = {
        f"{site}.layers": np.array(layers, np.int64) for site, layers in store.sites.items()
    }
    small["sentence"] = store.words["sentence"].to_numpy().astype(np.int32)
    for task, names in classes.items():
        number_of = {name: number for number, name in enumerate(names)}
        small[LABEL_PREFIX + task] = np.array(
            [-1 if label is None else number_of[label] for label in store.labels(task)], np.int32
        )
    # Wide numbers come first: readers that map the file want a tensor to begin at a multiple of its number size.
    tensors = [
        *(_Tensor(name, array.dtype, array.shape, [array]) for name, array in small.items()),
        *(_of_site(store, site) for site in store.sites),
        _Tensor("usable", store.usable.dtype, store.usable.shape, [store.usable]),
    ]
    metadata = {"classes": json.dumps(classes), "lca_jax": json.dumps(_origin(store))}
    words = path.with_suffix(".parquet")
    with write_whole([path, words]) as [unfinished, unfinished_words]:
        _write_tensors(unfinished, tensors, metadata)
        pq.write_table(store.words, unfinished_words, compression="zstd")
    return [path, words]


class _Tensor(NamedTuple):
    """A tensor whose numbers are read while it is written."""

    name: str
    """Name in the file."""
    dtype: np.dtype
    """Type of the numbers."""
    shape: tuple[int, ...]
    """Shape of the whole."""
    parts: Iterable[Shaped[np.ndarray, "..."]]
    """Numbers of the tensor, in order, in parts."""

    @property
    def size_bytes(self) -> int:
        """Size of the whole."""
        return math.prod(self.shape) * self.dtype.itemsize


def _of_site(store: ActivationStore, site: str) -> _Tensor:
    array = store.read(site)
    return _Tensor(site, array.dtype, array.shape, (array[words] for words in in_order(store)))


def _write_tensors(path: Path, tensors: Sequence[_Tensor], metadata: Mapping[str, str]) -> None:
    """Writes the format of safetensors: the length of the header in eight bytes, the header as JSON, the tensors.

    The package `safetensors` writes only tensors that are in memory as a whole.
    """
    header: dict[str, object] = {"__metadata__": metadata}
    end = 0
    for tensor in tensors:
        begin, end = end, end + tensor.size_bytes
        kind = _SAFETENSORS_TYPES[tensor.dtype.name]
        header[tensor.name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % _ALIGNMENT_BYTES)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for tensor in tensors:
            for part in tensor.parts:
                file.write(np.ascontiguousarray(part).tobytes())


def _with_arrow_type(vectors: Shaped[np.ndarray, "word layer neuron"]) -> Shaped[np.ndarray, "word layer neuron"]:
    return vectors if vectors.dtype in (np.float32, np.float16) else vectors.astype(np.float32)


def _origin(store: ActivationStore) -> dict[str, object]:
    return {"recipe": store.manifest.recipe.as_json(), "names": dict(store.manifest.names)}


def _named(path: str | Path, ending: str) -> Path:
    refuse_url(path)
    path = Path(path)
    if path.suffix != ending:
        raise SettingsError(f"The name of the file must end in {ending}, got {path.name}.")
    return path
