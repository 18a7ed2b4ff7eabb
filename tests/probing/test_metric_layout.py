"""Where the metric lies on several devices: whole over the words, so that an inner step exchanges nothing."""

from typing import Any

import jax
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from benchmarks.compiled.programs import FitSize, iteration_arrays
from benchmarks.compiled.reading import CompiledText
from lca_jax.probing.batching import fit_on_matrix
from lca_jax.probing.labelling import Labelling
from lca_jax.probing.matrix import held, streamed
from lca_jax.probing.matrix.held import hold_matrix
from lca_jax.probing.matrix.matrix import Matrix
from lca_jax.probing.matrix.metric import Metric
from lca_jax.probing.matrix.source import MatrixSource
from lca_jax.probing.matrix.streamed import stream_matrix
from lca_jax.probing.objective import ElasticNet
from lca_jax.probing.solvers import stepping

WORDS, CLASSES = 1024, 3
WHOLE, THIN = 80, 1600
"""Features of which the metric is a whole matrix, and one of few words."""


def mesh_of(devices: int, parts: int) -> Mesh:
    return Mesh(np.array(jax.devices()[:devices]).reshape(-1, parts), ("data", "model"))


def vectors(features: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((WORDS, features)).astype(np.float32)


@pytest.mark.parametrize(
    ("devices", "parts", "features", "layers"),
    [
        (2, 1, THIN, None),
        (4, 1, THIN, None),
        (8, 1, THIN, None),
        (8, 1, WHOLE, None),
        (8, 4, WHOLE, None),
        (8, 4, THIN, 2),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_the_metric_is_whole_over_the_words_and_split_by_column(
    devices: int, parts: int, features: int, layers: int | None, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    mesh = mesh_of(devices, parts)
    for module in (held, streamed):
        monkeypatch.setattr(module, "joint_mesh", lambda _: mesh)
    make = stream_matrix if stream else hold_matrix
    source = MatrixSource.of(vectors(features * (layers or 1)))._replace(layers=layers)
    metric = make(source, standardize=True, split_over=parts).metric()
    columns = PartitionSpec(*[None] * (layers is not None), None, "model")
    assert metric.factor.sharding.is_equivalent_to(NamedSharding(mesh, columns), metric.factor.ndim)
    assert metric.factor.addressable_shards[0].data.shape[-2:] == (metric.factor.shape[-2], features // parts)
    assert all(one.sharding.is_fully_replicated for one in (metric.ridge, metric.largest))


def programs_of(matrix: Matrix, monkeypatch: pytest.MonkeyPatch, *, problems: int) -> tuple[tuple[Any, ...], str]:
    """The arrays of the iterations of a fit, and the text of their compiled program."""
    seen: list[tuple[tuple[Any, ...], str]] = []
    compiled = stepping.advance_whole

    def spy(*arrays: Any, **records: Any) -> Any:
        seen.append((arrays, compiled.lower(*arrays, **records).compile().as_text() or ""))
        return compiled(*arrays, **records)

    monkeypatch.setattr(stepping, "advance_whole", spy)
    numbers = np.random.default_rng(1).integers(0, CLASSES, WORDS).astype(np.int32)
    labellings = [
        Labelling(task=str(number), control=False, classes=("a", "b", "c"), numbers=np.roll(numbers, number))
        for number in range(problems)
    ]
    fit_on_matrix(matrix, labellings, ElasticNet(l1=1e-2, l2=1e-1))
    return seen[0]


@pytest.mark.parametrize(("features", "parts"), [(WHOLE, 1), (THIN, 1), (THIN, 4)])
def test_inner_steps_of_a_fit_exchange_nothing(features: int, parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor do they where the columns are split: the factor is made whole once, before the steps."""
    matrix = hold_matrix(MatrixSource.of(vectors(features)), standardize=True, split_over=parts)
    assert matrix.mesh.size == 8
    _, text = programs_of(matrix, monkeypatch, problems=8)
    exchanges = CompiledText.of(text).iteration().collectives
    assert exchanges  # gradients are summed, and weights sent
    assert [one.opcode for one in exchanges if one.times > 1] == []


def test_programs_on_paper_lie_as_those_of_a_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is compiled for devices that are not here says nothing of a run that lays its arrays elsewhere."""
    matrix = hold_matrix(MatrixSource.of(vectors(THIN)), standardize=True)
    arrays, _ = programs_of(matrix, monkeypatch, problems=8)
    size = FitSize(words=WORDS, features=THIN, problems=8, classes=CLASSES)
    on_paper = iteration_arrays(matrix.mesh, size)
    for one, other in zip(jax.tree.leaves(arrays[1:3]), jax.tree.leaves(tuple(on_paper[1:3])), strict=True):
        assert one.sharding.is_equivalent_to(other.sharding, one.ndim)
    assert isinstance(on_paper[2], Metric)
