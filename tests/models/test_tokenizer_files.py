"""`tokenizer.json` decides which pieces a model reads, whatever class transformers makes of its folder."""

import io
import json
import logging
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, normalizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from lca_jax.demo import demo_corpus_file
from lca_jax.errors import ModelError
from lca_jax.models.loading.folders import read_tokenizer, tokenizer_content
from lca_jax.models.loading.pieces import PROBE
from lca_jax.text.alignment import align_sentences
from lca_jax.text.conllu import read_conllu
from tests.tokenizer_kinds import KINDS, many_scripts

TEXTS = [PROBE, "The Naïve CAFÉ", *(" ".join(words) for words in many_scripts())]


def write_folder(folder: Path, backend: Tokenizer, *, model_type: str, **settings: object) -> Path:
    """Writes a tokenizer file and the two configs that AutoTokenizer reads beside it."""
    settings = {key: value for key, value in settings.items() if value is not None}
    folder.mkdir(parents=True, exist_ok=True)
    backend.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps({"model_type": model_type, "vocab_size": 2000}))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def backend_of(kind: str) -> Tokenizer:
    """The backend of a tokenizer that has one."""
    tokenizer = KINDS[kind]()
    assert isinstance(tokenizer, PreTrainedTokenizerFast)
    return tokenizer.backend_tokenizer


def wordpiece(**options: bool) -> Tokenizer:
    """A WordPiece file whose normalizer is as the options say."""
    backend = Tokenizer.from_str(backend_of("WordPiece, BERT").to_str())
    backend.normalizer = normalizers.BertNormalizer(**options)
    return backend


def assert_same_pieces(tokenizer: PreTrainedTokenizerBase, written: Tokenizer) -> None:
    for text in TEXTS:
        expected = written.encode(text, add_special_tokens=False).ids
        assert tokenizer(text, add_special_tokens=False)["input_ids"] == expected


def assert_as_written(folder: Path) -> None:
    """The pieces of many texts, and of words, are those of the file."""
    written = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer = read_tokenizer(folder, vocabulary=2000)
    for text in TEXTS:
        assert (
            tokenizer(text, add_special_tokens=False)["input_ids"] == written.encode(text, add_special_tokens=False).ids
        )
    words = TEXTS[0].split()
    [aligned] = align_sentences(tokenizer, [words])
    np.testing.assert_array_equal(aligned.piece_ids, written.encode(" ".join(words), add_special_tokens=False).ids)


CASES = {
    "CamemBERT v2: WordPiece under a class of byte pairs": (
        "roberta",
        {"tokenizer_class": "RobertaTokenizer"},
        {"lowercase": False},
    ),
    "cased BERT without do_lower_case": ("bert", {"tokenizer_class": "BertTokenizer"}, {"lowercase": False}),
    "accents that stay": ("bert", {"tokenizer_class": "BertTokenizer"}, {"lowercase": True, "strip_accents": False}),
    "Chinese that is not split": (
        "bert",
        {"tokenizer_class": "BertTokenizerFast"},
        {"lowercase": False, "handle_chinese_chars": False},
    ),
    "no class at all": ("bert", {}, {"lowercase": False}),
    "an unknown class": ("electra", {"tokenizer_class": "NobodyTokenizer"}, {"lowercase": False}),
}


@pytest.mark.parametrize("name", CASES)
def test_pieces_are_those_of_the_file(name: str, tmp_path: Path) -> None:
    model_type, named, options = CASES[name]
    write_folder(tmp_path, wordpiece(**options), model_type=model_type, tokenizer_class=named)
    assert_as_written(tmp_path)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "SentencePiece" not in kind])
@pytest.mark.parametrize("named", ["LlamaTokenizer", "BertTokenizer"])
def test_a_wrong_class_changes_no_piece(kind: str, named: str, tmp_path: Path) -> None:
    backend = backend_of(kind)
    write_folder(tmp_path, backend, model_type="bert", tokenizer_class=named)
    written = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    tokenizer = read_tokenizer(tmp_path, vocabulary=2000)
    for text in TEXTS:
        assert (
            tokenizer(text, add_special_tokens=False)["input_ids"] == written.encode(text, add_special_tokens=False).ids
        )


def test_a_difference_is_logged_and_the_fingerprint_records_what_was_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folders = [
        write_folder(
            tmp_path / name, wordpiece(lowercase=lowercase), model_type="bert", tokenizer_class="BertTokenizer"
        )
        for name, lowercase in (("cased", False), ("uncased", True))
    ]
    with caplog.at_level(logging.INFO, logger="lca_jax"):
        cased, uncased = (read_tokenizer(folder, vocabulary=2000) for folder in folders)
    assert "cased/tokenizer.json is read as it is written; BertTokenizer would make other pieces" in caplog.text
    assert caplog.text.count("as it is written") == 1
    assert tokenizer_content(cased) != tokenizer_content(uncased)
    assert json.loads(tokenizer_content(cased))["normalizer"]["lowercase"] is False


def test_merges_of_the_old_form_are_read(tmp_path: Path) -> None:
    backend = backend_of("bytes, GPT-2")
    write_folder(tmp_path, backend, model_type="gpt2", tokenizer_class="GPT2Tokenizer")
    content = json.loads((tmp_path / "tokenizer.json").read_text())
    content["model"]["merges"] = [" ".join(merge) for merge in content["model"]["merges"]]
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    assert_as_written(tmp_path)


@pytest.mark.parametrize("broken", ["{}", "not JSON", '{"model": {"type": "BPE", "vocab": 3, "merges": 4}}', "[1]"])
def test_a_file_that_is_no_tokenizer_is_refused_in_one_line(broken: str, tmp_path: Path) -> None:
    write_folder(tmp_path, wordpiece(), model_type="bert", tokenizer_class="BertTokenizer")
    (tmp_path / "tokenizer.json").write_text(broken)
    with pytest.raises(
        ModelError, match=r"tokenizer\.json cannot be read as a tokenizer: .*Download it again"
    ) as caught:
        read_tokenizer(tmp_path, vocabulary=2000)
    assert "\n" not in str(caught.value)


def write_sentencepiece_folder(folder: Path, file: str, name: str, **choices: object) -> Path:
    """Trains a SentencePiece file and writes it without a tokenizer.json."""
    trainer = pytest.importorskip("sentencepiece").SentencePieceTrainer
    model = io.BytesIO()
    texts = [*TEXTS, *(" ".join(words) for words in read_conllu(demo_corpus_file("train")).sentences)]
    trainer.train(sentence_iterator=iter(texts), model_writer=model, vocab_size=900, minloglevel=2, **choices)
    (folder / file).write_bytes(model.getvalue())
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": name}))
    return folder / file


_T5 = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}


@pytest.mark.parametrize(
    ("name", "file", "choices"),
    [("T5Tokenizer", "spiece.model", _T5), ("XLMRobertaTokenizer", "sentencepiece.bpe.model", {})],
)
def test_pieces_of_a_sentencepiece_file_alone_are_those_of_that_package(
    name: str, file: str, choices: dict, tmp_path: Path
) -> None:
    path = write_sentencepiece_folder(tmp_path, file, name, model_type="unigram", **choices)
    processor = pytest.importorskip("sentencepiece").SentencePieceProcessor(model_file=str(path))
    tokenizer = read_tokenizer(tmp_path, vocabulary=2000)
    for text in TEXTS:
        known = [processor.id_to_piece(number) for number in processor.encode(text) if not processor.is_unknown(number)]
        made = tokenizer.convert_ids_to_tokens(tokenizer(text, add_special_tokens=False)["input_ids"])
        assert [piece for piece in made if piece != tokenizer.unk_token] == known


def test_a_class_that_drops_the_normalizer_of_the_file_is_refused(tmp_path: Path) -> None:
    # Llama's own file normalizes nothing, and its class takes that for granted; this file has the usual normalizer.
    write_sentencepiece_folder(tmp_path, "tokenizer.model", "LlamaTokenizer", model_type="bpe")
    message = r"\w+ of transformers makes other pieces than tokenizer\.model"
    with pytest.raises(ModelError, match=message) as caught:
        read_tokenizer(tmp_path, vocabulary=2000)
    assert " where SentencePiece makes '▁" in str(caught.value)
