"""Gathers the moments of several models' neurons with each other, in one pass over the words of one corpus.

The words are read again only where the products do not fit on the devices (`DEVICE_BYTES`).

The **null** beside every correlation comes from the same pass: the words of some drawn neurons are shuffled within
blocks, and their products with all neurons of the other models taken again. How large the largest of thousands of
correlations is by chance depends on the words, on how the neurons are distributed and on how they hang together, which
no formula knows.

Reference: Dalvi et al. 2019, "What Is One Grain of Sand in the Desert?", section "Cross-model Correlation Analysis";
Bau et al. 2019, "Identifying and Controlling Important Neurons in Neural Machine Translation", section 3.
"""

import logging
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Int64

from lca_jax.axes import Layers, NeuronAxis
from lca_jax.errors import SettingsError
from lca_jax.gathering.cross_moments import CrossMoments, PartMoments, layer_slices
from lca_jax.gathering.matching import MatchedWords, Vectors, match_words
from lca_jax.gathering.products import Columns, Product, Shuffle, sum_products

DEVICE_BYTES = 4e9
"""Largest size of the products of one pass, on the devices."""
DRAWN = 256
"""Number of neurons of each model whose words are shuffled."""

_log = logging.getLogger(__name__)


def correlate_models(
    models: Sequence[Vectors],
    *,
    sites: Sequence[str] | None = None,
    layers: Sequence[Layers] | None = None,
    itself: bool | None = None,
    within: bool = True,
    held_out: float = 0.0,
    drawn: int = DRAWN,
    seed: int = 0,
    device_bytes: float = DEVICE_BYTES,
) -> CrossMoments:
    """Gathers the moments of several models' neurons with each other in one pass over their vectors.

    Args:
        models: Stores of one corpus, whose words are matched by sentence and place; or arrays (word, feature) or
            (word, layer, neuron) of the same words.
        sites: Sites that are read of every store; all if None.
        layers: For each model its layers, by its own numbers, or None for all of them; None for all layers of all.
        itself: Whether every model is compared with itself too, for the likeness of its layers; None for a single model
            alone.
        within: Whether products within layers are gathered, which regressions and the likeness of layers need.
        held_out: Share of the sentences that choose, and of those that measure, in [0, 0.5); 0 for one part.
        drawn: Number of neurons of each model whose words are shuffled for the null; 0 for none.
        seed: Seed of the parts, of the drawn neurons and of the shuffles.
        device_bytes: Largest size of the products of one pass.

    Raises:
        SettingsError: The stores are not of one corpus, a site or layer is unknown, or a number is out of its range.
        DataError: Fewer than two words have a vector in every store, or an activation is not finite.
        StoreError: A shard was altered since it was written.
    """
    if not 0 <= held_out < 0.5 or drawn < 0:
        raise SettingsError(f"`held_out` must be in [0, 0.5) and `drawn` 0 or more, got {held_out} and {drawn}.")
    matched = match_words(models, sites=sites, layers=layers)
    if any(matched.left_out):
        told = ", ".join(f"{name} {count:,}" for name, count in zip(matched.names, matched.left_out, strict=True))
        _log.info("%d of %d words are in every store. Without a vector: %s.", matched.count, matched.words_of_any, told)
    generator = np.random.default_rng(seed)
    wanted = [*_wanted(matched.axes, within=within, itself=len(models) == 1 if itself is None else itself)]
    shuffles = _shuffles([generator.permutation(axis.size)[:drawn] for axis in matched.axes])
    parts = []
    for order in _parts(matched, held_out, generator):
        parts.append(_gather(matched, order, _passes(wanted, device_bytes), shuffles, seed))
        if not all(np.isfinite(squares).all() for squares in parts[-1].squares):
            matched.refuse_not_finite()
    return CrossMoments(
        names=matched.names,
        axes=matched.axes,
        words_of_any=matched.words_of_any,
        left_out=matched.left_out,
        parts=tuple(parts),
    )


def _wanted(axes: Sequence[NeuronAxis], *, within: bool, itself: bool) -> Iterator[Product]:
    """Yields the products that are wanted: of pairs of models, and of layers with themselves."""
    everything = [Columns(model, 0, axis.size) for model, axis in enumerate(axes)]
    for number, one in enumerate(everything):
        for other in everything[number if itself else number + 1 :]:
            yield one, other
    if within and not itself:
        for model, axis in enumerate(axes):
            for own in layer_slices(axis):
                yield Columns(model, own.start, own.stop), Columns(model, own.start, own.stop)


def _shuffles(drawn: Sequence[Int64[np.ndarray, " _drawn"]]) -> tuple[Shuffle, ...]:
    """Returns the products with shuffled words: of some neurons of every model with each other model."""
    models = range(len(drawn))
    columns = [tuple(np.sort(of_model).tolist()) for of_model in drawn]
    return tuple(
        Shuffle(one, columns[one], other) for one in models for other in models if one != other and columns[one]
    )


def _parts(
    matched: MatchedWords, held_out: float, generator: np.random.Generator
) -> list[Int64[np.ndarray, " _word"] | None]:
    """Returns the words of each part by their numbers; None for all words in one part."""
    if held_out == 0:
        return [None]
    sentences, of_word = np.unique(matched.sentences, return_inverse=True)
    count = int(np.ceil(held_out * len(sentences)))
    if 2 * count >= len(sentences):
        raise SettingsError(
            f"{len(sentences)} sentences cannot be divided into three parts, the second and third with {held_out:g} of "
            "them each. Give more sentences or a smaller `held_out`."
        )
    order, part = generator.permutation(len(sentences)), np.zeros(len(sentences), np.int64)
    part[order[:count]], part[order[count : 2 * count]] = 1, 2
    return [np.flatnonzero(part[of_word] == number) for number in range(3)]


def _passes(wanted: Sequence[Product], device_bytes: float) -> list[list[Product]]:
    """Divides products into passes of at most so many bytes, and larger ones into strips of their first columns."""
    passes, room = [[]], device_bytes
    for one, other in wanted:
        bytes_of_column = 4.0 * (other.last - other.first)
        width = max(1, int(device_bytes / bytes_of_column))
        for first in range(one.first, one.last, width):
            strip = one._replace(first=first, last=min(first + width, one.last))
            size = bytes_of_column * (strip.last - strip.first)
            if size > room and passes[-1]:
                passes.append([])
                room = device_bytes
            passes[-1].append((strip, other))
            room -= size
    return passes


def _gather(
    matched: MatchedWords,
    order: Int64[np.ndarray, " chosen"] | None,
    passes: Sequence[Sequence[Product]],
    shuffles: Sequence[Shuffle],
    seed: int,
) -> PartMoments:
    """Returns the moments of some of the words."""
    words = matched.count if order is None else len(order)
    first, *rest = (
        sum_products(matched.tables(order), words, products, shuffles=() if number else shuffles, seed=seed)
        for number, products in enumerate(passes)
    )
    strips = [pair for products in passes for pair in products]
    blocks = [block for sums in (first, *rest) for block in sums.products]
    return PartMoments(
        words=words,
        means=first.means,
        squares=first.squares,
        products=_whole(strips, blocks),
        shuffled=dict(zip(shuffles, first.shuffled, strict=True)),
    )


def _whole(strips: Sequence[Product], blocks: Sequence[np.ndarray]) -> dict[Product, np.ndarray]:
    """Puts strips of one product together; they follow each other."""
    whole: dict[Product, np.ndarray] = {}
    for (one, other), block in zip(strips, blocks, strict=True):
        before = next(
            ((own, of) for own, of in whole if (own.table, own.last, of) == (one.table, one.first, other)), None
        )
        if before is None:
            whole[one, other] = block
        else:
            whole[before[0]._replace(last=one.last), other] = np.concatenate([whole.pop(before), block])
    return whole
