"""How much of the host's memory loading takes, measured in a process of its own on checkpoints of 150 MB in shards."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models

CONFIG = {
    "model_type": "llama",
    "vocab_size": 8192,
    "hidden_size": 512,
    "num_hidden_layers": 10,
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
    "intermediate_size": 1536,
    "max_position_embeddings": 64,
    "tie_word_embeddings": True,
}
SMALL = CONFIG | {"vocab_size": 16, "hidden_size": 64, "num_hidden_layers": 1, "intermediate_size": 64}
SHARDS = 4
pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux for a process's memory")


def draw_tensors(config: Mapping[str, Any], dtype: type) -> dict[str, np.ndarray]:
    width, units = config["hidden_size"], config["intermediate_size"]
    shapes = {"embed_tokens.weight": (config["vocab_size"], width), "norm.weight": (width,)}
    for layer in range(config["num_hidden_layers"]):
        block = f"layers.{layer}"
        shapes |= {f"{block}.self_attn.{name}_proj.weight": (width, width) for name in "qkvo"}
        shapes |= {f"{block}.mlp.{name}_proj.weight": (units, width) for name in ("gate", "up")}
        shapes |= {f"{block}.mlp.down_proj.weight": (width, units)}
        shapes |= {f"{block}.{name}_layernorm.weight": (width,) for name in ("input", "post_attention")}
    generator = np.random.default_rng(0)
    return {f"model.{key}": generator.standard_normal(shape, np.float32).astype(dtype) for key, shape in shapes.items()}


def write_checkpoint(folder: Path, config: Mapping[str, Any], dtype: type) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    Tokenizer(models.WordLevel({"<unk>": 0, "a": 1}, unk_token="<unk>")).save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    tensors = draw_tensors(config, dtype)
    sizes = np.array([tensor.nbytes for tensor in tensors.values()])
    numbers = (np.cumsum(sizes) - sizes) * SHARDS // sizes.sum()
    files = [f"model-{number + 1:05}-of-{SHARDS:05}.safetensors" for number in numbers]
    index = dict(zip(tensors, files, strict=True))
    for file in set(files):
        save_file({key: tensors[key] for key in tensors if index[key] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    return folder


@pytest.fixture(scope="module")
def write(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """Writes a small or a large checkpoint once, in the precision asked for."""
    parent = tmp_path_factory.mktemp("stored")

    @cache
    def folder(size: str, dtype: str) -> Path:
        config = {"small": SMALL, "large": CONFIG}[size]
        return write_checkpoint(parent / f"{size}-{dtype}", config, getattr(ml_dtypes, dtype, np.float32))

    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stored", "loaded", "parts"),
    [
        ("float32", "float32", 1),
        ("bfloat16", "float32", 2),
        pytest.param("bfloat16", "float32", 1, marks=pytest.mark.slow),
        pytest.param("bfloat16", "bfloat16", 1, marks=pytest.mark.slow),
        pytest.param("float32", "bfloat16", 1, marks=pytest.mark.slow),
        pytest.param("float32", "float32", 2, marks=pytest.mark.slow),
    ],
)
def test_loading_takes_the_model_and_one_shard(
    write: Callable[[str, str], Path], stored: str, loaded: str, parts: int
) -> None:
    small, large = write("small", stored), write("large", stored)
    command = [sys.executable, "-m", "tests.models.loading", str(small), str(large), loaded, str(parts)]
    output = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]).stdout
    measured = json.loads(output)
    shard = max(file.stat().st_size for file in large.glob("*.safetensors"))
    assert measured["model"] == pytest.approx(38_283_776 * (2 if loaded == "bfloat16" else 4), rel=1e-3)
    # Measured: 0.7 to 0.9 shards beside the model; five and more when shards were mapped into memory.
    assert measured["peak"] < measured["model"] + 1.3 * shard, (measured, shard)
