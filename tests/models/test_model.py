"""Loading a model: who it is, its untrained baseline, and what cannot be loaded."""

import json
import re
from pathlib import Path

import jax
import numpy as np
import pytest

from lca_jax.errors import MissingExtraError, ModelError
from lca_jax.models.load import load_model
from lca_jax.models.loading.folders import tokenizer_content
from lca_jax.text.alignment import align_sentences
from tests.tiny_bert import draw_windows, pack, write_bert, write_settings
from tests.tokenizer_kinds import write_sentencepiece


def hidden_states(model) -> np.ndarray:
    batch, _ = pack(draw_windows([7, 9]), slots=16)
    return np.asarray(jax.jit(lambda params: model.forward(params, batch))(model.params)["residual"])


def test_loads_a_folder_with_its_tokenizer(tmp_path: Path) -> None:
    model = load_model(write_bert(tmp_path))
    assert model.tokenizer("The cats sat")["input_ids"] == [2, 31, 32, 33, 34, 3]
    assert (model.layer_count("residual"), model.layer_count("mlp"), model.layer_count("attention")) == (3, 2, 2)
    assert (model.width("residual"), model.width("mlp"), model.width("attention")) == (32, 40, 32)
    assert model.max_pieces == 24
    assert model.name == str(tmp_path)


def test_tokenizer_may_limit_windows_further(tmp_path: Path) -> None:
    (write_bert(tmp_path) / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "model_max_length": 20})
    )
    assert load_model(tmp_path).max_pieces == 20


def test_description_says_what_there_is(tmp_path: Path) -> None:
    model = load_model(write_bert(tmp_path))
    parameters = sum(leaf.size for leaf in jax.tree.leaves(model.params))
    lines = [line.split() for line in model.describe().splitlines()]
    assert lines[0][1:] == ["bert,", "trained", "weights,", "float32"]
    assert ["residual", "0-2", "32", "96"] in lines
    assert ["attention", "0-1", "32", "64", "4", "heads", "of", "8"] in lines
    assert ["mlp", "0-1", "40", "80"] in lines
    assert ["vocabulary", "of", "48", "pieces;", "windows", "of", "up", "to", "24", "pieces"] in lines
    assert lines[-3] == ["head:", "not", "loaded"]
    assert lines[-2][0] == f"{parameters:,}"
    assert lines[-1] == ["fingerprint", model.fingerprint]
    assert "random weights, seed 4" in load_model(tmp_path, random_weights=4).describe()


def test_description_of_a_decoder_with_its_head(tmp_path: Path) -> None:
    sizes = {"model_type": "llama", "num_key_value_heads": 2, "intermediate_size": 1500, "tie_word_embeddings": False}
    folder = write_settings(tmp_path, **sizes, hidden_act="silu", layer_norm_eps=None)
    described = load_model(folder, random_weights=0, head=True).describe()
    assert re.sub(r" {2,}", " | ", described.replace(str(tmp_path), "FOLDER").rpartition("\n")[0]) == "\n".join(
        (
            "FOLDER: llama, random weights, seed 0, float32",
            " | site | layers | width | neurons | heads",
            " | residual | 0-2 | 32 | 96",
            " | attention | 0-1 | 32 | 64 | 4 heads of 8, 2 key heads",
            " | mlp | 0-1 | 1500 | 3000",
            " | vocabulary of 48 pieces; windows of up to 24 pieces",
            " | head: loaded, logits of 48 pieces, with its own vectors",
            " | 297,376 parameters, 1.1 MiB, on one device",
        )
    )
    assert (
        "head: loaded, logits of 48 pieces, tied to the embedding"
        in load_model(
            write_settings(tmp_path / "tied", **sizes | {"tie_word_embeddings": True}, hidden_act="silu"),
            random_weights=0,
            head=True,
        ).describe()
    )


def test_fingerprint_knows_weights_config_tokenizer_and_seed_but_not_the_place(tmp_path: Path) -> None:
    plain = load_model(write_bert(tmp_path / "a"))
    assert load_model(write_bert(tmp_path / "b")).fingerprint == plain.fingerprint
    others = [
        load_model(write_bert(tmp_path / "c", seed=1)),
        load_model(write_bert(tmp_path / "d", layer_norm_eps=1e-5)),
        load_model(tmp_path / "a", dtype="bfloat16"),
        load_model(tmp_path / "a", random_weights=0),
        load_model(tmp_path / "a", random_weights=1),
    ]
    vocabulary = (tmp_path / "b" / "vocab.txt").read_text()
    (tmp_path / "b" / "vocab.txt").write_text(vocabulary.replace("cat", "dog"))
    others.append(load_model(tmp_path / "b"))
    assert len({model.fingerprint for model in [plain, *others]}) == 7


def test_random_weights_differ_from_the_trained_everywhere(minilm_folder: Path) -> None:
    trained, untrained = load_model(minilm_folder), load_model(minilm_folder, random_weights=7)
    assert jax.tree.structure(trained.params) == jax.tree.structure(untrained.params)
    for (path, ours), theirs in zip(
        jax.tree_util.tree_leaves_with_path(untrained.params), jax.tree.leaves(trained.params), strict=True
    ):
        name = jax.tree_util.keystr(path)
        assert ours.shape == theirs.shape, name
        if ours.ndim == 2:
            correlation = np.corrcoef(np.ravel(ours)[:100_000], np.ravel(theirs)[:100_000])[0, 1]
            assert abs(correlation) < 0.05, name
            assert np.std(ours) == pytest.approx(0.02, rel=0.05), name
        else:
            np.testing.assert_array_equal(ours, 1.0 if "scale" in name else 0.0, err_msg=name)
    difference = np.abs(hidden_states(trained) - hidden_states(untrained))
    assert (difference.mean(axis=(1, 2, 3)) > 0.1).all()


def test_random_weights_follow_the_seed_and_need_no_weights(tmp_path: Path) -> None:
    folder = write_settings(tmp_path)
    first, again, other = (load_model(folder, random_weights=seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(hidden_states(first), hidden_states(again))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert np.abs(hidden_states(first) - hidden_states(other)).mean() > 0.1
    half = load_model(folder, random_weights=5, dtype="bfloat16")
    np.testing.assert_array_equal(
        half.params["blocks"][1]["mlp"]["expand"]["kernel"],
        first.params["blocks"][1]["mlp"]["expand"]["kernel"].astype("bfloat16"),
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model_type": "gpt9"},
            r"config\.json: The model family 'gpt9' is not supported\. Supported values of `model_type`: albert, ",
        ),
        ({"model_type": None}, "The model family None is not supported"),
        ({"is_decoder": True}, r"encoder with absolute positions, got is_decoder=True"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type='relative_key'"),
        ({"num_attention_heads": 5}, r"`residual_width` must be a multiple of `heads`, got 32 and 5|hidden size"),
        ({"hidden_act": "wave"}, r"activation='wave'.*`activation` must be one of gelu, "),
        ({"hidden_size": "wide"}, "has sizes that no model has:\n  `hidden_size` must be a whole number"),
        ({"vocab_size": 30}, "has 36 pieces, but the model embeds 30"),
    ],
)
def test_configs_that_cannot_be_loaded(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_model(write_settings(tmp_path, **changes), random_weights=0)


def test_folders_that_lack_something(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"does not hold a config\.json"):
        load_model(tmp_path)
    (write_bert(tmp_path) / "vocab.txt").unlink()
    with pytest.raises(ModelError, match=r"does not hold a tokenizer: one of tokenizer\.json"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"config\.json cannot be read"):
        load_model(tmp_path)


def test_tokenizer_without_a_fast_form_gives_the_way_out(tmp_path: Path) -> None:
    (write_bert(tmp_path) / "vocab.txt").unlink()
    (tmp_path / "vocab.json").write_text(json.dumps({"<unk>": 0, "a</w>": 1}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b\n")
    # CTRL's tokenizer is one of those that transformers has in Python only.
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CTRLTokenizer"}))
    with pytest.raises(
        ModelError, match=r"must be a fast one or one of SentencePiece.*a CTRLTokenizer.*Add tokenizer\.json"
    ):
        load_model(tmp_path)


TRANSLATION = {
    "architectures": None,
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 40,
    "decoder_ffn_dim": 40,
    "max_position_embeddings": 64,
    "pad_token_id": 1,
}


@pytest.mark.parametrize(
    ("model_type", "kind", "files"),
    [("marian", "unigram", ["source.spm", "target.spm"]), ("m2m_100", "bpe", ["sentencepiece.bpe.model"])],
)
def test_tokenizers_of_sentencepiece(tmp_path: Path, model_type: str, kind: str, files: list[str]) -> None:
    pytest.importorskip("sentencepiece")
    pieces = write_sentencepiece(tmp_path / "theirs", kind, names=files)
    config = TRANSLATION | {"model_type": model_type, "vocab_size": len(pieces) + 108}
    (tmp_path / "theirs" / "config.json").write_text(json.dumps(config))
    model = load_model(tmp_path / "theirs", random_weights=0)
    assert model.max_pieces == 64
    (aligned,) = align_sentences(model.tokenizer, [["the", "of"]])
    # SentencePiece knows the piece of "of", the model does not.
    assert model.tokenizer.convert_ids_to_tokens(aligned.piece_ids.tolist()) == ["▁the", "<unk>"]
    model.save(tmp_path / "ours")
    again = load_model(tmp_path / "ours")
    assert tokenizer_content(again.tokenizer) == tokenizer_content(model.tokenizer)
    # Its pieces, their numbers and the language are part of the fingerprint.
    vocabulary = json.loads((tmp_path / "theirs" / "vocab.json").read_text())
    vocabulary["▁the"], vocabulary["▁elsewhere"] = vocabulary["▁elsewhere"], vocabulary["▁the"]
    (tmp_path / "theirs" / "vocab.json").write_text(json.dumps(vocabulary))
    assert load_model(tmp_path / "theirs", random_weights=0).fingerprint != model.fingerprint


def test_sentencepiece_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (write_bert(tmp_path) / "vocab.txt").unlink()
    (tmp_path / "spiece.model").write_bytes(b"not read without the package")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "T5Tokenizer"}))
    monkeypatch.setattr("lca_jax.models.loading.pieces.find_spec", lambda _name: None)
    with pytest.raises(
        MissingExtraError, match=r"holds no tokenizer\.json, needs the package `sentencepiece`.*pip install"
    ):
        load_model(tmp_path)


def test_revision_is_for_the_hub(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="`revision` picks a version on the hub"):
        load_model(write_bert(tmp_path), revision="main")


@pytest.mark.parametrize("name", ["nobody/no-such-model", "./no/such/folder", "not a name"])
def test_name_that_is_nowhere_gives_the_way_out(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=rf"`{name}` is not a folder on this machine.*HF_HUB_OFFLINE.*hf download"):
        load_model(name)


def test_hub_name_is_found_in_the_cache_by_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    repository = tmp_path / "models--someone--tiny"
    (repository / "refs").mkdir(parents=True)
    for seed, revision in enumerate(("main", "v2")):
        commit = f"{seed}" * 40
        (repository / "refs" / revision).write_text(commit)
        write_bert(repository / "snapshots" / commit, seed=seed)
    latest, other = load_model("someone/tiny"), load_model("someone/tiny", revision="v2")
    assert latest.name == other.name == "someone/tiny"
    assert latest.fingerprint == load_model(repository / "snapshots" / ("0" * 40)).fingerprint
    assert other.fingerprint == load_model(repository / "snapshots" / ("1" * 40)).fingerprint
    with pytest.raises(ModelError, match="at revision 'v3'"):
        load_model("someone/tiny", revision="v3")


def test_a_model_at_a_prompt_and_in_a_notebook(tmp_path: Path) -> None:
    model = load_model(write_bert(tmp_path / "<bert>"))
    assert repr(model) == model.describe()
    assert len(repr(model).splitlines()) == 9
    shown = model._repr_html_()
    assert f"{tmp_path}/&lt;bert&gt;: bert, trained weights, float32</caption>" in shown
    assert "<td" in shown
    for words in (
        ">residual</td>",
        ">4 heads of 8</td>",
        "vocabulary of 48 pieces",
        "on one device",
        model.fingerprint,
    ):
        assert words in shown
    assert "split over 2 devices" in repr(load_model(tmp_path / "<bert>", split_over=2))
