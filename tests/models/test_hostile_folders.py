"""Model folders with damaged or hostile settings are refused by name, before time or memory is spent on them."""

import json
import resource
from pathlib import Path

import pytest

from lca_jax.errors import ModelError
from lca_jax.models.load import load_model
from tests.tiny_bert import write_bert

pytestmark = pytest.mark.usefixtures("as_users_run_it")


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    return write_bert(tmp_path / "bert")


def set_in(file: Path, **values: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_hidden_layers", 10**9),
        ("num_hidden_layers", "x"),
        ("num_hidden_layers", 2.5),
        ("hidden_size", 0),
        ("hidden_size", -8),
        ("hidden_size", 10**12),
        ("layer_norm_eps", float("nan")),
        ("layer_norm_eps", -1.0),
        ("layer_norm_eps", "x"),
        ("num_attention_heads", 0),
        ("num_attention_heads", None),
        ("vocab_size", 0),
        ("hidden_act", "nothing"),
        ("hidden_act", 3),
        ("max_position_embeddings", -1),
        ("model_type", [1]),
    ],
)
def test_odd_settings_are_refused_when_they_are_read(bert: Path, name: str, value: object) -> None:
    set_in(bert / "config.json", **{name: value})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelError, match=r"config\.json|`.*` must be"):
        load_model(bert)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000, "kilobytes"


def test_more_layers_than_the_weights_can_have_are_refused_before_they_are_built(bert: Path) -> None:
    set_in(bert / "config.json", num_hidden_layers=9000)
    with pytest.raises(ModelError, match=r"config\.json describes 9000 blocks, but the weights have \d+ tensors"):
        load_model(bert)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 9999, '{"model_type": "bert", "a": ' + "9" * 5000 + "}"])
def test_damaged_configs_are_one_error(bert: Path, text: str) -> None:
    (bert / "config.json").write_text(text)
    with pytest.raises(ModelError, match=r"config\.json cannot be read"):
        load_model(bert)


def test_tokenizers_that_cannot_be_meant_are_refused(bert: Path) -> None:
    settings = bert / "tokenizer_config.json"
    whole = settings.read_text() if settings.is_file() else "{}"
    for longest in ("x", 0, None, float("nan")):
        settings.write_text(json.dumps(json.loads(whole) | {"model_max_length": longest}))
        if longest is None:  # as good as absent
            load_model(bert)
            continue
        with pytest.raises(ModelError, match=r"model_max_length|tokenizer"):
            load_model(bert)
    settings.write_text(whole)
    (bert / "vocab.txt").write_text("")
    with pytest.raises(ModelError, match=r"vocab\.txt is empty"):
        load_model(bert)


def test_bare_errors_of_the_tokenizers_library_are_told(bert: Path) -> None:
    (bert / "tokenizer.json").write_text('{"version": "1.0", "model": {"type": "Nothing"}}')
    with pytest.raises(ModelError, match=r"tokenizer\.json cannot be read as a tokenizer"):
        load_model(bert)
