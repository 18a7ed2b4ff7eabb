"""CoNLL-U files, against rows written by hand and the package `conllu`."""

import gzip
from collections import Counter
from pathlib import Path

import conllu
import pytest

from lca_jax import read_conllu
from lca_jax.errors import CorpusError, SettingsError

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
        row("3", form="café"),
    ]
    content = "".join(rows).encode(errors="surrogateescape")
    with pytest.raises(CorpusError) as caught:
        read_conllu(written(tmp_path, content), tasks=["feats:Number"])
    found = [line.removeprefix(f"  {tmp_path / 'bad.conllu'}:") for line in str(caught.value).splitlines()[1:]]
    assert found == [
        "2: ID is 3, but word 2 of the sentence must come here",
        "3: FORM is empty; write `_` for a value that is not given",
        "4: FEATS is 'Number'; it must be `_` or different Key=Value joined by `|`",
        "5: 1 columns, but a row of CoNLL-U has 10, with one tab between two",
        "6: ID is 'seven'; it must be a number (7), a range (3-4) or an empty node (8.1)",
        "8: FEATS is 'A=b|A=c'; it must be `_` or different Key=Value joined by `|`",
        "9: ID is 2-2, but a multiword token here must begin with 2 and end later",
        "10: byte 6 of the line (0xe9) is not UTF-8",
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
