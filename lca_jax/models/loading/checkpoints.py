"""Opens the weights of a Hugging Face folder, whatever their layout, as named tensors that are read one at a time.

Safetensors come first, in one file or in shards with an index; a legacy `flax_model.msgpack` is read where there are
none. Pickles (`pytorch_model.bin`) are never opened: loading one runs the code inside it. Every layout is brought to
the tensor names and the matrix layout of PyTorch, which the family files use. At first only the headers of safetensors
are read; a tensor is read when it is called for, and is then the only one on the host. The files are not mapped into
memory: a page of a map that was read once stays in memory for as long as the map does. A msgpack file is read whole.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from flax.serialization import msgpack_restore
from jaxtyping import Shaped
from safetensors import SafetensorError, safe_open

from lca_jax.errors import ModelError, list_problems
from lca_jax.machine.json_text import parse_json

Tensors = Mapping[str, Callable[[], Shaped[np.ndarray, "..."]]]
"""Name of a tensor to the call that reads it."""

_SINGLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_MSGPACK = "flax_model.msgpack"
_LEGACY_SUFFIXES = {".gamma": ".weight", ".beta": ".bias"}
_DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": jnp.bfloat16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U64": np.uint64,
    "U32": np.uint32,
    "U16": np.uint16,
    "U8": np.uint8,
    "BOOL": np.bool_,
}
"""Types by their names in safetensors. Narrower floats are not supported: they have no meaning without scales stored
beside them."""
_FLAX_LEAVES = {"kernel": "weight", "scale": "weight", "embedding": "weight"}


def open_tensors(folder: Path) -> Tensors:
    """Opens the weights of a model folder.

    Raises:
        ModelError: The folder holds no weights of a supported format, a shard is missing, or a file is damaged.
    """
    if (folder / _SINGLE).is_file():
        return _open_safetensors([folder / _SINGLE])
    if (folder / _INDEX).is_file():
        return _open_safetensors(_list_shards(folder))
    if (folder / _MSGPACK).is_file():
        return _open_msgpack(folder / _MSGPACK)
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in (".bin", ".pt", ".pth", ".ckpt"))
    refusal = (
        f"It holds {', '.join(pickles)}, a pickle, which can run any code and is never opened. " if pickles else ""
    )
    convert = f"from transformers import AutoModel; AutoModel.from_pretrained('{folder}').save_pretrained('{folder}')"
    raise ModelError(
        f"{folder} holds no {_SINGLE}, {_INDEX} or {_MSGPACK}. {refusal}Where PyTorch is installed and you trust the "
        f'file, this writes {_SINGLE}: python -c "{convert}". For an untrained baseline, load with random_weights=SEED.'
    )


def _list_shards(folder: Path) -> list[Path]:
    try:
        names = sorted(set(parse_json((folder / _INDEX).read_bytes())["weight_map"].values()))
        if not all(isinstance(name, str) for name in names):
            raise TypeError("shards must have names")  # noqa: TRY301 - one message for all causes
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise ModelError(f"{folder / _INDEX} must be JSON with a `weight_map`: {error!r}. Download it again.") from None
    if missing := [name for name in names if Path(name).name != name or not (folder / name).is_file()]:
        raise ModelError(
            f"{folder / _INDEX} names {len(missing)} of {len(names)} shards that are not in the folder:\n"
            f"{list_problems(missing)}\nDownload them again."
        )
    return [folder / name for name in names]


def _open_safetensors(files: list[Path]) -> Tensors:
    tensors = {}
    for file in files:
        try:
            # Opening checks the file: its length, and that tensors lie where the header says.
            with safe_open(file, framework="np"):
                header, first = _read_header(file)
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{file} cannot be read as a safetensors file: {error}. Download it again.") from None
        for key, facts in header.items():
            start, _ = facts["data_offsets"]
            tensors[_current_name(key)] = partial(
                _read_tensor, file, key, dtype=facts["dtype"], shape=tuple(facts["shape"]), start=first + start
            )
    return tensors


def _read_header(file: Path) -> tuple[dict[str, Any], int]:
    """Returns the header of a safetensors file, and the byte at which its tensors begin."""
    with file.open("rb") as opened:
        size = int.from_bytes(opened.read(8), "little")
        header = parse_json(opened.read(size))
    header.pop("__metadata__", None)
    return header, 8 + size


def _read_tensor(file: Path, key: str, *, dtype: str, shape: tuple[int, ...], start: int) -> Shaped[np.ndarray, "..."]:
    if dtype not in _DTYPES:
        raise ModelError(
            f"`{key}` in {file} is stored as {dtype}, which is not supported: it needs scales that only its own "
            "kernels know. Take the checkpoint in float32, bfloat16 or float16."
        )
    return np.fromfile(file, _DTYPES[dtype], count=math.prod(shape), offset=start).reshape(shape)


def _open_msgpack(file: Path) -> Tensors:
    try:
        tree = msgpack_restore(file.read_bytes())
        leaves = traverse_util.flatten_dict(tree)
    except (ValueError, TypeError, AttributeError, AssertionError) as error:
        raise ModelError(f"{file} cannot be read as a Flax checkpoint: {error!r}. Download it again.") from None
    tensors = {}
    for path, array in leaves.items():
        *modules, leaf = map(str, path)
        name = ".".join([*modules, _FLAX_LEAVES.get(leaf, leaf)])
        tensors[name] = partial(np.transpose if leaf == "kernel" else np.asarray, array)
    return tensors


def _current_name(key: str) -> str:
    """Returns the name that PyTorch uses: the first BERT checkpoints name layer norms as TensorFlow does."""
    for old, new in _LEGACY_SUFFIXES.items():
        if key.endswith(f"LayerNorm{old}"):
            return key.removesuffix(old) + new
    return key
