import gzip
from collections import Counter
from pathlib import Path

import conllu
import pytest

from lca_jax.errors import CorpusError, SettingsError
from lca_jax.text.readers import read_columns, read_conllu, read_corpus, read_text

TREEBANK = """\
# sent_id = 1
# text = Al mar # azul
1-2	Al	_	_	_	_	_	_	_	_
1	A	a	ADP	_	_	3	case	_	_
2	el	el	DET	_	Definite=Def|Gender=Masc|Number=Sing	3	det	_	_
3	mar	mar	NOUN	_	Gender=Fem,Masc|Number=Sing	0	root	_	_
3.1	es	ser	VERB	_	_	_	_	0:root	_
4	#	#	_	_	_	3	nmod:x	_	_
5	New York	New York	PROPN	_	Number[psor]=Plur	3	flat	_	_

# sent_id = 2

1	x\u2028y	_	X	_	_	0	root	_	_"""


@pytest.fixture
def treebank(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.conllu"
    path.write_text(TREEBANK, encoding="utf-8")
    return path


def written(folder: Path, content: str | bytes, name: str = "bad.conllu") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def row(identity: str, *, form: str = "x", feats: str = "_") -> str:
    return f"{identity}\t{form}\tx\tX\t_\t{feats}\t0\troot\t_\t_\n"


def test_conllu_words_labels_and_what_is_skipped(treebank: Path) -> None:
    corpus = read_conllu(
        treebank, tasks=["upos", "deprel", "head", "lemma", "feats:Number", "feats:Gender", "feats:Number[psor]"]
    )
    # A line ends at \n alone (U+2028 is part of a form), comments alone are no sentence, the last needs no blank line.
    assert corpus.sentences == (("A", "el", "mar", "#", "New York"), ("x\u2028y",))
    assert corpus.labels["upos"] == (("ADP", "DET", "NOUN", None, "PROPN"), ("X",))
    assert corpus.labels["deprel"] == (("case", "det", "root", "nmod:x", "flat"), ("root",))
    assert corpus.labels["head"] == (("3", "3", "0", "3", "3"), ("0",))
    assert corpus.labels["lemma"] == (("a", "el", "mar", "#", "New York"), (None,))
    assert corpus.labels["feats:Number"] == ((None, "Sing", "Sing", None, None), (None,))
    assert corpus.labels["feats:Gender"] == ((None, "Masc", "Fem,Masc", None, None), (None,))
    assert corpus.labels["feats:Number[psor]"] == ((None, None, None, None, "Plur"), (None,))
    assert corpus.skipped == {"multiword token": 1, "empty node": 1}
    assert corpus.name == "tiny.conllu"


def test_words_without_the_feature_can_be_a_class_of_their_own(treebank: Path) -> None:
    corpus = read_conllu(treebank, tasks=["feats:Number", "upos"], unlabelled_as="none")
    assert corpus.labels["feats:Number"] == (("none", "Sing", "Sing", "none", "none"), ("none",))
    assert corpus.labels["upos"][0][3] is None


def test_gzip_windows_line_ends_and_a_byte_order_mark_change_nothing(treebank: Path, tmp_path: Path) -> None:
    plain = read_conllu(treebank)
    zipped = written(tmp_path, gzip.compress(TREEBANK.encode()), "tiny.conllu.gz")
    windows = written(tmp_path, b"\xef\xbb\xbf" + TREEBANK.replace("\n", "\r\n").encode(), "windows.conllu")
    for path in (zipped, windows):
        assert read_conllu(path).fingerprint() == plain.fingerprint()


def test_every_bad_row_of_a_conllu_file_is_named_with_its_line(tmp_path: Path) -> None:
    rows = [
        row("1"),
        row("3"),
        row("4", form=""),
        row("5", feats="Number"),
        "6 x x X _ _ 0 root _ _\n",
        row("seven"),
        "\n",
        row("1", feats="A=b|A=c"),
        row("2-2"),
        row("2", form="caf\udce9"),
    ]
    content = "".join(rows).encode(errors="surrogateescape")
    with pytest.raises(CorpusError) as caught:
        read_conllu(written(tmp_path, content))
    found = [line.removeprefix(f"  {tmp_path / 'bad.conllu'}:") for line in str(caught.value).splitlines()[1:]]
    assert found == [
        "2: ID is 3, but word 2 of the sentence should stand here",
        "3: FORM is empty; what is not given is written `_`",
        "4: FEATS is 'Number'; it must be `_` or different Key=Value joined by `|`",
        "5: 1 columns, but a row of CoNLL-U has 10, with one tab between two",
        "6: ID is 'seven'; it must be a number (7), a range (3-4) or an empty node (8.1)",
        "8: FEATS is 'A=b|A=c'; it must be `_` or different Key=Value joined by `|`",
        "9: ID is 2-2, but a multiword token here must begin with 2 and end later",
        "10: byte 6 of the line (0xe9) is no UTF-8",
    ]


def test_heads_are_checked_where_they_are_asked_for(tmp_path: Path) -> None:
    heads = ("4", "0", "3", "-1", "_", "two")
    rows = [row(str(place)).replace("\t0\t", f"\t{head}\t") for place, head in enumerate(heads, 1)]
    path = written(tmp_path, "".join(rows) + "\n" + row("1").replace("\t0\t", "\t2\t"))
    assert read_conllu(path).word_count == 7
    with pytest.raises(CorpusError) as caught:
        read_conllu(path, tasks=["head"])
    found = [line.removeprefix(f"  {path}:") for line in str(caught.value).splitlines()[1:]]
    must = "it must be another word's number (1 to {}), 0 for the root, or `_`"
    assert found == [
        f"3: HEAD is '3'; {must.format(6)}",
        f"4: HEAD is '-1'; {must.format(6)}",
        f"6: HEAD is 'two'; {must.format(6)}",
        f"8: HEAD is '2'; {must.format(1)}",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        ("\n \n", "the file is empty"),
        ("# only a comment\n\n", "holds no word"),
        (row("1", form="_"), "every form is `_`"),
        (b"\x1f\x8b\x08\x00broken", "cannot be read"),
        (gzip.compress(TREEBANK.encode())[:-20], "cannot be read"),
    ],
)
def test_files_without_words_say_so(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        read_conllu(written(tmp_path, content))


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.conllu", tmp_path):
        with pytest.raises(CorpusError, match=f"{path}: cannot be read"):
            read_conllu(path)


def test_a_task_without_any_label_names_those_that_have_some(treebank: Path) -> None:
    known = r"deprel, head, lemma, upos, feats:Definite, feats:Gender, feats:Number, feats:Number\[psor\]\."
    for task, unlabelled_as in (("feats:Nummer", None), ("feats:Nummer", "none"), ("xpos", None)):
        with pytest.raises(
            CorpusError, match=f"no word has a label for the task `{task}`. Tasks with labels here: {known}"
        ):
            read_conllu(treebank, tasks=[task], unlabelled_as=unlabelled_as)


@pytest.mark.parametrize("task", ["pos", "UPOS", "feats", "feats:", "Number"])
def test_an_unknown_spelling_lists_the_known_ones(treebank: Path, task: str) -> None:
    with pytest.raises(SettingsError, match=rf"`deprel`, `head`, `lemma`, `upos`, `xpos` or `feats:KEY`.*got `{task}`"):
        read_conllu(treebank, tasks=[task])


def test_conllu_agrees_with_the_conllu_package(shared_data: Path) -> None:
    path = shared_data / "ud" / "en_ewt-ud-dev.conllu.gz"
    corpus = read_conllu(path, tasks=["upos", "xpos", "deprel", "lemma", "feats:Number", "feats:Tense"])
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        parsed = conllu.parse(lines.read())
    words = [[token for token in sentence if isinstance(token["id"], int)] for sentence in parsed]
    assert corpus.sentences == tuple(tuple(token["form"] for token in sentence) for sentence in words)
    flat = [token for sentence in words for token in sentence]
    for task in ("upos", "xpos", "deprel", "lemma"):
        assert corpus.flat_labels(task) == [None if token[task] == "_" else token[task] for token in flat]
    for key in ("Number", "Tense"):
        assert corpus.flat_labels(f"feats:{key}") == [(token["feats"] or {}).get(key) for token in flat]
    others = Counter(token["id"][1] for sentence in parsed for token in sentence if not isinstance(token["id"], int))
    assert corpus.skipped == {"multiword token": others["-"], "empty node": others["."]}


@pytest.mark.parametrize(
    ("file", "sentences", "words"),
    [
        ("ud/en_ewt-ud-train", 12544, 204577),
        ("ud/en_ewt-ud-test", 2077, 25094),
        ("ud/tr_imst-ud-dev", 1100, 10542),
        ("ud/vi_vtb-ud-dev", 1123, 26162),
        ("ud/pud/ar_pud-ud-test", 1000, 20747),
        ("ud/pud/hi_pud-ud-test", 1000, 23829),
        ("ud/pud/pt_pud-ud-test", 1000, 23407),
        ("ud/pud/zh_pud-ud-test", 1000, 21415),
    ],
)
def test_treebanks_have_the_words_their_makers_count(shared_data: Path, file: str, sentences: int, words: int) -> None:
    corpus = read_corpus(shared_data / f"{file}.conllu.gz", tasks=["upos"])
    assert (corpus.sentence_count, corpus.word_count) == (sentences, words)


def test_columns_are_numbered_from_one(tmp_path: Path) -> None:
    path = written(tmp_path, "# # B-NP\nnear-record JJ I-NP\n\n\n. _ O\n", "chunks.txt")
    corpus = read_columns(path, columns={"chunk": 3, "pos": 2}, separator=" ")
    assert corpus.sentences == (("#", "near-record"), (".",))
    assert corpus.labels == {"chunk": (("B-NP", "I-NP"), ("O",)), "pos": (("#", "JJ"), (None,))}
    assert read_columns(path, columns={}, word_column=3).words() == ["B-NP", "I-NP", "O"]
    assert read_columns(path, columns={"pos": 2}, unlabelled=None).flat_labels("pos") == ["#", "JJ", "_"]
    for column in (0, 4):
        with pytest.raises(SettingsError, match=f"column {column} was asked for `chunk`, but columns run from 1 to 3"):
            read_columns(path, columns={"chunk": column}, separator=" ")
    with pytest.raises(CorpusError, match="no word has a label for the task `last`: column 3 is `O` throughout"):
        read_columns(written(tmp_path, "a b O\n"), columns={"last": 3}, unlabelled="O")


def test_every_row_of_another_width_is_named(tmp_path: Path) -> None:
    # The first row is the broken one: the width that most rows have decides, not the first.
    path = written(tmp_path, "a b\nc d e\n\nf g h\ni  j\nk l m n\no p q\n", "columns.txt")
    with pytest.raises(CorpusError) as caught:
        read_columns(path, columns={"last": 3}, separator=" ")
    assert str(caught.value).splitlines()[1:] == [
        f"  {path}:1: 2 columns, but most rows of this file have 3",
        f"  {path}:5: column 2 is empty",
        f"  {path}:6: 4 columns, but most rows of this file have 3",
    ]


def test_read_corpus_knows_the_meaning_bank(tmp_path: Path) -> None:
    head = "### Generated by the command:\n# newdoc id = p02/d0010\n# layer:statuses =\n"
    rows = "#\t#\t#\tQUA\tn/n\tO\t[]\nBus~stop\tbus~stop\tbus~stop\tCON\tn\tbus_stop.n.01\t[]\n\n"
    path = written(tmp_path, head + rows, "pmb.conll")
    corpus = read_corpus(path, tasks=["sem", "ccg", "4", "copy=4"])
    assert corpus.sentences == (("#", "Bus stop"),)
    assert corpus.tasks == ("sem", "ccg", "4", "copy")
    assert corpus.flat_labels("sem") == corpus.flat_labels("4") == corpus.flat_labels("copy") == ["QUA", "CON"]
    with pytest.raises(SettingsError, match=r"`symbol`, `sem`, `ccg`, .* or NAME=NUMBER, got `chunk`"):
        read_corpus(path, tasks=["chunk"])


def test_read_corpus_tells_formats_apart(tmp_path: Path) -> None:
    tabs = written(tmp_path, "# made by hand\na b\tX\n~\tY\n", "tabs.tsv")
    assert read_corpus(tabs, tasks=["tag=2"]).labels == {"tag": (("X", "Y"),)}
    assert read_corpus(tabs, tasks=["2"]).words() == ["a b", "~"]
    pairs = written(tmp_path, "a X\n# Y\n", "pairs.txt")
    assert read_corpus(pairs, tasks=["2"]).flat_labels("2") == ["X", "Y"]
    with pytest.raises(SettingsError, match="a task of this file is a column number"):
        read_corpus(pairs, tasks=["chunk"])
    assert read_corpus(pairs).sentences == (("a", "X"), ("#", "Y"))


def test_shared_task_and_meaning_bank_have_their_published_sizes(shared_data: Path) -> None:
    chunks = read_corpus(shared_data / "conll2000" / "test.txt.gz", tasks=["chunk", "pos"])
    assert (chunks.sentence_count, chunks.word_count) == (2012, 47377)
    assert chunks.classes("chunk")[:2] == ("B-ADJP", "B-ADVP")
    for part, words in (("train", 50408), ("dev", 7368), ("test", 6821)):
        bank = read_corpus(shared_data / "pmb" / f"pmb-4.0.0-en-gold-{part}.conll.gz", tasks=["sem", "ccg"])
        assert bank.word_count == words
        if part == "train":
            assert (len(bank.classes("sem")), len(bank.classes("ccg"))) == (69, 294)
            assert "Charles de Gaulle" in bank.words()


def test_plain_text_keeps_line_numbers(tmp_path: Path) -> None:
    corpus = read_text(written(tmp_path, "Zwei  Wörter\n\nBonjour\u00a0!\t你好\n", "lines.txt"))
    assert corpus.sentences == (("Zwei", "Wörter"), (), ("Bonjour", "!", "你好"))
    assert corpus.tasks == ()


def test_parallel_text_stays_parallel(shared_data: Path) -> None:
    for language in ("en", "de"):
        assert read_text(shared_data / "mt" / "multi30k" / f"val.{language}.gz").sentence_count == 1014
