"""Rows of more than 512 slots: a part of the slots looks at a time, with the same weights and less memory."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from lca_jax import Corpus, extract, load_model
from lca_jax.machine.precision import FLOAT32
from lca_jax.models.stack.attention import attend
from lca_jax.models.stack.stack import Batch
from tests.tiny_bert import write_bert


def attended(query, key, value, bias) -> np.ndarray:
    """The same in float64, whole, each query head with its key head."""
    sharing = query.shape[2] // key.shape[2]
    key, value = (np.repeat(each.astype(np.float64), sharing, axis=2) for each in (key, value))
    scores = np.einsum("rshu,rphu->rhsp", query.astype(np.float64), key) * 0.5 + bias
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.einsum("rhsp,rphu->rshu", weights / weights.sum(axis=-1, keepdims=True), value)


def test_parts_of_a_long_row_see_all_of_it() -> None:
    generator = np.random.default_rng(0)
    for slots, heads in ((768, 1), (1024, 2), (521, 1)):  # 521 is a prime: such a row is not divided
        query = generator.normal(size=(1, slots, heads, 4)).astype(np.float32)
        key, value = generator.normal(size=(2, 1, slots, 1, 4)).astype(np.float32)
        causal = np.where(np.tril(np.ones((slots, slots), bool)), 0, -np.inf).astype(np.float32)[None, None]
        arrays = (jnp.asarray(array) for array in (query, key, value))
        options = {"scale": 0.5, "softcap": None, "precision": FLOAT32, "drop": None}
        found = attend(*arrays, bias=jnp.asarray(causal), **options)
        np.testing.assert_allclose(found, attended(query, key, value, causal), rtol=0, atol=1e-5)


def test_memory_grows_with_the_length_and_not_with_its_square() -> None:
    def needed(slots: int) -> int:
        heads = jax.ShapeDtypeStruct((1, slots, 8, 4), jnp.float32)
        bias = jax.ShapeDtypeStruct((1, 1, slots, slots), jnp.float32)
        options = {"scale": 1.0, "softcap": None, "precision": FLOAT32, "drop": None}
        made = jax.jit(lambda q, k, v, b: attend(q, k, v, bias=b, **options)).lower(heads, heads, heads, bias)
        stats = made.compile().memory_analysis()
        assert stats is not None
        return stats.temp_size_in_bytes

    one_score = 4 * 8 * 2048**2
    assert needed(2048) < 0.8 * one_score, "a whole row holds two arrays of scores"


def test_a_sentence_of_a_thousand_pieces_is_read_whole(tmp_path: Path) -> None:
    """By a model that takes as many; by default it is cut at 512, and words near the cut see other neighbours."""
    model = load_model(write_bert(tmp_path, max_position_embeddings=1024, num_hidden_layers=1))
    sentence = ["the" if draw else "a" for draw in np.random.default_rng(0).integers(0, 2, 1000)]
    corpus = Corpus.from_words([sentence])
    whole, cut = extract(model, corpus, longest_window=1024), extract(model, corpus)
    pieces = model.tokenizer.encode(" ".join(sentence))
    assert len(pieces) == 1002
    row = np.zeros((3, 1, 1024), np.int32)
    row[0, 0, :1002], row[1, 0, :1002], row[2, 0, :1002] = pieces, np.arange(1002), 1
    alone = np.asarray(jax.jit(model.forward)(model.params, Batch(*row))["residual"])[:, 0, 1:1001]
    np.testing.assert_allclose(whole.read("residual")[:], alone.swapaxes(0, 1), rtol=0, atol=1e-4)
    assert np.abs(whole.read("residual")[:] - cut.read("residual")[:]).max() > 1e-3
