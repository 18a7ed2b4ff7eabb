r"""How right descriptions of neurons are, by descriptors that no label produced: reviews, and words of a treebank.

    python -m benchmarks.descriptions --explained minilm-l6 --generator smollm2-135m --embedder me5-small \
        --reviews product-reviews.jsonl.gz --work WORK --out descriptions.json

Documents (reviews; sentences where the units are words) are drawn by a fixed seed into those that settings were
chosen on (40 %) and the others, which this benchmark describes (half A) and checks (half B). Gold: product type,
aspects and tone of the reviews; part of speech, features and relation of the words. They take no part before the last
step. Rows: presence by each scorer, by the labels themselves (what matching reaches where presence is perfect), and
by the texts of other documents. `repeated` compares the tags of the first row with those by other answers of the
generator, and by another prompt. `lca_jax/descriptors/README.md` has the protocol. `seconds` are of the first call,
compiling and writing included, but for answers that an earlier run had written.
"""

import gzip
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from benchmarks import harness
from lca_jax.descriptors.describing import Descriptions, describe_neurons
from lca_jax.descriptors.finding import PhraseChoice, find_descriptors
from lca_jax.descriptors.generators import Generator
from lca_jax.descriptors.gold import Labels
from lca_jax.descriptors.inventory import Descriptors
from lca_jax.descriptors.matching import permute_texts
from lca_jax.descriptors.prompts import GRAMMAR, THINGS, TOPICS, Prompt
from lca_jax.descriptors.repeating import compare_descriptions
from lca_jax.descriptors.texts import Texts, texts_of_store
from lca_jax.extraction.extract import extract
from lca_jax.models.load import load_model
from lca_jax.models.model import Model
from lca_jax.store.store import ActivationStore
from lca_jax.text.conllu import read_conllu
from lca_jax.text.corpus import Corpus

CHOSEN_ON = 0.4
"""Share of the documents that settings were chosen on, and that are left out here."""
STRONG = 0.3
"""Smallest |r| of the first tag of a neuron that is called strong."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of the benchmark."""

    explained: Path
    """Folder of the model whose neurons are described."""
    generator: Path | None = None
    """Folder of the causal model that writes; None for rules of spelling (words only)."""
    embedder: Path | None = None
    """Folder of the model of texts."""
    embedding_prefix: str = "query: "
    work: Path
    """Folder of stores and answers; a run that was stopped goes on."""
    out: Path
    reviews: Path | None = None
    """The reviews, JSON lines."""
    treebank: Path | None = None
    """The treebank, CoNLL-U."""
    words: int = 4000
    """Number of words in context of the treebank."""
    tasks: tuple[str, ...] = (
        *("upos", "feats:Number", "feats:Tense", "feats:Person", "feats:VerbForm", "feats:Definite", "deprel"),
    )
    """Label columns of the treebank."""
    read: int = 800
    """Number of texts that the generator reads."""
    samples: int = 2
    rows: int = 64
    """Number of answers computed together."""
    gold: float = 0.25
    effect: float = 0.2
    reliable: float = 0.3
    fewest: int = 3
    level: float = 0.05
    permutations: int = 99
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Study:
    """Units of a store with the labels that come last."""

    store: ActivationStore
    texts: Texts
    labels: Labels
    prompt: Prompt
    scorers: tuple[str, ...]
    """Scorers of presence that are compared; the first is shifted to other documents too."""


class Spelling:
    """Writes what spelling shows of a word: a generator without any model, and without any label."""

    def write(self, prompts: Sequence[str], *, samples: int, seed: int) -> list[list[str]]:
        """Returns the rules that hold of each word, as often as samples are wanted."""
        del seed  # a rule draws nothing
        return [
            [", ".join(self.of(prompt.split(" Word: ")[-1].removesuffix(" Kind:")))] * samples for prompt in prompts
        ]

    @staticmethod
    def of(word: str) -> list[str]:
        """Returns the names of the rules that hold of a word."""
        holds = {
            "mark": not any(letter.isalnum() for letter in word),
            "number": word[0].isdigit(),
            "capital": word[0].isupper(),
            "short word": len(word) <= 3 and word.isalpha() and word.islower(),
            "long word": len(word) >= 8 and word.isalpha(),
            "ing form": word.endswith("ing"),
            "ed form": word.endswith("ed"),
            "final s": word.endswith("s") and len(word) > 3,
            "ly form": word.endswith("ly"),
            "apostrophe": "'" in word and len(word) > 1,
        }
        return [name for name, is_so in holds.items() if is_so]


def main(arguments: Sequence[str] | None = None) -> None:
    settings = tyro.cli(Settings, args=arguments)
    told = {name: value.name if isinstance(value, Path) else value for name, value in vars(settings).items()}
    result: dict[str, Any] = {"settings": told}
    explained = load_model(settings.explained)
    if settings.reviews is not None:
        result["reviews"] = measure(read_reviews(settings, explained), settings, "reviews")
    if settings.treebank is not None:
        result["words"] = measure(read_words(settings, explained), settings, "words")
    harness.write_result(settings.out, "descriptions", result)


def measure(study: Study, settings: Settings, name: str) -> dict[str, Any]:
    """Returns the rows of one study."""
    generator = Spelling() if settings.generator is None else load_model(settings.generator, head=True)
    embedder = None if settings.embedder is None else load_model(settings.embedder)
    rows: dict[str, dict[str, dict[str, object]]] = {kind: {} for kind in gold_of(study, settings)}
    names: dict[str, Sequence[str]] = {}
    origin: dict[str, object] = {}
    find = partial(find_by, study, settings, generator, embedder)
    seconds: dict[str, dict[str, object]] = {}
    first: Descriptions | None = None
    for scorer in study.scorers:
        found, timing = harness.clock(lambda scorer=scorer: find(scorer, settings.work / name))
        seconds[scorer] = {"find": timing._asdict()}
        origin = dict(found.origin)
        kinds = {scorer: found}
        if scorer == study.scorers[0]:
            kinds |= {"other documents' texts": shifted(found), "labels": of_labels(found, study.labels)}
        for row, descriptors in kinds.items():
            told, timing = harness.clock(lambda descriptors=descriptors: describe(study, descriptors, settings))
            first = first or told
            seconds[scorer].setdefault("describe", timing._asdict())
            names[row] = descriptors.names
            for kind, (labels, gold) in gold_of(study, settings).items():
                rows[kind][row] = compare(told, labels, gold)
    for kind, of_kind in rows.items():
        harness.print_table(f"{name}, {kind}", {row: _shown(values) for row, values in of_kind.items()})
    assert first is not None
    repeated = {} if settings.generator is None else repeat(study, settings, find, first, settings.work / name)
    harness.print_table(f"{name}, tags by the first row beside", repeated)
    return {
        "units": len(study.texts.texts),
        "documents": len(set(study.texts.document_numbers.tolist())),
        "labels": {group: {k: int(mask.sum()) for k, mask in of.items()} for group, of in study.labels.items()},
        "descriptors": names,
        "origin": origin,
        "rows": rows,
        "repeated": repeated,
        "seconds": seconds,
    }


def find_by(
    study: Study,
    settings: Settings,
    generator: Generator | Model,
    embedder: Model | None,
    scorer: str,
    out: Path,
    **changed: Any,
) -> Descriptors:
    """Finds descriptors; answers that lie in the folder are not written again."""
    options = {"prompts": [study.prompt], "seed": settings.seed} | changed
    return find_descriptors(
        generator,
        study.texts,
        samples=settings.samples,
        read=None if scorer == "written" and embedder is None else settings.read,
        presence=scorer,
        embedder=embedder,
        embedding_prefix=settings.embedding_prefix,
        choice=PhraseChoice(reliable=settings.reliable if embedder else 0.0, fewest=settings.fewest),
        out=out,
        progress=True,
        **options,
    )


def repeat(
    study: Study, settings: Settings, find: Callable[..., Descriptors], first: Descriptions, work: Path
) -> dict[str, dict[str, object]]:
    """Compares the tags of the first row with those by other answers, and by another prompt, on the same halves."""
    others: dict[str, dict[str, Any]] = {"another seed": {"seed": settings.seed + 1}}
    if not study.prompt.asks_of_words:
        others["another prompt"] = {"prompts": [THINGS]}
    found = {}
    for name, changed in others.items():
        other = find(study.scorers[0], work.with_name(f"{work.name}-{name.replace(' ', '-')}"), **changed)
        agreed = compare_descriptions(first, describe(study, other, settings))
        found[name] = {
            "descriptors": len(other.names),
            "in common": len(agreed.pairs),
            "agreement": agreed.overlap.mean,
            "interval": (agreed.overlap.low, agreed.overlap.high),
            "other neurons": agreed.overlap.other_neurons,
        }
    return found


def gold_of(study: Study, settings: Settings) -> dict[str, tuple[Labels, float]]:
    """Returns the sets of gold labels, and the smallest |r| of a neuron with its gold label."""
    first, of_first = next(iter(study.labels.items()))
    clear = settings.gold + 0.05
    return {
        "all labels": (study.labels, settings.gold),
        f"{first} alone": ({first: of_first}, settings.gold),
        f"all labels, |r| ≥ {clear:.2g}": (study.labels, clear),
    }


def describe(study: Study, found: Descriptors, settings: Settings) -> Descriptions:
    """Describes the neurons."""
    return describe_neurons(
        study.store,
        found,
        effect=settings.effect,
        level=settings.level,
        permutations=settings.permutations,
        seed=settings.seed,
    )


def compare(told: Descriptions, labels: Labels, gold: float) -> dict[str, object]:
    """Returns rates with their ceiling and nulls, and consistency with its null."""
    against = told.score_against(labels, gold=gold)
    others, ceiling, chance = against.other_neurons, against.ceiling, against.permuted_labels
    tagged = np.flatnonzero(np.isfinite(told.overlap.of_neuron))
    strong = tagged[np.abs(told.matched.r[tagged]).max(axis=1) >= STRONG]
    return {
        "descriptors": len(told.found.names),
        "neurons": against.neurons,
        "tagged": against.described,
        "gold": against.gold_per_neuron,
        **against.rates._asdict(),
        "intervals": against.intervals,
        "P@2 ceiling": ceiling.precision_2,
        "R@2 ceiling": ceiling.recall_2,
        "P@2 others": others.precision_2,
        "R@2 others": others.recall_2,
        "R@2 permuted": None if chance is None else chance.recall_2,
        "permuted gold": against.permuted_gold,
        "described": len(told.described),
        "consistency": told.consistency,
        "consistency interval": (told.overlap.low, told.overlap.high),
        "null consistency": told.null_consistency,
        "consistency, strong": float(told.overlap.of_neuron[strong].mean()) if len(strong) else None,
        "strong": len(strong),
        "bound": told.tags.bound,
    }


def _shown(values: Mapping[str, object]) -> dict[str, object]:
    """Returns the columns of the printed table."""
    hidden = ("intervals", "consistency interval", "permuted gold", "R@2 permuted", "descriptors", "bound")
    return {name: value for name, value in values.items() if name not in hidden}


def shifted(found: Descriptors) -> Descriptors:
    """Gives every text the presence of a text of another document."""
    documents = found.texts.document_numbers
    (order,) = permute_texts(len(documents), documents=documents, permutations=1, seed=1)
    return replace(found, presence=found.presence[order], occurrence=found.occurrence[order])


def of_labels(found: Descriptors, labels: Labels) -> Descriptors:
    """Takes the labels themselves for descriptors whose presence is perfect."""
    flat = {f"{group}:{name}": mask for group, of_group in labels.items() for name, mask in of_group.items()}
    table = np.stack(list(flat.values()), axis=1)
    return replace(
        found,
        names=tuple(flat),
        phrases=tuple((name,) for name in flat),
        presence=table.astype(np.float32),
        occurrence=table,
        written=table.astype(np.float32),
        origin=dict(found.origin) | {"presence": "labels"},
    )


def described_here(documents: Sequence[Any]) -> set[Any]:
    """Returns the documents that no setting was chosen on."""
    known = sorted(set(documents))
    order = np.random.default_rng(42).permutation(len(known))
    return {known[number] for number in order[int(CHOSEN_ON * len(known)) :]}


def read_reviews(settings: Settings, model: Model) -> Study:
    """Reads sentences of 5 to 60 words with product type, aspects and tone."""
    assert settings.reviews is not None
    with gzip.open(settings.reviews, "rt", encoding="utf-8") as file:
        everything = [json.loads(line) for line in file]
    here = described_here([(row["product"], row["review"]) for row in everything])
    rows = [
        row for row in everything if (row["product"], row["review"]) in here and 5 <= len(row["text"].split()) <= 60
    ]
    corpus = Corpus.from_words([row["text"].split() for row in rows], name="reviews")
    store = extract(model, corpus, settings.work / "reviews-store", pool="sentence-mean")
    documents = np.unique([f"{row['product']} {row['review']}" for row in rows], return_inverse=True)[1]
    aspects = [{term.lower() for term, _ in row["aspects"]} for row in rows]
    strength = np.array([sum(value for _, value in row["aspects"]) for row in rows])
    labels = {
        "product": columns([{row["category"]} for row in rows]),
        "aspect": columns(aspects),
        "tone": {"positive": strength > 0, "negative": strength < 0},
    }
    return Study(
        store=store,
        texts=texts_of_store(store, documents=documents.tolist()),
        labels=labels,
        prompt=TOPICS,
        scorers=("carried", "words", "embedding"),
    )


def read_words(settings: Settings, model: Model) -> Study:
    """Reads words in context with part of speech, features and relation."""
    assert settings.treebank is not None
    corpus = read_conllu(settings.treebank, tasks=list(settings.tasks))
    store = extract(model, corpus.take_words(4 * settings.words, seed=1), settings.work / "words-store")
    drawn = texts_of_store(store, count=settings.words, seed=1)
    here = described_here(drawn.document_numbers.tolist())
    places = [place for place, document in enumerate(drawn.document_numbers) if int(document) in here]
    texts = Texts(
        **{
            name: tuple(getattr(drawn, name)[place] for place in places)
            for name in ("texts", "words", "documents", "units")
        }
    )
    assert texts.units is not None
    labels = {}
    for task in settings.tasks:
        of_task = store.labels(task)
        labels[task] = columns([{of_task[unit]} - {None} for unit in texts.units])
    scorers = ("written",) if settings.generator is None else ("carried", "words")
    return Study(store=store, texts=texts, labels=labels, prompt=GRAMMAR, scorers=scorers)


def columns(sets: Sequence[set[Any]], *, fewest: int = 40) -> Mapping[str, np.ndarray]:
    """Returns a mask for each label of enough units."""
    counts = Counter(label for labels in sets for label in labels)
    chosen = sorted(label for label, count in counts.items() if count >= fewest)
    return {label: np.array([label in labels for labels in sets]) for label in chosen}


if __name__ == "__main__":
    main()
