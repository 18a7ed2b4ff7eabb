r"""Greedy selection of neurons by Gaussians: all candidates of a step at once, by rank-one updates.

With A_c = Λ_c + N_c S_c (`probing.gaussian`) and its Cholesky factor on the neurons chosen so far, a candidate j adds
one row to the factor of class c: its covariances with the chosen ones in white coordinates, v_cj, and below them
√δ_cj, with δ_cj the Schur complement. A word h gets one white coordinate more,

    z_cj = (h_j − μ_cj − z_c · v_cj) / √δ_cj,        log det A grows by log δ_cj,        ‖z_c‖² by z_cj²

so the posterior of every word under every candidate costs one product of the words' white coordinates with the
candidates' rows. When a neuron s is chosen, each candidate's row grows by (a_csj − v_cs · v_cj) / √δ_cs, and its δ
loses the square of that. The covariances a_csj of the chosen neuron with all others are one product with the training
words: no covariance matrix of all neurons is ever made, and nothing is factorised again.

Cost of a step: 2·n·d·C operations for n training words, d neurons and C classes, and for m held-out words 2·m·d·C·k
with exponentials of m·d·C numbers. Memory on the devices: the words, C·k·(d + m) numbers, and blocks of 64·d.

Numbers are float32, of neurons brought to deviation 1, under which the method does not change. On several devices each
has some of the candidates, so that none waits for another but to compare the best.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Float64, Int

from lca_jax.machine.devices import data_mesh, fetch, replicate, shard_rows
from lca_jax.machine.precision import FLOAT32
from lca_jax.probing.gaussian import Prior, prior_variances
from lca_jax.ranking.words import mean_and_variance

_WORDS = 64
"""Held-out words of a block."""
_LEAST = 1e-6
"""Least share of its variance that the other neurons may leave to a candidate, against rounding."""


class Selection(NamedTuple):
    """The neurons that were chosen, in their order."""

    order: Int[np.ndarray, " step"]
    """Column of the neuron that each step chose."""
    bits: Float64[np.ndarray, " step"]
    """Mean log₂ p(class | the neurons so far) of the held-out words."""
    last: Float64[np.ndarray, " feature"]
    """The same for every neuron as the last step's choice; minus infinity for those chosen before."""


class _Words(NamedTuple):
    """What the steps read."""

    train: Float[Array, "word feature"]
    members: Float[Array, "word class"]
    held_out: Float[Array, "block held feature"]
    gold: Int[Array, "block held"]
    """Class of each held-out word; -1 for padding."""
    mean: Float[Array, "class feature"]
    counts: Float[Array, " class"]


class _State(NamedTuple):
    """The factors so far; rows of neurons that are not chosen yet are zero."""

    rows: Float[Array, "class step feature"]
    left: Float[Array, "class feature"]
    """δ: what the chosen neurons leave of each candidate."""
    white: Float[Array, "block class held step"]
    distance: Float[Array, "block class held"]
    log_det: Float[Array, " class"]
    free: Bool[Array, " feature"]


def select_by_gaussians(
    X: Float32[np.ndarray, "word feature"],
    gold: Int[np.ndarray, " word"],
    held_out: Float32[np.ndarray, "held feature"],
    held_gold: Int[np.ndarray, " held"],
    *,
    count: int,
    prior: Prior = "class",
) -> Selection:
    """Chooses neurons one by one, each time the one with which held-out words have the largest likelihood of a class.

    Args:
        X: Activations of the words that the Gaussians are made of.
        gold: Class number of each; all numbers from 0 on have words.
        held_out: Activations of the words that the choice is made by.
        held_gold: Class number of each, of the same classes.
        count: Number of neurons to choose.
        prior: Whose variances the prior of a covariance has.

    Raises:
        SettingsError: The prior is unknown.
    """
    words, state = _begin(X, gold, held_out, held_gold, count=count, prior=prior)
    chosen, reached, likelihood = [], [], None
    for step in range(count):
        likelihood = _likelihoods(words, state, np.int32(step))
        best = jnp.argmax(likelihood)
        chosen.append(best)
        reached.append(likelihood[best])
        if step + 1 < count:
            state = jax.block_until_ready(_choose(words, state, best, np.int32(step)))
    assert likelihood is not None
    to_bits = np.log(2) * len(held_gold)
    return Selection(
        order=np.array([int(fetch(one)) for one in chosen]),
        bits=np.array([float(fetch(one)) for one in reached]) / to_bits,
        last=fetch(likelihood)[: X.shape[1]].astype(np.float64) / to_bits,
    )


def _begin(
    X: Float32[np.ndarray, "word feature"],
    gold: Int[np.ndarray, " word"],
    held_out: Float32[np.ndarray, "held feature"],
    held_gold: Int[np.ndarray, " held"],
    *,
    count: int,
    prior: Prior,
) -> tuple[_Words, _State]:
    mesh, features = data_mesh(), X.shape[1]
    centre, spread = mean_and_variance(X)
    deviation = np.where(spread > 0, np.sqrt(spread), 1.0)
    X, held_out = (((part - centre) / deviation).astype(np.float32) for part in (X, held_out))
    counts = np.bincount(gold)
    members = (gold[:, None] == np.arange(len(counts))).astype(np.float32)
    mean = np.dot(members.T.astype(np.float64), X) / counts[:, None]
    variance = np.maximum(
        np.dot(members.T.astype(np.float64), X.astype(np.float64) ** 2) / counts[:, None] - mean**2, 0
    )
    blocks = -(-len(held_gold) // _WORDS)
    padded, numbers = np.zeros((blocks * _WORDS, features), np.float32), np.full(blocks * _WORDS, -1, np.int32)
    padded[: len(held_gold)], numbers[: len(held_gold)] = held_out, held_gold
    words = _Words(
        train=shard_rows(mesh, X, axis=1),
        members=replicate(mesh, members),
        held_out=shard_rows(mesh, padded.reshape(blocks, _WORDS, features), axis=2),
        gold=replicate(mesh, numbers.reshape(blocks, _WORDS)),
        mean=shard_rows(mesh, mean.astype(np.float32), axis=1),
        counts=replicate(mesh, counts.astype(np.float32)),
    )
    classes = len(counts)
    left = prior_variances(variance, counts, prior=prior) + counts[:, None] * variance
    state = _State(
        rows=shard_rows(mesh, np.zeros((classes, count, features), np.float32), axis=2),
        left=shard_rows(mesh, left.astype(np.float32), axis=1, fill=1),
        white=replicate(mesh, np.zeros((blocks, classes, _WORDS, count), np.float32)),
        distance=replicate(mesh, np.zeros((blocks, classes, _WORDS), np.float32)),
        log_det=replicate(mesh, np.zeros(classes, np.float32)),
        free=shard_rows(mesh, np.ones(features, bool)),  # columns of padding are not
    )
    return words, state


@jax.jit
def _likelihoods(words: _Words, state: _State, step: Int[Array | np.ndarray, ""]) -> Float[Array, " feature"]:
    """Returns the log-likelihood of the held-out classes with each candidate; −∞ for neurons that are chosen."""
    neurons = (step + 1).astype(jnp.float32)
    scale = words.counts + 2 * neurons + 4
    of_class = jnp.log(words.counts / words.counts.sum()) - 0.5 * (state.log_det - neurons * jnp.log(scale))
    of_candidate = of_class[:, None] - 0.5 * jnp.log(state.left)
    # Squares of these are half of what a candidate adds to the squared distance.
    weight = jnp.sqrt(0.5 * scale[:, None] / state.left)
    rows, shift = state.rows * weight[:, None, :], words.mean * weight

    classes = (of_candidate, weight, rows, shift, scale, jnp.arange(len(scale)))

    def of_block(block: tuple[Array, Array, Array, Array]) -> Float[Array, " feature"]:
        values, gold, white, distance = block
        start = jnp.zeros_like(values)

        # Class by class, with the largest and the sum of exponentials below it: all classes at once take five times as
        # long on a CPU, whose caches do not hold them.
        def add_class(carry: tuple[Array, Array, Array], of_class: Any) -> tuple[Any, None]:
            highest, total, of_gold = carry
            (level, width, row, middle, stretch, number), own, so_far = of_class
            explained = jnp.matmul(own, row, precision=FLOAT32)
            more = values * width[None, :] - middle[None, :] - explained
            joint = level[None, :] - (0.5 * stretch * so_far)[:, None] - more**2
            raised = jnp.maximum(highest, joint)
            total = total * jnp.exp(highest - raised) + jnp.exp(joint - raised)
            return (raised, total, jnp.where((gold == number)[:, None], joint, of_gold)), None

        carry = (start - jnp.float32(1e30), start, start)
        (highest, total, of_gold), _ = jax.lax.scan(add_class, carry, (classes, white, distance))
        return jnp.where((gold >= 0)[:, None], of_gold - highest - jnp.log(total), 0.0).sum(axis=0)

    blocks = (words.held_out, words.gold, state.white, state.distance)
    return jnp.where(state.free, jax.lax.map(of_block, blocks).sum(axis=0), -jnp.inf)


@partial(jax.jit, donate_argnums=1)
def _choose(words: _Words, state: _State, chosen: Int[Array, ""], step: Int[Array | np.ndarray, ""]) -> _State:
    """Takes a neuron into the factors."""
    left, mean = state.left[:, chosen], words.mean[:, chosen]
    own = state.rows[:, :, chosen]
    # Distances from the class's mean sum to zero, so the other factor needs no centring.
    apart = words.members * (words.train[:, chosen][:, None] - mean[None, :])
    covariance = jnp.einsum("nc,nf->cf", apart, words.train, precision=FLOAT32)
    row = covariance - jnp.einsum("cs,csf->cf", own, state.rows, precision=FLOAT32)
    row = row / jnp.sqrt(left)[:, None]
    explained = jnp.einsum("bchs,cs->bch", state.white, own, precision=FLOAT32)
    values = words.held_out[:, :, chosen]
    white = (values[:, None, :] - mean[None, :, None] - explained) / jnp.sqrt(left)[None, :, None]
    return _State(
        rows=state.rows.at[:, step].set(row),
        left=jnp.maximum(state.left - row**2, _LEAST * state.left),
        white=state.white.at[..., step].set(white),
        distance=state.distance + white**2,
        log_det=state.log_det + jnp.log(left),
        free=state.free.at[chosen].set(False),
    )
