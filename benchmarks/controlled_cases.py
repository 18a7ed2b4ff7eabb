"""The cases of `benchmarks.control`: a model, a property that is changed from class to class, and what it answers.

- `translations`: an encoder-decoder translates into Portuguese; the grid is tried on sentences of Tatoeba, and other
  ones are reported on together with sentences of PUD.
- `next_words`: a causal model reads PUD up to a noun that is the subject of the finite verb behind it, and says what
  comes next: a verb of which number?
- `probe`: the middle layer of a masked model is edited, and a probe reads its last layer, on sentences of PUD.
"""

import gzip
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.controlled_words import CLASSES, Forms, draw_words, read_english, read_portuguese, with_class
from benchmarks.source import ModelAndCorpus
from lca_jax.axes import Layers
from lca_jax.extraction.extract import extract
from lca_jax.interventions.control.answers import Answering
from lca_jax.interventions.control.lexicon import Lexicon
from lca_jax.interventions.control.predicted import PredictedWords
from lca_jax.interventions.control.written import WrittenTexts
from lca_jax.interventions.task_probe import ProbeAccuracy
from lca_jax.models.load import load_model
from lca_jax.models.model import Model
from lca_jax.models.writing.generation import Search
from lca_jax.probing.fit import fit_probes
from lca_jax.probing.objective import ElasticNet
from lca_jax.ranking.lca import rank_neurons
from lca_jax.ranking.ranking import Ranking
from lca_jax.store.statistics import Gathering, Statistics
from lca_jax.text.corpus import Corpus

_SHORT, _GOLD, _BEGINNING = 10, 12, 6
"""Words at most of a sentence of Tatoeba, of one of PUD, and of a beginning: costs grow with their length."""
_SLOTS = 480
"""Slots of a batch: few enough that it is full."""


@dataclass(frozen=True, kw_only=True)
class CaseSettings(ModelAndCorpus):
    """What the cases need of the program's settings; `model` is the one whose last layer a probe reads."""

    words: int = 150
    """Words of every class that rankings and means are made of."""
    tried: int = 24
    """Texts of each direction that the grid is tried on."""
    reported: int = 48
    """Other texts that the chosen setting is reported on; half of Tatoeba, half of PUD, if there are so many."""
    longest: int = 28
    """Pieces of a translation at most."""
    l1: float = 1e-3
    l2: float = 1e-2
    seed: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """A property that one model changes from one class to another in what it answers."""

    task: str
    source: str
    target: str
    model: Model
    ranking: Ranking
    statistics: Statistics
    tried: Answering
    reported: Answering

    @property
    def name(self) -> str:
        """Property and direction."""
        return f"{self.task}, {self.source} to {self.target}"


def rank(
    model: Model, words: Corpus, tasks: Sequence[str], settings: CaseSettings, *, layers: Layers = None
) -> tuple[dict[str, Ranking], Statistics]:
    """Returns the papers' order of the residual neurons for each task, and the means of the classes, on some words."""
    gathering = Gathering(tasks=list(tasks), covariance=False, sample_words=0)
    store = extract(model, words, layers=layers, statistics=gathering)
    probes = fit_probes(store, ElasticNet(l1=settings.l1, l2=settings.l2), tasks=list(tasks), control=False)
    return {task: rank_neurons(probes, task) for task in tasks}, store.statistics()


def translations(
    settings: CaseSettings, english: Corpus, *, translator: Path, tatoeba: Path, pud: Path
) -> Iterator[Case]:
    """Yields the directions of all properties in translations into Portuguese."""
    model = load_model(translator, head=True)
    words = draw_words(english, list(CLASSES), settings.words, seed=settings.seed)
    rankings, statistics = rank(model, words, list(CLASSES), settings)
    readings = read_portuguese(pud / "pt_pud-ud-test.conllu.gz")
    with gzip.open(tatoeba, "rt", encoding="utf-8") as lines:
        sources = [line.rstrip("\n").split("\t")[1] for line in lines]
    labelled = Forms.of(english).label(sources, tatoeba.name)
    treebank = read_english(pud / "en_pud-ud-test.conllu.gz")
    for task, classes in CLASSES.items():
        for source, target in (classes, classes[::-1]):
            short = with_class(labelled, task, source, most=_SHORT)
            # A third of them at most: some classes have few sentences.
            cut = min(settings.tried, short.sentence_count // 3)
            half = settings.reported // 2
            other = _part(short, cut, half)
            gold = with_class(treebank, task, source, most=_GOLD)
            answers = [
                WrittenTexts.of(
                    model,
                    texts,
                    classify=readings[task].classify,
                    lemmas=readings[task].rest,
                    search=Search(longest=settings.longest),
                    slots=_SLOTS,
                )
                for texts in (_part(short, 0, cut), joined(other, _part(gold, 0, half), task))
            ]
            yield _case(task, source, target, model, rankings, statistics, answers)


def joined(one: Corpus, other: Corpus, task: str) -> Corpus:
    """Returns the sentences of both with their labels of a task."""
    labels = {task: [*one.labels[task], *other.labels[task]]}
    return Corpus.from_words([*one.sentences, *other.sentences], labels, name=f"{one.name} and {other.name}")


def _part(corpus: Corpus, first: int, count: int) -> Corpus:
    return corpus.choose(range(first, min(first + count, corpus.sentence_count)))


def next_words(settings: CaseSettings, english: Corpus, *, causal: Path, pud: Path) -> Iterator[Case]:
    """Yields both directions of number, in what a causal model says after a subject."""
    model = load_model(causal, head=True)
    count = model.config.layers
    words = draw_words(english, ["number"], settings.words, seed=settings.seed)
    rankings, statistics = rank(model, words, ["number"], settings, layers=(count // 3, 2 * count // 3))
    verbs = [
        [label if kind in ("VERB", "AUX") else None for label, kind in zip(*both, strict=True)]
        for both in zip(english.labels["feats:Number"], english.labels["upos"], strict=True)
    ]
    lexicon = Lexicon.of(english.with_task("verbs", verbs), "verbs", share=0.8)  # `are` is plural in .86 of its places
    subjects = subjects_before_verbs(read_english(pud / "en_pud-ud-test.conllu.gz"))
    for source, target in (CLASSES["number"], CLASSES["number"][::-1]):
        texts = with_class(subjects, "number", source, most=_BEGINNING)
        cut = min(settings.tried, texts.sentence_count // 2)
        answers = [
            PredictedWords.of(model, part, "number", classify=lexicon.classify)
            for part in (_part(texts, 0, cut), _part(texts, cut, settings.reported))
        ]
        yield _case("number", source, target, model, rankings, statistics, answers)


def subjects_before_verbs(corpus: Corpus) -> Corpus:
    """Returns the beginnings of sentences up to a noun that is a subject, where a finite verb follows it.

    That noun alone keeps its number.
    """
    columns = (corpus.labels[task] for task in ("number", "deprel", "feats:VerbForm"))
    texts: list[list[str]] = []
    for words, numbers, relations, forms in zip(corpus.sentences, *columns, strict=True):
        texts += [
            [*words[: place + 1], str(numbers[place])]
            for place in range(len(words) - 1)
            if numbers[place] and str(relations[place]).startswith("nsubj") and forms[place + 1] == "Fin"
        ]
    labels = [[None] * (len(text) - 2) + [text[-1]] for text in texts]
    return Corpus.from_words([text[:-1] for text in texts], {"number": labels}, name=corpus.name)


def probe_below(settings: CaseSettings, english: Corpus, *, model_folder: Path, pud: Path) -> Iterator[Case]:
    """Yields both directions of tense and number, in what a probe of the last layer says."""
    model, tasks = load_model(model_folder), ["tense", "number"]
    last = model.config.layers
    words = draw_words(english, tasks, settings.words, seed=settings.seed)
    rankings, statistics = rank(model, words, tasks, settings, layers=(last // 2,))
    store = extract(model, words, layers=(last,))
    probes = fit_probes(store, ElasticNet(l1=settings.l1, l2=settings.l2), tasks=tasks, control=False)
    treebank = read_english(pud / "en_pud-ud-test.conllu.gz")
    for task in tasks:
        for source, target in (CLASSES[task], CLASSES[task][::-1]):
            texts = with_class(treebank, task, source, most=2 * _GOLD)
            answers = [
                ProbeAccuracy.of(model, probes, task, part)
                for part in (_part(texts, 0, settings.tried), _part(texts, settings.tried, settings.reported))
            ]
            yield _case(task, source, target, model, rankings, statistics, answers)


def _case(
    task: str,
    source: str,
    target: str,
    model: Model,
    rankings: Mapping[str, Ranking],
    statistics: Statistics,
    answers: Sequence[Answering],
) -> Case:
    tried, reported = answers
    return Case(
        task=task,
        source=source,
        target=target,
        model=model,
        ranking=rankings[task],
        statistics=statistics,
        tried=tried,
        reported=reported,
    )
