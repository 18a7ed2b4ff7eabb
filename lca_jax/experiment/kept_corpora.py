"""Corpora that are given in memory, in files of the run folder.

They are JSON lines in UTF-8, whatever the user's files are: the options of those (`TextOptions`) say nothing of them.
"""

import re
from dataclasses import replace
from pathlib import Path

from lca_jax.experiment.config import Experiment
from lca_jax.experiment.request import PARTS
from lca_jax.text.corpus import Corpus
from lca_jax.text.writing import write_json_lines

_FOLDER = "texts"
_NAME = re.compile(rf"({'|'.join(PARTS)})-[0-9a-f]{{12}}\.jsonl")


def keep_corpora(experiment: Experiment, folder: Path) -> Experiment:
    """Writes the corpora that are given in memory to files of a folder, and returns the settings with these files.

    So a run of own labels goes on after a stop like any other, and its folder has all that it was made from.
    """
    files = {}
    for name in PARTS:
        if isinstance(corpus := getattr(experiment, name), Corpus):
            file = corpus_file(corpus, folder, name)
            files[name] = file if file.exists() else write_json_lines(corpus, file)
    return replace(experiment, **files)


def corpus_file(corpus: Corpus, folder: Path, part: str) -> Path:
    """Returns the file of a corpus that was given in memory.

    Each has a name of its own, so that a run which is refused afterwards has replaced nothing.
    """
    return folder / _FOLDER / f"{part}-{corpus.fingerprint()[:12]}.jsonl"


def is_kept(path: Path, folder: Path) -> bool:
    """Returns whether a file is one that `corpus_file` names in this folder."""
    return path.absolute().parent == (folder / _FOLDER).absolute() and _NAME.fullmatch(path.name) is not None
