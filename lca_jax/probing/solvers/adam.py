"""The papers' solver: mini-batches and Adam through optax, many problems in the same batches.

Adam, learning rate 1e-3, batches of 512, 10 epochs (Durrani et al. 2020, A.1) end some per cent above the optimum; the
result says by how much, since it is measured with the same duality gap as the exact solver's. The first term of the
penalty is applied after each update as a proximal operator, which makes exact zeros, or added to the loss as a
sub-gradient, as published. A step costs 4 · batch · feature · class · problem operations and moves four arrays of the
weights' size; an epoch is one program without a round trip to the host. Where X is read in blocks, mini-batches are
drawn from one block at a time, the blocks in another order every epoch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from lca_jax.errors import SettingsError
from lca_jax.machine.devices import fetch, replicate
from lca_jax.machine.progress import counted
from lca_jax.probing.kept_answers import NONE_KEPT, KeptBatch
from lca_jax.probing.losses.loss import Loss, Prediction, residuals
from lca_jax.probing.matrix.block import Block, over_layers, scores
from lca_jax.probing.matrix.matrix import Matrix
from lca_jax.probing.penalties.penalty import ByCoordinate, Penalty, penalty_value
from lca_jax.probing.placement import place_problems
from lca_jax.probing.problems import Answer, Problems, Question
from lca_jax.probing.solvers.certificate import bound_gap

_BIAS_STEPS = 8
"""Newton steps on the bias before the certificate."""
_DECAY, _FLOOR = 0.999, 1e-8
"""optax's own defaults for Adam's second moment."""


@dataclass(frozen=True, kw_only=True)
class Adam:
    """Trains every problem by the papers' schedule, then measures how far above its optimum it ended; a `Solver`."""

    epochs: int
    """Passes over the words."""
    batch_size: int
    """Words in a step; the last step of an epoch has the rest."""
    learning_rate: float
    """Adam's step size."""
    proximal_step: bool
    """Whether the first term of the penalty is a proximal step, or a sub-gradient of the loss. The second term is
    always part of the loss."""
    tolerance: float
    """Largest share of the null objective that a duality gap may have to count as converged."""
    seed: int
    """Orders the words of each epoch."""

    @property
    def iterates_to_tolerance(self) -> bool:
        """False: the schedule ends after its epochs."""
        return False

    def check(self, penalty: Penalty) -> None:
        """Refuses a proximal step on a penalty that has none in Adam's metric.

        Raises:
            SettingsError: The penalty has no method `coordinate_proximal`.
        """
        if self.proximal_step and not hasattr(penalty, "coordinate_proximal"):
            raise SettingsError(
                f"`solver='adam'` with `proximal_step=True` needs a penalty with the method `coordinate_proximal`; "
                f"{type(penalty).__name__} does not have it. Set `proximal_step=False` or take `solver='proximal'`."
            )

    def solve(
        self,
        matrix: Matrix,
        questions: Sequence[Question],
        loss: Loss,
        penalty: Penalty,
        *,
        at_once: int,
        kept: KeptBatch = NONE_KEPT,
    ) -> list[Answer]:
        """Trains the questions `at_once` by `at_once`; each batch sees the words in the same order."""
        self.check(penalty)
        classes = max(question.classes for question in questions)
        weighted = any(question.weights is not None for question in questions)
        answers = dict(kept.known)
        open_questions = [number for number in range(len(questions)) if number not in answers]
        for first in range(0, len(open_questions), at_once):
            numbers = open_questions[first : first + at_once]
            problems = place_problems(
                [questions[number] for number in numbers],
                loss,
                classes=classes,
                mesh=matrix.mesh,
                padded_words=matrix.padded_words,
                weighted=weighted,
            )
            weights, steps = self._train(matrix, problems, loss, penalty)
            found = self._answers(matrix, problems, loss, penalty, weights, steps)
            for number, answer in zip(numbers, found, strict=True):
                kept.keep(number, answer)
                answers[number] = answer
        return [answers[number] for number in range(len(questions))]

    def _train(self, matrix: Matrix, problems: Problems, loss: Loss, penalty: Penalty) -> "tuple[Weights, int]":
        """Returns the weights after all epochs, and the number of steps taken."""
        options: Any = {"learning_rate": self.learning_rate, "proximal_step": self.proximal_step}

        def begin(zeros: Array) -> tuple[Weights, optax.OptState]:
            weights = Weights(zeros, loss.starting_bias(problems))
            return weights, _optimizer(penalty, problems.l1, **options).init(weights)

        shape = (*[matrix.layers] * matrix.layered, *problems.shares.shape, matrix.features)
        start = jax.jit(over_layers(begin, 0, layered=matrix.layered))
        weights, state = start(replicate(matrix.mesh, np.zeros(shape, np.float32)))
        epoch = partial(_epoch, loss=loss, penalty=penalty, **options)
        mapped = over_layers(epoch, (0, None, None, 0, 0), layered=matrix.layered)
        generator = np.random.default_rng(self.seed)
        size = min(self.batch_size, matrix.words)
        taken = 0
        for _ in counted(range(self.epochs), "fit: epochs of Adam"):
            for stretch in matrix.stretches(generator):
                steps = -(-len(stretch.real) // size)
                order = np.full(steps * size, -1, np.int32)
                order[: len(stretch.real)] = generator.permutation(stretch.real)
                batches = replicate(matrix.mesh, order.reshape(steps, size))
                weights, state = mapped(stretch.block, stretch.of_problems(problems), batches, weights, state)
                jax.block_until_ready(weights)  # then the next stretch may take the memory of this one
                taken += steps
        return weights, taken

    def _answers(
        self, matrix: Matrix, problems: Problems, loss: Loss, penalty: Penalty, weights: "Weights", steps: int
    ) -> list[Answer]:
        """Returns the answers of trained weights, each with its certificate."""
        bias, objective, gap = _certify(matrix, problems, weights, loss=loss, penalty=penalty)
        null = fetch(jax.jit(loss.null_objective)(problems))

        def by_layer(array: Array) -> np.ndarray:
            return fetch(array).reshape(matrix.layers, *array.shape[int(matrix.layered) :])

        W, b, F, gaps = (by_layer(part) for part in (weights.W, bias, objective, gap))
        return [
            Answer(
                weights=W[:, place],
                bias=b[:, place],
                objective=F[:, place],
                duality_gap=gaps[:, place],
                null_objective=float(null[place]),
                iterations=np.full(matrix.layers, steps),
                converged=gaps[:, place] <= self.tolerance * null[place],
            )
            for place in range(len(null))
        ]


SOLVER = Adam


class Weights(NamedTuple):
    """The parameters that Adam trains: the penalised weights and the free bias of every problem."""

    W: Float[Array, "problem class feature"]
    bias: Float[Array, "problem class"]


class ProximalAdamState(NamedTuple):
    """Adam's moments, of the weights and the bias."""

    moments: optax.ScaleByAdamState


def proximal_adam(
    penalty: ByCoordinate, l1: Float[Array, " problem"], *, learning_rate: float
) -> optax.GradientTransformation:
    """Adam whose every update ends with a proximal step on the weights, so that l1 makes exact zeros.

    The step length is l1 times the step that Adam takes in each coordinate, learning_rate / √v: the proximal operator
    of l1·A in Adam's own metric. (A length of learning_rate · l1 for all is 1000 times too small where gradients are.)

    Args:
        penalty: Penalty with the first term A.
        l1: Weight of A in every problem.
        learning_rate: Adam's step size.
    """
    adam = optax.scale_by_adam()

    # optax types every tree as one of arrays or scalars, which hides the fields of a NamedTuple: hence Any.
    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        if params is None:
            raise ValueError("The proximal step needs the weights: call update(gradients, state, weights).")
        direction, moments = cast("tuple[Any, Any]", adam.update(updates, state.moments))
        deviation = jnp.sqrt(moments.nu.W / (1 - _DECAY ** moments.count.astype(params.W.dtype))) + _FLOOR
        moved = params.W - learning_rate * direction.W
        closer = penalty.coordinate_proximal(moved, learning_rate / deviation * l1[:, None, None])
        return Weights(closer - params.W, -learning_rate * direction.bias), ProximalAdamState(moments)

    def init(params: Any) -> ProximalAdamState:
        return ProximalAdamState(cast("optax.ScaleByAdamState", adam.init(params)))

    return optax.GradientTransformation(init, update)


def _optimizer(
    penalty: Penalty, l1: Float[Array, " problem"], *, learning_rate: float, proximal_step: bool
) -> optax.GradientTransformation:
    if proximal_step:
        return proximal_adam(cast("ByCoordinate", penalty), l1, learning_rate=learning_rate)
    return optax.adam(learning_rate)


@partial(jax.jit, static_argnames=("loss", "penalty", "learning_rate", "proximal_step"))
def _epoch(
    block: Block,
    problems: Problems,
    batches: Int[Array, "step batch"],
    weights: Weights,
    state: optax.OptState,
    *,
    loss: Loss,
    penalty: Penalty,
    learning_rate: float,
    proximal_step: bool,
) -> tuple[Weights, optax.OptState]:
    """Takes one step for each batch of places in the block; −1 in a batch is no word."""
    optimizer = _optimizer(penalty, problems.l1, learning_rate=learning_rate, proximal_step=proximal_step)

    def step(
        carry: tuple[Weights, optax.OptState], words: Int[Array, " batch"]
    ) -> tuple[tuple[Weights, optax.OptState], None]:
        now, inner = carry
        here = block._replace(X=block.X[words])
        labels = jnp.where(words[None, :] >= 0, problems.labels[:, words], jnp.asarray(loss.mask_label))
        counts = None if problems.weights is None else problems.weights[:, words]
        batch = problems._replace(labels=labels, weights=counts, total=None)

        def objective(at: Weights) -> Float[Array, ""]:
            allowed = jnp.where(problems.keep[:, None, :], at.W, 0.0)
            value = loss.predict(scores(here, allowed), at.bias, batch).loss
            l1 = jnp.zeros_like(problems.l1) if proximal_step else problems.l1
            return (value + penalty_value(penalty, allowed, l1, problems.l2)).sum()

        gradients = jax.grad(objective)(now)
        # optax raises a float to an integer count, which callers with strict promotion do not allow.
        with jax.numpy_dtype_promotion("standard"):
            updates, inner = cast("tuple[Any, optax.OptState]", optimizer.update(gradients, inner, now))
        return (Weights(now.W + updates.W, now.bias + updates.bias), inner), None

    return jax.lax.scan(step, (weights, state), batches)[0]


def _certify(
    matrix: Matrix, problems: Problems, weights: Weights, *, loss: Loss, penalty: Penalty
) -> tuple[Float[Array, "*layer problem class"], Float[Array, "*layer problem"], Float[Array, "*layer problem"]]:
    """Returns bias, objective and duality gap of weights, after the best bias for these weights was found."""
    X_W = matrix.scores(weights.W)
    bias, prediction, R = _predict_with_best_bias(problems, X_W, weights.bias, loss=loss)
    gradient = matrix.correlations(R)
    means = matrix.correlations(jax.jit(loss.mean_weights)(problems))

    def bound(W: Array, prediction: Prediction, gradient: Array, means: Array, R: Array) -> tuple[Array, Array]:
        arrays = {"W": W, "gradient": gradient, "means": means, "bias_residual": R.sum(axis=2)}
        return bound_gap(prediction.loss, prediction.dual, problems, loss=loss, penalty=penalty, **arrays)

    mapped = jax.jit(over_layers(bound, (0, 0, 0, 0, 0), layered=matrix.layered))
    return bias, *mapped(weights.W, prediction, gradient, means, R)


@partial(jax.jit, static_argnames="loss")
def _predict_with_best_bias(
    problems: Problems,
    X_W: Float[Array, "*layer problem class word"],
    bias: Float[Array, "*layer problem class"],
    *,
    loss: Loss,
) -> tuple[Float[Array, "*layer problem class"], Prediction, Float[Array, "*layer problem class word"]]:
    def fit(X_W: Array, bias: Array) -> tuple[Array, Prediction, Array]:
        for _ in range(_BIAS_STEPS):
            bias = loss.fit_bias(X_W, bias, problems)
        prediction = loss.predict(X_W, bias, problems)
        return bias, prediction, residuals(prediction, problems, loss)

    return over_layers(fit, (0, 0), layered=X_W.ndim == 4)(X_W, bias)
