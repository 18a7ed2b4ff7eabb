"""Language models that are trained at once: against PyTorch's loop, stopped and resumed, and what they learn."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import lca_jax as lca
from lca_jax.errors import DataError, SettingsError, StoreError
from lca_jax.models.recurrent.making import initial_params
from lca_jax.training.language_models import EpochLoss, train_language_models
from lca_jax.training.language_settings import TrainingSettings
from lca_jax.training.words import END, UNKNOWN, Vocabulary, targets_of

SMALL: dict[str, Any] = {
    "models": 2,
    "vocabulary": 12,
    "width": 8,
    "layers": 2,
    "epochs": 3,
    "rows": 4,
    "row_length": 9,
}


def sentences(count: int = 60, seed: int = 0) -> list[list[str]]:
    """A grammar in which the noun decides the verb three words later."""
    rng = np.random.default_rng(seed)
    verbs = {"cat": "sleeps", "cats": "sleep"}
    return [
        ["the", noun, *(["very"] * int(rng.integers(1, 3))), verbs[noun]]
        for noun in rng.choice(["cat", "cats"], count).tolist()
    ]


def test_words_are_numbered_by_frequency_and_predict_the_next() -> None:
    vocabulary = Vocabulary.of([["b", "a", "b"], ["c", "a", "d"]], 5)
    assert vocabulary.words == ("<unknown>", "<end>", "a", "b", "c")
    rows = vocabulary.pack([["a", "d", "b"], ["c"], ["b", "a", "b", "a"]], 6)
    after, counted = targets_of(rows.piece_ids, rows.segments)
    for text in ([END, 2, UNKNOWN, 3], [END, 4], [END, 3, 2, 3, 2]):
        row, slot = next(
            (r, s)
            for r in range(len(after))
            for s in range(6)
            if rows.piece_ids[r, s : s + len(text)].tolist() == text and counted[r, s]
        )
        assert after[row, slot : slot + len(text)].tolist() == [*text[1:], END]
    assert counted.sum() == 4 + 2 + 5
    # Where each word is read.
    read = rows.piece_ids[rows.rows, rows.starts]
    assert read[np.argsort(rows.words)].tolist() == [2, UNKNOWN, 3, 4, 3, 2, 3, 2]


def test_the_loss_curve_is_that_of_a_loop_in_pytorch() -> None:
    torch = pytest.importorskip("torch")
    settings = TrainingSettings(
        **SMALL | {"models": 2, "rows": 64, "divide": False, "epochs": 4, "learning_rate": 1e-2}
    )
    text = sentences(30)
    found = train_language_models(text, settings)
    vocabulary = found.vocabulary
    numbers = [[END, *(vocabulary.words.index(word) for word in words)] for words in text]
    count = len(vocabulary.pack(text, 9).piece_ids)
    assert count < 64  # one step an epoch, whose rows are all rows, some of them twice
    for model, key in enumerate(jax.random.split(jax.random.key(0), 2)):
        params: Any = initial_params(found.config.stack(), key)
        words = torch.nn.Parameter(torch.tensor(np.array(params["embedding"]["pieces"]["embedding"])))
        bias = torch.nn.Parameter(torch.zeros(len(vocabulary.words)))
        lstm = torch.nn.LSTM(8, 8, 2, batch_first=True)
        with torch.no_grad():
            for layer, block in params["blocks"].items():
                own = block["forward"]
                getattr(lstm, f"weight_ih_l{layer}").copy_(torch.tensor(np.array(own["input"]["kernel"]).T))
                getattr(lstm, f"weight_hh_l{layer}").copy_(torch.tensor(np.array(own["state"]["kernel"]).T))
                getattr(lstm, f"bias_ih_l{layer}").copy_(torch.tensor(np.array(own["input"]["bias"])))
                getattr(lstm, f"bias_hh_l{layer}").zero_()
                getattr(lstm, f"bias_hh_l{layer}").requires_grad_(requires_grad=False)
        learnt = [words, bias, *(part for part in lstm.parameters() if part.requires_grad)]
        adam = torch.optim.Adam(learnt, lr=1e-2)
        rows = vocabulary.pack(text, 9)
        for epoch, loss in enumerate(found.curve):
            # How often each row is in the step of this epoch: the order is drawn by seed and epoch.
            generator = np.random.default_rng((0, epoch))
            drawn = [np.resize(generator.permutation(count), 64) for _ in range(2)][model]
            times = np.bincount(drawn, minlength=count)
            total, slots = torch.zeros(()), 0
            for row, often in enumerate(times.tolist()):
                for segment in range(1, int(rows.segments[row].max()) + 1):
                    ids = rows.piece_ids[row][rows.segments[row] == segment].tolist()
                    states = lstm(words[ids][None])[0][0]
                    target = torch.tensor([*ids[1:], END])
                    losses = torch.nn.functional.cross_entropy(states @ words.T + bias, target, reduction="sum")
                    total, slots = total + often * losses, slots + often * len(ids)
            mean = total / slots
            np.testing.assert_allclose(loss.training[model], mean.item(), rtol=2e-4)
            adam.param_groups[0]["lr"] = 1e-2 * 0.5 * (1 + np.cos(np.pi * epoch / 4))
            adam.zero_grad()
            mean.backward()
            torch.nn.utils.clip_grad_norm_(learnt, 1.0)
            adam.step()
    assert len(numbers) == 30


def test_a_stopped_run_goes_on_and_ends_with_the_same_weights(tmp_path: Path) -> None:
    settings = TrainingSettings(**SMALL)
    whole = train_language_models(sentences(), settings)

    def stop(loss: EpochLoss) -> None:
        if loss.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_language_models(sentences(), settings, out=tmp_path, told=stop)
    told: list[int] = []
    resumed = train_language_models(sentences(), settings, out=tmp_path, told=lambda loss: told.append(loss.epoch))
    assert told == [3]
    for one, other in zip(jax.tree.leaves(whole.params), jax.tree.leaves(resumed.params), strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
    assert resumed.curve == whole.curve
    with pytest.raises(StoreError, match="other settings or sentences"):
        train_language_models(sentences(seed=1), settings, out=tmp_path)
    file = tmp_path / "language_models.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(StoreError, match="was altered"):
        train_language_models(sentences(), settings, out=tmp_path)


def test_models_learn_and_their_neurons_can_be_compared() -> None:
    settings = TrainingSettings(**SMALL | {"epochs": 25, "learning_rate": 2e-2, "width": 12})
    models = train_language_models(sentences(200), settings, held_out=sentences(40, seed=9))
    first, last = models.curve[0], models.curve[-1]
    assert max(last.perplexity) < 0.75 * min(first.perplexity)
    # One of two nouns and one of two lengths must be guessed in a sentence of five or six words and its end.
    assert max(last.perplexity) < 1.6
    text = sentences(40, seed=5)
    corpus = lca.Corpus.from_words(text, name="grammar")
    stores = [lca.extract(models.model(number), corpus) for number in range(2)]
    ranking = lca.rank(stores, method="max_corr")
    assert ranking.scores[0] > 0.8
    # A model is measured as the training measures it, but for the ends of sentences.
    model = models.model(1)
    curve = lca.ablation_curve(model, ranking, corpus, [1], sets=["top"], fill="zero")
    assert curve.whole > models.perplexity(text)[1]
    tokenized = model.tokenizer(" ".join(text[0]))["input_ids"]
    assert tokenized == [END, *(models.vocabulary.words.index(word) for word in text[0])]


def test_what_cannot_be_trained_is_refused() -> None:
    with pytest.raises(SettingsError, match="`models`, `epochs` and `rows` must be 1 or more"):
        TrainingSettings(models=0)
    with pytest.raises(DataError, match="Every one of 3 models needs words"):
        train_language_models([["a"], ["b"]], TrainingSettings(vocabulary=9))
    with pytest.raises(SettingsError, match="needs room for a word"):
        train_language_models([["a"]], TrainingSettings(vocabulary=2))
    models = train_language_models(sentences(), TrainingSettings(**{**SMALL, "epochs": 1}))
    with pytest.raises(SettingsError, match="Models run from 0 to 1, got 2"):
        models.model(2)
    with pytest.raises(SettingsError, match=r"`dropout` must be in \[0, 1\)"):
        TrainingSettings(dropout=1.0)
