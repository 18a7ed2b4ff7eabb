"""Trained weights against PyTorch on text of their kind, in float32 and bfloat16; the non-linearities by themselves."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest

from lca_jax.axes import SITES
from lca_jax.models.load import load_model
from lca_jax.models.model import Model
from lca_jax.models.stack.nonlinearity import NONLINEARITIES
from tests.parity import PLACES, Comparison, Reference, identity_edits
from tests.tiny_bert import pack


@pytest.mark.parametrize("name", NONLINEARITIES)
def test_nonlinearities_are_those_of_transformers(name: str) -> None:
    torch = pytest.importorskip("torch")
    from transformers.activations import ACT2FN

    states = np.linspace(-8, 8, 1001, dtype=np.float32)
    theirs = ACT2FN[name](torch.tensor(states)).numpy()
    np.testing.assert_allclose(jax.jit(NONLINEARITIES[name])(states), theirs, rtol=0, atol=2e-6)


ENGLISH = """The neuron that fires on plural nouns is not the neuron that fires on verbs .
Yesterday , Dr. Müller 's team published 3,141 measurements .
No !
We asked whether the committee , which had met twice that week , would publish its findings before the summer recess .
Colorless green ideas sleep furiously , and nobody in the room thought that it was at all remarkable that they did .
pip install some-package==1.2.3 && python -m some_package --verbose
Where were you when the lights went out ?"""
STORY = """Once upon a time, there was a little boy named Tom. He had a small red boat.
Tom and his mom went to the lake to play. The sun was warm and the water was blue.
"Look, mom! My boat can swim!" he said. His mom smiled and gave him a big hug.
But then the wind came and took the boat away. Tom was very sad, so a kind duck pushed it back to him.
No!"""
REACTIONS = """CC(=O)O.OCC>>CC(=O)OCC.O
O=C(O)c1ccccc1O.CC(=O)OC(C)=O>>CC(=O)Oc1ccccc1C(=O)O
OB(O)c1ccccc1.Brc1ccc(C)cc1.O=C([O-])[O-].[Na+].[Na+]>>Cc1ccc(-c2ccccc2)cc1
CCO"""
MANY_SCRIPTS = """query: Where were you when the lights went out ?
query: 昨天 研究 小组 公布 了 三千 个 数据 。
passage: Вчера доктор опубликовал 3 141 измерение .
passage: نشر الطبيب أمس ثلاثة آلاف قياس .
passage: यह एक छोटा वाक्य है ।
Nein !"""
FEW = """The committee published its findings before the summer recess.
def add(a, b): return a + b
No!"""


class Trained(NamedTuple):
    """A checkpoint and what to run it on."""

    model_type: str
    text: str
    head: str = "MaskedLM"
    has_head: bool = True
    """Whether the checkpoint has the weights of its head; sentence encoders have not."""


TRAINED = {
    "minilm": Trained("bert", ENGLISH + "\n" + ENGLISH.replace("\n", " ")[:420], has_head=False),
    "tinystories-260k": Trained("llama", STORY, "CausalLM"),
    "albert-rxn": Trained("albert", REACTIONS),
    "me5-small": Trained("bert", MANY_SCRIPTS, has_head=False),
    "smollm2-135m": Trained("llama", FEW, "CausalLM"),
    "marian-tiny-en-pt": Trained("marian", ENGLISH, "Seq2SeqLM", has_head=False),
}
SLOW = ("me5-small", "smollm2-135m")


def compare(model: Model, trained: Trained, folder: Path) -> Comparison:
    """Lines of text as windows, alone and packed, beside PyTorch's model in float32 (some files are float16)."""
    torch = pytest.importorskip("torch")
    import transformers

    build = getattr(transformers, f"AutoModelFor{trained.head}").from_pretrained
    theirs = build(folder, local_files_only=True, dtype=torch.float32).eval()
    places = PLACES[trained.model_type]
    if theirs.config.is_encoder_decoder:
        # The decoder of this one is an SSRU, which PyTorch's model has not; its texts are what tests it.
        theirs, places = theirs.get_encoder(), places._replace(blocks=places.blocks.removeprefix("model.encoder."))
    reference = Reference(theirs, model.config, places)
    windows = [np.asarray(ids, np.int32) for ids in model.tokenizer(trained.text.splitlines())["input_ids"]]
    return Comparison(model, reference, windows, slots=-(-max(map(len, windows)) // 16) * 16)


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in TRAINED])
def test_trained_weights_equal_pytorch_on_text(name: str, trained_folder: Callable[[str], Path]) -> None:
    trained, folder = TRAINED[name], trained_folder(name)
    model = load_model(folder, head=trained.has_head)
    assert model.config.family == trained.model_type
    compared = compare(model, trained, folder).run(identity_edits(model))
    assert set(compared.difference) == {*SITES, *(["logits"] if trained.has_head else [])}
    for site, difference in compared.difference.items():
        # Measured: up to 8.6e-5 for logits of 38 and 1.2e-2 for states of 22,550, both in SmolLM2's 30 layers; where
        # numbers are below ten, up to 1.9e-5. PyTorch in float32 is as far from PyTorch in float64: 8.3e-5, 1.7e-2.
        assert difference < 3e-5 * max(1.0, compared.size[site] / 10), (site, compared)
        # Beside the largest neuron of the same piece: up to 1.1e-5 here, 1.6e-5 in Marian's heads, which are as far in
        # PyTorch from its float64 (1.9e-5 of 6.1).
        assert compared.share[site] < 2e-5, (site, compared)


@pytest.mark.parametrize("name", ["minilm", "tinystories-260k", "albert-rxn"])
def test_bfloat16_is_near_float32_on_trained_weights(name: str, trained_folder: Callable[[str], Path]) -> None:
    trained, folder = TRAINED[name], trained_folder(name)
    full, half = (load_model(folder, dtype=dtype, head=trained.has_head) for dtype in ("float32", "bfloat16"))
    windows = [np.asarray(ids, np.int32) for ids in full.tokenizer(trained.text.splitlines())["input_ids"]]
    batch, places = pack(windows, slots=128)
    expected, ours = (
        jax.jit(lambda params, model=model: model.forward(params, batch, sites=SITES))(model.params)
        for model in (full, half)
    )
    for site in SITES:
        assert ours[site].dtype == jax.numpy.bfloat16
        exact, rounded = (
            np.concatenate([np.asarray(states[site], np.float32)[:, row, place] for row, place in places], axis=1)
            for states in (expected, ours)
        )
        assert np.isfinite(rounded).all()
        # One rounding is 0.4 % at most. Measured: 1.0 to 2.0 % of the mean state in the worst layer.
        error = np.abs(rounded - exact).mean(axis=(1, 2)) / np.abs(exact).mean(axis=(1, 2))
        assert error.max() < 0.03, (site, error)
