"""Runs batches through the model and brings the words' vectors to host memory, in the order of the batches.

One jitted function runs the model, pools pieces to words and casts to the store's type. It is compiled once a batch
shape, for all runs of the same model, and only words leave the device. JAX returns before a batch is computed: while
the device works on one batch, the host makes the next ones in a second thread and copies the one before in a third, and
the caller stores the one before that.

Memory on the device: the parameters and the captured layers of three batches; on the host the vectors of as many.
"""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, nullcontext
from functools import partial
from itertools import repeat
from types import TracebackType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Int, Int64, Shaped

from lca_jax.errors import DataError
from lca_jax.extraction.batches import BlockNotes, ReadBatch
from lca_jax.extraction.in_step import Steps
from lca_jax.extraction.pooling import finite_rows, pool_words
from lca_jax.extraction.reading import Reading
from lca_jax.machine.devices import own_copy, replicate, shard_rows
from lca_jax.machine.prefetch import prefetch
from lca_jax.machine.profiling import stretch
from lca_jax.machine.progress import Progress
from lca_jax.models.stack.stack import Batch, Params, Stack, forward
from lca_jax.models.stack.taps import Edit
from lca_jax.store.recipe import Pool, StoreDtype

_BATCHES_IN_FLIGHT = 2
_ITEMS_AHEAD = 16

Item = BlockNotes | ReadBatch
"""What `plan_batches` makes."""


class WordVectors(NamedTuple):
    """The vectors of one batch."""

    words: Int64[np.ndarray, "read"]
    """Number of each word in the store; -1 for padding."""
    vectors: dict[str, Shaped[np.ndarray, "read _layer _neuron"]]
    """The words' vectors at each site."""
    slots: int
    """Number of slots that were computed."""
    pieces: int
    """Number of slots that held a piece."""

    @classmethod
    def none_of(cls, batch: ReadBatch) -> "WordVectors":
        """Returns no vector of a batch that was computed."""
        return cls(np.zeros(0, np.int64), {}, *_count_slots(batch))


def compute_vectors(
    reading: Reading,
    items: Iterator[Item],
    *,
    progress: Progress,
    watch: Callable[[Int64[np.ndarray, "row read"], dict[str, Array]], None] | None = None,
    shards: frozenset[int] | None = None,
) -> Generator[BlockNotes | WordVectors, None, None]:
    """Runs the batches; notes pass through as soon as they are met, before the vectors of their words.

    Args:
        reading: The model, and what is read.
        items: Notes and batches from `plan_batches`.
        progress: Counter of the seconds in which batches were made, computed and copied.
        watch: Function that is given the words of every batch and their vectors on the devices, before they are copied.
        shards: Shards whose words are wanted here; batches without one are computed, for the processes that share the
            model, and give no vector. All are wanted if None.

    Raises:
        DataError: The model computed something that is not finite; the message names layer, sentence and word.
        StoreError: Another process that shares the model failed.
    """
    read, steps = _program(reading), Steps(reading.mesh, ahead=_BATCHES_IN_FLIGHT)
    in_flight: deque[Future[WordVectors]] = deque()
    coming = _plan_ahead(items, progress)
    with _DeviceClock(progress) as clock, closing(_Thread("copier")) as copier, closing(coming):

        def copy(batch: ReadBatch, computed: DeviceVectors) -> WordVectors:
            jax.block_until_ready(computed)
            if shards is not None and not batch.is_needed(reading.recipe, shards):
                return WordVectors.none_of(batch)
            with progress.working("copying"), stretch("copy"):
                return copy_to_host(batch, computed, reading)

        try:
            for item in coming:
                if isinstance(item, BlockNotes):
                    yield item
                    continue
                computed = read(item)
                steps.ask()
                if watch is not None:
                    watch(item.words, computed.vectors)
                clock.watch(computed)
                in_flight.append(copier.submit(copy, item, computed))
                if len(in_flight) > _BATCHES_IN_FLIGHT:
                    steps.refuse_failed()
                    yield in_flight.popleft().result()
            for copied in in_flight:
                yield copied.result()
        except BaseException:
            steps.run_down(read, (item for item in coming if isinstance(item, ReadBatch)))
            raise


def _program(reading: Reading) -> "Callable[[ReadBatch], DeviceVectors]":
    """Returns the function that sends one batch to the devices and begins to compute it."""
    model, recipe, mesh = reading.model, reading.recipe, reading.mesh
    everywhere = NamedSharding(mesh, PartitionSpec())
    params = model.params if model.mesh is not None else jax.device_put(model.params, everywhere)
    edits = jax.tree.map(partial(replicate, mesh), dict(reading.edits))
    reads = tuple((site, shape.layers) for site, shape in recipe.sites.items())
    read = partial(read_vectors, graph=model.graph, reads=reads, pool=recipe.pool, dtype=recipe.dtype, mesh=mesh)
    chosen = {site: np.array(shape.neurons) for site, shape in recipe.sites.items() if shape.neurons is not None}
    columns = jax.tree.map(partial(replicate, mesh), chosen)
    copies = None if everywhere.is_fully_addressable else everywhere

    def begin(batch: ReadBatch) -> DeviceVectors:
        sent: ReadBatch = jax.tree.map(partial(shard_rows, mesh), batch._replace(words=None))
        rows = Batch(sent.piece_ids, sent.positions, sent.segments, sent.token_types)
        # How float32 is made follows from the devices of this process (`machine.precision`): here there are others.
        with nullcontext() if copies is None else jax.default_matmul_precision("highest"):
            computed = read(params, edits, rows, sent.starts, sent.ends, sent.between, columns, copies=copies)
        return jax.tree.map(own_copy, computed)

    return begin


def _plan_ahead(items: Iterator[Item], progress: Progress) -> Generator[Item, None, None]:
    """Yields the same items, the next few of them made in another thread meanwhile."""

    def make(_: None) -> Item | None:
        with progress.working("tokenizing"), stretch("tokenize"):
            return next(items, None)

    with closing(prefetch(make, repeat(None), ahead=_ITEMS_AHEAD, name="batch-planner")) as coming:
        for item in coming:
            if item is None:
                return
            yield item


class _Thread(ThreadPoolExecutor):
    """One thread that runs one function after the other; on closing it drops those that it has not begun."""

    def __init__(self, name: str) -> None:
        super().__init__(1, name)

    def close(self) -> None:
        self.shutdown(cancel_futures=True)


class _DeviceClock:
    """Counts the seconds in which the device has something to compute; batches are computed one after the other."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._thread = _Thread("device-clock")
        self._last_ready = 0.0

    def __enter__(self) -> "_DeviceClock":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.close()

    def watch(self, computed: "DeviceVectors") -> None:
        """Counts the seconds of a batch that was handed over now."""
        self._thread.submit(self._wait, computed.finite, time.perf_counter())

    def _wait(self, last_result: Bool[Array, " row"], handed_over: float) -> None:
        last_result.block_until_ready()
        ready = time.perf_counter()
        self._progress.count_work("model", ready - max(handed_over, self._last_ready))
        self._last_ready = ready


class DeviceVectors(NamedTuple):
    """The vectors of one batch on the devices, perhaps still being computed."""

    vectors: dict[str, Shaped[Array, "row read _layer _neuron"]]
    """The words' vectors at each site."""
    finite: Bool[Array, " row"]
    """Whether all numbers of a row are finite."""


@partial(jax.jit, static_argnames=("graph", "reads", "pool", "dtype", "mesh", "copies"))
def read_vectors(
    params: Params,
    edits: dict[str, Edit],
    batch: Batch,
    starts: Int[Array, "row read"],
    ends: Int[Array, "row read"],
    between: Bool[Array, "row slot"] | None,
    columns: dict[str, Int[Array, " neuron"]],
    *,
    graph: nnx.GraphDef[Stack],
    reads: tuple[tuple[str, tuple[int, ...]], ...],
    pool: Pool,
    dtype: StoreDtype,
    mesh: Mesh,
    copies: NamedSharding | None = None,
) -> DeviceVectors:
    """Runs the model, pools and casts. Finite numbers are checked after the cast, which may overflow.

    `copies`, if given, is where the results are to be whole: on devices of all processes that share the model.
    """
    with jax.named_scope("forward"):
        hidden = forward(graph, params, batch, edits, reads=dict(reads), mesh=mesh)
    with jax.named_scope("pool"):
        pooled = {site: pool_words(states, starts, ends, pool=pool, between=between) for site, states in hidden.items()}
        pooled |= {site: pooled[site][..., chosen] for site, chosen in columns.items()}
        vectors = {site: of_words.astype(dtype) for site, of_words in pooled.items()}
        finite = jnp.stack([finite_rows(of_site, starts, ends) for of_site in vectors.values()])
    computed = DeviceVectors(vectors, finite.all(axis=0))
    return computed if copies is None else jax.lax.with_sharding_constraint(computed, copies)


def copy_to_host(batch: ReadBatch, computed: DeviceVectors, reading: Reading) -> WordVectors:
    """Copies the vectors of one batch to host memory.

    Raises:
        DataError: A number is not finite; the message names layer, sentence and word.
    """
    words = batch.words.reshape(-1)
    vectors = {site: np.asarray(array).reshape(-1, *array.shape[2:]) for site, array in computed.vectors.items()}
    if not np.asarray(computed.finite).all():
        raise DataError(_describe_infinite(words, vectors, reading))
    return WordVectors(words, vectors, *_count_slots(batch))


def _count_slots(batch: ReadBatch) -> tuple[int, int]:
    """Returns the number of slots of a batch, and of those that hold a piece."""
    return batch.segments.size, int(np.count_nonzero(batch.segments))


def _describe_infinite(
    words: Int64[np.ndarray, "read"],
    vectors: Mapping[str, Shaped[np.ndarray, "read _layer _neuron"]],
    reading: Reading,
) -> str:
    """Names the first layer that is not finite, and its first word."""
    broken = {
        (site, layer): words[(words >= 0) & ~np.isfinite(vectors[site][:, place].astype(np.float32)).all(axis=1)]
        for site, shape in reading.recipe.sites.items()
        for place, layer in enumerate(shape.layers)
    }
    (site, layer), where = next(place for place in broken.items() if place[1].size)
    unit = reading.units.describe(int(where.min()), reading.corpus)
    return (
        f"Activations must be finite, but layer {layer} of `{site}` is not at {unit}. "
        f"Stored as {reading.recipe.dtype}: numbers beyond 65,504 need `float32` or `bfloat16`. "
        "Else look for NaN in the checkpoint or in the edits."
    )
