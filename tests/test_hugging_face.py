"""Importing transformers: no PyTorch, no notice, and PyTorch's models are still there for others."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_bert import write_bert

NO_TORCH = "import sys; sys.modules['torch'] = None  # what Python takes for a module that is not installed\n"


def run_python(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)


def test_models_and_extraction_import_no_torch() -> None:
    pytest.importorskip("torch")
    done = run_python(
        "import sys, lca_jax\nlca_jax.load_model, lca_jax.extract, lca_jax.Search\nprint('torch' in sys.modules)"
    )
    assert done.stdout == "False\n"
    assert "PyTorch" not in done.stderr


@pytest.mark.parametrize("name", ["dtype", "torch_dtype"])
def test_a_checkpoint_is_loaded_and_saved_without_torch(tmp_path: Path, name: str) -> None:
    """Its config names a precision, as those on the hub do."""
    pytest.importorskip("torch")
    precision: dict[str, Any] = {name: "float16"}
    folder, saved = write_bert(tmp_path / "bert", **precision), tmp_path / "saved"
    script = f"""
import sys, lca_jax
model = lca_jax.load_model({str(folder)!r})
model.save({str(saved)!r})
print(lca_jax.load_model({str(saved)!r}).config == model.config, "torch" in sys.modules)
"""
    assert run_python(script).stdout == "True False\n"


def test_torch_models_of_transformers_work_after_our_import() -> None:
    pytest.importorskip("torch")
    script = """
import lca_jax.hugging_face
from transformers import BertConfig, BertModel, LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
rotary = LlamaConfig(hidden_size=8, num_attention_heads=2, rope_scaling={"rope_type": "linear", "factor": 2.0})
print(type(ROPE_INIT_FUNCTIONS["linear"](rotary, "cpu")[0]))
import torch
tiny = BertConfig(vocab_size=5, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
print(BertModel(tiny)(torch.zeros((1, 3), dtype=torch.int64)).last_hidden_state.shape)
"""
    assert run_python(script).stdout.splitlines() == ["<class 'torch.Tensor'>", "torch.Size([1, 3, 8])"]


def test_an_imported_torch_is_left_alone() -> None:
    pytest.importorskip("torch")
    script = "import torch, sys, lca_jax.hugging_face; print(sys.modules['torch'] is torch)"
    assert run_python(script).stdout == "True\n"


def test_without_torch_nothing_is_said_about_it() -> None:
    plain = run_python(f"{NO_TORCH}import transformers")
    assert "PyTorch was not found" in plain.stderr
    ours = run_python(
        f"{NO_TORCH}import os; names = set(os.environ)\nimport lca_jax.hugging_face; print({{*os.environ}} - names)"
    )
    assert "PyTorch" not in ours.stderr
    assert ours.stdout == "set()\n"
