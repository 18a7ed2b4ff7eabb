"""A model in a folder of our own: its stack as JSON, its parameters through orbax, its tokenizer as it came.

Unlike a Hugging Face folder it holds the parameters as the stack has them, in their precision, and orbax writes and
reads them from and to the devices of any mesh without putting them together on one host. `load_model` opens it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh
from jaxtyping import PyTree
from orbax.checkpoint import v1 as ocp

from lca_jax.errors import ModelError
from lca_jax.hugging_face import PreTrainedTokenizer, PreTrainedTokenizerFast
from lca_jax.models.loading.placement import sharding
from lca_jax.models.stack.config import StackConfig
from lca_jax.models.stack.stack import Params

DESCRIPTION = "stack.json"
_PARAMS = "params"
_FORMAT = 1


def write_model(
    folder: Path,
    config: StackConfig,
    params: Params,
    tokenizer: PreTrainedTokenizerFast | PreTrainedTokenizer,
    facts: Mapping[str, Any],
) -> None:
    """Writes a model; the description, without which a folder is no saved model, comes last."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    ocp.save(str(folder.absolute() / _PARAMS), params, overwrite=True)
    description = {"format": _FORMAT, "config": asdict(config), **facts}
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")


def read_description(folder: Path) -> tuple[StackConfig, dict[str, Any]]:
    """The stack of a saved model, and what else was written of it.

    Raises:
        ModelError: The description is damaged or of a later format.
    """
    try:
        content = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        if content.pop("format") != _FORMAT:
            raise ValueError(f"its format is not {_FORMAT}")  # noqa: TRY301 - one message for all that may be wrong
        return StackConfig.from_json(content.pop("config")), content
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{folder / DESCRIPTION} cannot be read as a saved model: {error!r}. Save it again, or use a release that "
            "knows its format."
        ) from None


def read_params(folder: Path, shapes: PyTree[jax.ShapeDtypeStruct], mesh: Mesh | None) -> Params:
    """The parameters, each device's part read straight to it, whatever devices they were saved from.

    Raises:
        ModelError: They are missing, damaged or of another stack.
    """

    def located(path: tuple, shape: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        return jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=sharding(name, shape.shape, mesh))

    wanted = jax.tree_util.tree_map_with_path(located, shapes)
    try:
        return ocp.load(str(folder.absolute() / _PARAMS), wanted)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder / _PARAMS} does not hold the parameters of {DESCRIPTION}: {error!r}") from None
