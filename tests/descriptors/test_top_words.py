"""Top words and cards of neurons against a plain loop over z-scores."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lca_jax.axes import Neuron
from lca_jax.descriptors import top_words as words_module
from lca_jax.descriptors.top_words import SentenceHeat, neuron_cards, top_words
from lca_jax.errors import DataError

FORMS = ["the", "cat", "sat", "the", "dog", "ran", "the", "cat", "ran", "once"]


def _columns(width: int, words: int = len(FORMS)) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(words, width)).astype(np.float32)


def _looped_top_words(forms, column, count, min_occurrences):
    """Word by word: the mean z-score of each type, divided by the largest."""
    z = (column - column.mean()) / column.std()
    means = {}
    for form in set(forms):
        occurrences = [z[row] for row in range(len(forms)) if forms[row] == form]
        if len(occurrences) >= min_occurrences:
            means[form] = sum(occurrences) / len(occurrences)
    largest = max(abs(mean) for mean in means.values())
    ordered = sorted(means.items(), key=lambda item: (-abs(item[1]), item[0]))
    return [(form, mean / largest, forms.count(form)) for form, mean in ordered[:count]]


@pytest.mark.parametrize("min_occurrences", [1, 2])
def test_top_words_equal_a_loop_over_words(min_occurrences):
    columns = _columns(6)
    found = top_words(FORMS, columns, count=3, min_occurrences=min_occurrences)
    for column, listed in zip(columns.T.astype(np.float64), found, strict=True):
        expected = _looped_top_words(FORMS, column, 3, min_occurrences)
        assert [(word.form, word.occurrences) for word in listed] == [(form, number) for form, _, number in expected]
        np.testing.assert_allclose([word.score for word in listed], [score for _, score, _ in expected], rtol=1e-6)


def test_sign_is_kept_and_the_first_word_has_score_one():
    column = np.array([[-3.0], [1.0], [-3.0], [1.0], [1.0], [1.0], [1.0], [1.0]])
    (listed,) = top_words(["not", "a", "not", "b", "a", "b", "c", "c"], column)
    assert listed[0] == ("not", -1.0, 2)
    assert [word.form for word in listed[1:]] == ["a", "b", "c"], "ties stand in the order of their forms"
    assert all(word.score == pytest.approx(1 / 3) for word in listed[1:])


def test_words_without_vector_change_nothing():
    usable = np.array([True] * 10 + [False, False])
    columns = np.vstack([_columns(3), np.full((2, 3), np.nan, np.float32)])
    assert top_words([*FORMS, "cat", "zebra"], columns, usable=usable) == top_words(FORMS, _columns(3))


def test_blocks_of_columns_change_nothing(monkeypatch):
    whole = top_words(FORMS, _columns(7))
    monkeypatch.setattr(words_module, "BLOCK_VALUES", 2 * len(FORMS))
    assert top_words(FORMS, _columns(7)) == whole


@settings(deadline=None, max_examples=25)
@given(st.permutations(range(len(FORMS))), st.floats(0.5, 4.0), st.floats(-3.0, 3.0))
def test_order_of_words_scale_and_shift_change_nothing(order, scale, shift):
    columns = _columns(2).astype(np.float64)
    expected = top_words(FORMS, columns)
    found = top_words([FORMS[row] for row in order], columns[list(order)] * scale + shift)
    for one, other in zip(expected, found, strict=True):
        assert [word.form for word in one] == [word.form for word in other]
        np.testing.assert_allclose([word.score for word in one], [word.score for word in other], atol=1e-6)


def test_a_neuron_that_never_moves_and_rare_types_have_no_words():
    constant = np.full((3, 1), 0.1, np.float32)
    assert top_words(["a", "a", "b"], constant) == [()]
    assert top_words(["a", "b", "c"], _columns(2, words=3)) == [(), ()]


def test_errors_name_the_word_and_the_lengths():
    columns = _columns(2)
    with pytest.raises(DataError, match=r"`forms` must have one entry for each row of `activations` \(10\), got 9"):
        top_words(FORMS[1:], columns)
    with pytest.raises(DataError, match="got none"):
        top_words(FORMS, columns, usable=np.zeros(10, bool))
    columns[4, 1] = np.inf
    with pytest.raises(DataError, match=r"word 4 \('dog'\)"):
        top_words(FORMS, columns)


def _card_inputs():
    texts = ["a b c d e", "too short", "f g h i j k", "a b c d e", "l m n o p", "q r s t u"]
    sentences = np.concatenate([np.full(len(text.split()), number) for number, text in enumerate(texts)])
    forms = " ".join(texts).split()
    column = np.zeros((len(forms), 1))
    column[[0, 4, 13, 17]] = [[4.0], [-4.0], [4.0], [-4.0]]  # sentences 0 and 3: the same text, the widest spread
    column[[5, 6]] = [[50.0], [-50.0]]  # sentence 1: wider still, but too short
    column[18, 0] = 3.0  # sentence 4
    column[7, 0] = 1.0  # sentence 2
    return forms, sentences, column


def test_cards_show_the_widest_distinct_sentences_of_fitting_length():
    forms, sentences, column = _card_inputs()
    labels = [form.upper() if form != "c" else None for form in forms]
    neuron = Neuron("residual", 3, 127)
    arguments = {"neurons": [neuron], "classes": [("NOUN",)], "labels": labels, "ranks": [7], "sentences": 3}
    (card,) = neuron_cards(forms, sentences, column, **arguments)
    assert (card.neuron, card.rank, card.classes) == (neuron, 7, ("NOUN",))
    assert ["".join(sentence.words) for sentence in card.sentences] == ["abcde", "lmnop", "fghijk"]
    first = card.sentences[0]
    assert first.labels == ("A", "B", None, "D", "E")
    z = (column[:, 0] - column.mean()) / column.std()
    np.testing.assert_allclose(np.array(first.values, float), z[:5], rtol=1e-12)
    assert card.top_words == top_words(forms, column)[0]
    assert neuron_cards(forms, sentences, column, **arguments) == (card,)


def test_cards_pass_over_words_without_vector():
    forms, sentences, column = _card_inputs()
    usable = np.ones(len(forms), bool)
    usable[1] = False
    column[1, 0] = np.nan
    usable[18:23] = False
    (card,) = neuron_cards(
        forms, sentences, column, neurons=[Neuron("mlp", 0, 1)], classes=[()], usable=usable, sentences=9
    )
    assert ["".join(sentence.words) for sentence in card.sentences] == ["abcde", "fghijk", "qrstu"]
    assert card.sentences[0].values[1] is None
    assert card.rank == 1
    assert card.sentences[0].labels == (None,) * 5


def test_cards_of_a_corpus_without_fitting_sentence_are_still_made():
    (card,) = neuron_cards(
        ["a", "b"], np.array([0, 0]), np.array([[1.0], [2.0]]), neurons=[Neuron("residual", 0, 0)], classes=[("X", "Y")]
    )
    assert card.sentences == ()
    assert card.top_words == ()


def test_cards_need_one_entry_a_column():
    with pytest.raises(DataError, match=r"`classes` must have one entry for each column of `activations` \(1\), got 0"):
        neuron_cards(["a"], np.array([0]), np.array([[1.0]]), neurons=[Neuron("residual", 0, 0)], classes=[])


def test_records_compare_by_content():
    heats = [SentenceHeat(words=("a",), labels=(None,), values=(0.5,)) for _ in range(2)]
    assert heats[0] == heats[1]
