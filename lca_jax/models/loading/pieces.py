"""Reads a model's tokenizer so that it makes the pieces which the model's own files describe.

`AutoTokenizer` of transformers 5 builds some tokenizers anew out of a class name and a vocabulary, and then ignores
what `tokenizer.json` says of case, accents, splitting and the kind of model. Where that file is there, it decides: the
backend is loaded as it is written. The class still gives what the file does not have: which pieces are special, the
longest text, the language of a translation model. A tokenizer that is converted from SentencePiece's own file is
compared with that package on a text, and refused where the two differ.
"""

import logging
import warnings
from importlib.util import find_spec
from itertools import zip_longest
from pathlib import Path

from tokenizers import Tokenizer

from lca_jax.errors import MissingExtraError, ModelError
from lca_jax.hugging_face import AutoTokenizer, PreTrainedConfig, PreTrainedTokenizer, PreTrainedTokenizerFast

_log = logging.getLogger(__name__)

BACKEND = "tokenizer.json"
SENTENCEPIECE = ("tokenizer.model", "spiece.model", "spm.model", "sentencepiece.bpe.model", "source.spm")
"""The names that files of SentencePiece have in checkpoints."""
PROBE = "The naïve café, 2,048 ﬁne Ölfässer! 昨天我们在图书馆 ½ İstanbul don't x_y ㈱ \U0001f9ff it's"
"""Words with what tokenizers treat in their own ways: capitals, accents, digits, ligatures, CJK, unknown characters."""
_PLAIN_PROBE = "the cat, 2,048 of them! 昨天我们 x_y it"
_PREPARED_BY_CLASS = ("AlbertTokenizer", "XLNetTokenizer")
"""Classes that change case, accents and quotation marks before SentencePiece, as their models were trained."""


def load_tokenizer(folder: Path, config: PreTrainedConfig | None) -> PreTrainedTokenizerFast | PreTrainedTokenizer:
    """Loads the tokenizer of a folder.

    Args:
        folder: The model's folder.
        config: The model's config; None where the tokenizer's own files name its class.

    Raises:
        ModelError: It cannot be read, or transformers converts it so that its pieces are not those of the file.
        MissingExtraError: It is stored in SentencePiece's own format, and that package is not installed.
    """
    backend = _read_backend(folder / BACKEND) if (folder / BACKEND).is_file() else None
    try:
        tokenizer = _as_transformers_loads(folder, config)
    except Exception as error:  # transformers raises what its parsers raise: TypeError, KeyError, its own
        if backend is None:
            _refuse(folder, error)
        tokenizer = _without_class(folder, error)
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        return tokenizer
    if backend is None:
        _compare_with_sentencepiece(folder, tokenizer)
        return tokenizer
    if _follows_class(tokenizer):
        backend.post_processor = tokenizer.backend_tokenizer.post_processor
    if _pieces(tokenizer.backend_tokenizer) != _pieces(backend):
        _log.info("%s is read as it is written; %s would make other pieces", folder / BACKEND, type(tokenizer).__name__)
    tokenizer._tokenizer = backend
    return tokenizer


def _read_backend(file: Path) -> Tokenizer:
    try:
        backend = Tokenizer.from_file(str(file))
    except Exception as error:  # the parser of `tokenizers` raises this very type
        raise ModelError(f"{file} cannot be read as a tokenizer: {_first_line(error)}. Download it again.") from None
    backend.no_truncation()
    backend.no_padding()
    return backend


def _as_transformers_loads(
    folder: Path, config: PreTrainedConfig | None
) -> PreTrainedTokenizerFast | PreTrainedTokenizer:
    with warnings.catch_warnings():
        # Marian's tokenizer recommends a package whose normalizer it never calls.
        warnings.filterwarnings("ignore", message=r"Recommended: pip install sacremoses")
        return AutoTokenizer.from_pretrained(folder, config=config, local_files_only=True, trust_remote_code=False)


def _without_class(folder: Path, error: Exception) -> PreTrainedTokenizerFast:
    """Loads `tokenizer.json` without the class that the folder names, which could not be made."""
    _log.info("%s: its tokenizer class was left out, since it fails: %s", folder, _first_line(error))
    try:
        return PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    except Exception as second:
        raise ModelError(f"The tokenizer in {folder} cannot be read: {_first_line(second)}") from None


def _refuse(folder: Path, error: Exception) -> None:
    """Raises the error of a folder without `tokenizer.json`."""
    if any((folder / file).is_file() for file in SENTENCEPIECE) and find_spec("sentencepiece") is None:
        purpose = f"The tokenizer in {folder}, which holds no tokenizer.json,"
        raise MissingExtraError("sentencepiece", "sentencepiece", purpose) from None
    raise ModelError(f"The tokenizer in {folder} cannot be read: {_first_line(error)}") from None


def _follows_class(tokenizer: PreTrainedTokenizerFast) -> bool:
    """Returns whether special pieces depend on more than the file: the language of a text, or flags of the config."""
    flags = ("add_bos_token", "add_eos_token")
    return hasattr(tokenizer, "src_lang") or any(flag in tokenizer.init_kwargs for flag in flags)


def _pieces(backend: Tokenizer) -> list[int] | None:
    """Returns the pieces of the probe; None where a class and its vocabulary fit each other so badly that it fails."""
    try:
        return backend.encode(PROBE, add_special_tokens=False).ids
    except Exception:
        return None


def _compare_with_sentencepiece(folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    """Refuses a tokenizer converted from SentencePiece's file whose pieces that package does not make.

    Raises:
        ModelError: The pieces of the probe differ; the message names the first that do.
    """
    file = next((folder / name for name in SENTENCEPIECE if (folder / name).is_file()), None)
    if file is None or find_spec("sentencepiece") is None:
        return
    from sentencepiece import SentencePieceProcessor

    processor = SentencePieceProcessor(model_file=str(file))
    name = type(tokenizer).__name__
    text = _PLAIN_PROBE if name in _PREPARED_BY_CLASS else PROBE
    unknown = str(tokenizer.unk_token)
    expected = [
        unknown if processor.is_unknown(number) else processor.id_to_piece(number) for number in processor.encode(text)
    ]
    # The tokens of an encoding have the characters of an unknown piece in its place.
    ids = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
    found = list(tokenizer.convert_ids_to_tokens(ids))
    expected, found = _fused(expected, unknown), _fused(found, unknown)
    for theirs, ours in zip_longest(expected, found):
        if theirs != ours:
            raise ModelError(
                f"{name} of transformers makes other pieces than {file.name} in {folder}: {ours!r} where SentencePiece "
                f"makes {theirs!r}, in {text!r}. The model was trained on the pieces of its file. Save a "
                "tokenizer.json that makes them beside it, or use another checkpoint."
            )


def _fused(pieces: list[str], unknown: str) -> list[str]:
    """Joins neighbouring unknown pieces, whose number neither program keeps."""
    return [piece for place, piece in enumerate(pieces) if piece != unknown or pieces[place - 1 : place] != [unknown]]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
