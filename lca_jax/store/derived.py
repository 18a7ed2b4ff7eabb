"""Stores made of others without a model: words together with their heads, sentences out of their words.

A derived store is used like any other (probes, rankings, curves, exports) and lives as long as the one it is made of:
`pair_words` copies no vector, it names rows of the source. Its recipe names the source and what was done, so that its
fingerprint is its own.

Reference: Durrani et al. 2023, section 5.5 (dependency labels are probed on head and modifier together).
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float32, Int64

from lca_jax.axes import HEAD
from lca_jax.errors import DataError, SettingsError, list_problems
from lca_jax.store.array import LazyArray
from lca_jax.store.in_order import slabs
from lca_jax.store.recipe import Recipe
from lca_jax.store.store import LABEL_PREFIX, SENTENCE_LABEL_PREFIX, ActivationStore

ROOT = "root"
NO_HEAD = "no head given"
HEAD_NOT_HELD = "head not in the store"
HEAD_WITHOUT_VECTOR = "head without a vector"
NO_WORD = "no word with a vector"


def pair_words(store: ActivationStore, heads: str = "head") -> ActivationStore:
    """Every word together with its head: the head's neurons, then its own.

    A row is a word that has a head in its sentence, with its own form and labels. Each site of the source is there
    twice: `head.residual` and `residual`, so that there are **twice as many neurons**, `head.residual 3:127` and
    `3:127`. Words that make no row are counted in `excluded`: roots, words without a vector, and those whose head has
    none or is not held. No vector is copied; what is read is read from the source, each head as often as it has
    modifiers. Costs about 20 bytes a word.

    Args:
        store: A store of words.
        heads: The task whose labels are the numbers of the heads' places in the sentence, counted from 1, `0` for the
            root, as the task `head` of CoNLL-U.

    Raises:
        DataError: Labels are no such numbers (all are listed), or no word has a head.
        SettingsError: There is no such task, the rows are no words, or the store is one of pairs already.
    """
    if store.unit != "word" or any(site.startswith(HEAD) for site in store.sites):
        raise SettingsError(f"Pairs are made of words, but the rows of {store.place} are {_rows_of(store)}.")
    labels = store.labels(heads)
    positions, sentences = (store.words[name].to_numpy().astype(np.int64) for name in ("position", "sentence"))
    places = _head_places(store, labels, heads)
    head_rows = _find_rows(sentences, positions, sentences, places - 1)
    held = head_rows >= 0
    reasons = np.array(store.words["excluded"].to_pylist(), object)
    for reason, rows in (
        (HEAD_WITHOUT_VECTOR, held & ~store.usable[np.maximum(head_rows, 0)]),
        (HEAD_NOT_HELD, (places > 0) & ~held),
        (ROOT, places == 0),
        (NO_HEAD, places < 0),
    ):
        reasons[rows & store.usable] = reason
    rows = np.flatnonzero([reason is None for reason in reasons])
    if not len(rows):
        raise DataError(f"No word of {store.place} has a head with a vector. Check the labels of `{heads}`.")
    recipe = store.manifest.recipe
    sites = {HEAD + site: shape for site, shape in recipe.sites.items()} | dict(recipe.sites)
    arrays = {HEAD + site: array.take(head_rows[rows]) for site, array in store.arrays.items()}
    arrays |= {site: array.take(rows) for site, array in store.arrays.items()}
    not_held = Counter(store.excluded) - Counter(store.words["excluded"].drop_null().to_pylist())
    return _derive(
        store,
        recipe=replace(recipe, words=len(rows), sites=sites, derived=f"pairs by `{heads}` of {recipe.fingerprint}"),
        words=store.words.take(pa.array(rows)),
        arrays=arrays,
        excluded=not_held + Counter(reason for reason in reasons.tolist() if reason is not None),
    )


def pool_sentences(store: ActivationStore) -> ActivationStore:
    """A row a sentence: the mean of its words' vectors, whatever these were pooled by, with the sentence's labels.

    In contrast to `extract(pool="sentence-mean")`, words of many pieces count as much as others, and sentences longer
    than a window have a vector, each word from its best window. The means are made at once and kept in memory, in
    float32.

    Args:
        store: A store of words (of a corpus with labels of sentences, if there are to be tasks). Of chosen words, the
            text is theirs alone.

    Raises:
        SettingsError: The rows are no words.
    """
    if store.unit != "word":
        raise SettingsError(f"Sentences are made of words, but the rows of {store.place} are {_rows_of(store)}.")
    count = store.manifest.counts["sentences"]
    sentences = store.words["sentence"].to_numpy().astype(np.int64)
    held = np.bincount(sentences[store.usable], minlength=count)
    arrays = {site: LazyArray(_means(store, site, sentences, held)) for site in store.sites}
    recipe = store.manifest.recipe
    excluded = pa.array([None if number else NO_WORD for number in held.tolist()], pa.string())
    return _derive(
        store,
        recipe=replace(
            recipe,
            words=count,
            dtype="float32",
            pool="sentence-mean",
            shard_words=min(recipe.shard_words, count),
            derived=f"means of words of {recipe.fingerprint}",
        ),
        words=_sentence_table(store, sentences, excluded),
        arrays=arrays,
        excluded=Counter(reason for reason in excluded.to_pylist() if reason is not None),
    )


def _derive(
    store: ActivationStore,
    *,
    recipe: Recipe,
    words: pa.Table,
    arrays: dict[str, LazyArray],
    excluded: Counter[str],
) -> ActivationStore:
    usable = words["excluded"].null_count
    manifest = replace(
        store.manifest,
        recipe=recipe,
        counts=dict(store.manifest.counts) | {"words": recipe.words, "vectors": usable},
        excluded=dict(sorted(excluded.items())),
        files={},
    )
    return ActivationStore(manifest=manifest, words=words, arrays=arrays, folder=None)


def _rows_of(store: ActivationStore) -> str:
    return "pairs of words" if store.unit == "word" else f"{store.unit}s"


def _head_places(store: ActivationStore, labels: list[str | None], heads: str) -> Int64[np.ndarray, "word"]:
    """The place of every word's head, counted from 1; 0 for roots, -1 where there is no label."""
    wrong = [row for row, label in enumerate(labels) if label is not None and not label.isdecimal()]
    if wrong:
        named = (store.words.slice(row, 1).to_pylist()[0] for row in wrong)
        problems = [
            f"sentence {word['sentence'] + 1}, word {word['position'] + 1} ({word['form']!r}): {labels[row]!r}"
            for row, word in zip(wrong, named, strict=True)
        ]
        raise DataError(
            f"Labels of `{heads}` must be numbers of words, 0 for the root. Name the task that has them, or mend these "
            f"(counted from 1):\n{list_problems(problems)}"
        )
    return np.array([-1 if label is None else int(label) for label in labels], np.int64)


def _find_rows(
    sentences: Int64[np.ndarray, "row"],
    positions: Int64[np.ndarray, "row"],
    wanted_sentences: Int64[np.ndarray, "wanted"],
    wanted_positions: Int64[np.ndarray, "wanted"],
) -> Int64[np.ndarray, "wanted"]:
    """The rows at places in sentences; -1 where there is none. Rows are in the order of the corpus."""
    width = int(max(positions.max(), wanted_positions.max())) + 2
    keys, wanted = sentences * width + positions, wanted_sentences * width + wanted_positions
    found = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where((wanted_positions >= 0) & (keys[found] == wanted), found, -1)


def _means(
    store: ActivationStore,
    site: str,
    sentences: Int64[np.ndarray, "word"],
    held: Int64[np.ndarray, "sentence"],
) -> Float32[np.ndarray, "sentence layer neuron"]:
    """The mean of the usable words of every sentence, summed in float64, zeros where there is none."""
    shape = store.manifest.recipe.sites[site]
    means = np.zeros((len(held), len(shape.layers), shape.width), np.float32)
    source = store.read(site)
    for words, usable in _usable_slabs(store):
        mine = sentences[words][usable]
        if not mine.size:
            continue
        starts = np.flatnonzero(np.diff(mine, prepend=-1))
        share = source[words][usable].astype(np.float64) / held[mine][:, None, None]
        means[mine[starts]] += np.add.reduceat(share, starts, axis=0)
    means.flags.writeable = False
    return means


def _usable_slabs(store: ActivationStore) -> Iterator[tuple[slice, Bool[np.ndarray, "word"]]]:
    for words in slabs(store):
        yield words, store.usable[words]


def _sentence_table(store: ActivationStore, sentences: Int64[np.ndarray, "word"], excluded: pa.Array) -> pa.Table:
    """One row a sentence, as `extract` makes for sentences."""
    count = len(excluded)
    starts = np.searchsorted(sentences, np.arange(count + 1))
    texts = pa.ListArray.from_arrays(pa.array(starts.astype(np.int32)), store.words["form"].combine_chunks())
    pieces = pa.ListArray.from_arrays(pa.array(starts.astype(np.int32)), store.words["pieces"].combine_chunks())
    numbers = np.array([sum(filter(None, of_words)) for of_words in pieces.to_pylist()], np.int32)
    unknown = np.full(count, store.words["pieces"].null_count == store.word_count)
    columns = {
        "sentence": pa.array(np.arange(count, dtype=np.int32)),
        "position": pa.array(np.zeros(count, np.int32)),
        "form": pa.array([" ".join(words) for words in texts.to_pylist()], pa.string()),
        "pieces": pa.array(numbers, mask=unknown),
        "excluded": excluded,
    }
    has_words = starts[1:] > starts[:-1]
    first = pa.array(np.where(has_words, starts[:-1], 0), mask=~has_words)
    for name in store.words.column_names:
        if name.startswith(SENTENCE_LABEL_PREFIX):
            task = name.removeprefix(SENTENCE_LABEL_PREFIX)
            columns[LABEL_PREFIX + task] = store.words[name].combine_chunks().take(first)
    return pa.table(columns)
