"""Control of properties: the labels of words, how Portuguese is read, and the program on a tiny model."""

import gzip
import json
from pathlib import Path

import pytest

from benchmarks import control
from benchmarks.claimed_control import tense_before, translated_over_zeroed
from benchmarks.claimed_results import Results
from benchmarks.controlled_cases import subjects_before_verbs
from benchmarks.controlled_words import CLASSES, Forms, draw_words, read_english, read_portuguese, with_class
from tests.tiny_bert import write_bert

_ROWS = {
    "cats": "NOUN Number=Plur",
    "cat": "NOUN Number=Sing",
    "sat": "VERB Mood=Ind|Number=Plur|Tense=Past|VerbForm=Fin",
    "s": "VERB Mood=Ind|Number=Sing|Tense=Pres|VerbForm=Fin",
    "b": "AUX Mood=Ind|Tense=Pres|VerbForm=Fin",
    "d": "VERB Tense=Past|VerbForm=Part",
    "f": "ADJ _",
    "h": "PRON Gender=Masc",
    "e": "PRON Gender=Fem",
    "i": "PRON Gender=Neut",
    "n": "PART Polarity=Neg",
    "y": "INTJ Polarity=Pos",
}
_SENTENCES = (
    "cats nsubj 2 | sat root 0 | y discourse 2",
    "cat nsubj 3 | n advmod 3 | s root 0 | y discourse 3",
    "h nsubj 4 | b cop 4 | n advmod 4 | f root 0",
    "e nsubj 3 | b aux 3 | d root 0 | i obj 3",
)
"""Form, relation and head of every word."""


def write_english(path: Path, *, copies: int = 1) -> Path:
    lines = []
    for sentence in _SENTENCES * copies:
        for place, word in enumerate(sentence.split(" | "), 1):
            form, relation, head = word.split()
            upos, feats = _ROWS[form].split()
            lines.append(f"{place}\t{form}\t{form}\t{upos}\t_\t{feats}\t{head}\t{relation}\t_\t_")
        lines.append("")
    path.parent.mkdir(parents=True, exist_ok=True)
    content = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def test_words_have_the_classes_that_the_treebank_says(tmp_path: Path) -> None:
    corpus = read_english(write_english(tmp_path / "en.conllu"))
    found = {task: [[label or "-" for label in of] for of in corpus.labels[task]] for task in CLASSES}
    assert found["tense"] == [
        ["-", "Past", "-"],
        ["-", "-", "Pres", "-"],
        ["-", "Pres", "-", "-"],
        ["-", "Pres", "-", "-"],
    ]
    assert found["number"] == [["Plur", "-", "-"], ["Sing", "-", "-", "-"], ["-"] * 4, ["-"] * 4]
    assert found["gender"] == [["-"] * 3, ["-"] * 4, ["Masc", "-", "-", "-"], ["Fem", "-", "-", "-"]]
    # A negator makes its verb negative, and the copula of what it depends on; an auxiliary follows its verb.
    assert found["polarity"] == [
        ["-", "Pos", "-"],
        ["-", "-", "Neg", "-"],
        ["-", "Neg", "-", "-"],
        ["-", "Pos", "Pos", "-"],
    ]
    before = subjects_before_verbs(corpus)
    assert (before.sentences, before.labels["number"]) == ((("cats",),), (("Plur",),))
    assert with_class(corpus, "number", "Sing", least=1).sentences == (("cat", "n", "s", "y"),)
    many = read_english(write_english(tmp_path / "many.conllu", copies=20))
    drawn = draw_words(many, list(CLASSES), 3, seed=0)
    assert drawn.word_count < many.word_count
    assert all(drawn.flat_labels(task).count(name) >= 3 for task, names in CLASSES.items() for name in names)


def test_lines_are_labelled_by_the_forms_of_a_treebank(tmp_path: Path) -> None:
    forms = Forms.of(read_english(write_english(tmp_path / "en.conllu")))
    corpus = forms.label(["H sat, e b not.", "Cats n s!", "it bn't d"], "lines")
    assert corpus.labels["gender"] == (("Masc", None, "Fem", None, None), (None,) * 3, (None,) * 3)
    assert corpus.labels["tense"][0] == (None, "Past", None, "Pres", None)
    assert corpus.labels["number"][1] == ("Plur", None, None)
    assert corpus.labels["polarity"] == (
        (None, "Pos", None, "Pos", None),
        (None, None, "Neg"),
        (None, "Neg", "Neg"),
    )


def test_portuguese_texts_show_their_class_and_what_else_they_say(tmp_path: Path) -> None:
    rows = (
        "ele ele PRON Gender=Masc|Number=Sing",
        "gatos gato NOUN Number=Plur",
        "gato gato NOUN Number=Sing",
        "comem _ VERB Number=Plur|Tense=Pres",
        "comia comer VERB Number=Sing|Tense=Past",
        "não não ADV Polarity=Neg",
        "sim sim ADV Polarity=Pos",
    )
    lines = [
        f"{place}\t{form}\t{lemma}\t{upos}\t_\t{feats}\t0\troot\t_\t_"
        for place, (form, lemma, upos, feats) in enumerate((row.split() for row in rows), 1)
    ]
    path = tmp_path / "pt.conllu"
    path.write_text("\n".join(lines) + "\n\n", encoding="utf-8")
    readings = read_portuguese(path)
    texts = ("Os gatos comem.", "O gato comia, sim.", "Ela não comia nada")
    assert [readings["tense"].classify(text) for text in texts] == ["Pres", "Past", "Past"]
    assert [readings["number"].classify(text) for text in texts] == ["Plur", "Sing", None]
    assert [readings["gender"].classify(text) for text in texts] == [None, None, "Fem"]
    assert [readings["polarity"].classify(text) for text in texts] == ["Pos", "Pos", "Neg"]
    # A lemma or three letters stand for a word; pronouns and negators are left away.
    assert (
        readings["tense"].rest("Ele não comia gatos") == readings["tense"].rest("Ela comia gato") == ("comer", "gato")
    )
    assert readings["tense"].rest("comem tudo") == ("com", "tud")


def shares(value: float) -> dict[str, dict[str, float]]:
    return {name: {"value": value, "low": value - 0.1, "high": value + 0.1} for name in ("reached", "error_rate")}


def test_claims_are_means_of_both_directions(tmp_path: Path) -> None:
    def direction(reported: float, translated: float, zeroed: float) -> dict[str, object]:
        of = {how: {"points": [shares(value)]} for how, value in (("translated", translated), ("zeroed", zeroed))}
        return {"reported": {"class": {"points": [shares(reported)]}}, **of}

    parts = {
        "translations": {
            "tense, A to B": direction(0.8, 0.5, 0.1),
            "tense, B to A": direction(0.6, 0.3, 0.1),
            "number, A to B": direction(0.2, 0.4, 0.4),
        }
    }
    (tmp_path / "x-2026-11-30-control.json").write_text(json.dumps({"parts": parts}), encoding="utf-8")
    (easier,) = tense_before("number")(Results(tmp_path))
    assert easier.of == "tense and number"
    assert easier.value == pytest.approx(0.5)
    assert easier.value - easier.low == pytest.approx((0.1**2 / 2 + 0.1**2) ** 0.5)
    number, tense = translated_over_zeroed(Results(tmp_path))
    assert (tense.of, tense.value) == ("translations, tense", pytest.approx(0.3))
    assert number[1:] == pytest.approx((0.0, -(0.02**0.5), 0.02**0.5))
    # Nothing is said of a property that is not measured.
    assert tense_before("number", "gender")(Results(tmp_path)) == []
    assert tense_before("number")(Results(tmp_path / "none")) == []


def test_the_program_tries_chooses_and_reports(tmp_path: Path) -> None:
    """Without a translator and a causal model it edits a layer below a probe."""
    corpus = write_english(tmp_path / "en.conllu", copies=12)
    write_english(tmp_path / "pud" / "en_pud-ud-test.conllu.gz", copies=12)
    out = tmp_path / "control.json"
    options = ["--model", str(write_bert(tmp_path / "bert")), "--corpus", str(corpus), "--pud", str(tmp_path / "pud")]
    options += ["--of-layer", "8", "--work", str(tmp_path / "work"), "--out", str(out), "--quick"]
    control.main(options)
    result = json.loads(out.read_text("utf-8"))
    assert list(result["parts"]) == ["probe"]
    assert list(result["parts"]["probe"]) == [
        *("tense, Pres to Past", "tense, Past to Pres", "number, Sing to Plur", "number, Plur to Sing"),
    ]
    for of in result["parts"]["probe"].values():
        for where in ("class", "all"):
            tops = [point for point in of["grid"][where]["points"] if point["set"] == "top"]
            best = max(tops, key=lambda point: point["excess"])
            assert of["chosen"][where] == {"sizes": [best["size"]], "strengths": [best["strength"]]}
            assert [point["set"] for point in of["reported"][where]["points"]] == ["top", "matched"]
        assert (of["layer"], of["zeroed"]["shift"], of["translated"]["shift"]) == (1, "zero", "translate")
        assert "examples" not in of["reported"]["class"]["points"][0]
    # What is done is not done again.
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "work").iterdir()}
    control.main(options)
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "work").iterdir()} == before
    assert json.loads(out.read_text("utf-8"))["parts"] == result["parts"]
