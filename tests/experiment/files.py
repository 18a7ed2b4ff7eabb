"""Label files for runs on tiny models: words, sentences, and words with their heads."""

from pathlib import Path
from typing import Any

import numpy as np

from lca_jax import ElasticNet, Experiment
from lca_jax.experiment.config import Study
from tests.tiny_bert import write_bert

TAGS = {"cat": "NOUN", "cats": "NOUN", "sat": "VERB", "the": "DET", "a": "DET", "slowly": "ADV"}

PROBE = ElasticNet(l1=(1e-3, 1e-2), l2=1e-2)


def tiny_experiment(folder: Path, **settings: Any) -> Experiment:
    """An experiment of two tasks on the tiny BERT, whose files are written here."""
    settings = {"replicates": 2, **settings}
    return _experiment(folder, (60, 20, 20), tasks=("upos", "feats:Number"), probe=PROBE, **settings)


def smallest_experiment(folder: Path) -> Experiment:
    """One task, half of the sentences and one penalty: for tests of folders, which no number interests."""
    probe = ElasticNet(l1=1e-2, l2=1e-2)
    return _experiment(folder, (30, 10, 10), probe=probe, fractions=(0.25,), ranking="mass", replicates=0)


def tiny_study(folder: Path, sentences: int, **settings: Any) -> Study:
    """A study of some sentences by the tiny BERT, whose files are written here."""
    train = write_conllu(folder / "train.conllu", sentences, seed=0)
    return Study(model=str(write_bert(folder / "bert")), train=train, out=folder / "out", **settings)


def _experiment(folder: Path, sentences: tuple[int, int, int], **settings: Any) -> Experiment:
    parts = {
        part: write_conllu(folder / f"{part}.conllu", count, seed=seed)
        for seed, (part, count) in enumerate(zip(("train", "dev", "test"), sentences, strict=True))
    }
    return Experiment(model=str(write_bert(folder / "bert")), out=folder / "run", draws=2, **parts, **settings)


def write_conllu(path: Path, sentences: int, *, seed: int) -> Path:
    """Sentences of words the tiny tokenizer knows, some of which it cannot see at all."""
    rng = np.random.default_rng(seed)
    lines = []
    for _ in range(sentences):
        for position in range(1, int(rng.integers(3, 9))):
            form = str(rng.choice(list(TAGS)))
            number = "Number=Sing" if form == "cat" else "Number=Plur" if form == "cats" else "_"
            lines.append(f"{position}\t{form}\t_\t{TAGS[form]}\t_\t{number}\t_\t_\t_\t_")
        lines.append("")
    lines[0:0] = ["1\t\u200b\t_\tX\t_\t_\t_\t_\t_\t_", "2\tcat\t_\tNOUN\t_\tNumber=Sing\t_\t_\t_\t_", ""]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_sentences(path: Path, sentences: int, *, seed: int) -> Path:
    """A label and a text a row: whether it has more nouns than verbs."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(sentences):
        words = [str(word) for word in rng.choice(["cat", "sat", "the"], int(rng.integers(3, 8)))]
        rows.append(f"{'noun' if words.count('cat') > words.count('sat') else 'other'}\t{' '.join(words)}\n")
    path.write_text("".join(rows), encoding="utf-8")
    return path


def write_parallel(path: Path, words: str, sentences: int) -> Path:
    """CoNLL-U with sent_ids whose labels are places in the sentence: no word tells them, and all end in one piece."""
    rng = np.random.default_rng(len(words))
    lines = []
    for number in range(sentences):
        lines.append(f"# sent_id = s{number}")
        for place in range(1, 6):
            tag = "FIRST" if place == 1 else "LAST" if place == 5 else "OTHER"
            lines.append(f"{place}\t{rng.choice(list(words))}s\t_\t{tag}\t_\t_\t_\t_\t_\t_")
        lines.append("")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_heads(path: Path, source: Path) -> Path:
    """The same words, each with the one before it as its head; the first is the root."""
    rows = [line.split("\t") for line in source.read_text("utf-8").split("\n")]
    for row in rows:
        if len(row) == 10 and row[0].isdecimal():
            row[6], row[7] = str(int(row[0]) - 1), row[3].lower()
    path.write_text("\n".join("\t".join(row) for row in rows), encoding="utf-8")
    return path


def write_odd_and_even(path: Path, sentences: int, *, seed: int) -> Path:
    """Writes sentences of the words w4 to w39 of `tests.tiny_models`; `upos` says whether the number is odd."""
    generator = np.random.default_rng(seed)
    lines = []
    for _ in range(sentences):
        for place, number in enumerate(generator.integers(4, 40, int(generator.integers(3, 8))), 1):
            lines.append(f"{place}\tw{number}\t_\t{'ODD' if number % 2 else 'EVEN'}\t_\t_\t_\t_\t_\t_")
        lines.append("")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
