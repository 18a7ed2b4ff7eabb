"""Parts of one corpus: translations stay together, and no other corpus counts."""

from pathlib import Path

import pytest

from lca_jax import Corpus, divide_corpus, sentence_ids
from lca_jax.errors import CorpusError, SettingsError

ROW = "{}\t_\tX\t_\t_\t_\t_\t_\t_\n"
CONLLU = f"# newdoc\n# sent_id = a1\n# text = x\n1\t{ROW.format('x')}\n\n# sent_id = b2\n1\t{ROW.format('y')}"
"""Two blank lines between two sentences, and none after the last."""


def corpus(words: str, count: int = 400) -> Corpus:
    sentences = [[f"{words}{number}"] for number in range(count)]
    return Corpus.from_words(sentences, {"t": [["x"]] * count}, name=words)


def parts_of(text: Corpus, **settings) -> dict[str, set[str]]:
    divided = divide_corpus(text, **settings)
    return {
        part: {word for sentence in of_part.sentences for word in sentence}
        for part, of_part in divided._asdict().items()
    }


def test_parts_are_apart_and_have_their_sizes() -> None:
    found = parts_of(corpus("w"), shares=(0.5, 0.1, 0.2))
    sizes = {part: len(words) for part, words in found.items()}
    assert sum(len(one & other) for one in found.values() for other in found.values()) == sum(sizes.values())
    for part, expected in {"train": 200, "dev": 40, "test": 80}.items():
        assert abs(sizes[part] - expected) < 40  # four standard deviations of the largest
    assert parts_of(corpus("w"), seed=1) != parts_of(corpus("w"))
    assert divide_corpus(corpus("w")).train.name == "w (train)"


def test_a_sentence_and_its_translation_have_one_part_whatever_else_there_is() -> None:
    keys = [f"s{number}" for number in range(400)]
    one = parts_of(corpus("w"), keys=keys)
    fewer = divide_corpus(corpus("v").choose(range(100, 400)), keys=keys[100:])
    for part, text in fewer._asdict().items():
        assert {word[0].removeprefix("v") for word in text.sentences} == {
            word.removeprefix("w") for word in one[part] if int(word.removeprefix("w")) >= 100
        }


def test_a_sentence_that_comes_twice_has_one_part() -> None:
    sentences = [["a", str(number % 50)] for number in range(400)]
    divided = divide_corpus(Corpus.from_words(sentences))
    sets = [set(part.sentences) for part in divided]
    assert not sets[0] & sets[1]
    assert not sets[0] & sets[2]
    assert sum(part.sentence_count for part in divided) == 400


def test_what_cannot_be_divided_is_refused() -> None:
    with pytest.raises(SettingsError, match="must each be above 0 and at most 1 together"):
        divide_corpus(corpus("w"), shares=(0.8, 0.2, 0.2))
    with pytest.raises(SettingsError, match="400 sentences, and there are 1 keys"):
        divide_corpus(corpus("w"), keys=["a"])
    with pytest.raises(CorpusError, match="none of them came into"):
        divide_corpus(corpus("w", 1))


def test_sentence_ids_are_those_of_the_sentences(tmp_path: Path) -> None:
    file = tmp_path / "a.conllu"
    file.write_text(CONLLU, "utf-8")
    assert sentence_ids(file) == ["a1", "b2"]
    file.write_text(CONLLU.replace("b2", "a1"), "utf-8")
    with pytest.raises(CorpusError, match="2 sentences have the sent_id 'a1'"):
        sentence_ids(file)
    file.write_text(CONLLU.replace("# sent_id = b2\n", ""), "utf-8")
    with pytest.raises(CorpusError, match=r"a\.conllu:8: the sentence before this line has no `# sent_id"):
        sentence_ids(file)
