"""`lca convert`: activation files of NeuroX and of other programs, to and from a store."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from lca_jax.cli.idle import refuse_idle
from lca_jax.cli.output import say, shows_bars
from lca_jax.cli.show import describe_store
from lca_jax.errors import SettingsError
from lca_jax.store.recipe import Pool, StoreDtype

_NEUROX = (".hdf5", ".json")
_FILES = (*_NEUROX, ".arrow", ".safetensors")
_ONLY_WRITING = "only where `lca convert` writes files of NeuroX"


def convert(
    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")],
    target: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="TARGET")],
    *,
    text: Path | None = None,
    labels: Annotated[Sequence[str], tyro.conf.UseAppendAction] = (),
    layers: int | None = None,
    layer_numbers: tuple[int, ...] | None = None,
    pool: Pool | None = None,
    dtype: StoreDtype | None = None,
    drop_mismatched: bool = False,
    site: str | None = None,
    decompose_layers: bool = False,
    space_mark: str | None = None,
    unlabelled: str | None = None,
    quiet: bool = False,
    debug: bool = False,
) -> None:
    """Converts files of NeuroX to a store, or a store to other files.

    Those are files of NeuroX, an Arrow table or safetensors. Nothing is overwritten; a store that was begun is
    continued. The log names what the target cannot hold.

    Args:
        source: NeuroX's NAME.hdf5 or NAME.json (or NAME of NAME-layer0.hdf5, …), or a store.
        target: Folder of the store to make; or, from a store, NAME.hdf5, NAME.json, NAME.arrow or NAME.safetensors.
        text: From NeuroX: the words, one sentence per line.
        labels: From NeuroX: TASK=FILE, the labels of one sentence per line; FILE alone is the task `label`. May be
            repeated.
        layers: From NeuroX: the number of layers that lie side by side in the vectors of the file.
        layer_numbers: From NeuroX: the model's own numbers of the layers in the file.
        pool: From NeuroX: how words were pooled, if not by their last piece.
        dtype: From NeuroX: type of the stored numbers, if not that of the file.
        drop_mismatched: From NeuroX: leave out sentences whose number of vectors differs from their text or labels.
        site: To NeuroX: the site, if the store has several.
        decompose_layers: To NeuroX: write one file per layer.
        space_mark: To NeuroX: the mark written in place of a space in a word.
        unlabelled: From and to NeuroX: the label that marks words without a label.
        quiet: Show no progress.
        debug: Show tracebacks.
    """
    del debug
    reading = {
        "text": text,
        "layers": layers,
        "layer_numbers": layer_numbers,
        "dtype": dtype,
        "drop_mismatched": drop_mismatched,
    }
    writing = {"site": site, "decompose_layers": decompose_layers, "space_mark": space_mark}
    if Path(source).suffix in _NEUROX:
        refuse_idle(writing, convert, _ONLY_WRITING)
        if not labels:
            refuse_idle({"unlabelled": unlabelled}, convert, "only with `--labels`")
        options = reading | {"labels": _label_files(labels), "pool": pool or "last", "unlabelled": unlabelled}
        say(_store_from_neurox(source, target, progress=shows_bars(quiet=quiet), **options))
        return
    refuse_idle(reading | {"labels": labels, "pool": pool}, convert, "only where `lca convert` reads files of NeuroX")
    if Path(target).suffix in _NEUROX:
        say(*_neurox_from_store(source, target, unlabelled=unlabelled, progress=shows_bars(quiet=quiet), **writing))
    else:
        refuse_idle(writing | {"unlabelled": unlabelled}, convert, _ONLY_WRITING)
        say(*_file_from_store(source, target))


def _store_from_neurox(source: str, target: str, **options: Any) -> str:
    if Path(target).suffix in _FILES:
        raise SettingsError(f"Convert {source} to a store (a folder) first, and that store to {target}.")
    from lca_jax.exchange.neurox.convert import read_neurox

    store = read_neurox(source, target, **options)
    return f"store {target}: {describe_store(store.manifest, has_statistics=store.has_statistics)}"


def _neurox_from_store(source: str, target: str, **options: Any) -> list[str]:
    from lca_jax.exchange.neurox.convert import write_neurox
    from lca_jax.store.store import open_store

    return [str(path) for path in write_neurox(open_store(source), target, **options)]


def _file_from_store(source: str, target: str) -> list[str]:
    if Path(target).suffix not in _FILES:
        raise SettingsError(
            f"A store can be converted to a file ending in {', '.join(_FILES)}; got {target}. Files of NeuroX, which "
            f"become a store, end in {' or '.join(_NEUROX)}; got {source}."
        )
    from lca_jax.exchange.export import write_arrow, write_safetensors
    from lca_jax.store.store import open_store

    if target.endswith(".arrow"):
        return [str(write_arrow(open_store(source), target))]
    return [str(path) for path in write_safetensors(open_store(source), target)]


def _label_files(labels: Sequence[str]) -> dict[str, str]:
    """Returns the file of every task."""
    pairs = [label.partition("=") for label in labels]
    files = {task if file else "label": file or task for task, _, file in pairs}
    if len(files) < len(pairs):
        raise SettingsError(f"`--labels` must name a different task each time, as TASK=FILE; got {', '.join(labels)}.")
    return files
