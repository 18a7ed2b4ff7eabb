"""Finds descriptors in texts: a generator writes phrases, near-duplicates become one, and presence is scored.

No label and no neuron takes part. The generator may read some of the texts only: `words`, `embedding` and `carried`
then score the others too.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32

from lca_jax.descriptors.clusters import PhraseCluster, by_texts, cluster_phrases, cluster_texts
from lca_jax.descriptors.embedding import embed
from lca_jax.descriptors.generators import Generator, as_generator, identity_of
from lca_jax.descriptors.inventory import Descriptors
from lca_jax.descriptors.phrases import Phrases, cut_phrases
from lca_jax.descriptors.presence import Judge, by_embedding, by_judgement, by_words, carried_over
from lca_jax.descriptors.prompts import PROMPTS, Prompt
from lca_jax.descriptors.texts import Texts
from lca_jax.descriptors.writing import write_about
from lca_jax.errors import DataError, SettingsError
from lca_jax.machine.files import real_path
from lca_jax.machine.json_text import as_json_has
from lca_jax.machine.progress import show_bars
from lca_jax.models.model import Model

SCORERS = ("written", "words", "embedding", "carried", "judged", "words+carried")

VECTORS = "vectors"
"""Folder of the texts' vectors, a store."""


@dataclass(frozen=True, kw_only=True)
class PhraseChoice:
    """Which phrases become descriptors."""

    fewest: int = 3
    """Minimum number of texts of a phrase."""
    most: int = 200
    """Maximum number of phrases, those of most texts first."""
    cosine: float = 0.5
    """Smallest mean cosine between the centred vectors of phrases that become one descriptor."""
    reliable: float = 0.0
    """Smallest correlation between what is written of (or in) a text and what similar texts of other documents say.
    A phrase that a generator writes at random has none. Needs an embedder; 0 keeps all."""

    def __post_init__(self) -> None:
        if self.fewest < 1 or self.most < 1:
            raise SettingsError(f"`fewest` and `most` must be at least 1, got {self.fewest} and {self.most}.")


def find_descriptors(
    generator: Generator | Model,
    texts: Texts | Sequence[str],
    *,
    prompts: Sequence[Prompt] = PROMPTS,
    samples: int = 2,
    seed: int = 0,
    read: int | None = None,
    presence: str = "written",
    embedder: Model | None = None,
    embedding_prefix: str = "",
    choice: PhraseChoice | None = None,
    out: str | Path | None = None,
    progress: bool = False,
) -> Descriptors:
    """Finds descriptors in texts and scores how far each is present in each.

    A run that was stopped goes on where it was when it is started again with the same arguments and `out`.

    Args:
        generator: A causal model loaded with its head, or anything that writes (`Generator`).
        texts: The texts: those of a store (`texts_of_store`), or a list.
        prompts: What the generator is asked; those of `descriptors.prompts`, or your own.
        samples: Number of answers to each prompt.
        seed: Seed of the answers, and of the draw of the texts that are read.
        read: Number of texts that the generator reads; all if None.
        presence: How presence is scored, one of `SCORERS` (`descriptors.presence` says what each is).
        embedder: Model of the vectors of phrases and texts; needed by `embedding` and `carried`. Without one, phrases
            become one descriptor only where they are the same.
        embedding_prefix: What the embedder wants before a text, such as "query: ".
        choice: Which phrases become descriptors.
        out: Folder of the answers and of the inventory; None keeps them in memory.
        progress: Whether to show bars on stderr.

    Raises:
        SettingsError: A setting is out of its range, or the scorer lacks a model.
        DataError: No phrase was written of enough texts, or the scorer `written` has texts that were not read.
        StoreError: The folder holds answers to something else.
    """
    generator, choice = as_generator(generator), choice or PhraseChoice()
    texts = texts if isinstance(texts, Texts) else Texts(texts=tuple(texts))
    numbers = _draw(len(texts.texts), read, seed=seed)
    _check(presence, generator, embedder, choice, partial=len(numbers) < len(texts.texts))
    folder = None if out is None else real_path(out)
    with show_bars(progress):
        answers = write_about(generator, texts, numbers, prompts=prompts, samples=samples, seed=seed, folder=folder)
    asked = [texts.texts[number] if texts.words is None else texts.words[number] for number in numbers]
    phrases = cut_phrases(answers, asked, prompts=prompts)
    clusters, phrase_count = _clusters_of(phrases, choice, embedder, embedding_prefix)
    scoring = _Scoring(texts, numbers, clusters, generator, embedder, embedding_prefix, prompts, phrases, folder)
    kept = scoring.reliable(choice.reliable)
    if not kept.any():
        raise DataError(f"No descriptor has a reliability of {choice.reliable} or more. Give a smaller `reliable`.")
    clusters = [cluster for cluster, keep in zip(clusters, kept, strict=True) if keep]
    found = Descriptors(
        names=tuple(cluster.name for cluster in clusters),
        phrases=tuple(cluster.phrases for cluster in clusters),
        texts=texts,
        presence=scoring.score(presence)[:, kept],
        occurrence=scoring.occurrence[:, kept],
        written=scoring.written[:, kept],
        origin={
            "generator": identity_of(generator),
            "embedder": None if embedder is None else embedder.fingerprint,
            "prompts": as_json_has([asdict(prompt) for prompt in prompts]),
            "samples": samples,
            "seed": seed,
            "texts_read": len(numbers),
            "presence": presence,
            "choice": asdict(choice),
            "phrases_left_out": dict(phrases.left_out),
            "phrases_too_rare": len(phrases.counts()) - phrase_count,
            "descriptors_unreliable": int((~kept).sum()),
        },
    )
    if folder is not None:
        found.save(folder)
    return found


def _clusters_of(
    phrases: Phrases, choice: PhraseChoice, embedder: Model | None, prefix: str
) -> tuple[list[PhraseCluster], int]:
    """Returns the clusters of the phrases of enough texts, and the number of these phrases."""
    counts = by_texts(phrases.counts(), fewest=choice.fewest, most=choice.most)
    if not counts:
        raise DataError(
            f"No phrase was written of {choice.fewest} texts or more. Give more texts, more samples, or a smaller "
            "`fewest`."
        )
    if embedder is None:
        return [PhraseCluster(phrase, (phrase,)) for phrase in counts], len(counts)
    vectors = embed(embedder, [prefix + phrase for phrase in counts])
    return cluster_phrases(counts, vectors, cosine=choice.cosine), len(counts)


@dataclass(frozen=True)
class _Scoring:
    """What the scorers read; each part is computed once."""

    texts: Texts
    numbers: list[int]
    clusters: list[PhraseCluster]
    generator: Generator
    embedder: Model | None
    prefix: str
    prompts: Sequence[Prompt]
    phrases: Phrases
    folder: Path | None

    @cached_property
    def written(self) -> Float32[np.ndarray, "text descriptor"]:
        """What was written; NaN for texts that were not read."""
        written = np.full((len(self.texts.texts), len(self.clusters)), np.nan, np.float32)
        written[self.numbers] = cluster_texts(self.clusters, self.phrases.of_text)
        return written

    @cached_property
    def words(self) -> Float32[np.ndarray, "text descriptor"]:
        """Which descriptors' words stand in which texts."""
        return by_words(self.clusters, self.texts.words or self.texts.texts)

    @cached_property
    def occurrence(self) -> Bool[np.ndarray, "text descriptor"]:
        """Where a descriptor was written, or stands in the text."""
        return (self.words > 0) | (self.written > 0)

    @cached_property
    def vectors(self) -> Float32[np.ndarray, "text neuron"]:
        """The texts' vectors."""
        assert self.embedder is not None
        kept = None if self.folder is None else self.folder / VECTORS
        return embed(self.embedder, [self.prefix + text for text in self.texts.asked()], folder=kept)

    @cached_property
    def carried(self) -> Float32[np.ndarray, "text descriptor"]:
        """Occurrence, carried over from similar texts of other documents."""
        return carried_over(self.occurrence.astype(np.float32), self.vectors, self.texts.document_numbers)

    def reliable(self, least: float) -> Bool[np.ndarray, " descriptor"]:
        """Tells which descriptors similar texts agree on."""
        if least <= 0:
            return np.ones(len(self.clusters), bool)
        occurs = self.occurrence.astype(np.float64)
        deviations = [occurs - occurs.mean(axis=0), self.carried - self.carried.mean(axis=0)]
        products = (deviations[0] * deviations[1]).sum(axis=0)
        lengths = np.sqrt((deviations[0] ** 2).sum(axis=0) * (deviations[1] ** 2).sum(axis=0))
        return products >= least * np.maximum(lengths, 1e-12)

    def score(self, scorer: str) -> Float32[np.ndarray, "text descriptor"]:
        """Returns the presence by one scorer, or the sum of two, each with deviation 1 and the second halved."""
        if "+" in scorer:
            of_words, carried = _standardised(self.words), _standardised(self.carried)
            return of_words + np.float32(0.5) * carried
        if scorer == "written":
            return self.written
        if scorer == "words":
            return self.words
        if scorer == "carried":
            return self.carried
        names = [cluster.name for cluster in self.clusters]
        if scorer == "judged":
            assert isinstance(self.generator, Judge)
            return by_judgement(self.generator, self.texts.fill(self.prompts[0], range(len(self.texts.texts))), names)
        assert self.embedder is not None
        return by_embedding(self.vectors, embed(self.embedder, [self.prefix + name for name in names]))


def _standardised(values: Float32[np.ndarray, "text descriptor"]) -> Float32[np.ndarray, "text descriptor"]:
    deviation = values.std(axis=0)
    return (values - values.mean(axis=0)) / np.where(deviation > 0, deviation, 1).astype(np.float32)


def _draw(count: int, read: int | None, *, seed: int) -> list[int]:
    if read is not None and read < 1:
        raise SettingsError(f"`read` must be at least 1, got {read}.")
    if read is None or read >= count:
        return list(range(count))
    return sorted(np.random.default_rng(seed).choice(count, read, replace=False).tolist())


def _check(scorer: str, generator: Generator, embedder: Model | None, choice: PhraseChoice, *, partial: bool) -> None:
    """Refuses settings that lack what they need, before anything is written."""
    if scorer not in SCORERS:
        raise SettingsError(f"`presence` must be one of {', '.join(SCORERS)}; got {scorer!r}.")
    if (scorer in ("embedding", "carried", "words+carried") or choice.reliable > 0) and embedder is None:
        raise SettingsError(
            f"Presence by {scorer!r} or a `reliable` above 0 compares vectors: give a model of texts as `embedder`."
        )
    if scorer == "judged" and not isinstance(generator, Judge):
        raise SettingsError("Presence by 'judged' needs a generator with `log_probabilities`, such as a model of ours.")
    if scorer == "written" and partial:
        raise SettingsError("With `read`, some texts are not read: score presence by 'carried', 'words' or another.")
