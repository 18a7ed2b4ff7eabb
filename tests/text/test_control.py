"""Control tasks: the map by word type, against its definition in floating point and against chance."""

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lca_jax.errors import DataError, SettingsError
from lca_jax.text.conllu import read_conllu
from lca_jax.text.control import ControlTask, draw_control_task

WORDS = ["the", "cat", "sat", "the", "mat", "The"]
TAGS = ["DET", "NOUN", "VERB", "DET", None, "DET"]


def test_a_word_type_has_one_label_wherever_it_stands() -> None:
    labels = draw_control_task(WORDS, TAGS, seed=0).label_like(WORDS, TAGS)
    assert labels[0] == labels[3]
    assert labels[4] is None
    assert set(labels) <= {"DET", "NOUN", "VERB", None}


@given(st.permutations(list(zip(WORDS, TAGS, strict=True))), st.integers(0, 1000))
def test_the_map_depends_on_seed_and_form_alone(pairs: list[tuple[str, str | None]], seed: int) -> None:
    shuffled = draw_control_task([word for word, _ in pairs], [tag for _, tag in pairs], seed=seed)
    task = draw_control_task(WORDS, TAGS, seed=seed)
    assert task == shuffled
    # Other types with the same distribution of labels leave every type's label as it was, seen in training or not.
    other = draw_control_task(["un", "deux", "un", "trois", "deux"], ["DET", "DET", "DET", "NOUN", "VERB"], seed=seed)
    for word in [*WORDS, "unseen", "好", ""]:
        assert task.label(word) == shuffled.label(word) == other.label(word)


def test_labels_stay_what_they_are_from_release_to_release() -> None:
    task = ControlTask(classes=("a", "b", "c"), counts=(5, 3, 2), seed=7)
    words = ["the", "cat", "sat", "on", "a", "mat", "and", "the", "dog", "ran", "off"]
    found = "".join(task.label(word) for word in words)
    assert found == "baaabbabbab"
    # The same by floating point: the hash as a number in [0, 1), times the ten labelled words.
    draws = [int(hashlib.blake2b(b"7\0" + word.encode(), digest_size=8).hexdigest(), 16) / 2**64 for word in words]
    assert found == "".join("aaaaabbbcc"[int(10 * draw)] for draw in draws)


def test_classes_are_drawn_as_often_as_their_labels_occur() -> None:
    task = ControlTask(classes=("a", "b", "c"), counts=(70, 25, 5), seed=3)
    draws = 20_000
    found = Counter(task.label(f"word{number}") for number in range(draws))
    for name, share in zip(task.classes, (0.70, 0.25, 0.05), strict=True):
        deviation = np.sqrt(share * (1 - share) / draws)
        assert abs(found[name] / draws - share) < 4 * deviation


def test_other_seeds_are_other_maps() -> None:
    words = [f"word{number}" for number in range(2000)]
    one, other = (ControlTask(classes=("a", "b"), counts=(1, 1), seed=seed) for seed in (1, 2))
    agreement = np.mean([one.label(word) == other.label(word) for word in words])
    assert abs(agreement - 0.5) < 0.05


def test_case_may_be_folded() -> None:
    words = [f"Word{number}" for number in range(100)]
    labels = ["x", "y"] * 50
    exact, folded = (draw_control_task(words, labels, seed=0, fold_case=fold) for fold in (False, True))
    assert all(folded.label(word) == folded.label(word.upper()) for word in words)
    assert any(exact.label(word) != exact.label(word.upper()) for word in words)


def test_words_get_a_label_where_the_task_has_one() -> None:
    words, labels = ["the", "cat", "The", "mat"], ["DET", "NOUN", "DET", None]
    task = draw_control_task(words, labels, seed=5)
    assert (task.classes, task.counts) == (("DET", "NOUN"), (2, 1))
    assert task.label_like(words, labels) == [task.label("the"), task.label("cat"), task.label("The"), None]


def test_there_must_be_labels_to_imitate() -> None:
    with pytest.raises(DataError, match="none of the 2 words has a label"):
        draw_control_task(["a", "b"], [None, None], seed=0)
    with pytest.raises(SettingsError, match="got 2 words, 1 labels"):
        draw_control_task(["a", "b"], ["x"], seed=0)
    with pytest.raises(SettingsError, match="`seed` must be 0 or more, got -1"):
        draw_control_task(["a"], ["x"], seed=-1)


def test_real_types_follow_the_distribution_of_tokens(shared_data: Path) -> None:
    corpus = read_conllu(shared_data / "ud" / "en_ewt-ud-dev.conllu.gz", tasks=["upos"])
    tags = corpus.flat_labels("upos")
    task = draw_control_task(corpus.words(), tags, seed=0)
    shares = np.array(task.counts) / sum(task.counts)
    assert task.counts == tuple(tags.count(name) for name in corpus.classes("upos"))
    types = sorted(set(corpus.words()))
    found = Counter(map(task.label, types))
    expected = shares * len(types)
    chi_square = sum((found[name] - mean) ** 2 / mean for name, mean in zip(task.classes, expected, strict=True))
    # 16 degrees of freedom: 39.3 is passed by chance once in a thousand draws, and this draw is always the same.
    assert chi_square < 39.3
