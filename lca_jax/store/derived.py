"""Makes stores of other stores without a model: words together with their heads, sentences out of their words.

A derived store is used like any other (probes, rankings, curves, exports) and needs the store that it is made of:
`pair_words` copies no vector, it names words of the source. The recipe of a derived store names the source and how it
was derived, so that it has a fingerprint of its own.

Reference: Durrani et al. 2023, section 5.5 (dependency labels are probed on head and modifier together).
"""

from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Int64

from lca_jax.axes import HEAD
from lca_jax.errors import DataError, SettingsError, list_problems
from lca_jax.store.array import LazyArray
from lca_jax.store.in_order import in_order
from lca_jax.store.label_column import make_column, read_texts
from lca_jax.store.recipe import Recipe
from lca_jax.store.store import LABEL_PREFIX, SENTENCE_LABEL_PREFIX, ActivationStore

ROOT = "root"
NO_HEAD = "no head given"
HEAD_NOT_HELD = "head not in the store"
HEAD_WITHOUT_VECTOR = "head without a vector"
NO_WORD = "no word with a vector"


def pair_words(store: ActivationStore, heads: str = "head") -> ActivationStore:
    """Makes a store of every word together with its head: the head's neurons, then the word's own.

    Each word that has a head in its sentence is there, with its own form and labels. Each site of the source is there
    twice: `head.residual` and `residual`, so that there are **twice as many neurons**, `head.residual 3:127` and
    `3:127`. The other words are counted in `excluded`: roots, words without a vector, and those whose head has no
    vector or is not in the store. No vector is copied; whatever is read is read from the source, each head as often as
    it has modifiers. Costs about 20 bytes a word.

    Args:
        store: A store of words.
        heads: The task whose labels are the numbers of the heads' places in the sentence, counted from 1, and `0` for
            the root, as the task `head` of CoNLL-U has them.

    Raises:
        DataError: Labels are not such numbers (all are listed), or no word has a head.
        SettingsError: There is no such task, the units are not words, or the store is one of pairs already.
    """
    if store.unit != "word" or any(site.startswith(HEAD) for site in store.sites):
        raise SettingsError(f"Pairs are made of words, but the units of {store.place} are {_units_of(store)}.")
    head_words, reasons = _find_heads(store, heads)
    words = np.flatnonzero([reason is None for reason in reasons])
    if not len(words):
        raise DataError(f"No word of {store.place} has a head with a vector. Check the labels of `{heads}`.")
    recipe = store.manifest.recipe
    sites = {HEAD + site: shape for site, shape in recipe.sites.items()} | dict(recipe.sites)
    arrays = {HEAD + site: array.take(head_words[words]) for site, array in store.arrays.items()}
    arrays |= {site: array.take(words) for site, array in store.arrays.items()}
    not_in_store = Counter(store.excluded) - Counter(store.words["excluded"].drop_null().to_pylist())
    return _derive(
        store,
        recipe=replace(recipe, words=len(words), sites=sites, derived=f"pairs by `{heads}` of {recipe.fingerprint}"),
        words=store.words.take(pa.array(words)),
        arrays=arrays,
        excluded=not_in_store + Counter(reason for reason in reasons if reason is not None),
    )


def pool_sentences(store: ActivationStore) -> ActivationStore:
    """Makes a store of sentences: the mean of each one's word vectors, with the sentence's labels.

    In contrast to `extract(pool="sentence-mean")`, words of many pieces count as much as others, and sentences longer
    than a window have a vector, each word from its best window. The means are computed at once and kept in memory, in
    float32.

    Args:
        store: A store of words; its corpus needs labels of sentences if there are to be tasks. If the store has chosen
            words only, the text of a sentence is these words.

    Raises:
        SettingsError: The units are not words.
    """
    if store.unit != "word":
        raise SettingsError(f"Sentences are made of words, but the units of {store.place} are {_units_of(store)}.")
    count = store.manifest.counts["sentences"]
    sentences = store.words["sentence"].to_numpy().astype(np.int64)
    word_counts = np.bincount(sentences[store.usable], minlength=count)
    arrays = {site: LazyArray(_means(store, site, sentences, word_counts)) for site in store.sites}
    recipe = store.manifest.recipe
    excluded = pa.array([None if number else NO_WORD for number in word_counts.tolist()], pa.string())
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


def _units_of(store: ActivationStore) -> str:
    return "pairs of words" if store.unit == "word" else f"{store.unit}s"


def _find_heads(store: ActivationStore, heads: str) -> tuple[Int64[np.ndarray, "word"], list[str | None]]:
    """Returns the number of every word's head in the store, -1 where there is none, and why a word is left out."""
    positions, sentences = (store.words[name].to_numpy().astype(np.int64) for name in ("position", "sentence"))
    places = _head_places(store, store.labels(heads), heads)
    head_words = _find_words(sentences, positions, sentences, places - 1)
    in_store = head_words >= 0
    reasons = np.array(store.words["excluded"].to_pylist(), object)
    for reason, words in (
        (HEAD_WITHOUT_VECTOR, in_store & ~store.usable[np.maximum(head_words, 0)]),
        (HEAD_NOT_HELD, (places > 0) & ~in_store),
        (ROOT, places == 0),
        (NO_HEAD, places < 0),
    ):
        reasons[words & store.usable] = reason
    return head_words, reasons.tolist()


def _head_places(store: ActivationStore, labels: list[str | None], heads: str) -> Int64[np.ndarray, "word"]:
    """Returns the place of every word's head, counted from 1; 0 for roots, -1 where there is no label."""
    wrong = [number for number, label in enumerate(labels) if label is not None and not label.isdecimal()]
    if wrong:
        words = (store.words.slice(number, 1).to_pylist()[0] for number in wrong)
        problems = [
            f"sentence {word['sentence'] + 1}, word {word['position'] + 1} ({word['form']!r}): {labels[number]!r}"
            for number, word in zip(wrong, words, strict=True)
        ]
        raise DataError(
            f"Labels of `{heads}` must be numbers of words, 0 for the root. Name the task that has them, or mend these "
            f"(counted from 1):\n{list_problems(problems)}"
        )
    return np.array([-1 if label is None else int(label) for label in labels], np.int64)


def _find_words(
    sentences: Int64[np.ndarray, "word"],
    positions: Int64[np.ndarray, "word"],
    target_sentences: Int64[np.ndarray, "target"],
    target_positions: Int64[np.ndarray, "target"],
) -> Int64[np.ndarray, "target"]:
    """Returns the numbers of the words at places in sentences; -1 where there is none. Words are in corpus order."""
    width = int(max(positions.max(), target_positions.max())) + 2
    keys, targets = sentences * width + positions, target_sentences * width + target_positions
    found = np.minimum(np.searchsorted(keys, targets), len(keys) - 1)
    return np.where((target_positions >= 0) & (keys[found] == targets), found, -1)


def _means(
    store: ActivationStore,
    site: str,
    sentences: Int64[np.ndarray, "word"],
    word_counts: Int64[np.ndarray, "sentence"],
) -> Float32[np.ndarray, "sentence layer neuron"]:
    """Returns the mean of every sentence's usable words, summed in float64; zeros where there is none."""
    shape = store.manifest.recipe.sites[site]
    means = np.zeros((len(word_counts), len(shape.layers), shape.width), np.float32)
    source = store.read(site)
    # The last sentence of a read may go on in the next one; what it has so far stays in float64 until then.
    open_sentence, so_far = -1, np.zeros(means.shape[1:])
    for words in in_order(store):
        usable = store.usable[words]
        of_words = sentences[words][usable]
        if not of_words.size:
            continue
        starts = np.flatnonzero(np.diff(of_words, prepend=-1))
        share = source[words][usable].astype(np.float64) / word_counts[of_words][:, None, None]
        sums = np.add.reduceat(share, starts, axis=0)
        if of_words[0] == open_sentence:
            sums[0] += so_far
        open_sentence, so_far = of_words[-1], sums[-1]
        means[of_words[starts]] = sums
    means.flags.writeable = False
    return means


def _sentence_table(store: ActivationStore, sentences: Int64[np.ndarray, "word"], excluded: pa.Array) -> pa.Table:
    """Returns the table of words of a store of sentences, as `extract` makes it."""
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
            columns[LABEL_PREFIX + task] = make_column(read_texts(store.words[name]), first)
    return pa.table(columns)
