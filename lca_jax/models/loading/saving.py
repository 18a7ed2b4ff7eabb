"""A model in a folder of our own: its stack as JSON, its parameters through orbax, its tokenizer.

Unlike a Hugging Face folder it holds the parameters as the stack has them, in their precision, and orbax writes and
reads them from and to the devices of any mesh without putting them together on one host. `load_model` opens it.

    stack.json        the stack, the facts of the model, the name of the folder of its parts with a checksum of each
                      file in it, and a checksum of all this
    parts-DIGEST/     `params` (orbax) and `tokenizer` (as `save_pretrained` writes it); for a tuned model `classifier`
                      (orbax), which `stack.json` describes

A model is written whole or not at all: first its parts, under a name that is not in use; then `stack.json`, which takes
the place of an older one in a single step and so turns the folder from the old model into the new; then older parts are
removed. DIGEST is computed from the facts in `stack.json`, so that a description and parts of different saves are told
apart; the checksums tell altered files. Older folders are read as well: format 2 has no checksums, format 1 has the
tokenizer and `params` beside `stack.json`. A model's fingerprint is computed from what was loaded, and must be the one
that was saved.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

import jax
from jax.sharding import Mesh
from jaxtyping import PyTree
from orbax.checkpoint import v1 as ocp

from lca_jax.errors import ModelError
from lca_jax.hugging_face import PreTrainedTokenizer, PreTrainedTokenizerFast
from lca_jax.machine.checksums import checksum_of, checksums_in, find_altered
from lca_jax.machine.files import real_path, remove_inside, write_text_whole, write_whole
from lca_jax.machine.json_text import parse_object
from lca_jax.machine.remote import sent
from lca_jax.machine.urls import url_of
from lca_jax.models.classifier import Classifier
from lca_jax.models.loading.placement import sharding
from lca_jax.models.stack.config import StackConfig
from lca_jax.models.stack.stack import Params

DESCRIPTION = "stack.json"
"""The file that makes a folder a saved model."""
PARTS = "parts"
"""Beginning of the name of the folder of its parts."""
_PARAMS, _TOKENIZER, _CLASSIFIER = "params", "tokenizer", "classifier"
_FORMAT = 3
_CHECKSUM = "checksum"
_WAY_OUT = "Copy the whole folder again, or save the model again."
_ORBAX_FILE = "_CHECKPOINT_METADATA"


@dataclass(frozen=True, kw_only=True)
class SavedModel:
    """A saved model before its parameters are read."""

    config: StackConfig
    """The stack."""
    facts: Mapping[str, Any]
    """The other facts that were saved with it."""
    params: Path
    """Folder of the parameters."""
    tokenizer: Path
    """Folder of the tokenizer."""

    def read_classifier(self) -> Classifier | None:
        """Reads the classifier of a tuned model; None where the model has none.

        Raises:
            ModelError: It is damaged, or does not fit its description.
        """
        described = self.facts.get(_CLASSIFIER)
        if described is None:
            return None
        try:
            shapes = Classifier.shapes(self.config.residual_width, len(described["classes"]))
            return Classifier.from_json(described, read_params(self.params.with_name(_CLASSIFIER), shapes, None))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"The classifier of {self.params.parent} cannot be read: {error!r}. {_WAY_OUT}") from None


def write_model(
    folder: Path,
    config: StackConfig,
    params: Params,
    tokenizer: PreTrainedTokenizerFast | PreTrainedTokenizer,
    facts: Mapping[str, Any],
    *,
    classifier: Classifier | None = None,
) -> None:
    """Writes a model whole or not at all; an older one in the folder is replaced in one step.

    Args:
        folder: Where the model is written, a path or a URL; made if it does not exist.
        config: The stack.
        params: Its parameters.
        tokenizer: Its tokenizer.
        facts: Further facts, as JSON holds them.
        classifier: Its classifier, if it is a tuned model.

    Raises:
        ModelError: The folder's path cannot be one; or it is a URL, and there are several processes.
    """
    if (url := url_of(folder)) is not None:
        if jax.process_count() > 1:
            raise ModelError(f"A job of several processes saves a model on a file system that all reach, not at {url}.")
        with sent(url, last=DESCRIPTION) as place:
            write_model(place, config, params, tokenizer, facts, classifier=classifier)
        return
    folder = real_path(folder, error=ModelError)
    description = {"config": asdict(config), **facts}
    if classifier is not None:
        description[_CLASSIFIER] = classifier.as_json()
    parts = _unused_name(folder, _digest(description))
    with write_whole([folder / parts]) as [unfinished]:
        unfinished.mkdir()
        tokenizer.save_pretrained(unfinished / _TOKENIZER)
        ocp.save(str(unfinished / _PARAMS), params)
        if classifier is not None:
            ocp.save(str(unfinished / _CLASSIFIER), classifier.params)
    content = {"format": _FORMAT, "parts": parts, "files": checksums_in(folder / parts), **description}
    content[_CHECKSUM] = _text_checksum(content)
    write_text_whole(folder / DESCRIPTION, json.dumps(content, indent=1) + "\n")
    _remove_older_parts(folder, parts)


def open_saved(folder: Path) -> SavedModel:
    """Reads the description of a saved model and finds its parts.

    Raises:
        ModelError: The description is damaged or of a later format, its parts are missing, or they are of another save.
    """
    path = folder / DESCRIPTION
    try:
        text = path.read_bytes()
    except OSError as error:
        _refuse(path, error)
    content = parse_object(text, place=str(path), error=ModelError, way_out=_WAY_OUT)
    checksum = content.pop(_CHECKSUM, None)
    number = content.get("format")
    if number == _FORMAT and checksum != _text_checksum(content):
        raise ModelError(f"{path} was altered since it was written: its checksum does not fit. {_WAY_OUT}")
    try:
        del content["format"]
        parts, files = content.pop("parts", None), dict(content.pop("files", {}))
        if number not in range(1, _FORMAT + 1):
            raise ValueError(f"its format is {number!r}, not 1 to {_FORMAT}")  # noqa: TRY301 - one message for all causes
        facts = dict(content)
        config = StackConfig.from_json(facts.pop("config"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        _refuse(path, error)
    if number == 1:
        return SavedModel(config=config, facts=facts, params=folder / _PARAMS, tokenizer=folder)
    if not re.fullmatch(rf"{PARTS}-{_digest(content)}(-\d+)?", str(parts)):
        raise ModelError(
            f"{path} and {parts} do not belong together: one of them was changed, or is of another save. "
            "Save the model again."
        )
    if not (folder / parts).is_dir():
        raise ModelError(
            f"{path} names {parts}, which is not in the folder: files are missing, or {DESCRIPTION} is of another "
            "save. Copy the whole folder again, or save the model again."
        )
    if problems := find_altered(folder / parts, files):
        raise ModelError(f"{folder / parts} is damaged: {'; '.join(problems)}. {_WAY_OUT}")
    return SavedModel(
        config=config, facts=facts, params=folder / parts / _PARAMS, tokenizer=folder / parts / _TOKENIZER
    )


def read_params(folder: Path, shapes: PyTree[jax.ShapeDtypeStruct], mesh: Mesh | None) -> Params:
    """Reads the parameters, each device's part straight to it, whatever devices they were saved from.

    Args:
        folder: Folder of the parameters.
        shapes: Shapes and dtypes of the parameters, from `stack.build`.
        mesh: The devices that the parameters are split over; None for JAX's default device.

    Raises:
        ModelError: The parameters are missing, damaged or those of another stack.
    """

    def locate(path: tuple, shape: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        return jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=sharding(name, shape.shape, mesh))

    located_shapes = jax.tree_util.tree_map_with_path(locate, shapes)
    try:
        return ocp.load(str(folder.absolute()), located_shapes)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder} does not hold the parameters of {DESCRIPTION}: {error!r}") from None


def _digest(description: Mapping[str, Any]) -> str:
    """Returns what tells descriptions apart: sixteen digits of the SHA-256 of their JSON."""
    return _text_checksum(description)[:16]


def _text_checksum(content: Mapping[str, Any]) -> str:
    return checksum_of(json.dumps(content, sort_keys=True).encode())


def _refuse(path: Path, error: Exception) -> NoReturn:
    raise ModelError(
        f"{path} cannot be read as a saved model: {error!r}. Save it again, or use a release that knows its format."
    ) from None


def _unused_name(folder: Path, digest: str) -> str:
    """Returns a name for the parts that the folder does not hold yet; an older save may have used the first ones."""
    name, number = f"{PARTS}-{digest}", 1
    while (folder / name).exists():
        number += 1
        name = f"{PARTS}-{digest}-{number}"
    return name


def _remove_older_parts(folder: Path, current: str) -> None:
    """Deletes the parts of models that were saved before, and what killed saves left.

    The tokenizer files of format 1 stay: they may belong to a checkpoint in the same folder.
    """
    older = {path.name for pattern in (f"{PARTS}-*", f".{PARTS}-*.unfinished") for path in folder.glob(pattern)}
    if (folder / _PARAMS / _ORBAX_FILE).is_file():
        older.add(_PARAMS)
    remove_inside(folder, older - {current})
