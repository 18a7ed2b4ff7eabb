"""Refuses model folders whose numbers cannot be meant, before time or memory is spent on them.

A `config.json` is a few hundred bytes that say how large everything is. It may be damaged or hostile: a thousand
million layers would be listed one by one long before the weights are looked at.
"""

from collections.abc import Iterator, Mapping, Sized
from pathlib import Path
from typing import Any

from lca_jax.errors import ModelError, list_problems
from lca_jax.models.stack.config import StackConfig

_MOST_LAYERS = 10_000
_LARGEST_SIZE = 2**27
_SIZES = (
    "hidden_size",
    "d_model",
    "n_embd",
    "dim",
    "embedding_size",
    "vocab_size",
    "intermediate_size",
    "d_ff",
    "d_kv",
)
"""Names of widths and counts in the configs of the families; those of layers are told by their names."""


def refuse_absurd_sizes(content: Mapping[str, Any], *, place: str) -> None:
    """Checks the sizes in a config as it stands in its file.

    Raises:
        ModelError: A number of layers or a width is not a whole number in its range; the message lists all.
    """
    problems = list(_find_absurd(content))
    if problems:
        raise ModelError(
            f"{place} has sizes that no model has:\n{list_problems(problems)}\nTake config.json from the checkpoint "
            "that the weights are of."
        )


def _find_absurd(content: Mapping[str, Any]) -> Iterator[str]:
    for name, value in content.items():
        if isinstance(value, Mapping) and name.endswith("config"):
            yield from _find_absurd(value)
        is_layers = name in ("n_layer", "n_layers", "num_layers") or name.endswith(("_layers", "hidden_groups"))
        most = _MOST_LAYERS if is_layers else _LARGEST_SIZE if name in _SIZES else None
        # Other values (a list of layers, or none) mean something else by a name like these.
        if most is None or isinstance(value, bool) or not isinstance(value, int | float | str):
            continue
        least = 0 if is_layers else 1  # BART has a decoder of no layers where only its encoder was saved
        if not isinstance(value, int) or not least <= value <= most:
            yield f"`{name}` must be a whole number from {least} to {most:,}, got {str(value)[:40]!r}"


def refuse_more_blocks_than_tensors(config: StackConfig, tensors: Sized, *, place: str) -> None:
    """Checks that there can be weights for every block, before the blocks are built.

    Raises:
        ModelError: There are fewer tensors than blocks.
    """
    blocks = len(set(config.blocks)) + (len(set(config.decoder.blocks)) if config.decoder else 0)
    if blocks > len(tensors):
        raise ModelError(
            f"{place}/config.json describes {blocks} blocks, but the weights have {len(tensors)} tensors in all. Take "
            "both files from one checkpoint."
        )


def refuse_empty_files(folder: Path, names: tuple[str, ...]) -> None:
    """Checks that the vocabulary files that are there hold something.

    Raises:
        ModelError: One is empty.
    """
    for name in names:
        if (folder / name).is_file() and not (folder / name).stat().st_size:
            raise ModelError(f"{folder / name} is empty. Copy or download it again.")


def longest_text_of(tokenizer: Any, *, folder: Path) -> int:
    """Returns how many pieces the tokenizer says that its model takes.

    Raises:
        ModelError: It is not a number of 1 or more.
    """
    longest = tokenizer.model_max_length
    if isinstance(longest, bool) or not isinstance(longest, int | float) or not longest >= 1:
        raise ModelError(
            f"`model_max_length` in {folder / 'tokenizer_config.json'} must be a number of pieces, got {longest!r}."
        )
    return int(min(longest, 2**31))
