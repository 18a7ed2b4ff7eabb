"""BERT against the PyTorch model of transformers: hidden states, attention and mlp units, and the effect of zeroing."""

from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest

from lca_jax.axes import SITES
from lca_jax.models.model import Model, load_model
from lca_jax.models.nonlinearity import NONLINEARITIES
from lca_jax.models.stack import Edit
from tests.tiny_bert import draw_windows, pack, write_bert

VARIANTS = {
    "exact gelu, 4 heads": {},
    "tanh gelu, 2 heads, 3 layers": {
        "hidden_act": "gelu_new",
        "num_attention_heads": 2,
        "num_hidden_layers": 3,
        "intermediate_size": 64,
    },
    "relu, 1 head, wide norm": {"hidden_act": "relu", "num_attention_heads": 1, "layer_norm_eps": 1e-5},
}


@pytest.fixture(scope="module", params=list(VARIANTS.values()), ids=list(VARIANTS))
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bert(tmp_path_factory.mktemp("bert"), **request.param)


class Reference:
    """The PyTorch model, read and edited by hooks at the three sites."""

    def __init__(self, folder: Path) -> None:
        pytest.importorskip("torch")
        from transformers import BertModel

        self.bert = BertModel.from_pretrained(folder, local_files_only=True, attn_implementation="sdpa").float().eval()

    def run(self, window: np.ndarray, zeroed: dict[str, dict[int, list[int]]] | None = None) -> dict[str, np.ndarray]:
        """States (layer, piece, neuron) of one window by site, with some neurons zeroed at some layers."""
        import torch

        seen: dict[str, dict[int, np.ndarray]] = {site: {} for site in SITES}

        def tap(site: str, layer: int) -> Callable:
            def change(states):
                states = states.clone()
                states[..., (zeroed or {}).get(site, {}).get(layer, [])] = 0
                seen[site][layer] = states[0].numpy()
                return states

            return change

        def after(change: Callable) -> Callable:
            return lambda _module, _inputs, output: (
                (change(output[0]), *output[1:]) if isinstance(output, tuple) else change(output)
            )

        def before(change: Callable) -> Callable:
            return lambda _module, inputs: (change(inputs[0]), *inputs[1:])

        hooks = [self.bert.embeddings.register_forward_hook(after(tap("residual", 0)))]
        for number in range(len(self.bert.encoder.layer)):
            block = f"encoder.layer.{number}"
            output = self.bert.get_submodule(f"{block}.attention.output.dense")
            units = self.bert.get_submodule(f"{block}.intermediate")
            hooks += [
                self.bert.get_submodule(block).register_forward_hook(after(tap("residual", number + 1))),
                output.register_forward_pre_hook(before(tap("attention", number))),
                units.register_forward_hook(after(tap("mlp", number))),
            ]
        try:
            with torch.inference_mode():
                self.bert(input_ids=torch.tensor(window[None].astype(np.int64)))
        finally:
            for hook in hooks:
                hook.remove()
        return {site: np.stack([layers[number] for number in sorted(layers)]) for site, layers in seen.items()}


def compare(step: Callable, reference: Reference, windows, *, slots: int, alone: bool = False, edits=None, zeroed=None):
    """Largest difference over layers, pieces and neurons by site; `step` is a jitted forward of the model."""
    batch, places = pack(windows, slots=slots, alone=alone)
    ours = jax.tree.map(np.asarray, step(batch, edits))
    worst = dict.fromkeys(SITES, 0.0)
    for window, (row, place) in zip(windows, places, strict=True):
        theirs = reference.run(window, zeroed)
        for site in SITES:
            assert ours[site][:, row, place].shape == theirs[site].shape
            worst[site] = max(worst[site], float(np.abs(ours[site][:, row, place] - theirs[site]).max()))
    return worst


def jit_forward(model: Model) -> Callable:
    return jax.jit(lambda batch, edits: model.forward(model.params, batch, edits, sites=SITES))


@pytest.mark.parametrize("alone", [True, False], ids=["a window a row", "packed"])
def test_every_state_equals_pytorch(folder: Path, alone: bool) -> None:
    windows = draw_windows([1, 5, 20, 7, 16, 2, 3, 10])
    worst = compare(jit_forward(load_model(folder)), Reference(folder), windows, slots=24, alone=alone)
    assert max(worst.values()) < 1e-5, worst


def test_reference_reads_the_hidden_states_that_transformers_returns(folder: Path) -> None:
    torch = pytest.importorskip("torch")
    reference = Reference(folder)
    (window,) = draw_windows([9])
    with torch.inference_mode():
        ids = torch.tensor(window[None].astype(np.int64))
        theirs = reference.bert(input_ids=ids, output_hidden_states=True).hidden_states
    np.testing.assert_array_equal(reference.run(window)["residual"], np.concatenate(theirs))


@pytest.mark.parametrize("name", NONLINEARITIES)
def test_nonlinearities_are_those_of_transformers(name: str) -> None:
    torch = pytest.importorskip("torch")
    from transformers.activations import ACT2FN

    states = np.linspace(-8, 8, 1001, dtype=np.float32)
    theirs = ACT2FN[name](torch.tensor(states)).numpy()
    np.testing.assert_allclose(jax.jit(NONLINEARITIES[name])(states), theirs, rtol=0, atol=2e-6)


def test_zeroing_equals_a_hook_in_pytorch(tmp_path: Path) -> None:
    model, reference = load_model(write_bert(tmp_path)), Reference(tmp_path)
    step, windows = jit_forward(model), draw_windows([5, 9, 2])
    for zeroed in (
        {"residual": {0: [3, 30]}},
        {"residual": {1: [3, 4, 5, 30]}},
        {"mlp": {0: [0, 39], 1: [7]}},
        {"attention": {1: [*range(8, 16)]}},  # one head
        {"residual": {0: [1], 2: [2]}, "mlp": {1: [*range(20)]}, "attention": {0: [*range(16)]}},
    ):
        edits = {}
        for site in SITES:
            scale = np.ones((model.layer_count(site), model.width(site)), np.float32)
            for layer, neurons in zeroed.get(site, {}).items():
                scale[layer, neurons] = 0
            edits[site] = Edit(scale, np.zeros_like(scale))
        worst = compare(step, reference, windows, slots=24, edits=edits, zeroed=zeroed)
        assert max(worst.values()) < 1e-5, (zeroed, worst)
        unedited = compare(step, reference, windows, slots=24, edits=edits)
        assert max(unedited.values()) > 0.1, (zeroed, unedited)


SENTENCES = """The neuron that fires on plural nouns is not the neuron that fires on verbs .
Yesterday , Dr. Müller 's team published 3,141 measurements .
No !
We asked whether the committee , which had met twice that week , would publish its findings before the summer recess .
Colorless green ideas sleep furiously , and nobody in the room thought that it was at all remarkable that they did .
pip install some-package==1.2.3 && python -m some_package --verbose
Where were you when the lights went out ?"""


def test_trained_weights_equal_pytorch_on_text(minilm_folder: Path) -> None:
    model, reference = load_model(minilm_folder), Reference(minilm_folder)
    lines = [*SENTENCES.splitlines(), SENTENCES.replace("\n", " ")[:420]]
    windows = [np.asarray(ids, np.int32) for ids in model.tokenizer(lines)["input_ids"]]
    worst = compare(jit_forward(model), reference, windows, slots=128)
    assert worst["residual"] < 1e-5
    assert worst["attention"] < 1e-5
    # Some units reach 25 here, where float32 steps are 2e-6; PyTorch's own distance from float64 is 1.6e-5.
    assert worst["mlp"] < 3e-5
