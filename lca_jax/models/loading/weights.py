"""Fills the parameters of a stack: from a checkpoint by a family's table, or at random for a baseline.

The host holds one tensor at a time: as it is stored, and the parts of it that go to the devices. JAX's CPU devices take
these parts over as they are, so that loading takes the memory of the model and of its largest tensor beside it. All
missing, unexpected and mis-shaped tensors are reported at once. A missing tensor is replaced only where its family says
what it then is.
"""

import hashlib
import logging
import re
from collections.abc import Mapping, Set
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import PyTree, Shaped

from lca_jax.errors import ModelError, list_problems
from lca_jax.models.families.mapping import Family, Source
from lca_jax.models.loading.checkpoints import Tensors
from lca_jax.models.loading.identity import HashedParams, heading
from lca_jax.models.loading.placement import move, place
from lca_jax.models.stack.config import StackConfig
from lca_jax.models.stack.stack import Params, Stack

_log = logging.getLogger(__name__)
_PIECES = "embedding.pieces.embedding"
_WRAPPERS = ("module.", "_orig_mod.", "0.auto_model.", "model.module.", "auto_model.")
"""Prefixes of DataParallel, of `torch.compile` and of sentence encoders, which are no part of any model's names."""
_HEADS = ("lm_head.weight", "lm_head.decoder.weight", "cls.predictions.decoder.weight", "predictions.decoder.weight")
_HEADS += ("vocab_projector.weight", "embed_out.weight", "lm_loss.weight", "generator_lm_head.weight", "decoder.weight")
"""Names of the piece vectors in the heads of the families."""


def read_weights(
    tensors: Tensors,
    family: Family,
    config: StackConfig,
    shapes: PyTree[jax.ShapeDtypeStruct],
    *,
    origin: str,
    tied: bool = False,
    mesh: Mesh | None = None,
) -> tuple[Params, HashedParams]:
    """Reads every parameter of the stack, in the precision of `shapes`.

    Args:
        tensors: The opened checkpoint.
        family: The family whose names the checkpoint uses.
        config: The stack that the parameters are for.
        shapes: Shapes and dtypes of the parameters, from `stack.build`.
        origin: The checkpoint's place, for messages.
        tied: Whether the head's piece vectors are those of the embedding, so that a file may hold them under the name
            of the head alone.
        mesh: The devices that the parameters are split over; None for JAX's default device.

    Returns:
        The parameters, and their hash: the same for one file and for shards.

    Raises:
        ModelError: Tensors are missing, unexpected or of another shape; all of them are listed.
    """
    tensors = _without_wrapper(tensors, origin)
    sources, head = family.sources(config), config.language_head
    if tied:
        tensors = _with_pieces_of_head(tensors, family.prefix, sources[_PIECES])
    head_sources = family.head_sources(config, head) if head else {}
    keys = _list_keys(sources)
    ignored = family.ignored if config.decoder or not family.decoder else f"{family.ignored}|{family.decoder}"
    stack, others = _take_stack(tensors, family.prefix, keys, ignored)
    problems = [f"unexpected: `{key}`" for key in sorted(stack.keys() - keys)]
    others -= _list_keys(head_sources)
    digest = hashlib.sha256()
    arrays = []

    def hash_run(run: Shaped[np.ndarray, "entry ..."]) -> None:
        digest.update(run.view(np.uint8).data)

    leaves, tree = jax.tree_util.tree_flatten_with_path(shapes)
    for names, shape in leaves:
        path = jax.tree_util.keystr(names, simple=True, separator=".")
        source, available = (sources[path], stack) if path in sources else (head_sources[path], tensors)
        tensor = _read_source(source, available)
        if tensor is None:
            problems.append(f"missing: `{source.key}`, for the parameter `{path}` of shape {shape.shape}")
            continue
        if tensor.shape != shape.shape or not jnp.issubdtype(tensor.dtype, jnp.floating):
            key = _stored_key(source, available)
            problems.append(f"mis-shaped: `{key}` gives {tensor.dtype} {tensor.shape}, expected floats {shape.shape}")
            continue
        digest.update(heading(names, shape))
        arrays.append(place(tensor, path, mesh, dtype=shape.dtype, see=hash_run))
        del tensor  # before the next one is read
    if problems:
        raise ModelError(
            f"The weights of {origin} do not fit its config.json ({config.family}, {config.layers} layers of "
            f"{config.residual_width}):\n{list_problems(problems)}\nTake both files from one checkpoint."
        )
    if others:
        names = ", ".join(sorted(others))
        _log.debug("%s: %d tensors are not needed and were left out: %s", origin, len(others), names)
    return jax.tree.unflatten(tree, arrays), HashedParams.known(arrays, digest.hexdigest())


def draw_weights(
    config: StackConfig, shapes: PyTree[jax.ShapeDtypeStruct], *, seed: int, mesh: Mesh | None = None
) -> Params:
    """Draws an untrained model: matrices normal with the config's standard deviation, biases 0, norm scales 1.

    They are drawn in float32 whatever the precision, so that a seed means the same model in every precision.
    """
    untrained = nnx.to_pure_dict(nnx.state(Stack(replace(config, dtype="float32"), rngs=nnx.Rngs(seed)), nnx.Param))

    def put(path: tuple, array: jax.Array, shape: jax.ShapeDtypeStruct) -> jax.Array:
        return move(array.astype(shape.dtype), jax.tree_util.keystr(path, simple=True, separator="."), mesh)

    return jax.tree_util.tree_map_with_path(put, untrained, shapes)


def _without_wrapper(tensors: Tensors, origin: str) -> Tensors:
    """Returns the tensors without a prefix that a wrapper has put before all of their names."""
    for wrapper in _WRAPPERS:
        if tensors and all(key.startswith(wrapper) for key in tensors):
            _log.info("%s: all names begin with `%s`, which a wrapper added; it is left out", origin, wrapper)
            return {key.removeprefix(wrapper): read for key, read in tensors.items()}
    return tensors


def _with_pieces_of_head(tensors: Tensors, prefix: str, pieces: Source) -> Tensors:
    """Returns the tensors with the piece vectors under the name of the embedding, where only the head has them."""
    names = [key for key in (pieces.key, pieces.other_key) if key is not None]
    if any(name in tensors or prefix + name in tensors for name in names):
        return tensors
    found = next((tensors[key] for key in _HEADS if key in tensors), None)
    if found is None:
        return tensors
    with_prefix = prefix if any(key.startswith(prefix) for key in tensors) else ""
    return {**tensors, with_prefix + pieces.key: found}


def _list_keys(sources: Mapping[str, Source]) -> set[str]:
    return {key for source in sources.values() for key in (source.key, source.other_key) if key is not None}


def _stored_key(source: Source, tensors: Tensors) -> str:
    """Returns the one of a source's two names that the checkpoint uses."""
    return source.key if source.key in tensors or source.other_key is None else source.other_key


def _read_source(source: Source, tensors: Tensors) -> Shaped[np.ndarray, "..."] | None:
    """Reads a parameter in the layout of the stack; None where the checkpoint must have it and does not."""
    key = _stored_key(source, tensors)
    if key in tensors:
        return source.change(tensors[key]())
    return None if source.otherwise is None else source.otherwise()


def _take_stack(tensors: Tensors, prefix: str, keys: Set[str], ignored: str) -> tuple[Tensors, set[str]]:
    """Splits a checkpoint into the tensors of the stack, named without the prefix, and the names of the rest.

    A tensor that this stack reads belongs to it, even where the family's pattern would ignore it.
    """
    prefix = prefix if any(key.startswith(prefix) for key in tensors) else ""
    stack = {}
    for key, read in tensors.items():
        name = key.removeprefix(prefix)
        if key.startswith(prefix) and (name in keys or not re.fullmatch(ignored, name)):
            stack[name] = read
    return stack, {key for key in tensors if key.removeprefix(prefix) not in stack}
