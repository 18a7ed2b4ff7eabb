"""A tokenizer of every kind that supported checkpoints come with, trained in a second on text of the project."""

import io
import json
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import transformers
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizer, PreTrainedTokenizerFast

from lca_jax.demo import demo_corpus_file
from lca_jax.text.conllu import read_conllu

MANY_SCRIPTS = """The cat 's owner , who 'd paid 1,250 dollars in 2020 , did n't mind .
Быстрая лиса прыгнула через забор в 7:30 утра .
سافر الطالب إلى المدينة مع أصدقائه في عام 1999 .
एक छोटी लड़की ने कल १२ किताबें पढ़ीं ।
고양이 가 따뜻한 창가 에서 3 시간 동안 잤다 .
昨天 我们 在 图书馆 里 看 了 三 本 书 。
昨日 は 友達 と コーヒー を 2 杯 飲みました 。
Η γάτα κοιμάται στον ήλιο , και ο σκύλος τρέχει .
החתול ישן על הספה כל היום .
แมว นอน อยู่ บน เก้าอี้
பூனை வெயிலில் தூங்குகிறது .
კატა მზეზე თბება .
Yağmur dün gece hiç durmadı ; İzmir 'de sokaklar ıslaktı .
naïve café , e\u0301te\u0301 , ﬁne … ½ 😀 👩\u200d🔬 #tag http://a.b/c?d=e x_y -- ( !? )"""

LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
_MARKS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>", "[CLS]", "[SEP]", "[MASK]", "<bos>", "<eos>")
_BYTES = [f"<0x{number:02X}>" for number in range(256)]
_BPE = tuple[dict[str, int], list[tuple[str, str]]]


def many_scripts() -> list[list[str]]:
    """The sentences of `MANY_SCRIPTS` as words."""
    return [list(line.split()) for line in MANY_SCRIPTS.splitlines()]


@cache
def _text() -> tuple[str, ...]:
    english = read_conllu(demo_corpus_file("train")).sentences
    return (*(" ".join(words) for words in english), *MANY_SCRIPTS.splitlines() * 5)


def _train(backend: Tokenizer, trainer: trainers.Trainer) -> Tokenizer:
    backend.train_from_iterator(_text(), trainer)
    return backend


def _wordpiece() -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=900, limit_alphabet=250, special_tokens=["[UNK]", "[MASK]"], show_progress=False
    )
    return _as_fast(_train(backend, trainer))


def _byte_level(*parts: pre_tokenizers.PreTokenizer) -> Tokenizer:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(list(parts))
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return _train(backend, trainers.BpeTrainer(vocab_size=900, initial_alphabet=alphabet, show_progress=False))


def _split(pattern: str) -> Tokenizer:
    mapping = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return _byte_level(pre_tokenizers.Split(Regex(pattern), "isolated"), mapping)


@cache
def _gpt2() -> _BPE:
    vocabulary, merges = _vocabulary(_byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False)))
    return vocabulary | {mark: len(vocabulary) + number for number, mark in enumerate(_MARKS)}, merges


@cache
def _byte_fallback() -> _BPE:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    _train(backend, trainers.BpeTrainer(vocab_size=900, limit_alphabet=150, show_progress=False))
    vocabulary, merges = _vocabulary(backend)
    pieces = [*_MARKS, *_BYTES, *sorted(vocabulary, key=lambda piece: vocabulary[piece])]
    return {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}, merges


def _byte_fallback_file(
    pre_tokenizer: pre_tokenizers.PreTokenizer | None, normalizer: normalizers.Normalizer | None = None
) -> PreTrainedTokenizerFast:
    vocabulary, merges = _byte_fallback()
    model = models.BPE(vocab=vocabulary, merges=merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True)
    backend = Tokenizer(model)
    if pre_tokenizer is not None:
        backend.pre_tokenizer = pre_tokenizer
    if normalizer is not None:
        backend.normalizer = normalizer
    return _as_fast(backend)


def llama2_normalizer() -> normalizers.Normalizer:
    """As in Llama 2's own file: one mark before the text, one for every space."""
    return normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])


@cache
def _unigram(scheme: str = "always") -> Tokenizer:
    backend = Tokenizer(models.Unigram())
    backend.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC()])
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    return _train(
        backend,
        trainers.UnigramTrainer(vocab_size=900, special_tokens=list(_MARKS), unk_token="<unk>", show_progress=False),
    )


def _of_class(name: str, model: Callable[[], _BPE], **settings: object) -> PreTrainedTokenizerFast:
    """The tokenizer that `transformers` itself builds around a vocabulary of such a checkpoint."""
    vocabulary, merges = model()
    return getattr(transformers, name)(vocab=dict(vocabulary), merges=list(merges), **settings)


def _unigram_of_class(name: str, **settings: object) -> PreTrainedTokenizerFast:
    pieces = json.loads(_unigram().to_str())["model"]["vocab"]
    return getattr(transformers, name)(vocab=[tuple(piece) for piece in pieces], **settings)


@cache
def _sentencepiece(kind: str) -> bytes:
    """A model of SentencePiece itself, with its usual normalizer."""
    trainer = pytest.importorskip("sentencepiece").SentencePieceTrainer
    model = io.BytesIO()
    trainer.train(sentence_iterator=iter(_text()), model_writer=model, model_type=kind, vocab_size=1200, minloglevel=2)
    return model.getvalue()


def write_sentencepiece(folder: Path, kind: str, *, names: Sequence[str]) -> list[str]:
    """Writes a model of SentencePiece, and `vocab.json` in another order; each has pieces that the other has not."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(_sentencepiece(kind))
    processor = pytest.importorskip("sentencepiece").SentencePieceProcessor(model_proto=_sentencepiece(kind))
    known = [processor.id_to_piece(number) for number in reversed(range(3, processor.vocab_size()))]
    marks = ["<s>", "<pad>", "</s>", "<unk>", "▁elsewhere"]
    pieces = marks + [piece for piece in known if piece not in ("▁of", "s")]
    (folder / "vocab.json").write_text(json.dumps({piece: number for number, piece in enumerate(pieces)}))
    return pieces


def _of_sentencepiece(name: str, kind: str, files: dict[str, str], *, vocabulary: str) -> PreTrainedTokenizer:
    """The tokenizer of that class; `files` are its arguments and what the files are called."""
    with TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Recommended: pip install sacremoses")
        write_sentencepiece(Path(place), kind, names=list(files.values()))
        return getattr(transformers, name)(
            **{argument: str(Path(place) / file) for argument, file in (files | {vocabulary: "vocab.json"}).items()}
        )


def _vocabulary(backend: Tokenizer) -> _BPE:
    model = json.loads(backend.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]


def _as_fast(backend: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=backend)


KINDS: dict[str, Callable[[], PreTrainedTokenizerFast | PreTrainedTokenizer]] = {
    "WordPiece, BERT": _wordpiece,
    "bytes, GPT-2": lambda: _of_class("GPT2Tokenizer", _gpt2),
    "bytes, GPT-2 with a space first": lambda: _of_class("GPT2Tokenizer", _gpt2, add_prefix_space=True),
    "bytes, RoBERTa": lambda: _of_class("RobertaTokenizer", _gpt2),
    "bytes, GPT-NeoX": lambda: _of_class("GPTNeoXTokenizer", _gpt2),
    "bytes after a split, Llama 3": lambda: _as_fast(_split(LLAMA3_SPLIT)),
    "bytes after a split, Qwen": lambda: _of_class("Qwen2Tokenizer", lambda: _vocabulary(_split(LLAMA3_SPLIT))),
    "bytes after digits, SmolLM": lambda: _as_fast(
        _byte_level(pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False))
    ),
    "bytes after punctuation, Falcon": lambda: _as_fast(
        _byte_level(pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.ByteLevel(add_prefix_space=False))
    ),
    "BPE with byte fallback, Llama 2's file": lambda: _byte_fallback_file(None, llama2_normalizer()),
    "BPE with byte fallback, Llama": lambda: _of_class("LlamaTokenizer", _byte_fallback),
    "BPE with byte fallback, Llama legacy": lambda: _of_class("LlamaTokenizer", _byte_fallback, legacy=True),
    "BPE with byte fallback, no first mark": lambda: _byte_fallback_file(
        pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
    ),
    "BPE with byte fallback, Gemma": lambda: _of_class("GemmaTokenizer", _byte_fallback),
    "Unigram, always a mark": lambda: _as_fast(_unigram("always")),
    "Unigram, a mark first": lambda: _as_fast(_unigram("first")),
    "Unigram, no first mark": lambda: _as_fast(_unigram("never")),
    "Unigram, XLM-R": lambda: _unigram_of_class("XLMRobertaTokenizer"),
    "Unigram, ALBERT": lambda: _unigram_of_class("AlbertTokenizer"),
    "Unigram, T5": lambda: _unigram_of_class("T5Tokenizer"),
    "Unigram, DeBERTa": lambda: _unigram_of_class("DebertaV2Tokenizer"),
    "Unigram, XLNet": lambda: _unigram_of_class("XLNetTokenizer"),
    "Unigram, mBART": lambda: _unigram_of_class("MBartTokenizer"),
    "Unigram, mBART-50": lambda: _unigram_of_class("MBart50Tokenizer", src_lang="hi_IN"),
    "BPE, NLLB": lambda: _of_class("NllbTokenizer", _byte_fallback),
    "BPE, NLLB legacy": lambda: _of_class("NllbTokenizer", _byte_fallback, legacy_behaviour=True, src_lang="arb_Arab"),
    "SentencePiece's BPE, M2M100": lambda: _of_sentencepiece(
        "M2M100Tokenizer", "bpe", {"spm_file": "sentencepiece.bpe.model"}, vocabulary="vocab_file"
    ),
    "SentencePiece's Unigram, Marian": lambda: _of_sentencepiece(
        "MarianTokenizer", "unigram", {"source_spm": "source.spm", "target_spm": "target.spm"}, vocabulary="vocab"
    ),
}
"""How a tokenizer of each kind is made; the last two are skipped where the package `sentencepiece` is not installed."""
