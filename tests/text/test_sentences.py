"""Files with a sentence a row or line: tab-separated, and JSON lines."""

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from lca_jax.errors import CorpusError, SettingsError
from lca_jax.text.formats import read_corpus
from lca_jax.text.json_lines import read_json_lines
from lca_jax.text.sentences import read_sentences

PARTS = """\
tr\tPRES\tYou wonder .
va\tPAST\tIt "was" late

tr\tPAST\tThey left
tr\tPRES\t \n"""
PAIRS = """\
index\tquestion\tsentence\tlabel
0\tWho left ?\tThey left .\tentailment
1\tWhy ?\tHe\u00a0stayed\tnot_entailment
"""
OBJECTS = [
    {"tokens": ["New York", "is", "big"], "tags": [3, 0, None], "mood": "good", "n": 1, "sure": True},
    {"tokens": ["It", "rains"], "tags": None, "mood": None, "n": 2, "sure": False},
    {"tokens": [], "tags": [], "mood": "bad", "n": 3, "sure": True},
    {"tokens": ["So", "what"], "tags": [0, -100], "mood": "bad", "n": 2, "sure": True},
]


def written(folder: Path, content: str | bytes, name: str = "a.tsv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def lines_of(*objects: object) -> str:
    return "".join(json.dumps(each) + "\n" for each in objects)


def test_columns_by_number_and_one_part_of_the_rows(tmp_path: Path) -> None:
    path = written(tmp_path, PARTS)
    corpus = read_sentences(path, columns={"tense": 2}, text_column=3, where={1: "tr"})
    assert corpus.sentences == (("You", "wonder", "."), ("They", "left"))
    assert dict(corpus.sentence_labels) == {"tense": ("PRES", "PAST")}
    assert (corpus.tasks, corpus.sentence_tasks, corpus.second_starts) == ((), ("tense",), None)
    assert corpus.skipped == {"blank line": 1, "row of another kind (column 1)": 1, "row without text": 1}
    assert corpus.name == "a.tsv"
    everything = read_sentences(path, columns={"tense": 2}, text_column=3, unlabelled="PAST")
    assert everything.sentences[1] == ("It", '"was"', "late")
    assert everything.sentence_labels["tense"] == ("PRES", None, None)
    zipped = written(tmp_path, gzip.compress(PARTS.replace("\n", "\r\n").encode()), "b.tsv.gz")
    again = read_sentences(zipped, columns={"tense": 2}, text_column=3, where={1: "tr"})
    assert again.fingerprint() == corpus.fingerprint()


def test_pairs_by_the_names_in_the_first_row(tmp_path: Path) -> None:
    path = written(tmp_path, PAIRS)
    corpus = read_sentences(path, columns={"nli": "label"}, text_column="question", second_column="sentence")
    assert corpus.sentences == (("Who", "left", "?", "They", "left", "."), ("Why", "?", "He", "stayed"))
    assert corpus.second_starts == (3, 2)
    assert corpus.sentence_labels["nli"] == ("entailment", "not_entailment")
    numbered = read_sentences(path, columns={"nli": 4}, text_column=2, second_column=3, header=True)
    assert numbered.fingerprint() == corpus.fingerprint()
    alone = read_sentences(path, columns={}, text_column="sentence")
    assert alone.sentences == (("They", "left", "."), ("He", "stayed"))
    assert read_corpus(path, tasks=["nli=label"]).fingerprint() == corpus.fingerprint()


def test_every_bad_row_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, b"1\tgood film\n0\n\tbad film\n1\tone\ttwo\n0\tfine\n" + b"1\tcaf\xe9\n0\tcaf\xc3\xa9\n")
    with pytest.raises(CorpusError) as caught:
        read_sentences(path, columns={"mood": 1}, text_column=2)
    assert [line.removeprefix(f"  {path}:") for line in str(caught.value).splitlines()[1:]] == [
        "2: 1 columns, but most rows have 2",
        "3: the label of `mood` (column 1) is empty",
        "4: 3 columns, but most rows have 2",
        "6: byte 6 of the line (0xe9) is not UTF-8",
    ]
    with pytest.raises(CorpusError, match="2: 1 columns, but the first row names 2"):
        read_sentences(written(tmp_path, "label\ttext\n0\n"), columns={"mood": "label"}, text_column="text")


def test_what_is_asked_for_and_not_there(tmp_path: Path) -> None:
    path = written(tmp_path, PAIRS)
    with pytest.raises(
        SettingsError, match=r"no column `lable`\. Columns named .*: index, question, sentence, label\."
    ):
        read_sentences(path, columns={"nli": "lable"}, text_column="sentence")
    with pytest.raises(SettingsError, match=r"columns run from 1 to 4, counted as `cut -f` does, got 5"):
        read_sentences(path, columns={"nli": 5}, text_column=2)
    with pytest.raises(SettingsError, match="several columns are called `x`"):
        read_sentences(written(tmp_path, "x\tx\n1\ta b\n", "b.tsv"), columns={"t": "x"}, text_column=2)
    with pytest.raises(CorpusError, match="nothing has a label for the task `nli`"):
        read_sentences(path, columns={"nli": "index"}, text_column="sentence", where={"index": "0"}, unlabelled="0")
    with pytest.raises(CorpusError, match="holds no word"):
        read_sentences(path, columns={}, text_column="sentence", where={"index": "7"})


def test_json_lines_with_labels_of_words_and_of_sentences(tmp_path: Path) -> None:
    path = written(tmp_path, lines_of(*OBJECTS[:2]) + "\n" + lines_of(*OBJECTS[2:]), "a.jsonl")
    keys = {"ner": "tags", "mood": "mood", "sure": "sure"}
    corpus = read_json_lines(path, keys=keys, text_key="tokens", unlabelled="-100")
    assert corpus.sentences == (("New York", "is", "big"), ("It", "rains"), ("So", "what"))
    assert dict(corpus.labels) == {"ner": (("3", "0", None), (None, None), ("0", None))}
    assert dict(corpus.sentence_labels) == {"mood": ("good", None, "bad"), "sure": ("true", "false", "true")}
    assert corpus.skipped == {"row without text": 1, "blank line": 1}
    two = read_json_lines(path, keys={"mood": "mood"}, text_key="tokens", where={"n": "2"})
    assert two.sentences == (("It", "rains"), ("So", "what"))
    assert two.skipped == {"line of another kind (key n)": 2, "blank line": 1}
    asked = read_corpus(path, tasks=["mood", "ner=tags"])
    assert (asked.tasks, asked.sentence_tasks) == (("ner",), ("mood",))


def test_json_lines_of_pairs(tmp_path: Path) -> None:
    rows = [
        {"premise": "A man sleeps .", "hypothesis": "He rests", "label": 0, "tags": [1, 1, 1, 1, 2, 2]},
        {"premise": "No one", "hypothesis": "Some one", "label": 2, "tags": [1, 1, 2, 2]},
    ]
    path = written(tmp_path, gzip.compress(lines_of(*rows).encode()), "a.jsonl.gz")
    corpus = read_json_lines(path, keys={"nli": "label", "side": "tags"}, text_key="premise", second_key="hypothesis")
    assert corpus.second_starts == (4, 2)
    assert corpus.sentences[1] == ("No", "one", "Some", "one")
    assert corpus.sentence_labels["nli"] == ("0", "2")
    for sentence, labels, start in zip(corpus.sentences, corpus.labels["side"], (4, 2), strict=True):
        assert labels == ("1",) * start + ("2",) * (len(sentence) - start)
    assert read_corpus(path, tasks=["nli=label", "side=tags"]).fingerprint() == corpus.fingerprint()


def test_every_bad_line_of_json_is_named(tmp_path: Path) -> None:
    lines = [
        '{"text": "a b", "label": "x", "tags": ["p", "q"]}',
        '{"text": "a b"',
        "[1]",
        '{"text": 7, "label": "x", "tags": ["p"]}',
        '{"text": "a b", "label": ["x", "y"], "tags": ["p"]}',
        '{"text": "a b", "label": 0.5, "tags": "p"}',
        '{"text": ["\\ud83d"], "label": "x", "tags": [{}]}',
        '{"text": "a b", "tags": ["p", "q"]}',
    ]
    path = written(tmp_path, "\n".join(lines), "bad.jsonl")
    with pytest.raises(CorpusError) as caught:
        read_json_lines(path, keys={"mood": "label", "pos": "tags"}, text_key="text")
    found = [line.removeprefix(f"  {path}:") for line in str(caught.value).splitlines()[1:]]
    assert found == [
        "2: is not JSON: Expecting ',' delimiter: line 1 column 15 (char 14)",
        "3: must be a JSON object",
        "4: `text` must be a text or a list of words, got 7",
        '5: task `mood`: the label ["x", "y"] is neither text, a whole number nor null',
        "5: task `pos`: 1 labels for 2 words, but most lines have one label per word",
        "6: task `mood`: the label 0.5 is neither text, a whole number nor null",
        '6: task `pos`: the label "p" for 2 words, but most lines have one label per word',
        "7: `text` holds half a surrogate pair, which is not Unicode",
        "7: task `pos`: the label {} is neither text, a whole number nor null",
        "8: no key `label`",
    ]
    path = written(tmp_path, lines_of({"text": "a", "label": "x"}), "good.jsonl")
    with pytest.raises(SettingsError, match=r"no line has the key `mood`\. Keys of the first line: text, label\."):
        read_json_lines(path, keys={"mood": "mood"}, text_key="text")
    path = written(tmp_path, lines_of({"body": "a", "label": "x"}), "other.jsonl")
    with pytest.raises(
        SettingsError, match=r"no line has a usual key for its text .*Keys of the first line: body, label"
    ):
        read_corpus(path, tasks=["label"])


def test_words_a_row_are_not_taken_for_sentences(tmp_path: Path) -> None:
    words = written(tmp_path, "New York\tPROPN\nis\tAUX\nbig\tADJ\n")
    assert read_corpus(words, tasks=["pos=2"]).labels["pos"] == (("PROPN", "AUX", "ADJ"),)
    blank = written(tmp_path, "a b\tX\nc d\tX\n\ne f\tY\n")
    assert read_corpus(blank, tasks=["pos=2"]).tasks == ("pos",)
    sentences = written(tmp_path, "a b\tX\nc d\tX\ne\tY\n")
    corpus = read_corpus(sentences, tasks=["mood=2"])
    assert corpus.sentences == (("a", "b"), ("c", "d"), ("e",))
    assert corpus.sentence_labels["mood"] == ("X", "X", "Y")


SENTIMENT = {
    "sst2-train": (6920, {"0": 3310, "1": 3610}),
    "sst2-dev": (872, {"0": 428, "1": 444}),
    "sst2-test": (1821, {"0": 912, "1": 909}),
    "labelled-sentences-imdb": (1000, {"0": 500, "1": 500}),
    "customer-reviews": (3771, None),
}


@pytest.mark.parametrize("name", SENTIMENT)
def test_the_sentiment_files(name: str, shared_data: Path) -> None:
    path = shared_data / "sentiment" / f"{name}.tsv.gz"
    corpus = read_sentences(path, columns={"mood": 1}, text_column=2)
    count, labels = SENTIMENT[name]
    assert corpus.sentence_count == count
    assert labels is None or Counter(corpus.sentence_labels["mood"]) == labels
    rows = [line.split("\t") for line in gzip.decompress(path.read_bytes()).decode().split("\n")[:-1]]
    assert corpus.words() == [word for row in rows for word in row[1].split()]
    assert corpus.skipped == ({} if labels else {"row without text": 4})
    assert read_corpus(path, tasks=["mood=1"]).fingerprint() == corpus.fingerprint()


@pytest.mark.parametrize(
    ("name", "counts", "labels"),
    [
        ("past_present", (2484, 353, 365), {"PAST": 1399, "PRES": 1803}),
        ("bigram_shift", (8509, 1351, 1352), {"I": 5555, "O": 5657}),
        ("tree_depth", (8281, 1330, 1331), {"2": 378, "3": 2486, "4": 3352, "5": 2685, "6": 1467, "7": 574}),
    ],
)
def test_the_probing_files_part_by_part(
    name: str, counts: tuple[int, ...], labels: dict[str, int], shared_data: Path
) -> None:
    path = shared_data / "probing" / f"{name}.tsv.gz"
    parts = [read_sentences(path, columns={name: 2}, text_column=3, where={1: part}) for part in ("tr", "va", "te")]
    assert tuple(part.sentence_count for part in parts) == counts
    assert sum((Counter(part.sentence_labels[name]) for part in parts), Counter()) == labels
    assert parts[0].skipped == {"row of another kind (column 1)": counts[1] + counts[2]}
    assert all(5 <= len(sentence) <= 28 for part in parts for sentence in part.sentences)


@pytest.mark.slow
def test_the_json_lines_and_pairs_at_hand(shared_data: Path) -> None:
    reviews = read_json_lines(
        shared_data / "reviews" / "product-reviews.jsonl.gz", keys={"category": "category"}, text_key="text"
    )
    assert reviews.sentence_count == 8194
    assert len(reviews.sentence_labels["category"]) == 8194
    with pytest.raises(CorpusError, match=r"task `aspects`: 0 labels for 9 words, but most lines"):
        read_json_lines(
            shared_data / "reviews" / "product-reviews.jsonl.gz", keys={"aspects": "aspects"}, text_key="title"
        )
    minimal = read_json_lines(
        shared_data / "blimp" / "blimp.jsonl.gz",
        keys={"paradigm": "UID"},
        text_key="sentence_good",
        second_key="sentence_bad",
    )
    assert minimal.second_starts is not None
    assert minimal.sentences[0][: minimal.second_starts[0]][-2:] == ("shocking", "Richard?")
    assert minimal.sentences[0][minimal.second_starts[0] :][-2:] == ("after", "shocking?")
    assert Counter(Counter(minimal.sentence_labels["paradigm"]).values()) == {1000: 67}
    translations = read_sentences(
        shared_data / "mt" / "tatoeba" / "deu-eng.tsv.gz", columns={}, text_column=1, second_column=2
    )
    assert translations.sentence_count == 1000
