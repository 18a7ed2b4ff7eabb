"""Compares the inputs that a run folder has results of with the present ones: model, pieces, words of every file."""

from collections.abc import Mapping
from typing import Any

from lca_jax.text.other_pieces import tell_cutting_versions, tell_other_pieces

Origins = Mapping[str, Mapping[str, Any]]
"""By part (`model`, `train`, …) its `name` and `fingerprint`; with the model also its `pieces` of the reference words
and the `versions` of the packages that cut them."""


def tell_other_inputs(before: Origins, now: Origins) -> list[str]:
    """Returns the inputs that differ, each in words; parts that are not in both are not compared."""
    told = []
    for part in now:
        if part not in before:
            continue
        was, found = before[part], now[part]
        if was["fingerprint"] != found["fingerprint"]:
            now_is = "its content has changed" if was["name"] == found["name"] else f"now {found['name']}"
            told.append(f"{part} {was['name']} ({now_is})")
        elif other := tell_other_pieces(was.get("pieces"), found.get("pieces")):
            versions = tell_cutting_versions(was.get("versions", {}))
            told.append(
                f"{part} {was['name']}, whose tokenizer makes other pieces: {other}"
                + (f", made with {versions}" if versions else "")
            )
    return told
