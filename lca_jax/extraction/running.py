"""Batches through the model and back: words' vectors in host memory, in the order of the batches.

One jitted function runs the model, pools pieces to words and casts to the store's type; it is compiled once a batch
shape, for all runs of the same model, and only words leave the device. JAX returns before a batch is computed, so while
the device works on one, the host makes the next ones in a second thread, copies the one before in a third, and the
caller stores the one before that.

Memory on the device: the parameters and the captured layers of three batches; on the host as many.
"""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from types import TracebackType
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Int, Int64, Shaped

from lca_jax.errors import DataError
from lca_jax.extraction.batches import BlockNotes, ReadBatch
from lca_jax.extraction.pooling import finite_rows, pool_words
from lca_jax.machine.devices import shard_rows
from lca_jax.machine.progress import Tally
from lca_jax.models.model import Model
from lca_jax.models.stack.stack import Batch, Params, Stack, forward
from lca_jax.models.stack.taps import Edit
from lca_jax.store.recipe import Pool, Recipe, StoreDtype
from lca_jax.store.rows import Rows
from lca_jax.text.corpus import Corpus

_BATCHES_IN_FLIGHT = 2
_ITEMS_AHEAD = 16

_Item = TypeVar("_Item")


class WordVectors(NamedTuple):
    """One computed batch."""

    words: Int64[np.ndarray, "read"]
    """Each word's row in the store; -1 for padding."""
    vectors: dict[str, Shaped[np.ndarray, "read _layer _neuron"]]
    """Their vectors at each site."""
    slots: int
    """Slots computed."""
    pieces: int
    """Slots that held a piece."""


def compute_vectors(
    model: Model,
    corpus: Corpus,
    recipe: Recipe,
    items: Iterator[BlockNotes | ReadBatch],
    *,
    rows: Rows,
    edits: Mapping[str, Edit],
    mesh: Mesh,
    tally: Tally,
    watch: Callable[[Int64[np.ndarray, "row read"], dict[str, Array]], None] | None = None,
) -> Generator[BlockNotes | WordVectors, None, None]:
    """Runs the batches; notes pass through as soon as they are met, before the vectors of their words.

    Args:
        model: The model.
        corpus: For messages.
        recipe: What is read, and how.
        items: From `plan_batches`.
        rows: What is read, for messages.
        edits: Changes made inside the model, by site.
        mesh: The devices over which the rows of every batch are split.
        tally: Told how long batches were made, computed and copied.
        watch: Given the words of every batch and their vectors on the devices, before they are copied.

    Raises:
        DataError: The model computed something that is not finite; the message names layer, sentence and word.
    """
    everywhere = NamedSharding(mesh, PartitionSpec())
    params = model.params if model.mesh is not None else jax.device_put(model.params, everywhere)
    edits = jax.device_put(dict(edits), everywhere)
    reads = tuple((site, shape.layers) for site, shape in recipe.sites.items())
    read = partial(_read_words, graph=model.graph, reads=reads, pool=recipe.pool, dtype=recipe.dtype)
    chosen = {site: np.array(shape.neurons) for site, shape in recipe.sites.items() if shape.neurons is not None}
    columns = jax.device_put(chosen, everywhere)
    describe = partial(rows.describe, corpus=corpus)
    in_flight: deque[Future[WordVectors]] = deque()
    with _DeviceClock(tally) as clock, closing(_Thread("copier")) as copier:

        def copy(batch: ReadBatch, computed: _Read) -> WordVectors:
            jax.block_until_ready(computed)
            with tally.working("copying"):
                return _copy_to_host(batch, computed, describe=describe, recipe=recipe)

        for item in _made_ahead(items, tally):
            if isinstance(item, BlockNotes):
                yield item
                continue
            sent: ReadBatch = jax.tree.map(partial(shard_rows, mesh), item._replace(words=None))
            batch = Batch(sent.piece_ids, sent.positions, sent.segments, sent.token_types)
            computed = read(params, edits, batch, sent.starts, sent.ends, sent.between, columns)
            if watch is not None:
                watch(item.words, computed.vectors)
            clock.watch(computed)
            in_flight.append(copier.submit(copy, item, computed))
            if len(in_flight) > _BATCHES_IN_FLIGHT:
                yield in_flight.popleft().result()
        for copied in in_flight:
            yield copied.result()


class _Thread(ThreadPoolExecutor):
    """One thread that does one thing after the other; on closing it drops what it has not begun."""

    def __init__(self, name: str) -> None:
        super().__init__(1, name)

    def close(self) -> None:
        self.shutdown(cancel_futures=True)


class _DeviceClock:
    """Counts the seconds in which the device has something to compute; batches are computed one after the other."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._thread = _Thread("device-clock")
        self._last_ready = 0.0

    def __enter__(self) -> "_DeviceClock":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.close()

    def watch(self, computed: "_Read") -> None:
        """Counts a batch that was just handed over."""
        self._thread.submit(self._wait, computed.finite, time.perf_counter())

    def _wait(self, last_result: Bool[Array, " row"], handed_over: float) -> None:
        last_result.block_until_ready()
        ready = time.perf_counter()
        self._tally.count_work("model", ready - max(handed_over, self._last_ready))
        self._last_ready = ready


class _Read(NamedTuple):
    """What the device gives for a batch, perhaps still being computed."""

    vectors: dict[str, Shaped[Array, "row read _layer _neuron"]]
    finite: Bool[Array, " row"]


@partial(jax.jit, static_argnames=("graph", "reads", "pool", "dtype"))
def _read_words(
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
) -> _Read:
    """The model, the pooling and the cast; whether all is finite is asked after the cast, which may overflow."""
    hidden = forward(graph, params, batch, edits, reads=dict(reads))
    pooled = {site: pool_words(states, starts, ends, pool=pool, between=between) for site, states in hidden.items()}
    pooled |= {site: pooled[site][..., chosen] for site, chosen in columns.items()}
    vectors = {site: of_words.astype(dtype) for site, of_words in pooled.items()}
    finite = jnp.stack([finite_rows(of_site, starts, ends) for of_site in vectors.values()])
    return _Read(vectors, finite.all(axis=0))


def _copy_to_host(batch: ReadBatch, read: _Read, *, describe: Callable[[int], str], recipe: Recipe) -> WordVectors:
    words = batch.words.reshape(-1)
    vectors = {site: np.asarray(array).reshape(-1, *array.shape[2:]) for site, array in read.vectors.items()}
    if not np.asarray(read.finite).all():
        raise DataError(_describe_infinite(words, vectors, describe, recipe))
    return WordVectors(words, vectors, batch.segments.size, int(np.count_nonzero(batch.segments)))


def _describe_infinite(
    words: Int64[np.ndarray, "read"],
    vectors: Mapping[str, Shaped[np.ndarray, "read _layer _neuron"]],
    describe: Callable[[int], str],
    recipe: Recipe,
) -> str:
    """Names the first layer that is not finite, and its first word."""
    broken = {
        (site, layer): words[(words >= 0) & ~np.isfinite(vectors[site][:, place].astype(np.float32)).all(axis=1)]
        for site, shape in recipe.sites.items()
        for place, layer in enumerate(shape.layers)
    }
    (site, layer), where = next(place for place in broken.items() if place[1].size)
    return (
        f"Activations must be finite, but layer {layer} of `{site}` is not at {describe(int(where.min()))}. "
        f"Stored as {recipe.dtype}: numbers beyond 65,504 need `float32` or `bfloat16`. "
        "Else look for NaN in the checkpoint or in the edits."
    )


def _made_ahead(items: Iterator[_Item], tally: Tally) -> Iterable[_Item]:
    """The same items, the next few of them made in another thread meanwhile."""

    def make() -> _Item | None:
        with tally.working("tokenizing"):
            return next(items, None)

    with closing(_Thread("batch-planner")) as thread:
        coming = deque(thread.submit(make) for _ in range(_ITEMS_AHEAD))
        while (item := coming.popleft().result()) is not None:
            coming.append(thread.submit(make))
            yield item
