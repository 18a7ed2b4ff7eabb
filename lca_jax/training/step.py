"""One step of fine-tuning: loss, gradient, AdamW. And the same forward pass without dropout, for measurements.

    loss = mean over the counted units of -log softmax(vector · kernel + bias)[class]
    g    = gradient, shortened to the norm `clip`
    u    = Adam(g) + weight_decay · parameter            (matrices and tables alone decay)
    parameter ← parameter - rate · u

Both functions are jitted here, once for every plan and shape of batches; the learning rate and the step are traced.
`train_step` takes over the memory of the state that it is given.

Reference: Loshchilov and Hutter 2019 (AdamW); Devlin et al. 2019, section 4 and appendix A.3.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Float, Key, PyTree

from lca_jax.models.classifier import class_logits, unit_vectors
from lca_jax.models.stack import stack
from lca_jax.models.stack.config import StackConfig
from lca_jax.models.stack.dropout import Dropout
from lca_jax.models.stack.stack import Params, Stack
from lca_jax.training.batches import TextBatch
from lca_jax.training.settings import Frozen, Tuning

Trained = PyTree[Float[Array, "..."]]
"""`stack`: the parameters of the stack that are trained, nested as in the stack; `classifier`: kernel and bias."""


class State(NamedTuple):
    """What a step changes."""

    trained: Trained
    """The trained parameters, in float32."""
    moments: optax.OptState
    """Adam's moments of them."""


class Measured(NamedTuple):
    """What a forward pass says of a batch."""

    loss: Float[Array, ""]
    """Sum of the losses of the counted units."""
    logits: Float[Array, "unit class"]
    """Logits of every unit."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a program is compiled for, beside the shapes of its arguments."""

    graph: nnx.GraphDef[Stack]
    """The modules, in the precision of the tuning."""
    dtypes: tuple[str, ...]
    """Type of every parameter in that precision, in the order of the tree."""
    layers: int
    """Number of blocks."""
    dropout: float
    clip: float
    weight_decay: float

    @classmethod
    def of(cls, config: StackConfig, settings: Tuning) -> "Plan":
        """Plans the programs of a tuning.

        Args:
            config: The stack in the precision of the tuning.
            settings: The settings.
        """
        graph, shapes = stack.build(config)
        return cls(
            graph=graph,
            dtypes=tuple(str(shape.dtype) for shape in jax.tree.leaves(shapes)),
            layers=config.layers,
            dropout=settings.dropout,
            clip=settings.clip,
            weight_decay=settings.weight_decay,
        )


def split_params(params: Params, config: StackConfig, frozen: Frozen) -> tuple[Params, Params]:
    """Divides the parameters of a stack into those that are trained, as float32 copies, and those that are kept.

    Tables of sines and cosines are never trained.
    """
    flat = flatten_dict(params)
    sinusoids = config.embedding.sinusoids > 0

    def keeps(path: tuple) -> bool:
        is_table = path[:2] == ("embedding", "positions") and sinusoids
        return frozen == "stack" or (frozen == "embedding" and path[0] == "embedding") or is_table

    trained = {path: jnp.array(leaf, jnp.float32) for path, leaf in flat.items() if not keeps(path)}
    return unflatten_dict(trained), unflatten_dict({path: leaf for path, leaf in flat.items() if keeps(path)})


def join_params(trained: Params, kept: Params) -> Params:
    """Inverts `split_params`."""
    return unflatten_dict(flatten_dict(trained) | flatten_dict(kept))


def start_state(trained: Trained, plan: Plan) -> State:
    """Returns the state before the first step."""
    return State(trained, _adam(plan).init(trained))


@partial(jax.jit, static_argnames="plan", donate_argnames="state")
def train_step(
    plan: Plan, kept: Params, state: State, batch: TextBatch, rate: Float[Array, ""], key: Key[Array, ""]
) -> tuple[State, Float[Array, ""]]:
    """Does one step.

    Args:
        plan: What is compiled.
        kept: Parameters that are not trained.
        state: The state, whose memory is taken over.
        batch: A batch.
        rate: Learning rate.
        key: Key of the step's dropout.

    Returns:
        The next state, and the mean loss of the counted units before the step.
    """

    def mean_loss(trained: Trained) -> Float[Array, ""]:
        count = jnp.maximum((batch.classes >= 0).sum(), 1).astype(jnp.float32)
        return _measure(plan, trained, kept, batch, Dropout(rate=plan.dropout, key=key)).loss / count

    loss, gradient = jax.value_and_grad(mean_loss)(state.trained)
    with jax.numpy_dtype_promotion("standard"):  # optax takes floats to the power of a whole number of steps
        updates, moments = _adam(plan).update(gradient, state.moments, state.trained)
    trained = jax.tree.map(lambda parameter, update: parameter - rate * update, state.trained, updates)
    return State(trained, moments), loss


@partial(jax.jit, static_argnames="plan")
def measure_step(plan: Plan, kept: Params, trained: Trained, batch: TextBatch) -> Measured:
    """Runs the model and its classifier over a batch, without dropout."""
    return _measure(plan, trained, kept, batch, None)


def _measure(plan: Plan, trained: Trained, kept: Params, batch: TextBatch, dropout: Dropout | None) -> Measured:
    params = _cast(join_params(trained["stack"], kept), plan)
    reads = {"residual": (plan.layers,)}
    (states,) = stack.forward(plan.graph, params, batch.pieces, reads=reads, dropout=dropout)["residual"]
    vectors = unit_vectors(states, batch.units, len(batch.classes))
    logits = class_logits(trained["classifier"], vectors if dropout is None else dropout(vectors))
    counted = batch.classes >= 0
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.maximum(batch.classes, 0))
    return Measured(jnp.where(counted, losses, 0.0).sum(), logits)


def _cast(params: Params, plan: Plan) -> Params:
    leaves, tree = jax.tree.flatten(params)
    return jax.tree.unflatten(tree, [leaf.astype(dtype) for leaf, dtype in zip(leaves, plan.dtypes, strict=True)])


def _adam(plan: Plan) -> optax.GradientTransformation:
    """Returns clipping, Adam and decay; the learning rate is left to the step, so that it is traced."""
    return optax.chain(
        optax.clip_by_global_norm(plan.clip),
        optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8),
        optax.add_decayed_weights(plan.weight_decay, mask=_decays),
    )


def _decays(params: Mapping) -> PyTree[bool]:
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)
