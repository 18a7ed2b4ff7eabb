"""Probes on disk: arrays in one folder, everything else in `probes.json`, written whole or not at all.

    probes.json      format, settings, facts of every probe, the folder of their arrays with a checksum of each file in
                     it, and a checksum of all this
    arrays-1/        weights, bias, mean, scale and columns of every probe, through orbax

A set that is saved again gets a new folder of arrays (`arrays-2`). Then `probes.json` takes the place of the old one,
in a single step, and then the old arrays are removed. So a process that is killed at any moment leaves the old set or
the new one. A folder whose parts are not those of one set (copied from elsewhere, altered) fails the checksums and is
refused. Formats 1 and 2 kept their arrays in `arrays/` and had no checksums.
"""

import json
import re
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import jax
import numpy as np
from orbax.checkpoint import Checkpointer, PyTreeCheckpointHandler
from orbax.checkpoint import v1 as ocp
from orbax.checkpoint.options import MultiprocessingOptions

from lca_jax.axes import LayerBlock, NeuronAxis
from lca_jax.errors import LcaError, StoreError
from lca_jax.machine.checksums import checksum_of, checksums_in, find_altered
from lca_jax.machine.files import naming_place, real_path, remove_inside, write_text_whole, write_whole
from lca_jax.machine.json_text import read_object
from lca_jax.machine.processes import together
from lca_jax.machine.remote import fetched, sent
from lca_jax.machine.urls import url_of
from lca_jax.probing.objective import ElasticNet
from lca_jax.probing.probe import Probe
from lca_jax.probing.selection import PenaltyScore

_DESCRIPTION = "probes.json"
_FORMAT = 5
_ARRAY_FIELDS = ("weights", "bias", "mean", "scale", "columns")
"""Fields of a probe that are arrays; `columns` may be None."""
_UNFINISHED = ".arrays.unfinished"
"""Folder that orbax writes to before the arrays get their name."""

_WAY_OUT = "Copy the folder again, as a whole, or fit the probes again with `lca probe`."

_Arrays = Mapping[str, Mapping[str, np.ndarray]]
"""Arrays by the number of their probe and the name of their field."""


class SavedProbes(NamedTuple):
    """The contents of a folder of probes."""

    probes: tuple[Probe, ...]
    axis: NeuronAxis
    settings: ElasticNet
    unpenalized: tuple[Probe, ...]
    search: tuple[PenaltyScore, ...]


def write_probes(folder: Path, contents: SavedProbes) -> None:
    """Writes a set of probes in place of the one that the folder has, whole or not at all.

    All processes of a job call it with the same contents. The first one writes; the others return when it is done.

    Args:
        folder: A path or a URL.
        contents: The set.

    Raises:
        StoreError: Another process failed.
    """
    with together("probes"):
        if jax.process_index() == 0:
            if (url := url_of(folder)) is not None:
                with sent(url, last=_DESCRIPTION) as place:
                    _write(place, contents)
            else:
                _write(real_path(folder), contents)


def _write(folder: Path, contents: SavedProbes) -> None:
    every = [*contents.probes, *contents.unpenalized]
    arrays = {f"{number:05d}": _arrays_of(probe) for number, probe in enumerate(every)}
    folder.mkdir(parents=True, exist_ok=True)
    remove_inside(folder, _unfinished_in(folder))
    with naming_place(folder):
        _save_alone(folder / _UNFINISHED, arrays)
    name = _new_name(folder)
    with write_whole([folder / name]) as (unfinished,):
        (folder / _UNFINISHED).rename(unfinished)
    files = checksums_in(folder / name)
    description = {"format": _FORMAT, "arrays": name, "files": files, **_facts_of(contents)}
    description["checksum"] = checksum_of(json.dumps(description).encode())
    write_text_whole(folder / _DESCRIPTION, json.dumps(description, indent=1))
    remove_inside(folder, {*_arrays_in(folder), *_unfinished_in(folder)} - {name})


def _save_alone(folder: Path, arrays: _Arrays) -> None:
    """Writes arrays from this process of a job alone: it waits for no other, and needs no folder that all reach.

    Orbax's newer interface, which reads them, has every process take part in every save.
    """
    handler = PyTreeCheckpointHandler(multiprocessing_options=_alone())
    with Checkpointer(handler, multiprocessing_options=_alone()) as checkpointer:
        checkpointer.save(folder, arrays)


def _load_alone(folder: Path) -> Any:
    """Reads arrays in this process of a job alone, whatever the others do meanwhile."""
    # The newer interface has a class of its own for the same fields.
    with nullcontext() if jax.process_count() == 1 else ocp.Context(multiprocessing_options=_alone()):  # pyright: ignore[reportArgumentType]
        return ocp.load(str(folder))


def _alone() -> MultiprocessingOptions:
    number = jax.process_index()
    prefix = f"lca_jax_probes_{number}"
    return MultiprocessingOptions(primary_host=number, active_processes={number}, barrier_sync_key_prefix=prefix)


def read_probes(folder: Path) -> SavedProbes:
    """Reads what `write_probes` wrote, in this format or an earlier one.

    Raises:
        StoreError: The folder holds no probes or those of a newer format, or its parts are not those of one set.
    """
    if (url := url_of(folder)) is not None:
        with fetched(url) as copy:
            return read_probes(copy)
    folder = real_path(folder)
    description = _read_description(folder)
    try:
        arrays = _read_arrays(folder, description)
        every = [*description["probes"], *description["unpenalized"]]
        if sorted(arrays) != [f"{number:05d}" for number in range(len(every))]:
            _refuse(folder, f"{_DESCRIPTION} describes {len(every)} probes, and there are arrays of {len(arrays)}")
        probes = []
        for number, facts in enumerate(every):
            counts = facts.get("class_words")
            facts |= {"classes": tuple(facts["classes"]), "class_words": None if counts is None else tuple(counts)}
            facts |= arrays[f"{number:05d}"]
            probes.append(Probe(**facts))
        count = len(description["probes"])
        return SavedProbes(
            probes=tuple(probes[:count]),
            axis=NeuronAxis(blocks=tuple(LayerBlock(*block) for block in description["axis"])),
            settings=ElasticNet.from_json(description["settings"]),
            unpenalized=tuple(probes[count:]),
            search=tuple(PenaltyScore(**score) for score in description["search"]),
        )
    except LcaError:
        raise
    # A description without a checksum, of an earlier format, may hold anything.
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        _refuse(folder, f"{_DESCRIPTION} breaks its format ({error!r})")


def _read_description(folder: Path) -> dict[str, Any]:
    """Reads `probes.json`, of a format that this version knows, and compares it with its checksum if it has one."""
    try:
        description = read_object(folder / _DESCRIPTION, error=StoreError, way_out=_WAY_OUT)
    except FileNotFoundError:
        raise StoreError(f"{folder} holds no probes ({_DESCRIPTION} is missing). Fit them with `lca probe`.") from None
    version = description.get("format")
    # Format 1 had no targets, samples and subsets, 3 no kinds of samples, 4 no words of each class; all have defaults.
    # Formats 1 and 2 had no checksums.
    if version is None or version not in range(1, _FORMAT + 1):
        raise StoreError(
            f"{folder / _DESCRIPTION} has format {version!r}, this version reads 1 to {_FORMAT}. Upgrade lca-jax."
        )
    if version >= 3 or "checksum" in description:
        checksum = description.pop("checksum", None)
        if checksum != checksum_of(json.dumps(description).encode()):
            _refuse(folder, f"{_DESCRIPTION} was altered")
    return description


def _read_arrays(folder: Path, description: Mapping[str, Any]) -> _Arrays:
    """Reads the arrays that belong to a description, after comparing their files with their checksums."""
    name = description.get("arrays", "arrays")
    arrays = folder / name
    if not arrays.is_dir():
        _refuse(folder, f"{_DESCRIPTION} belongs to the arrays in `{name}`, which are missing")
    if "files" in description and (problems := find_altered(arrays, description["files"])):
        _refuse(folder, f"in `{name}` {'; '.join(problems)}, or it belongs to another fit than {_DESCRIPTION}")
    loaded = _load_alone(arrays)
    return {number: {key: np.asarray(array) for key, array in of.items()} for number, of in loaded.items()}


def _refuse(folder: Path, reason: str) -> NoReturn:
    raise StoreError(f"{folder} is not a complete set of probes: {reason}. {_WAY_OUT}") from None


def _facts_of(contents: SavedProbes) -> dict[str, object]:
    """Returns everything but the arrays, as plain values."""
    return {
        "axis": [list(block) for block in contents.axis.blocks],
        "settings": asdict(contents.settings),
        "probes": [_plain(probe) for probe in contents.probes],
        "unpenalized": [_plain(probe) for probe in contents.unpenalized],
        "search": [asdict(score) for score in contents.search],
    }


def _arrays_of(probe: Probe) -> dict[str, np.ndarray]:
    return {name: getattr(probe, name) for name in _ARRAY_FIELDS if getattr(probe, name) is not None}


def _plain(probe: Probe) -> dict[str, object]:
    return {field.name: getattr(probe, field.name) for field in fields(probe) if field.name not in _ARRAY_FIELDS}


def _new_name(folder: Path) -> str:
    """Returns a name that no folder of arrays has yet."""
    numbers = [int(name.removeprefix("arrays-")) for name in _arrays_in(folder) if "-" in name]
    return f"arrays-{max(numbers, default=0) + 1}"


def _arrays_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if re.fullmatch(r"arrays(-\d+)?", path.name)]


def _unfinished_in(folder: Path) -> list[str]:
    """Returns what killed processes left: the staging folders of this module and of orbax."""
    return [path.name for path in folder.iterdir() if path.name.startswith(".arrays")]
