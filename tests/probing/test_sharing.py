"""The exchange between devices that work on different problems: the sums of gradients, in rounds."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from lca_jax.machine.devices import joint_mesh
from lca_jax.probing.choices import loss_named, penalty_named
from lca_jax.probing.matrix.block import Block, correlations, over_layers
from lca_jax.probing.matrix.held import hold_matrix
from lca_jax.probing.matrix.source import MatrixSource
from lca_jax.probing.problems import Question
from lca_jax.probing.solvers.lanes import PlacedLabels, enter, lane_of, spread
from lca_jax.probing.solvers.sharing import Share, correlations_of, share_of
from lca_jax.probing.solvers.state import State
from lca_jax.probing.solvers.stepping import advance_whole
from tests.probing.planted import planted


def mesh_of(devices: int) -> Mesh:
    return Mesh(np.array(jax.devices()[:devices]).reshape(-1, 1), ("data", "model"))


@pytest.mark.parametrize("devices", [2, 3, 4, 6, 8])
@pytest.mark.parametrize("layers", [None, 2])
@pytest.mark.parametrize("each", [1, 2])
def test_sums_in_rounds_are_those_of_all_words_where_their_problem_is(
    devices: int, layers: int | None, each: int
) -> None:
    """Exact sums of whole numbers: a sum in the place of another would show."""
    rng, mesh = np.random.default_rng(0), mesh_of(devices)
    layered = () if layers is None else (layers,)

    def whole(*sides: int) -> jax.Array:
        return jnp.asarray(rng.integers(-9, 10, (*layered, *sides)).astype(np.float32))

    words, features, problems = 24, 7, each * devices
    block, R = (
        Block(whole(words, features), whole(features), jnp.full((*layered, features), 2.0)),
        whole(problems, 3, words),
    )
    in_rounds = correlations_of(Share(mesh, None, in_rounds=True))
    alone, shared = (over_layers(way, (0, 0), layered=layers is not None) for way in (correlations, in_rounds))
    found = jax.jit(shared)(block, R)
    np.testing.assert_array_equal(found, alone(block, R))
    axis = len(layered)
    assert {shard.data.shape[axis] for shard in found.addressable_shards} == {each}
    text = jax.jit(shared).lower(block, R).as_text()
    assert text.count("reduce_scatter") == (1 if devices in (2, 3) else 2)


def test_on_other_devices_than_tpus_the_compiler_adds_up() -> None:
    """One round, which is best on GPUs: of two the first would send more between hosts. `tests/compiled` has TPUs."""
    mesh = mesh_of(8)
    assert share_of(mesh, 8) == Share(mesh, None, in_rounds=False)
    assert correlations_of(share_of(mesh, 8)) is correlations
    assert correlations_of(None) is correlations


def test_iterations_with_sums_in_rounds_are_the_same() -> None:
    X, y = planted(2000, 40, [0.4, 0.3, 0.3], noise=2.0)
    loss, penalty = loss_named("cross_entropy"), penalty_named("elastic_net")
    matrix, problems = hold_matrix(MatrixSource.of(X), standardize=True), joint_mesh().size

    def solve(iterations: int, *, in_rounds: bool) -> State:
        labels, lanes = None, None
        for lane in range(problems):
            question = Question(y.astype(np.int32), None, 3, 1e-3 * 2.0**-lane, 1e-3, np.ones(40, bool))
            labels = labels or PlacedLabels.of(question, matrix, loss, classes=3, weighted=False)
            one = lane_of(question, labels, None, matrix, tolerance=1e-4)
            where = {"layered": False, "mesh": matrix.mesh}
            lanes = enter(lanes, one, np.int32(lane), **where) if lanes else spread(one, problems, **where)
        assert lanes is not None
        share = share_of(matrix.mesh, problems)
        assert share is not None
        numbers = (np.ones(problems, bool), np.int32(problems), np.int32(iterations))
        arrays = (lanes.problems, lanes.means, lanes.limits, *numbers)
        run = partial(advance_whole, loss=loss, penalty=penalty, share=share._replace(in_rounds=in_rounds))
        return run(lanes.state, matrix.block, matrix.metric(), *arrays)

    # Sums in another order differ by rounding alone, which grows with every iteration.
    left, told = solve(5, in_rounds=False), solve(5, in_rounds=True)
    np.testing.assert_allclose(left.W, told.W, atol=2e-6)
    assert np.asarray(abs(told.W).max() > 0.1)
    assert told.W.sharding.is_equivalent_to(left.W.sharding, 3)
    assert np.asarray(solve(300, in_rounds=True).done).all()
