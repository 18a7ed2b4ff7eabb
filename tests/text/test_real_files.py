"""The forms in which corpora are really published: what is no word stays none, and no text and no label is lost."""

import gzip
import json
import re
import tracemalloc
from pathlib import Path

import pytest

from lca_jax.errors import CorpusError, SettingsError
from lca_jax.text.columns import read_columns, read_text
from lca_jax.text.conllu import read_conllu
from lca_jax.text.corpus import Corpus
from lca_jax.text.formats import read_corpus
from lca_jax.text.json_lines import read_json_lines
from lca_jax.text.lines import Source
from lca_jax.text.options import TextOptions
from lca_jax.text.parallel import read_parallel
from lca_jax.text.sentences import read_sentences

CONLLU_PLUS = """# global.columns = ID FORM UPOS NER
# text = Can't stop
1-2\tCan't\t_\t_
1\tCa\tAUX\tO
2\tn't\tPART\tO
3\tstop\tVERB\tO
3.1\tgo\tVERB\tO

1\tParis\tPROPN\tB-LOC
"""
CONLLX = """1\tThe\tthe\tDET\tDT\t_\t2\tdet\t_\t_
2\tcat\tcat\tNOUN\tNN\t_\t0\troot\t_\t_

1\tStop\tstop\tVERB\tVB\tbroken\t0\troot\t_\t_
"""
CONLL2003 = """-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
rejects VBZ B-VP O

-DOCSTART- -X- -X- O

German JJ B-NP B-MISC
"""
CONLL2012 = """#begin document (bc/cctv/00/cctv_0000); part 000
bc/cctv   0   0    In    IN  (TOP(S(PP*   -   -   -   Speaker#1   *   *   -
bc/cctv   0   1    May   NNP     (NP*))   -   -   -   Speaker#1   *   *   -

bc/cctv   0   0    He    PRP  (TOP(S(NP*) -   -   -   Speaker#1   *   (ARG0*)  *  (1)
bc/cctv   0   1    left  VBD     (VP*)))  -   -   -   Speaker#1   *   (V*)     *   -

#end document
"""
WNUT = "@handle\tO\n#tag\tO\n\t\nParis\tB-location\n\t\n"
MIT = "O\ta\nB-X\tred\n\nO\tthe\nO\tfilm\n"
HEADED = "word pos ner\nParis NNP B-LOC\nsleeps VBZ O\n"
STREUSLE_LIKE = "1\tThe\tDET\tO\n2\tcat\tNOUN\tO\n\n1\tIt\tPRON\tO\n"


def written(folder: Path, content: str | bytes, name: str = "a.txt") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("content", "task", "sentences", "labels", "skipped"),
    [
        (
            CONLLU_PLUS,
            "ner",
            (("Ca", "n't", "stop"), ("Paris",)),
            ["O", "O", "O", "B-LOC"],
            {"comment": 2, "multiword token": 1, "empty node": 1},
        ),
        (CONLLX, "tag=5", (("The", "cat"), ("Stop",)), ["DT", "NN", "VB"], {}),
        (CONLLX, "upos", (("The", "cat"), ("Stop",)), ["DET", "NOUN", "VERB"], {}),
        (CONLL2003, "ner=4", (("EU", "rejects"), ("German",)), ["B-ORG", "O", "B-MISC"], {"document mark": 2}),
        (CONLL2012, "pos=5", (("In", "May"), ("He", "left")), ["IN", "NNP", "PRP", "VBD"], {"comment": 2}),
        (WNUT, "ner=2", (("@handle", "#tag"), ("Paris",)), ["O", "O", "B-location"], {}),
        (MIT, "slot=1", (("a", "red"), ("the", "film")), ["O", "B-X", "O", "O"], {}),
        (HEADED, "ner", (("Paris", "sleeps"),), ["B-LOC", "O"], {"header": 1}),
        (HEADED, "ner=3", (("Paris", "sleeps"),), ["B-LOC", "O"], {"header": 1}),
        (STREUSLE_LIKE, "3", (("The", "cat"), ("It",)), ["DET", "NOUN", "PRON"], {}),
    ],
    ids=str,
)
def test_words_are_words(
    content: str, task: str, sentences: tuple, labels: list[str], skipped: dict[str, int], tmp_path: Path
) -> None:
    corpus = read_corpus(written(tmp_path, content, "a.conll"), tasks=[task])
    assert corpus.sentences == sentences
    assert corpus.flat_labels(task.partition("=")[0]) == labels
    assert dict(corpus.skipped) == skipped


def test_a_task_that_is_the_column_of_the_words_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"column 2 holds the words, so it cannot be the task `2`.*--word-column"):
        read_corpus(written(tmp_path, STREUSLE_LIKE), tasks=["2"])
    options = TextOptions(word_column="3")
    assert read_corpus(written(tmp_path, STREUSLE_LIKE), tasks=["2"], options=options).words() == [
        "DET",
        "NOUN",
        "PRON",
    ]
    named = read_columns(written(tmp_path, HEADED), columns={"w": "word"}, word_column="pos")
    assert (named.words(), named.flat_labels("w")) == (["NNP", "VBZ"], ["Paris", "sleeps"])
    with pytest.raises(SettingsError, match=r"there is no column `lemma`\. Columns named in the file: word, pos, ner"):
        read_columns(written(tmp_path, HEADED), columns={"x": "lemma"})


def test_a_hash_is_a_word_where_its_row_is_like_the_others(tmp_path: Path) -> None:
    corpus = read_columns(written(tmp_path, "# # B-NP\n5 CD I-NP\n"), columns={"pos": 2})
    assert (corpus.words(), dict(corpus.skipped)) == (["#", "5"], {})


def test_rows_that_differ_inside_a_sentence_are_named_where_sentences_may_differ(tmp_path: Path) -> None:
    broken = CONLL2012.replace("(V*)     *   -", "(V*)")
    with pytest.raises(CorpusError, match=r":6: 12 columns, but most rows of this file have"):
        read_corpus(written(tmp_path, broken), tasks=["pos=5"])


def test_another_encoding_is_told_in_one_sentence_and_can_be_named(tmp_path: Path) -> None:
    rows = "".join("caf\xe9\tN\ntr\xe8s\tA\n\n" for _ in range(200)).encode("latin-1")
    path = written(tmp_path, rows)
    with pytest.raises(CorpusError) as caught:
        read_corpus(path, tasks=["tag=2"])
    assert "\n" not in str(caught.value)
    assert "none of the 400 lines with other letters than ASCII is UTF-8; the first is line 1, byte 4" in str(
        caught.value
    )
    assert "(`encoding`, `--encoding`), e.g. latin-1" in str(caught.value)
    corpus = read_corpus(path, tasks=["tag=2"], options=TextOptions(encoding="latin-1"))
    assert corpus.sentences[0] == ("café", "très")


@pytest.mark.parametrize("encoding", ["latin-7000", "hex", "rot13", "zlib", "base64", "a\0b", ""])
def test_what_is_no_encoding_of_texts_is_refused(tmp_path: Path, encoding: str) -> None:
    path = written(tmp_path, b"68656c6c6f\n")
    with pytest.raises(SettingsError, match=rf"There is no encoding {re.escape(repr(encoding))} of texts\. Usual ones"):
        read_text(path, encoding=encoding)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "cp037"])
def test_encodings_with_other_line_feeds_are_refused_with_a_way_out(tmp_path: Path, encoding: str) -> None:
    path = written(tmp_path, "ein Wort\nnoch eins\n".encode(encoding))
    told = rf"cannot be read line by line .* `iconv -f {encoding} -t UTF-8 FILE > NEW`"
    with pytest.raises(SettingsError, match=told):
        read_text(path, encoding=encoding)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "shift_jis", "gb18030", "iso2022_jp", "euc_kr"])
def test_encodings_of_several_bytes_are_read(tmp_path: Path, encoding: str) -> None:
    path = written(tmp_path, "文 一\n文 二\n".encode(encoding))
    assert read_text(path, encoding=encoding).sentences == (("文", "一"), ("文", "二"))


@pytest.mark.parametrize("zipped", [False, True])
def test_the_bytes_of_a_file_do_not_lie_beside_its_lines(tmp_path: Path, zipped: bool) -> None:
    content = (b"word " * 200 + b"\n") * 4000
    path = written(tmp_path, gzip.compress(content) if zipped else content)
    tracemalloc.start()
    try:
        source = Source.read(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(source.lines) == 4000
    assert len(content) < peak < 1.5 * len(content)


def test_only_what_is_asked_for_is_checked_in_conllu(tmp_path: Path) -> None:
    path = written(tmp_path, CONLLX, "a.conllu")
    assert read_conllu(path).flat_labels("upos") == ["DET", "NOUN", "VERB"]
    with pytest.raises(CorpusError, match="FEATS is 'broken'"):
        read_conllu(path, tasks=["feats:Number"])


def test_conllu_with_further_columns_is_read(tmp_path: Path) -> None:
    wide = "\n".join(f"{line}\t*\tx" if line else "" for line in CONLLX.splitlines()) + "\n"
    assert read_conllu(written(tmp_path, wide, "a.conllu")).words() == ["The", "cat", "Stop"]
    ragged = wide.replace("\t*\tx\n\n", "\n\n", 1)
    with pytest.raises(CorpusError, match=":2: 10 columns, but most rows of this file have 12"):
        read_conllu(written(tmp_path, ragged, "b.conllu"))


PAIR_FILES = {
    "MRPC": ("Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t7\t8\tHe left .\tHe went away .\n", "Quality"),
    "translation": ("id\tsource\ttarget\tscore\n1\tGuten Tag\tgood day sir\t3\n2\tJa doch\tyes it is\t4\n", "score"),
    "reading": ("context\tquestion\tanswer\nIt rains now\tWhat is it ?\tyes\n", "answer"),
}


@pytest.mark.parametrize("name", PAIR_FILES)
def test_both_texts_of_a_pair_are_read(name: str, tmp_path: Path) -> None:
    content, label = PAIR_FILES[name]
    corpus = read_corpus(written(tmp_path, content, "pairs.tsv"), tasks=[label])
    row = content.splitlines()[1].split("\t")
    assert corpus.second_starts is not None
    assert 0 < corpus.second_starts[0] < len(corpus.sentences[0])
    assert sum(" ".join(corpus.sentences[0]).count(word) for word in ("He left", "Guten Tag", "It rains")) == 1
    assert " ".join(corpus.sentences[0]) in " ".join(row)


def test_two_texts_that_no_name_decides_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "left\tright\ty\nHe left .\tHe went .\t1\nA b c\td e f\t0\n", "x.tsv")
    with pytest.raises(SettingsError, match=r"the columns 1, 2 all hold texts.*`--text-column`.*`--second-column`"):
        read_corpus(path, tasks=["y"])
    both = read_corpus(path, tasks=["y"], options=TextOptions(text_column="left", second_column="right"))
    assert (both.second_starts, both.sentences[1]) == ((3, 3), ("A", "b", "c", "d", "e", "f"))
    one = read_corpus(path, tasks=["y"], options=TextOptions(text_column="2"))
    assert (one.second_starts, one.sentences[1]) == (None, ("d", "e", "f"))
    lines = written(tmp_path, json.dumps({"left": "a b", "right": "c d", "y": 1}) + "\n", "x.jsonl")
    with pytest.raises(SettingsError, match="--second-column"):
        read_corpus(lines, tasks=["y"])
    options = TextOptions(text_column="left", second_column="right")
    assert read_corpus(lines, tasks=["y"], options=options).second_starts == (2,)


def test_csv_with_quotes_commas_and_lines_inside_a_cell(tmp_path: Path) -> None:
    path = written(tmp_path, 'text,label\n"Well, ""yes"" it\nis",1\nno it is not,0\n', "a.csv")
    corpus = read_corpus(path, tasks=["label"])
    assert corpus.sentences == (("Well,", '"yes"', "it", "is"), ("no", "it", "is", "not"))
    assert corpus.sentence_labels["label"] == ("1", "0")
    with pytest.raises(CorpusError, match=r":4: 3 columns, but the first row names 2"):
        read_corpus(
            written(tmp_path, 'text,label\n"a\nb c",1\nno it is, not,0\nso it is,1\n', "b.csv"), tasks=["label"]
        )


def test_ragged_rows_are_skipped_and_counted_where_that_is_asked_for(tmp_path: Path) -> None:
    rows = "question1\tquestion2\tsame\nWho is it ?\tWho ?\t1\nWhat now\nWhy not ?\tWhy ?\t0\n"
    path = written(tmp_path, rows, "q.tsv")
    with pytest.raises(CorpusError, match=":3: 1 columns"):
        read_corpus(path, tasks=["same"])
    corpus = read_corpus(path, tasks=["same"], options=TextOptions(skip_ragged=True))
    assert corpus.sentence_count == 2
    assert corpus.skipped == {"row with another number of columns": 1}


def test_a_text_with_a_label_file_beside_it(tmp_path: Path) -> None:
    text = written(tmp_path, "the  cat sat\n\nyes .\n", "test.in")
    written(tmp_path, "DT NN VB\n\nUH _\n", "test.label")
    corpus = read_corpus(text, tasks=["pos"], options=TextOptions(unlabelled="_"))
    assert corpus.sentences == (("the", "cat", "sat"), (), ("yes", "."))
    assert corpus.labels["pos"] == (("DT", "NN", "VB"), (), ("UH", None))
    with pytest.raises(SettingsError, match="has the labels of one task beside it"):
        read_corpus(text, tasks=["pos", "ner"])
    moods = read_parallel(text, labels={"mood": written(tmp_path, "good\nbad\ngood\n", "mood")})
    assert moods.sentence_labels["mood"] == ("good", "bad", "good")
    with pytest.raises(CorpusError, match=r":3: 2 words, but 1 labels of `pos`"):
        read_parallel(text, labels={"pos": written(tmp_path, "DT NN VB\n\nUH\n", "short")})
    with pytest.raises(CorpusError, match=r"short has 2 lines, .* has 3"):
        read_parallel(text, labels={"pos": written(tmp_path, "DT NN VB\nUH .\n", "short")})


def test_the_parts_of_senteval_are_told_apart(tmp_path: Path) -> None:
    path = written(tmp_path, "tr\tPAST\tIt was late .\nva\tPRES\tIt is late .\nte\tPAST\tHe left us .\n", "tense.txt")
    with pytest.raises(SettingsError, match=r"names the parts tr, va, te \(SentEval\)\. Say which rows are read"):
        read_corpus(path, tasks=["tense=2"])
    words = {part: read_corpus(path, tasks=["tense=2"], part=part).sentences[0][1] for part in ("train", "dev", "test")}
    assert words == {"train": "was", "dev": "is", "test": "left"}
    chosen = read_corpus(path, tasks=["tense=2"], options=TextOptions(where=["1=te"]), part="train")
    assert chosen.sentence_count == 1
    assert chosen.skipped == {"row of another kind (column 1)": 2}
    with pytest.raises(SettingsError, match="`where` must be COLUMN=TEXT"):
        TextOptions(where=["tr"])


def test_trec_has_coarse_and_fine_labels(tmp_path: Path) -> None:
    path = written(tmp_path, "DESC:manner How did it end ?\nENTY:cremat What film won ?\n", "trec.txt")
    corpus = read_corpus(path, tasks=["coarse", "kind=fine"])
    assert corpus.sentences[0] == ("How", "did", "it", "end", "?")
    assert dict(corpus.sentence_labels) == {"coarse": ("DESC", "ENTY"), "kind": ("DESC:manner", "ENTY:cremat")}
    with pytest.raises(SettingsError, match="is `coarse` or `fine`, got `2`"):
        read_corpus(path, tasks=["2"])


def test_minus_100_among_whole_numbers_is_no_label_and_is_counted(tmp_path: Path) -> None:
    rows = [{"tokens": ["a", "b"], "ner": [3, -100], "y": -100}, {"tokens": ["c"], "ner": [-100], "y": 2}]
    path = written(tmp_path, "".join(json.dumps(row) + "\n" for row in rows), "a.jsonl")
    corpus = read_json_lines(path, keys={"ner": "ner", "y": "y"}, text_key="tokens")
    assert corpus.labels["ner"] == (("3", None), (None,))
    assert corpus.sentence_labels["y"] == (None, "2")
    counts = {f"label -100 of {task}, which marks what has none": count for task, count in (("ner", 2), ("y", 1))}
    assert corpus.skipped == counts
    columns = read_columns(written(tmp_path, "a 1\nb -100\n"), columns={"n": 2})
    assert columns.flat_labels("n") == ["1", None]
    temperatures = read_sentences(written(tmp_path, "a b\t-100\nc d\t1.5\n"), columns={"t": 2}, text_column=1)
    assert temperatures.sentence_labels["t"] == ("-100", "1.5")


def test_data_sets_of_hugging_face_with_the_names_of_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {
            "tokens": datasets.List(datasets.Value("string")),
            "ner_tags": datasets.List(datasets.ClassLabel(names=["O", "B-LOC"])),
            "mood": datasets.ClassLabel(names=["bad", "good"]),
            "n": datasets.Value("int64"),
        }
    )
    rows = {
        "tokens": [["in", "Paris"], [], ["now"]],
        "ner_tags": [[0, 1], [], [-100]],
        "mood": [1, 0, -1],
        "n": [4, 5, 6],
    }
    dataset = datasets.Dataset.from_dict(rows, features=features)
    corpus = Corpus.from_dataset(dataset, text="tokens", labels={"ner": "ner_tags", "mood": "mood", "n": "n"})
    assert corpus.sentences == (("in", "Paris"), ("now",))
    assert corpus.labels["ner"] == (("O", "B-LOC"), (None,))
    assert dict(corpus.sentence_labels) == {"mood": ("good", None), "n": ("4", "6")}
    assert corpus.skipped["row without text"] == 1
    assert sum(corpus.skipped.values()) == 3
    with pytest.raises(SettingsError, match=r"has no column `pos`\. Its columns: tokens, ner_tags, mood, n"):
        Corpus.from_dataset(dataset, text="tokens", labels={"pos": "pos"})
    pairs = datasets.Dataset.from_dict({"premise": ["a b"], "hypothesis": ["c"], "label": [1]})
    both = Corpus.from_dataset(pairs, text="premise", second="hypothesis", labels={"nli": "label"})
    assert (both.sentences, both.second_starts) == ((("a", "b", "c"),), (2,))
    # A folder with one file a split is a data set too, so that the whole way of `hf:` needs no network.
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "moods"
    folder.mkdir()
    for split, text in (("train", "so good"), ("test", "so bad")):
        (folder / f"{split}.jsonl").write_text(json.dumps({"text": text, "label": "x"}) + "\n")
    assert read_corpus(f"hf:{folder}", tasks=["label"], part="test").sentences == (("so", "bad"),)
    assert read_corpus(f"hf:{folder}@train", tasks=["label"]).sentences == (("so", "good"),)
    with pytest.raises(CorpusError, match="the split 'validation' cannot be read"):
        read_corpus(f"hf:{folder}", tasks=["label"], part="dev")
