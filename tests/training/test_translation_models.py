"""Translation models that are trained at once: packed pairs, what they learn, stopped and resumed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lca_jax as lca
from lca_jax.errors import DataError, SettingsError
from lca_jax.models.writing.generation import Search
from lca_jax.training.language_settings import TranslationSettings
from lca_jax.training.many import EpochLoss
from lca_jax.training.pieces import END, START, learn_pieces, pack_pairs
from lca_jax.training.translation_models import train_translation_models

WORDS = {"ein": "a", "hund": "dog", "mann": "man", "rennt": "runs", "schläft": "sleeps", "schnell": "fast"}
SMALL: dict[str, Any] = {
    "models": 2,
    "vocabulary": 100,
    "width": 24,
    "layers": 1,
    "epochs": 12,
    "rows": 4,
    "row_length": 12,
    "learning_rate": 1e-2,
    "dropout": 0.05,
}


def pairs(count: int = 400, seed: int = 0) -> list[tuple[str, str]]:
    rng = np.random.default_rng(seed)
    sources = [rng.choice(list(WORDS), int(rng.integers(2, 5))).tolist() for _ in range(count)]
    return [(" ".join(source), " ".join(WORDS[word] for word in source)) for source in sources]


def test_pairs_are_packed_side_by_side() -> None:
    sources, targets = [[5, 6, END], [7, END], [8] * 9, [9, END]], [[10, END], [11, 12, 13, END], [14], [15, END]]
    rows, left_out = pack_pairs(sources, targets, 8)
    assert left_out == 1
    found = []
    for row in range(len(rows.after)):
        for window in range(1, int(np.max(rows.source.segments[row])) + 1):
            read, written = (np.asarray(of.segments)[row] == window for of in (rows.source, rows.target))
            inputs, after = np.asarray(rows.target.piece_ids)[row, written].tolist(), rows.after[row, written].tolist()
            assert inputs == [START, *after[:-1]]
            assert np.asarray(rows.target.positions)[row, written].tolist() == list(range(len(after)))
            assert rows.counted[row, written].all()
            found.append((np.asarray(rows.source.piece_ids)[row, read].tolist(), after))
    assert sorted(found) == sorted((sources[number], targets[number]) for number in (0, 1, 3))
    assert rows.counted.sum() == 8


def test_models_learn_to_translate_and_a_stopped_run_goes_on(tmp_path: Path) -> None:
    def stop(loss: EpochLoss) -> None:
        if loss.epoch == 10:
            raise KeyboardInterrupt

    settings, held_out = TranslationSettings(**SMALL), pairs(30, seed=5)
    with pytest.raises(KeyboardInterrupt):
        train_translation_models(pairs(), settings, out=tmp_path, held_out=held_out, told=stop)
    told: list[int] = []
    models = train_translation_models(
        pairs(), settings, out=tmp_path, held_out=held_out, told=lambda loss: told.append(loss.epoch)
    )
    assert told == [11, 12]
    assert models.count == 2
    assert models.left_out == 0
    assert max(models.curve[-1].perplexity) < 0.4 * min(models.curve[0].perplexity)
    model = models.model(1)
    # The training's loss is that of `log_probabilities`, pair by pair.
    corpus = lca.Corpus.from_words([source.split() for source, _ in held_out], name="sources")
    ranking = lca.rank([lca.extract(models.model(number), corpus) for number in (1, 0)], method="max_corr")
    curve = lca.ablation_curve(model, ranking, held_out, [16], fill="zero", sets=["top"])
    pieces = sum(len(ids) for ids in model.tokenizer([target for _, target in held_out])["input_ids"])
    words = sum(len(target.split()) for _, target in held_out)
    np.testing.assert_allclose(np.log(curve.whole) * words / pieces, np.log(models.curve[-1].perplexity[1]), rtol=1e-4)
    written = model.write([source for source, _ in held_out], search=Search(longest=8))
    right = [found.text == target for found, (_, target) in zip(written, held_out, strict=True)]
    assert np.mean(right) > 0.5


def test_what_cannot_be_trained_is_refused() -> None:
    with pytest.raises(DataError, match="Every one of 2 models needs pairs of at most 2 pieces"):
        train_translation_models(pairs(4), replace(TranslationSettings(**SMALL), row_length=2))
    with pytest.raises(SettingsError, match="No pair of `held_out` has at most 12 pieces"):
        train_translation_models(pairs(4), TranslationSettings(**SMALL), held_out=[("ein " * 30, "a " * 30)])
    with pytest.raises(DataError, match="learnt from texts"):
        learn_pieces([], 9)
    with pytest.raises(SettingsError, match="`models`, `epochs` and `rows` must be 1 or more"):
        TranslationSettings(rows=0)
