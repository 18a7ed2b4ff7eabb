"""Trained weights against PyTorch on text, and the non-linearities by themselves."""

from pathlib import Path

import jax
import numpy as np
import pytest

from lca_jax.models.model import load_model
from lca_jax.models.nonlinearity import NONLINEARITIES
from tests.parity import PLACES, Comparison, Reference, identity_edits


@pytest.mark.parametrize("name", NONLINEARITIES)
def test_nonlinearities_are_those_of_transformers(name: str) -> None:
    torch = pytest.importorskip("torch")
    from transformers.activations import ACT2FN

    states = np.linspace(-8, 8, 1001, dtype=np.float32)
    theirs = ACT2FN[name](torch.tensor(states)).numpy()
    np.testing.assert_allclose(jax.jit(NONLINEARITIES[name])(states), theirs, rtol=0, atol=2e-6)


SENTENCES = """The neuron that fires on plural nouns is not the neuron that fires on verbs .
Yesterday , Dr. Müller 's team published 3,141 measurements .
No !
We asked whether the committee , which had met twice that week , would publish its findings before the summer recess .
Colorless green ideas sleep furiously , and nobody in the room thought that it was at all remarkable that they did .
pip install some-package==1.2.3 && python -m some_package --verbose
Where were you when the lights went out ?"""


def test_trained_weights_equal_pytorch_on_text(minilm_folder: Path) -> None:
    pytest.importorskip("torch")
    from transformers import AutoModelForMaskedLM

    model = load_model(minilm_folder)
    theirs = AutoModelForMaskedLM.from_pretrained(minilm_folder, local_files_only=True).float().eval()
    reference = Reference(theirs, model.config.blocks, PLACES["bert"])
    lines = [*SENTENCES.splitlines(), SENTENCES.replace("\n", " ")[:420]]
    windows = [np.asarray(ids, np.int32) for ids in model.tokenizer(lines)["input_ids"]]
    difference = Comparison(model, reference, windows, slots=128).run(identity_edits(model)).difference
    assert difference["residual"] < 1e-5
    assert difference["attention"] < 1e-5
    # Some units reach 25 here, where float32 steps are 2e-6; PyTorch's own distance from float64 is 1.6e-5.
    assert difference["mlp"] < 3e-5
