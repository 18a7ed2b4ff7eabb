r"""The experiment of Dalvi et al. 2019 on models trained here: language models and translation models, three of each.

    python -m benchmarks.grain_of_sand --data ../shared/data --work runs/grain --out grain.json --figure grain.svg

Each kind of model is trained on thirds of Multi30k, at once. Then: neurons are ranked across the models of a kind
(MaxCorr), by variance, and by LCA of part of speech in a treebank of the language that the model reads. They are
removed from the running model, first ones, five random sets and last ones, and perplexity or BLEU is measured, with
intervals over sentences. The result also has what the rankings share, how many neurons the classes of part of speech
need in either kind of model, and whose first neurons are exclusive to a property.

Models are kept after every epoch in the folder `--work`, and every step's result beside them: a run that is stopped
goes on from there. Seconds of epochs are those of this run and of those before it. Perplexity is a word, with ends of
sentences (`training`), or without (`ablation`); words outside of the vocabulary count as one unknown word. BLEU is
sacrebleu's, greedy, on lower-cased words.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import tyro

from benchmarks import harness
from benchmarks.grain import steps
from benchmarks.grain.figure import draw
from benchmarks.grain.texts import read_pairs, read_treebank, read_words
from lca_jax.interventions.translation import Translations
from lca_jax.machine.checksums import checksum_of
from lca_jax.machine.files import write_text_whole
from lca_jax.models.model import Model
from lca_jax.models.writing.generation import Search
from lca_jax.ranking.lca import rank_neurons
from lca_jax.text.corpus import Corpus
from lca_jax.training.language_models import train_language_models
from lca_jax.training.language_settings import TrainingSettings, TranslationSettings
from lca_jax.training.many import EpochLoss
from lca_jax.training.translation_models import train_translation_models

Kind = Literal["lm", "nmt"]
TREEBANKS = {"lm": ("en_ewt-ud-train", "en_ewt-ud-test"), "nmt": ("de_gsd-ud-dev", "de_gsd-ud-test")}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of the experiment."""

    data: Path
    """Folder with `mt/multi30k` and `ud`."""
    work: Path
    """Folder of the models and of the results of the steps."""
    out: Path
    """Where the result is written."""
    figure: Path | None = None
    """Where the figure is written."""
    kinds: tuple[Kind, ...] = ("lm", "nmt")
    train: int | None = None
    """Number of captions to train on; all if None."""
    measured: int | None = None
    """Number of captions of dev and test; all if None."""
    probed: int = 20_000
    """Number of words that probes are trained on, and measured on."""
    shares: tuple[float, ...] = (0.05, 0.1, 0.2, 0.3, 0.4)
    """Shares of the neurons that are removed."""
    fills: tuple[str, ...] = ("zero", "mean")
    longest: int = 50
    """Maximum number of pieces in a translation."""
    slots: int = 4096
    """Slots that are computed together."""
    lm: TrainingSettings = field(default_factory=lambda: TrainingSettings(epochs=6, rows=16, dropout=0.1))
    nmt: TranslationSettings = field(
        default_factory=lambda: TranslationSettings(epochs=6, learning_rate=5e-3, dropout=0.1)
    )
    seed: int = 0


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs what is left of the experiment, prints the claims, and writes result and figure."""
    settings = tyro.cli(Settings, args=arguments, description="Neurons that several models learn, and what they do.")
    settings.work.mkdir(parents=True, exist_ok=True)
    result = {kind: study(settings, kind) for kind in settings.kinds}
    for kind, found in result.items():
        for number, model in enumerate(found["models"]):
            rows = {
                f"{claim['ranking']}, {claim['fill']}: {claim['stronger']} > {claim['weaker']}": {
                    key: claim[key] for key in ("excess", "low", "high", "outcome")
                }
                for claim in model["ablation"]["claims"]
            }
            title = f"{kind} {number}: {model['ablation']['measure']} {model['ablation']['whole']:.4g} as it is"
            harness.print_table(title, rows)
    named = ("train", "measured", "probed", "shares", "fills", "longest", "seed")
    described = {"data": "Multi30k", **{name: getattr(settings, name) for name in named}}
    described |= {kind: asdict(getattr(settings, kind)) for kind in settings.kinds}
    harness.write_result(settings.out, "grain_of_sand", {"input": described, **result})
    if settings.figure is not None:
        write_text_whole(settings.figure, draw(result))


def study(settings: Settings, kind: Kind) -> dict[str, Any]:
    """Returns what is found of the models of one kind."""
    train = _train_language if kind == "lm" else _train_translation
    models, training = train(settings)
    dev, test = ("val", "en" if kind == "lm" else "de"), ("test_2016_flickr", "en")
    seen = Corpus.from_words(read_words(settings.data, *dev, settings.measured), name="dev")
    across = steps.rank_across(models, seen)
    banks = [read_treebank(settings.data, name, settings.probed, settings.seed) for name in TREEBANKS[kind]]
    options = {"shares": settings.shares, "fills": settings.fills, "seed": settings.seed, "slots": settings.slots}
    found = []
    for number, model in enumerate(models):

        def measure(model: Model = model, number: int = number) -> dict[str, Any]:
            probes, probed = steps.probe_properties(model, *banks)
            rankings = {**across[number], "lca": rank_neurons(probes, "upos")}
            score: Any = "perplexity"
            texts: Any = [" ".join(words) for words in read_words(settings.data, *test, settings.measured)]
            if kind == "nmt":
                pairs = read_pairs(settings.data, test[0], settings.measured)
                search = Search(longest=settings.longest)
                score, texts = Translations.of(model, pairs, search=search, slots=settings.slots), None
            curve = steps.ablate(model, rankings, texts, score, **options)
            return {
                "across": steps.describe_across(across[number]),
                "ablation": {**curve, "neurons": probes.axis.size},
                "properties": probed,
                "distribution": steps.describe_distribution(probes, "upos"),
                "exclusive": steps.describe_exclusive(
                    model, probes, banks[1], seed=settings.seed, slots=settings.slots
                ),
            }

        step = {**options, "model": model.fingerprint, "measured": settings.measured, "probed": settings.probed}
        step |= {"longest": settings.longest}
        found.append(_kept(settings.work / f"{kind}-{number}.json", step, measure))
    return {"training": training, "models": found}


def _train_language(settings: Settings) -> tuple[list[Model], dict[str, Any]]:
    text, dev, test = (
        read_words(settings.data, part, "en", count)
        for part, count in (
            ("train", settings.train),
            ("val", settings.measured),
            ("test_2016_flickr", settings.measured),
        )
    )
    clock = _Clock(settings.work / "lm-seconds.json")
    models = train_language_models(text, settings.lm, out=settings.work / "lm", held_out=dev, told=clock)
    facts = {"curve": [entry._asdict() for entry in models.curve], "seconds": clock.seconds}
    facts |= {"perplexity": {"dev": models.perplexity(dev), "test": models.perplexity(test)}}
    return [models.model(number) for number in range(models.count)], facts


def _train_translation(settings: Settings) -> tuple[list[Model], dict[str, Any]]:
    pairs, dev = (
        read_pairs(settings.data, part, count)
        for part, count in (("train", settings.train), ("val", settings.measured))
    )
    clock = _Clock(settings.work / "nmt-seconds.json")
    models = train_translation_models(pairs, settings.nmt, out=settings.work / "nmt", held_out=dev, told=clock)
    facts = {
        "curve": [entry._asdict() for entry in models.curve],
        "seconds": clock.seconds,
        "left_out": models.left_out,
    }
    return [models.model(number) for number in range(models.count)], facts


class _Clock:
    """Notes the seconds of every epoch in a file; the first epoch of a run has its compiling too."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.seconds: dict[str, list[float]] = json.loads(file.read_text("utf-8")) if file.exists() else {}
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def __call__(self, loss: EpochLoss) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        self.seconds[str(loss.epoch)] = [wall - self.wall, cpu - self.cpu]
        self.wall, self.cpu = wall, cpu
        write_text_whole(self.file, json.dumps(self.seconds))


def _kept(file: Path, step: Mapping[str, object], measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Returns the result of a step, from its file where that has one of the same key."""
    key = checksum_of(json.dumps(step, sort_keys=True, default=str).encode())
    if file.exists():
        held = json.loads(file.read_text("utf-8"))
        if held["key"] == key:
            return held["result"]
    result = measure()
    write_text_whole(file, json.dumps({"key": key, "result": result}))
    return result


if __name__ == "__main__":
    main()
