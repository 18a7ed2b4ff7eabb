"""The descriptors of some texts: names, phrases, how far each is present in each text, and where each came from.

On disk an inventory is a folder: `inventory.json` (names, phrases, origin, checksums), `texts.parquet` (texts, words,
documents, units) and `presence.parquet` (presence, occurrence and what was written, one column a descriptor). The
JSON file is written last, so a reader that finds it finds all.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, Float32

from lca_jax.descriptors.texts import Texts
from lca_jax.errors import StoreError
from lca_jax.machine.checksums import checksum_of_file, find_altered
from lca_jax.machine.files import real_path, write_whole
from lca_jax.machine.json_text import read_object
from lca_jax.tables import text_table

INVENTORY, TEXTS, PRESENCE = "inventory.json", "texts.parquet", "presence.parquet"
_FORMAT = 1


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Descriptors:
    """Descriptors that were found in texts."""

    names: tuple[str, ...]
    """One name each; the central phrase of its cluster."""
    phrases: tuple[tuple[str, ...], ...]
    """The phrases of each."""
    texts: Texts
    presence: Float32[np.ndarray, "text descriptor"]
    """How far each is present, in the scale of its scorer."""
    occurrence: Bool[np.ndarray, "text descriptor"]
    """Where each was written, or stands in the text."""
    written: Float32[np.ndarray, "text descriptor"]
    """Share of the generator's answers that hold it; NaN for a text that the generator did not read."""
    origin: Mapping[str, Any]
    """Generator, embedder, prompts, samples, seed, scorer, and counts of what was left out."""

    def texts_of(self, name: str) -> list[str]:
        """Returns the texts of which the generator wrote a descriptor."""
        return [self.texts.texts[number] for number in np.flatnonzero(self.written[:, self.names.index(name)] > 0)]

    def __repr__(self) -> str:
        texts = (self.written > 0).sum(axis=0)
        columns = {
            "descriptor": list(self.names),
            "texts": [int(count) for count in texts],
            "phrases": [", ".join(phrases[1:4]) for phrases in self.phrases],
        }
        return text_table(columns, caption=f"{len(self.names)} descriptors of {len(self.texts.texts):,} texts")

    def save(self, folder: str | Path) -> None:
        """Writes the inventory, in place of an older one."""
        folder = real_path(folder)
        paths = [folder / name for name in (INVENTORY, TEXTS, PRESENCE)]
        with write_whole(paths, overwrite=True) as (inventory, texts, presence):
            pq.write_table(self._texts_table(), texts)
            pq.write_table(self._presence_table(), presence)
            checksums = {TEXTS: checksum_of_file(texts), PRESENCE: checksum_of_file(presence)}
            content = {
                "format": _FORMAT,
                "names": self.names,
                "phrases": self.phrases,
                "origin": self.origin,
                "files": checksums,
            }
            inventory.write_text(json.dumps(content, ensure_ascii=False, indent=1), "utf-8")

    def _texts_table(self) -> pa.Table:
        texts = self.texts
        return pa.table(
            {
                "text": pa.array(texts.texts, pa.string()),
                "word": pa.array(texts.words or [None] * len(texts.texts), pa.string()),
                "document": pa.array(texts.documents or [None] * len(texts.texts), pa.int64()),
                "unit": pa.array(texts.units or [None] * len(texts.texts), pa.int64()),
            }
        )

    def _presence_table(self) -> pa.Table:
        arrays = {"presence": self.presence, "occurrence": self.occurrence, "written": self.written}
        return pa.table(
            {f"{kind}:{n}": pa.array(array[:, n]) for kind, array in arrays.items() for n in range(array.shape[1])}
        )


def load_descriptors(folder: str | Path) -> Descriptors:
    """Opens an inventory that `Descriptors.save` or `find_descriptors` wrote.

    Raises:
        StoreError: There is none, it has another format, or its files were altered.
    """
    folder = real_path(folder, error=StoreError)
    way_out = "Find the descriptors anew."
    try:
        content = read_object(folder / INVENTORY, error=StoreError, way_out=way_out)
    except FileNotFoundError:
        raise StoreError(f"{folder} has no {INVENTORY}: no descriptors were saved there.") from None
    if content.get("format") != _FORMAT:
        raise StoreError(f"{folder / INVENTORY} has format {content.get('format')!r}, not {_FORMAT}. {way_out}")
    try:
        if altered := find_altered(folder, content["files"]):
            raise StoreError(f"{folder}: {', '.join(altered)}. {way_out}")
        texts, presence = pq.read_table(folder / TEXTS), pq.read_table(folder / PRESENCE)
        columns = {name: texts[name].to_pylist() for name in ("text", "word", "document", "unit")}
        optional = {name: None if column[0] is None else tuple(column) for name, column in columns.items()}
        count = len(content["names"])
        return Descriptors(
            names=tuple(content["names"]),
            phrases=tuple(map(tuple, content["phrases"])),
            texts=Texts(
                texts=tuple(columns["text"]),
                words=optional["word"],
                documents=optional["document"],
                units=optional["unit"],
            ),
            **{
                kind: np.stack([presence[f"{kind}:{number}"].to_numpy() for number in range(count)], axis=1)
                for kind in ("presence", "occurrence", "written")
            },
            origin=content["origin"],
        )
    except (KeyError, TypeError, AttributeError, IndexError, pa.ArrowException) as error:
        raise StoreError(f"{folder / INVENTORY} breaks its format ({error!r}). {way_out}") from None
