"""What a family file states, before any weights: sizes, names, and how an unknown type is refused."""

from pathlib import Path

import jax
import pytest
from transformers import AutoConfig, PreTrainedConfig

import lca_jax.models as models
from lca_jax.errors import ModelError
from lca_jax.models.families import FAMILIES, find_family
from lca_jax.models.families.mapping import Family
from lca_jax.models.stack import stack
from lca_jax.models.stack.config import StackConfig
from tests.tiny_models import TINY, VOCABULARY

every_config = pytest.mark.parametrize("name", TINY)


def read(name: str) -> tuple[PreTrainedConfig, Family, StackConfig]:
    tiny = TINY[name]
    theirs = AutoConfig.for_model(tiny.model_type, **{"vocab_size": VOCABULARY, **tiny.changes})
    family = find_family(tiny.model_type)
    return theirs, family, family.read_config(theirs, "float32")


@every_config
def test_the_stack_has_the_sizes_of_the_config(name: str) -> None:
    theirs, _, config = read(name)
    assert config.family == theirs.model_type
    assert (config.layers, config.residual_width) == (theirs.num_hidden_layers, theirs.hidden_size)
    assert config.attention.heads == theirs.num_attention_heads
    assert config.embedding.vocabulary == VOCABULARY
    assert config.language_head is not None


@every_config
def test_every_parameter_has_a_name_in_checkpoints(name: str) -> None:
    _, family, config = read(name)
    _, shapes = stack.build(config)
    paths = {jax.tree_util.keystr(keys, simple=True, separator=".") for keys, _ in jax.tree.leaves_with_path(shapes)}
    head = config.language_head
    assert head is not None
    sources, head_sources = family.sources(config), family.head_sources(config, head)
    assert set(sources) | set(head_sources) == paths
    assert {path for path in paths if path.startswith(("head.", "decoder.head."))} == set(head_sources)


def test_unknown_type_names_the_known_ones_and_the_way_to_add_one() -> None:
    with pytest.raises(ModelError) as caught:
        find_family("gpt9")
    message = str(caught.value)
    assert "The model family 'gpt9' is not supported" in message
    assert ", ".join(sorted(FAMILIES)) in message
    assert "`lca_jax/models/README.md`" in message
    page = (Path(models.__file__).parent / "README.md").read_text("utf-8")
    steps = page.partition("\n## Adding a family\n")[2].partition("\n## ")[0]
    assert all(f"\n{step}. " in steps for step in range(1, 6))
