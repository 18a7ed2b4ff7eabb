"""Words and labels side by side: what does not fit is refused, and the fingerprint is that of the content."""

import hashlib
import inspect
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lca_jax.errors import CorpusError, SettingsError
from lca_jax.text.corpus import Corpus

WORDS = [["The", "cat", "sat"], [], ["It", "ran"]]
TAGS = [["DET", "NOUN", None], [], ["PRON", "VERB"]]

sentences_of_words = st.lists(st.lists(st.text(min_size=1, max_size=4), max_size=5), min_size=1).filter(any)


def test_words_and_labels_lie_side_by_side() -> None:
    corpus = Corpus.from_words(WORDS, {"upos": TAGS}, name="tiny")
    assert (corpus.sentence_count, corpus.word_count, corpus.tasks, corpus.name) == (3, 5, ("upos",), "tiny")
    assert corpus.words() == ["The", "cat", "sat", "It", "ran"]
    assert corpus.flat_labels("upos") == ["DET", "NOUN", None, "PRON", "VERB"]
    assert corpus.classes("upos") == ("DET", "NOUN", "PRON", "VERB")


def test_an_unknown_task_names_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"tiny has no task `pos`\. Tasks: upos, chunk\."):
        Corpus.from_words(WORDS, {"upos": TAGS, "chunk": TAGS}, name="tiny").flat_labels("pos")
    with pytest.raises(SettingsError, match="Tasks: none"):
        Corpus.from_words(WORDS).classes("upos")


def test_all_misfits_are_listed_at_once() -> None:
    labels = {"short": TAGS[:2], "ragged": [["DET", "NOUN"], [], ["PRON", "VERB", "X"]]}
    with pytest.raises(CorpusError) as caught:
        Corpus.from_words(WORDS, labels)
    message = str(caught.value)
    assert "task `short`: labels for 2 sentences, but there are 3 sentences" in message
    assert "task `ragged`, sentence 1: 2 labels for 3 words" in message
    assert "task `ragged`, sentence 3: 3 labels for 2 words" in message


def test_words_that_are_no_words_are_refused() -> None:
    with pytest.raises(CorpusError, match="sentence 1: 'The cat' is one text; split it into a list of words"):
        Corpus.from_words(["The cat", "sat"])
    with pytest.raises(CorpusError, match=r"sentence 1, word 2: .* holds half a surrogate pair"):
        Corpus.from_words([["ok", "\ud83d"]])
    for nothing in ([], [[]]):
        with pytest.raises(CorpusError, match="there is no word"):
            Corpus.from_words(nothing)
    # The types below are what the runtime checks of this suite refuse first; users run without them.
    unchecked = inspect.unwrap(Corpus.from_words.__func__)
    with pytest.raises(
        CorpusError, match=r"sentence 1, word 2: 7 is not text[\s\S]*the label 1 is neither text nor None"
    ):
        unchecked(Corpus, [["a", 7]], {"task": [["x", 1]]})


def test_with_task_adds_a_column_and_leaves_the_first_corpus_alone() -> None:
    corpus = Corpus.from_words(WORDS, {"upos": TAGS})
    more = corpus.with_task("control", [["a", "b", "a"], [], ["b", "b"]])
    assert more.tasks == ("upos", "control")
    assert corpus.tasks == ("upos",)
    with pytest.raises(CorpusError, match="task `control`, sentence 1: 1 labels for 3 words"):
        corpus.with_task("control", [["a"], [], ["b", "b"]])


def test_sentences_have_labels_of_their_own() -> None:
    of_sentences = {"mood": ["good", None, "bad"], "length": ["3", "0", "2"]}
    corpus = Corpus.from_words(WORDS, {"upos": TAGS}, sentence_labels=of_sentences)
    assert (corpus.tasks, corpus.sentence_tasks) == (("upos",), ("mood", "length"))
    assert corpus.sentence_labels["mood"] == ("good", None, "bad")
    assert corpus.classes("mood") == ("bad", "good")
    part = corpus.take_sentences(1, 3)
    assert part.sentences == ((), ("It", "ran"))
    assert part.labels["upos"] == ((), ("PRON", "VERB"))
    assert dict(part.sentence_labels) == {"mood": (None, "bad"), "length": ("0", "2")}
    assert part.second_starts is None
    with pytest.raises(SettingsError, match=r"Tasks: upos\. Tasks of sentences: mood, length\."):
        corpus.flat_labels("mood")


def test_pairs_are_sentences_with_a_mark() -> None:
    pairs = Corpus.from_words([["a", "b", "c"], ["d", "e"], ["f", "g"]], second_starts=[2, 1, 1])
    assert pairs.second_starts == (2, 1, 1)
    assert pairs.take_words(5).second_starts == (2, 1)
    with pytest.raises(CorpusError) as caught:
        Corpus.from_words([["a"], ["b", "c"], ["d", "e"]], second_starts=[1, 0, 1])
    assert str(caught.value).splitlines()[1:] == [
        "  sentence 1: both texts of a pair need words, got 1 of 1 for the first",
        "  sentence 2: both texts of a pair need words, got 0 of 2 for the first",
    ]
    with pytest.raises(CorpusError, match="pairs: 1 starts of second texts, but there are 3 sentences"):
        Corpus.from_words(WORDS, second_starts=[1])


def test_labels_of_sentences_that_do_not_fit_are_listed() -> None:
    with pytest.raises(CorpusError) as caught:
        Corpus.from_words(WORDS, {"upos": TAGS}, sentence_labels={"upos": ["a", "b", "c"], "mood": ["a", "b"]})
    assert str(caught.value).splitlines()[1:] == [
        "  task `upos`: words and sentences cannot both have labels of one task; rename one of them",
        "  task `mood`: 2 labels of sentences, but there are 3 sentences",
    ]
    corpus = Corpus.from_words(WORDS, {"upos": TAGS}, sentence_labels={"mood": ["a", "b", "c"]})
    with pytest.raises(CorpusError, match="words and sentences cannot both have labels"):
        corpus.with_task("mood", TAGS)


@given(sentences_of_words, st.integers(1, 30))
def test_take_words_takes_the_most_whole_leading_sentences(sentences: list[list[str]], limit: int) -> None:
    corpus = Corpus.from_words(sentences, {"self": sentences})
    taken = corpus.take_words(limit)
    assert corpus.sentences[: taken.sentence_count] == taken.sentences
    assert taken.labels["self"] == taken.sentences
    only_one_has_words = sum(bool(sentence) for sentence in taken.sentences) == 1
    assert taken.word_count > 0
    assert taken.word_count <= limit or only_one_has_words
    if taken.sentence_count < corpus.sentence_count:
        assert taken.word_count + len(corpus.sentences[taken.sentence_count]) > limit


@given(sentences_of_words, st.integers(1, 30), st.integers(0, 5))
def test_drawn_sentences_are_whole_in_order_and_nested(sentences: list[list[str]], limit: int, seed: int) -> None:
    corpus = Corpus.from_words(sentences, {"self": sentences}).with_task(
        "number", [[str(number)] * len(words) for number, words in enumerate(sentences)]
    )
    drawn = corpus.take_words(limit, seed=seed)
    numbers = [int(str(of_sentence[0])) for of_sentence in drawn.labels["number"] if of_sentence]
    assert numbers == sorted(set(numbers))
    assert drawn.labels["self"] == drawn.sentences
    assert [corpus.sentences[number] for number in numbers] == [words for words in drawn.sentences if words]
    assert 0 < drawn.word_count <= max(limit, max(map(len, drawn.sentences)))
    larger = corpus.take_words(limit + 3, seed=seed).labels["number"]
    assert set(numbers) <= {int(str(of_sentence[0])) for of_sentence in larger if of_sentence}
    assert corpus.take_words(10**6, seed=seed) == corpus


def test_a_draw_is_not_the_head_of_the_file() -> None:
    corpus = Corpus.from_words([[f"genre{number // 50}"] for number in range(200)])
    assert len(set(corpus.take_words(40).words())) == 1
    assert len(set(corpus.take_words(40, seed=0).words())) == 4
    assert corpus.take_words(40, seed=0) != corpus.take_words(40, seed=1)


def test_a_corpus_describes_itself_at_a_prompt_and_in_a_notebook() -> None:
    plain = Corpus.from_words(WORDS, {"upos": TAGS}, sentence_labels={"mood": ["<good>", None, "bad"]}, name="a&b")
    corpus = replace(plain, skipped={"empty node": 2})
    assert repr(corpus).splitlines() == [
        "Corpus a&b: 3 sentences, 5 words; skipped: empty node (2)",
        "task  of         classes  labelled",
        "upos  words            4         4",
        "mood  sentences        2         2",
    ]
    html = corpus._repr_html_()
    assert html.count("<tr>") == 3
    assert "Corpus a&amp;b: 3 sentences" in html
    pairs = Corpus.from_words([["a", "b"]], second_starts=[1])
    assert repr(pairs) == "Corpus words: 1 pairs, 2 words"


def test_take_words_needs_a_limit() -> None:
    with pytest.raises(SettingsError, match="`limit` must be 1 word or more, got 0"):
        Corpus.from_words(WORDS).take_words(0)


@given(sentences_of_words)
def test_the_fingerprint_is_that_of_the_content(sentences: list[list[str]]) -> None:
    corpus = Corpus.from_words(sentences, {"a": sentences, "b": sentences}, name="one")
    again = Corpus.from_words(sentences, {"b": sentences, "a": sentences}, name="other")
    assert corpus.fingerprint() == again.fingerprint()
    assert len(corpus.fingerprint()) == 64
    changed = [[*sentence] for sentence in sentences]
    next(filter(None, changed))[0] += "x"
    assert Corpus.from_words(changed).fingerprint() != Corpus.from_words(sentences).fingerprint()


def test_the_fingerprint_sees_every_boundary() -> None:
    variants = [
        Corpus.from_words([["a", "b"]]),
        Corpus.from_words([["ab"]]),
        Corpus.from_words([["a"], ["b"]]),
        Corpus.from_words([["a", "b"]], {"t": [["x", None]]}),
        Corpus.from_words([["a", "b"]], {"t": [["x", "None"]]}),
        Corpus.from_words([["a", "b"]], {"u": [["x", None]]}),
        Corpus.from_words([["a", "b"]], second_starts=[1]),
        Corpus.from_words([["a", "b"]], sentence_labels={"t": ["x"]}),
        Corpus.from_words([["a", "b"]], sentence_labels={"t": [None]}),
        Corpus.from_words([["a", "b"]], sentence_labels={"t": ["x"]}, second_starts=[1]),
    ]
    assert len({corpus.fingerprint() for corpus in variants}) == len(variants)


def test_corpora_without_labels_of_sentences_keep_the_fingerprint_that_stores_have() -> None:
    corpus = Corpus.from_words(WORDS, {"upos": TAGS})
    content = json.dumps([WORDS, [["upos", TAGS]]], separators=(",", ":"))
    assert corpus.fingerprint() == hashlib.sha256(content.encode()).hexdigest()
