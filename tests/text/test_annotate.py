"""Tasks made of words themselves, and corpora that are written and read again."""

from collections import Counter
from pathlib import Path

import pytest

from lca_jax.demo import demo_corpus_file
from lca_jax.errors import CorpusError, SettingsError, StoreError
from lca_jax.text.annotate import annotate_by_option
from lca_jax.text.columns import read_columns
from lca_jax.text.conllu import read_conllu
from lca_jax.text.corpus import Corpus
from lca_jax.text.json_lines import read_json_lines
from lca_jax.text.writing import write_columns, write_conllu, write_json_lines

WORDS = Corpus.from_words([["May", "1999", "was", "cold", "."], ["In", "may", "1887"], ["Yes"], ["so", "it", "is"]])


def test_classes_by_list_pattern_and_predicate_have_as_many_others() -> None:
    month = WORDS.annotate("month", words={"May", "June"})
    assert month.labels["month"][0][0] == "month"
    assert Counter(month.flat_labels("month")) == {"month": 1, "not month": 1, None: 10}
    folded = WORDS.annotate("month", words=["MAY"], fold_case=True)
    labels = zip(WORDS.words(), folded.flat_labels("month"), strict=True)
    assert [word for word, label in labels if label == "month"] == ["May", "may"]
    year = WORDS.annotate("year", pattern=r"(18|19)[0-9]{2}", balanced=False)
    assert Counter(year.flat_labels("year")) == {"year": 2, "not year": 10}
    short = WORDS.annotate("short", where=lambda word: len(word) < 3)
    assert Counter(short.flat_labels("short")) == {"short": 5, "not short": 5, None: 2}


def test_the_others_are_drawn_by_seed_and_from_all_of_the_text() -> None:
    corpus = read_conllu(demo_corpus_file("train"))
    drawn = [corpus.annotate("the", words=["the"], seed=seed).flat_labels("the") for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    places = [place for place, label in enumerate(drawn[0]) if label == "not the"]
    assert len(places) == drawn[0].count("the")
    halves = Counter(place < corpus.word_count // 2 for place in places)
    assert min(halves.values()) > 0.35 * len(places)


def test_the_position_of_a_word_is_a_task() -> None:
    assert WORDS.annotate_position().labels["position"] == (
        ("begin", "middle", "middle", "middle", "end"),
        ("begin", "middle", "end"),
        (None,),
        ("begin", "middle", "end"),
    )


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, SettingsError, "Give one of `words`, `pattern` and `where`"),
        ({"words": ["a"], "pattern": "a"}, SettingsError, "Give one of"),
        ({"words": "May"}, SettingsError, "must be a collection of words, got the text 'May'"),
        ({"pattern": "(a"}, SettingsError, r"must be a regular expression, got '\(a'"),
        ({"words": ["June"]}, CorpusError, "no word is in the class `x`"),
        ({"pattern": ".*"}, CorpusError, "every word is in the class `x`"),
    ],
)
def test_what_makes_no_task_is_refused(options: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        WORDS.annotate("x", **options)


def test_tasks_by_options_of_the_command(tmp_path: Path) -> None:
    (tmp_path / "months.txt").write_text("May\nmay\n\n")
    corpus = annotate_by_option(WORDS, f"month={tmp_path / 'months.txt'}", seed=0)
    assert corpus.flat_labels("month").count("month") == 2
    (tmp_path / "more.txt").write_bytes("May\ncafé\nété\n".encode("latin-1") + "für\n".encode())
    with pytest.raises(CorpusError, match=r"more.txt:2: byte 4 of the line \(0xe9\) is not UTF-8"):
        annotate_by_option(WORDS, f"month={tmp_path / 'more.txt'}", seed=0)
    corpus = annotate_by_option(WORDS, f"month={tmp_path / 'more.txt'}", seed=0, encoding="latin-1")
    assert corpus.flat_labels("month").count("month") == WORDS.words().count("May")
    corpus = annotate_by_option(WORDS, "year=/1[89][0-9]+/", seed=0)
    assert corpus.flat_labels("year").count("year") == 2
    for wrong in ("month", "=x", "month="):
        with pytest.raises(SettingsError, match="`annotate` must be NAME=FILE or NAME=/PATTERN/"):
            annotate_by_option(WORDS, wrong, seed=0)


def test_a_treebank_that_is_written_is_read_as_the_same(tmp_path: Path) -> None:
    tasks = ["upos", "xpos", "lemma", "feats:Number", "feats:Tense"]
    corpus = read_conllu(demo_corpus_file("dev"), tasks=["upos", "feats:Number"])
    path = write_conllu(corpus, tmp_path / "a.conllu")
    assert read_conllu(path, tasks=["upos", "feats:Number"]).fingerprint() == corpus.fingerprint()
    with pytest.raises(CorpusError, match="no word has a label for the task `feats:Tense`"):
        read_conllu(path, tasks=tasks[:1] + tasks[4:])
    with pytest.raises(StoreError, match="nothing is overwritten"):
        write_conllu(corpus, path)
    write_conllu(corpus.take_sentences(0, 2), path, overwrite=True)
    assert read_conllu(path).sentence_count == 2


def test_columns_that_are_written_are_read_as_the_same(tmp_path: Path) -> None:
    corpus = WORDS.annotate("year", words=["1999", "1887"]).annotate_position()
    corpus = Corpus.from_words(
        [["New York", "#", *sentence] for sentence in corpus.sentences],
        labels={task: [["x", None, *of] for of in labels] for task, labels in corpus.labels.items()},
    )
    path = write_columns(corpus, tmp_path / "a.tsv")
    again = read_columns(path, columns={"year": "year", "position": "position"})
    assert again.fingerprint() == corpus.fingerprint()
    with pytest.raises(SettingsError, match="`x` is a label and cannot mark words without one"):
        write_columns(corpus, tmp_path / "b.tsv", unlabelled="x")
    assert not (tmp_path / "b.tsv").exists()


def test_json_lines_that_are_written_are_read_as_the_same(tmp_path: Path) -> None:
    pairs = Corpus.from_words(
        [["a", "b c", "d"], ["e", "\u2028", "f"]],
        labels={"t": [["1", None, "2"], ["3", "4", "5"]]},
        sentence_labels={"s": ["x", None]},
        second_starts=[1, 2],
    )
    path = write_json_lines(pairs, tmp_path / "a.jsonl")
    keys = {"t": "t", "s": "s"}
    again = read_json_lines(path, keys=keys, text_key="tokens", second_key="second_tokens")
    assert again.fingerprint() == pairs.fingerprint()
    for write in (write_conllu, write_columns):
        with pytest.raises(SettingsError, match="holds pairs of texts"):
            write(pairs, tmp_path / "b")
    with pytest.raises(SettingsError, match="is the key of the words"):
        write_json_lines(WORDS.with_task("tokens", [["x"] * len(words) for words in WORDS.sentences]), tmp_path / "c")


def test_a_word_with_a_line_end_goes_to_json_lines_alone(tmp_path: Path) -> None:
    corpus = Corpus.from_words([["a\nb", "c"]], labels={"t": [["x", "y"]]})
    for write in (write_conllu, write_columns):
        with pytest.raises(SettingsError, match=r"sentence 1: 'a\\nb' is empty or holds a tab or a line end"):
            write(corpus, tmp_path / "b")
    path = write_json_lines(corpus, tmp_path / "a.jsonl")
    assert read_json_lines(path, keys={"t": "t"}, text_key="tokens").fingerprint() == corpus.fingerprint()
