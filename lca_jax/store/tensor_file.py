"""Packs named arrays and a few facts into one safetensors file that tells when it was altered.

The checksum is the SHA-256 of the whole file with 64 zeros in its place, as in a store's manifest. The same content
gives the same bytes; any reader of safetensors opens the file.
"""

import json
from collections.abc import Mapping

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from lca_jax.machine.checksums import checksum_of
from lca_jax.machine.json_text import parse_json

_NO_CHECKSUM = 64 * "0"
_BEFORE = b'{\\"checksum\\": \\"'
"""Beginning of the facts, escaped as they stand in the file's header."""
_HEADER_SIZE_BYTES = 8


def pack_tensors(tensors: Mapping[str, np.ndarray], facts: Mapping[str, object]) -> bytes:
    """Returns the bytes of a file.

    Args:
        tensors: Arrays by name.
        facts: Plain values that JSON can hold.
    """
    text = json.dumps({"checksum": _NO_CHECKSUM, **facts})
    content = save({name: np.ascontiguousarray(array) for name, array in tensors.items()}, metadata={"facts": text})
    return _with_checksum(content, checksum_of(content))


def unpack_tensors(content: bytes) -> tuple[dict[str, np.ndarray], dict]:
    """Returns the arrays and facts that `pack_tensors` packed.

    Raises:
        ValueError: The content is not such a file, or was altered.
    """
    try:
        tensors = load(content)
        size = int.from_bytes(content[:_HEADER_SIZE_BYTES], "little")
        header = parse_json(content[_HEADER_SIZE_BYTES : _HEADER_SIZE_BYTES + size])
        facts = parse_json(header["__metadata__"]["facts"])
        checksum = facts.pop("checksum")
        found = checksum_of(_with_checksum(content, _NO_CHECKSUM))
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"breaks its format ({error!r})") from None
    if checksum != found:
        raise ValueError("was altered since it was written: its checksum does not fit")
    return tensors, facts


def _with_checksum(content: bytes, checksum: str) -> bytes:
    start = content.index(_BEFORE) + len(_BEFORE)
    return content[:start] + checksum.encode() + content[start + len(checksum) :]
