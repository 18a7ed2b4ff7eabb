"""Gathers statistics of a store: beside an extraction, or block by block from a store that is there.

Beside an extraction every batch is added to the sums of its words' shards while it is on the device; when a shard is
written, its part is kept beside it until the store is whole. So a run that is killed goes on with what it has, and ends
with the same statistics; each of several processes gathers its own shards. Shards that were written by a run that did
not gather are read back. From a store that is there, blocks of neighbouring words are read, each once, while the block
before is summed; several processes share the blocks out.

Both ways the numbers are those of the store, in its type; the results differ in the last digits only, since they are
summed in another order. Memory on the host: some blocks of 64 MB, the moments twice, and the words drawn for the
quantiles.
"""

import logging
from collections.abc import Iterator, Mapping
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float32, Int64, Shaped

from lca_jax.gathering.moments import Sums, add_words, begin_sums, moments_of
from lca_jax.gathering.parts import GatheringPlan, Part, Total, plan_gathering
from lca_jax.machine.devices import data_mesh, shard_rows
from lca_jax.machine.folders import write_file
from lca_jax.machine.prefetch import prefetch
from lca_jax.machine.processes import all_bytes, share_of_process, together
from lca_jax.store.array import LazyArray
from lca_jax.store.finite import place_in_store, refuse_not_finite
from lca_jax.store.folder import CHUNK_WORDS
from lca_jax.store.statistics import STATISTICS, Gathering, Statistics
from lca_jax.store.store import LABEL_PREFIX, ActivationStore
from lca_jax.store.writer import ShardArrays, ShardRecord, StoreWriter

BLOCK_BYTES = 64e6
"""Bytes of the blocks of words that are read one after the other."""
STRETCH_BLOCKS = 16
"""Number of blocks that are summed on the device before their moments are copied and merged."""

_log = logging.getLogger(__name__)


class BatchGatherer:
    """Holds the sums of the shards whose words are being computed, on the devices that compute them."""

    def __init__(self, plan: GatheringPlan, shards: frozenset[int], mesh: Mesh) -> None:
        """Begins to gather.

        Args:
            plan: Settled settings of what is gathered.
            shards: Numbers of the shards that are gathered; words of other shards are passed over.
            mesh: The devices.
        """
        self._plan = plan
        self._shards = shards
        self._mesh = mesh
        self._sums: dict[int, Sums] = {}

    def add(
        self, words: Int64[np.ndarray, "row read"], vectors: dict[str, Shaped[Array, "row read _layer _neuron"]]
    ) -> None:
        """Adds a batch that is perhaps still being computed; the words of each shard in one product.

        Args:
            words: Number of each vector's word in the store; -1 for none.
            vectors: Vectors in the store's type.
        """
        recipe = self._plan.recipe
        real = words >= 0
        shards = self._shards.intersection(np.unique(words[real] // recipe.shard_words).tolist())
        put = partial(shard_rows, self._mesh)
        groups = put(self._plan.groups[np.maximum(words, 0)].astype(np.int32)) if shards else None
        for shard in sorted(shards):
            first, last = recipe.shard_range(shard)
            if shard not in self._sums:
                self._sums[shard] = _begin(self._plan, self._mesh, vectors, put(real))
            counted = put((words >= first) & (words < last))
            self._sums[shard] = add_words(self._sums[shard], vectors, groups, counted)

    def take(self, shard: int, arrays: ShardArrays, record: ShardRecord) -> bytes:
        """Returns the part of a shard whose words have all been added."""
        first, last = self._plan.recipe.shard_range(shard)
        drawn = self._plan.drawn(first, last, _usable(last - first, record))
        sums = self._sums.pop(shard, None)
        sample = {site: np.asarray(of_site[drawn], np.float32) for site, of_site in arrays.items()}
        return Part(moments=None if sums is None else moments_of(sums), sample=sample).to_bytes(self._plan)


def finish_gathering(plan: GatheringPlan, writer: StoreWriter) -> None:
    """Joins the parts of all shards, and keeps the result with the store that is about to be whole."""
    total = Total(plan=plan)
    for shard in range(plan.recipe.shard_count):
        total.add(_part_of_shard(plan, writer, shard))
    writer.keep_statistics(total.statistics(place=writer.place))


def _part_of_shard(plan: GatheringPlan, writer: StoreWriter, shard: int) -> Part:
    content = writer.statistics_of(shard)
    if content is not None:
        try:
            return Part.from_bytes(content, plan)
        except ValueError as error:
            _log.warning("The statistics of shard %d (%s) are gathered again.", shard, error)
    first, last = plan.recipe.shard_range(shard)
    usable = np.zeros(plan.recipe.words, bool)
    usable[first:last] = _usable(last - first, writer.record_of(shard))
    return _sum_stretch(plan, writer.written, range(first, last), usable)


def _usable(words: int, record: ShardRecord) -> Bool[np.ndarray, " word"]:
    """Returns whether each word of a shard has a vector."""
    usable = np.ones(words, bool)
    usable[list(record.excluded)] = False
    return usable


def gather_statistics(store: ActivationStore, gathering: Gathering | None = None) -> Statistics:
    """Gathers the statistics of a store in one pass over its vectors, and keeps them with it.

    A store on disk gets the file `statistics.safetensors`, in place of an older one; `store.statistics()` reads it. For
    stores in memory and derived stores the result is only returned. Several processes share out the words, and each
    has the same result.

    Args:
        store: Any store: on disk, in memory, or derived.
        gathering: Settings of what is gathered; everything if None.

    Raises:
        DataError: An activation is not finite; the message names layer, neuron and word.
        SettingsError: A task is unknown, or there are too many classes.
        StoreError: A shard was altered since it was written, or the folder cannot be written.
    """
    with together("settings of statistics"):
        labels = {task: store.words[LABEL_PREFIX + task] for task in store.tasks}
        plan = plan_gathering(store.manifest.recipe, labels, gathering or Gathering())
    share = Total(plan=plan)
    # A store that is computed by several processes together is read by all of them, at the same time.
    is_shared_out = jax.process_count() > 1 and not store.in_step
    with together("gathering statistics"):
        stretches = _stretches(plan)
        numbers = frozenset(range(len(stretches)))
        for number in sorted(share_of_process(numbers) if is_shared_out else numbers):
            part = _sum_stretch(plan, store.arrays, stretches[number], store.usable)
            _refuse_not_finite(store, part, stretches[number])
            share.add(part)
    total = share
    if is_shared_out:
        total = Total(plan=plan)
        for content in all_bytes(share.as_part().to_bytes(plan)):
            total.add(Part.from_bytes(content, plan))
    statistics = total.statistics(place=store.place)
    with together("keeping statistics"):
        if store.folder is not None and jax.process_index() == 0:
            write_file(store.folder, STATISTICS, statistics.to_bytes())
    return statistics


def _block_words(plan: GatheringPlan) -> int:
    """Returns the number of words of a block: whole chunks, so that no chunk is read twice."""
    return max(1, int(BLOCK_BYTES / (4 * plan.recipe.axis.size)) // CHUNK_WORDS) * CHUNK_WORDS


def _stretches(plan: GatheringPlan) -> list[range]:
    """Returns the stretches of neighbouring words that are summed on the device."""
    words, size = plan.recipe.words, STRETCH_BLOCKS * _block_words(plan)
    return [range(first, min(first + size, words)) for first in range(0, words, size)]


class _Block(NamedTuple):
    """Neighbouring words, in memory of a fixed shape."""

    words: range
    vectors: dict[str, Float32[np.ndarray, "row _layer _neuron"]]


def _sum_stretch(
    plan: GatheringPlan, arrays: Mapping[str, LazyArray], stretch: range, usable: Bool[np.ndarray, " word"]
) -> Part:
    """Returns the part of some neighbouring words, whose vectors are read."""
    mesh = data_mesh()
    put = partial(shard_rows, mesh)
    sums, samples = None, []
    for words, vectors in _read_ahead(plan, arrays, stretch):
        size = len(next(iter(vectors.values())))
        counted, groups = np.zeros(size, bool), np.zeros((size, plan.groups.shape[1]), np.int32)
        counted[: len(words)] = usable[words.start : words.stop]
        groups[: len(words)] = plan.groups[words.start : words.stop]
        drawn = plan.drawn(words.start, words.stop, counted)
        samples.append({site: of_site[drawn] for site, of_site in vectors.items()})
        if counted.any():
            sent = {site: put(_in_rows(of_site)) for site, of_site in vectors.items()}
            marked = put(_in_rows(counted))
            sums = _begin(plan, mesh, sent, marked) if sums is None else sums
            sums = jax.block_until_ready(add_words(sums, sent, put(_in_rows(groups)), marked))
    sample = {site: np.concatenate([drawn[site] for drawn in samples]) for site in arrays}
    return Part(moments=None if sums is None else moments_of(sums), sample=sample)


def _in_rows(words: Shaped[np.ndarray, "word *rest"]) -> Shaped[np.ndarray, "row read *rest"]:
    """Returns a block in the shape of a batch, whose rows are split over the devices."""
    return words.reshape(len(words) // CHUNK_WORDS, CHUNK_WORDS, *words.shape[1:])


def _read_ahead(plan: GatheringPlan, arrays: Mapping[str, LazyArray], stretch: range) -> Iterator[_Block]:
    """Yields the blocks of a stretch; the next one is read meanwhile."""
    size = min(_block_words(plan), -(-len(stretch) // CHUNK_WORDS) * CHUNK_WORDS)

    def read(words: range) -> _Block:
        vectors = {}
        for site, array in arrays.items():
            _, layers, width = array.shape
            vectors[site] = np.zeros((size, layers, width), np.float32)
            numbers = np.arange(words.start, words.stop)
            array.read_into(vectors[site][: len(words)], words=numbers, layers=list(range(layers)))
        return _Block(words, vectors)

    ranges = [range(first, min(first + size, stretch.stop)) for first in range(stretch.start, stretch.stop, size)]
    ahead = int(not any(array.in_step for array in arrays.values()))
    return prefetch(read, ranges, ahead=ahead, name="block-reader")


def _begin(
    plan: GatheringPlan, mesh: Mesh, vectors: dict[str, Shaped[Array, "row read _layer _neuron"]], real: Array
) -> Sums:
    parts = mesh.shape["data"]
    return begin_sums(vectors, real, groups=plan.group_count, covariance=plan.gathering.covariance, parts=parts)


def _refuse_not_finite(store: ActivationStore, part: Part, stretch: range) -> None:
    """Refuses a value that is not finite; looks for it only if the means tell that there is one."""
    if part.moments is None or all(np.isfinite(of_site.mean[0]).all() for of_site in part.moments.sites.values()):
        return
    words = np.arange(stretch.start, stretch.stop)
    name = place_in_store(store, words, store.axis())
    refuse_not_finite(lambda first, last: store.matrix(words[first:last]), len(words), name)
