"""Finds the folder of a model, on this disk or from the Hugging Face hub, and reads its config and tokenizer.

No code that comes with a model is ever run. Only config, tokenizer and weights are fetched from the hub, never a pickle
or code. Once the folder is found, the network is not used any more.
"""

import json
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub import snapshot_download
from huggingface_hub.errors import StrictDataclassError

from lca_jax.errors import ModelError
from lca_jax.hugging_face import (
    AutoConfig,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedTokenizer,
    PreTrainedTokenizerFast,
)
from lca_jax.machine.checksums import checksum_of_file
from lca_jax.machine.files import real_path
from lca_jax.machine.json_text import read_object
from lca_jax.models.families import find_family
from lca_jax.models.families.mapping import Family
from lca_jax.models.loading.pieces import BACKEND, SENTENCEPIECE, load_tokenizer
from lca_jax.models.loading.refusing import refuse_absurd_sizes, refuse_empty_files
from lca_jax.models.loading.saving import DESCRIPTION, PARTS
from lca_jax.models.writing.generation import TextRules

_VOCABULARIES = (
    BACKEND,
    "vocab.txt",
    "vocab.json",
    *SENTENCEPIECE,
)
_SETTINGS = (
    "config.json",
    "generation_config.json",
    *_VOCABULARIES,
    "merges.txt",
    "target.spm",
    "target_vocab.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
_SAFETENSORS = ("model.safetensors", "model.safetensors.index.json", "model-*.safetensors")
_MSGPACK = ("flax_model.msgpack",)


def find_folder(name: str | Path, *, revision: str | None, weights: bool) -> Path:
    """Returns the folder itself, or the folder in the hub's cache that the named repository was fetched to.

    Args:
        name: A folder, or a name on the hub.
        revision: Branch, tag or commit on the hub.
        weights: Whether to fetch the weights too; msgpack is fetched only where there are no safetensors.

    Raises:
        ModelError: The name is neither a folder nor a repository that can be fetched.
    """
    folder = real_path(name, error=ModelError)
    if folder.is_dir():
        refuse_revision(revision, folder)
        return folder
    fetched = _fetch(str(name), revision, [*_SETTINGS, *(_SAFETENSORS if weights else ())])
    if weights and not any(fetched.glob("model*.safetensors")):
        fetched = _fetch(str(name), revision, [*_SETTINGS, *_MSGPACK])
    return fetched


def refuse_revision(revision: str | None, folder: str | Path) -> None:
    """Refuses a revision of what is no repository on the hub.

    Raises:
        ModelError: One is given.
    """
    if revision is not None:
        raise ModelError(f"`revision` picks a version on the hub, but {folder} is a folder. Leave it out.")


def files_of_model(names: Sequence[str], *, weights: bool) -> list[str]:
    """Returns which files of a folder a model is made of: those taken from the hub, or all that `Model.save` wrote."""

    def matching(*patterns: str) -> list[str]:
        return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]

    of_weights = (matching(*_SAFETENSORS) or matching(*_MSGPACK)) if weights else []
    return [*matching(*_SETTINGS, DESCRIPTION, f"{PARTS}-*/*"), *of_weights]


def read_config(folder: Path) -> tuple[Family, PreTrainedConfig]:
    """Reads `config.json` and finds the family that it names.

    Raises:
        ModelError: It is missing or damaged, or its family is not supported.
    """
    place = folder / "config.json"
    try:
        content = read_object(place, error=ModelError, way_out="Copy or download it again.")
    except FileNotFoundError:
        raise ModelError(
            f"{folder} does not hold a config.json. Give a folder as `save_pretrained` writes it."
        ) from None
    refuse_absurd_sizes(content, place=str(place))
    try:
        family = find_family(content.get("model_type"))
        # From a dtype transformers makes a type of PyTorch, whose import costs seconds. `load_model` chooses the dtype.
        plain = {name: value for name, value in content.items() if name not in ("dtype", "torch_dtype")}
        return family, AutoConfig.for_model(**plain)
    except ModelError as error:
        raise ModelError(f"{place}: {error}") from None
    except Exception as error:  # the config classes of transformers compute with what they read
        raise ModelError(f"{place} cannot be read as a model config: {error}") from None


def read_rules(folder: Path, config: PreTrainedConfig) -> TextRules:
    """Reads how texts begin and end from `generation_config.json`, or from the config where that is missing.

    These files also say how to search (beams, penalties, sampling); that is left to the caller here.

    Raises:
        ModelError: The file cannot be read.
    """
    try:
        generation = (
            GenerationConfig.from_pretrained(folder, local_files_only=True)
            if (folder / "generation_config.json").is_file()
            else GenerationConfig.from_model_config(config)
        )
    except (OSError, ValueError, StrictDataclassError) as error:
        raise ModelError(f"{folder / 'generation_config.json'} cannot be read: {error}") from None
    start = [generation.decoder_start_token_id, generation.forced_bos_token_id] if config.is_encoder_decoder else []
    end = generation.eos_token_id
    ends = end if isinstance(end, list) else [end]
    return TextRules(
        start=tuple(piece for piece in start if piece is not None),
        ends=tuple(piece for piece in ends if piece is not None),
        never=tuple(pieces[0] for pieces in generation.bad_words_ids or () if len(pieces) == 1),
    )


def read_tokenizer(
    folder: Path, *, vocabulary: int, config: PreTrainedConfig | None = None
) -> PreTrainedTokenizerFast | PreTrainedTokenizer:
    """Reads the tokenizer and checks that it is the model's.

    Args:
        folder: The model's folder.
        vocabulary: Number of vectors in the piece embedding; every piece id must be below it.
        config: The model's config, from which transformers learns the kind of tokenizer where the tokenizer's own files
            do not name it.

    Raises:
        ModelError: The folder holds no tokenizer, the tokenizer cannot say which pieces a word has (fast ones and
            those of SentencePiece can), it is another model's, or transformers would change its pieces.
        MissingExtraError: The tokenizer is stored in SentencePiece's own format, and that package is not installed.
    """
    # Without these files, transformers makes a tokenizer of five pieces and does not report it.
    if not any((folder / file).is_file() for file in _VOCABULARIES):
        raise ModelError(f"{folder} does not hold a tokenizer: one of {', '.join(_VOCABULARIES)} is needed.")
    refuse_empty_files(folder, _VOCABULARIES)
    tokenizer = load_tokenizer(folder, config)
    if not tokenizer.is_fast and not any((folder / file).is_file() for file in SENTENCEPIECE):
        raise ModelError(
            f"The tokenizer in {folder} must be a fast one or one of SentencePiece, so that words can be aligned with "
            f"their pieces; it is a {type(tokenizer).__name__} without either form. Add tokenizer.json."
        )
    if len(tokenizer) > vocabulary:
        raise ModelError(
            f"The tokenizer in {folder} has {len(tokenizer)} pieces, but the model embeds {vocabulary}. "
            "Take both from one checkpoint."
        )
    return tokenizer


def tokenizer_content(tokenizer: PreTrainedTokenizerFast | PreTrainedTokenizer) -> str:
    """Returns everything that the pieces of a text depend on, as one text."""
    if isinstance(tokenizer, PreTrainedTokenizerFast):
        return tokenizer.backend_tokenizer.to_str()
    with TemporaryDirectory() as folder:
        files = [Path(file) for file in tokenizer.save_vocabulary(folder)]
        digests = {file.name: checksum_of_file(file) for file in files}
    special = tokenizer.build_inputs_with_special_tokens([])
    content = {"files": digests, "added": tokenizer.get_added_vocab(), "special": special}
    return json.dumps({"class": type(tokenizer).__name__, **content}, sort_keys=True)


def _fetch(name: str, revision: str | None, patterns: list[str]) -> Path:
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=patterns))
    except (OSError, ValueError) as error:
        version = f" at revision {revision!r}" if revision else ""
        raise ModelError(
            f"`{name}`{version} is not a folder on this machine, and it could not be fetched from the Hugging "
            f"Face hub: {str(error).splitlines()[0]} Check the spelling, the network and HF_HUB_OFFLINE; or "
            f"fetch it elsewhere (`hf download {name} --local-dir FOLDER`) and give that folder."
        ) from None
