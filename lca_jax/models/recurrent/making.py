"""Makes models of recurrent stacks: their first parameters, and a `Model` of what was trained."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array

from lca_jax.hugging_face import PreTrainedTokenizerFast
from lca_jax.models.model import Model
from lca_jax.models.stack import stack
from lca_jax.models.stack.config import StackConfig
from lca_jax.models.stack.stack import Params
from lca_jax.models.writing.generation import TextRules

_VECTORS, _TRANSLATED = 0.1, 0.5
"""Bounds of word vectors. Vectors within 0.1 make states so small that attention is nearly uniform, and a translator
stays at what the bag of source words tells: after 800 steps on random sequences of 7 words, each with one translation,
its perplexity was 2.3 to 3.7 from vectors within 0.1 and 1.0, its lowest, from those within 0.5."""


def initial_params(config: StackConfig, key: Array) -> Params:
    """Draws untrained parameters: uniform within 1/√cells, word vectors within 0.1, or 0.5 where there is a decoder.

    The bias of the head is 0. It is a pure function, to be mapped over keys.
    """
    _, shapes = stack.build(config)
    leaves, tree = jax.tree_util.tree_flatten_with_path(shapes)
    keys = jax.random.split(key, len(leaves))
    drawn = [_draw(config, path, shape, keys[number]) for number, (path, shape) in enumerate(leaves)]
    return jax.tree.unflatten(tree, drawn)


def draw_models(config: StackConfig, models: int, seed: int) -> Params:
    """Draws the parameters of several models of one shape, with a leading axis."""
    return jax.vmap(partial(initial_params, config))(jax.random.split(jax.random.key(seed), models))


def _draw(config: StackConfig, path: tuple, shape: jax.ShapeDtypeStruct, key: Array) -> Array:
    names = jax.tree_util.keystr(path, simple=True, separator=".").split(".")
    if names[-2:] == ["head", "bias"]:
        return jnp.zeros(shape.shape, shape.dtype)
    stack = config.decoder if names[0] == "decoder" and config.decoder is not None else config
    vectors = _VECTORS if config.decoder is None else _TRANSLATED
    bound = vectors if names[-1] == "embedding" else stack.attention.head_width**-0.5
    return partial(jax.random.uniform, minval=-bound, maxval=bound)(key, shape.shape, shape.dtype)


def make_model(
    name: str, config: StackConfig, params: Params, tokenizer: PreTrainedTokenizerFast, rules: TextRules
) -> Model:
    """Makes a `Model` of trained parameters.

    Args:
        name: Its name in messages.
        config: The stack.
        params: Its parameters.
        tokenizer: Its tokenizer.
        rules: How its texts begin and end.
    """
    graph, _ = stack.build(config)
    return Model(
        name=name,
        config=config,
        tokenizer=tokenizer,
        graph=graph,
        params=params,
        mesh=None,
        random_weights=None,
        max_pieces=config.longest_window,
        rules=rules,
    )
