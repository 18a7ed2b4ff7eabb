"""Ablation curves: against PyTorch with hooks, plain loops, NumPy's and SciPy's intervals, sacrebleu; one program."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from scipy import stats
from scipy.special import log_softmax

from lca_jax.axes import LayerBlock, NeuronAxis
from lca_jax.errors import CorpusError, DataError, ModelError, SettingsError
from lca_jax.extraction.extract import extract
from lca_jax.interventions.curve import ablation_curve
from lca_jax.interventions.edits import ablate
from lca_jax.interventions.measures import MinimalPair, Perplexity, read_minimal_pairs
from lca_jax.interventions.task_probe import ProbeAccuracy
from lca_jax.interventions.translation import Metric, Translations
from lca_jax.models.load import load_model
from lca_jax.models.model import Model
from lca_jax.models.writing.generation import Search
from lca_jax.probing.fit import fit_probes
from lca_jax.probing.objective import ElasticNet
from lca_jax.ranking.ranking import Ranking, rank_by_scores
from lca_jax.text.corpus import Corpus
from tests.compilations import count_programs
from tests.models.parity import PLACES, Reference
from tests.tiny_models import TINY, write_model

AXIS = NeuronAxis(blocks=tuple(LayerBlock("residual", layer, 32) for layer in range(3)))
RANKING = rank_by_scores("task", AXIS, np.random.default_rng(0).normal(size=AXIS.size))
OTHER = rank_by_scores("task", AXIS, np.random.default_rng(1).normal(size=AXIS.size))


def draw_lines(counts: list[int], seed: int = 0) -> list[str]:
    generator = np.random.default_rng(seed)
    return [" ".join(f"w{number}" for number in generator.integers(4, 40, count)) for count in counts]


LINES = draw_lines([5, 9, 3, 7, 12, 6, 4, 8])


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Any]:
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("causal")
    theirs = write_model(folder, TINY["llama, grouped queries"])
    return load_model(folder, head=True), theirs


@pytest.fixture(scope="module")
def model(both: tuple[Model, Any]) -> Model:
    return both[0]


@pytest.fixture(scope="module")
def curve(model: Model):
    return ablation_curve(model, {"one": RANKING, "other": OTHER}, LINES, (3, 10), slots=64)


def zeroed_by(columns: np.ndarray) -> dict[str, dict[int, list[int]]]:
    by_layer: dict[int, list[int]] = {}
    for neuron in AXIS.neurons(columns):
        by_layer.setdefault(neuron.layer, []).append(neuron.index)
    return {"residual": by_layer}


def log_probability(model: Model, reference: Reference, line: str, zeroed: Mapping | None) -> float:
    """That of all words but the first, which has none before it: this tokenizer puts no piece there."""
    window = np.array(model.tokenizer(line)["input_ids"], np.int32)
    logits = reference.run(window, zeroed).logits
    assert logits is not None
    chances = log_softmax(logits.astype(np.float64), axis=1)
    first = len(model.tokenizer(line.split()[0])["input_ids"])
    places = np.arange(first, len(window))
    return float(chances[places - 1, window[places]].sum())


def nats_by_sentence(model: Model, reference: Reference, zeroed: Mapping | None) -> np.ndarray:
    return np.array([-log_probability(model, reference, line, zeroed) for line in LINES])


WORDS = np.array([len(line.split()) - 1 for line in LINES], np.float64)


def test_perplexities_are_those_of_pytorch_with_hooks(both: tuple[Model, Any], curve) -> None:
    model, theirs = both
    reference = Reference(theirs, model.config, PLACES["llama"])
    nats = nats_by_sentence(model, reference, None)
    assert curve.whole == pytest.approx(np.exp(nats.sum() / WORDS.sum()), rel=1e-5)
    for ranking, name in ((RANKING, "one"), (OTHER, "other")):
        for of in ("top", "bottom"):
            columns = ranking.top(10) if of == "top" else ranking.bottom(10, seed=0)
            edited = nats_by_sentence(model, reference, zeroed_by(columns))
            found = curve.at(name, of, 10, fill="zero")
            assert found.value == pytest.approx(np.exp(edited.sum() / WORDS.sum()), rel=2e-5)
            assert found.change == pytest.approx(found.value - curve.whole, rel=1e-9)
    draws = curve.at("any", "random", 3, fill="zero")
    for draw, value in enumerate(draws.draws):
        edited = nats_by_sentence(model, reference, zeroed_by(RANKING.random(3, seed=0, draw=draw)))
        assert value == pytest.approx(np.exp(edited.sum() / WORDS.sum()), rel=2e-5)
    assert draws.value == pytest.approx(stats.gmean(draws.draws), rel=1e-9)


def test_the_mean_is_that_over_all_slots(both: tuple[Model, Any], curve) -> None:
    model, theirs = both
    reference = Reference(theirs, model.config, PLACES["llama"])
    states = [
        reference.run(np.array(model.tokenizer(line)["input_ids"], np.int32)).states["residual"] for line in LINES
    ]
    means = np.concatenate(states, axis=1).mean(axis=1).reshape(-1)
    given = ablation_curve(model, {"one": RANKING}, LINES, (10,), sets=("top",), fill=means, slots=64)
    assert curve.at("one", "top", 10, fill="mean").value == pytest.approx(given.at("one", "top", 10).value, rel=1e-5)


def test_a_whole_curve_is_one_program_and_the_next_one_is_none(model: Model) -> None:
    lines = draw_lines([6, 7, 5, 9, 4, 30], seed=2)
    settings: dict[str, Any] = {"counts": (1, 4), "random": 2, "slots": 32, "where": "after first"}
    with count_programs(afresh=True) as first:
        ablation_curve(model, {"one": RANKING, "other": OTHER}, lines, **settings)
    scoring = [name for name in first if "score_edits" in name]
    assert len(scoring) == 1
    with count_programs() as second:  # other neurons, texts, counts and fills of the same number
        settings |= {"counts": (2, 7), "seed": 3, "fill": {"a": np.ones(AXIS.size), "zero": "zero"}}
        ablation_curve(model, {"a": OTHER, "b": RANKING}, draw_lines([6, 7, 5, 9, 4, 30], seed=3), **settings)
    assert not [name for name in second if "score_edits" in name]


def loop(model: Model, columns_of_points: list[np.ndarray]) -> list[float]:
    """Perplexities by one edit after the other, from the public calls alone."""
    (rows, *rest) = Perplexity.of(model, LINES, slots=64).batches
    score = jax.jit(lambda params, batch, edits: model.log_probabilities(params, batch, edits))
    values = []
    for columns in columns_of_points:
        edits = ablate(model, columns, axis=AXIS)
        nats = 0.0
        for part in (rows, *rest):
            nats -= float(np.asarray(score(model.params, part.batch, edits))[np.asarray(part.sentences) >= 0].sum())
        values.append(np.exp(nats / WORDS.sum()))
    return values


def test_sweeps_equal_loops(model: Model) -> None:
    each = ablation_curve(model, RANKING, LINES, (5,), sets=("top",), fill="zero", sweep="each", slots=64)
    assert [(point.first, point.last, point.count) for point in each.points] == [(n, n + 1, 1) for n in range(5)]
    expected = loop(model, [RANKING.columns[n : n + 1] for n in range(5)])
    np.testing.assert_allclose([point.value for point in each.points], expected, rtol=1e-5)
    apart = ablation_curve(model, RANKING, LINES, (2, 5, 9), sets=("top",), fill="zero", sweep="interval", slots=64)
    assert [(point.first, point.last) for point in apart.points] == [(0, 2), (2, 5), (5, 9)]
    expected = loop(model, [RANKING.columns[:2], RANKING.columns[2:5], RANKING.columns[5:9]])
    np.testing.assert_allclose([point.value for point in apart.points], expected, rtol=1e-5)
    several = ablation_curve(
        model, RANKING, LINES, (2, 5, 9), sets=("top",), fill="zero", sweep="interval", slots=64, at_once=2
    )
    np.testing.assert_allclose([point.value for point in several.points], expected, rtol=1e-5)


def test_intervals_are_those_of_a_paired_bootstrap(both: tuple[Model, Any], curve) -> None:
    model, theirs = both
    reference = Reference(theirs, model.config, PLACES["llama"])
    plain = nats_by_sentence(model, reference, None)
    edited = nats_by_sentence(model, reference, zeroed_by(RANKING.top(10)))

    def change(plain: np.ndarray, edited: np.ndarray, words: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.exp(edited.sum(axis) / words.sum(axis)) - np.exp(plain.sum(axis) / words.sum(axis))

    generator = np.random.default_rng(0)
    drawn = np.concatenate([generator.integers(0, len(LINES), size=(100, len(LINES))) for _ in range(20)])
    expected = np.quantile(change(plain[drawn], edited[drawn], WORDS[drawn]), [0.025, 0.975])
    point = curve.at("one", "top", 10, fill="zero")
    np.testing.assert_allclose([point.change_low, point.change_high], expected, rtol=1e-3)
    theirs_too = stats.bootstrap(
        (plain, edited, WORDS), change, paired=True, n_resamples=4000, method="percentile",
        random_state=1,  # pyright: ignore[reportCallIssue] - the name that older versions of SciPy know too
    ).confidence_interval  # fmt: skip
    width = point.change_high - point.change_low
    np.testing.assert_allclose([point.change_low, point.change_high], theirs_too, rtol=0, atol=0.1 * width)


def test_layers_of_every_set_and_sets_of_equal_depth(model: Model) -> None:
    found = ablation_curve(
        model, RANKING, LINES, (10,), sets=("top", "matched", "bottom"), fill="zero", random=2, slots=64
    )
    expected = np.bincount(AXIS.block_of_column[RANKING.top(10)], minlength=3).tolist()
    assert list(found.at("task", "top", 10).layers) == expected
    assert list(found.at("task", "matched", 10).layers) == expected
    assert len(found.at("task", "matched", 10).draws) == 2
    assert found.layers == ("residual 0", "residual 1", "residual 2")
    table = found.layer_table()
    assert table["set"] == ["top", "bottom", "matched"]
    assert [table[name][0] for name in found.layers] == expected
    chosen = ablation_curve(model, RANKING, LINES, (10,), fill="zero", random=2, slots=64, layers=(1,))
    assert all(point.layers == (0, 10, 0) for point in chosen.points)
    with pytest.raises(SettingsError, match="from 1 to 32"):
        ablation_curve(model, RANKING, LINES, (33,), layers=(1,))


def planted(important: np.ndarray, *, noise: float, sentences: int = 40):
    """A score that falls with every important neuron that is removed, and has noise of its own for each set."""

    def score(edits) -> np.ndarray:
        gone = np.zeros(AXIS.size, bool) if edits is None else (edits["residual"].scale == 0).reshape(-1)
        generator = np.random.default_rng(int(np.flatnonzero(gone).sum()))
        return 50.0 - gone[important].sum() + noise * generator.normal(size=sentences)

    return score


def outcomes(model: Model, ranking: Ranking, score) -> dict[tuple[str, str], str]:
    found = ablation_curve(model, {"r": ranking}, counts=(6, 12), fill="zero", measure=score)
    return {(claim.stronger, claim.weaker): claim.outcome for claim in found.claims}


def test_claims_hold_fail_or_are_within_noise(model: Model) -> None:
    important = RANKING.top(24)
    pairs = [("top", "random"), ("random", "bottom"), ("top", "bottom")]
    assert outcomes(model, RANKING, planted(important, noise=0.01)) == dict.fromkeys(pairs, "holds")
    turned = rank_by_scores("task", AXIS, np.argsort(RANKING.columns).astype(np.float64))
    assert outcomes(model, turned, planted(important, noise=0.01)) == dict.fromkeys(pairs, "fails")
    nothing = np.zeros(0, np.int64)
    assert outcomes(model, RANKING, planted(nothing, noise=5.0)) == dict.fromkeys(pairs, "within noise")


def test_the_record_answers_and_says_what_it_knows(curve) -> None:
    content = curve.to_dict()
    assert content["whole"] == curve.whole
    assert {point["set"] for point in content["points"]} == {"top", "random", "bottom"}
    assert len(curve.points) == 2 * 2 * (2 + 2 + 1)
    assert "top hurts more than random" in repr(curve)
    assert "<table" in curve._repr_html_()
    with pytest.raises(SettingsError, match="fills: zero, mean"):
        curve.at("one", "top", 3)
    with pytest.raises(SettingsError, match="counts: 3, 10"):
        curve.at("one", "top", 4, fill="zero")


def test_a_line_that_is_nested_too_deeply_is_told_by_its_number(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_text('{"sentence_good": "a b", "sentence_bad": "b a"}\n' + "[" * 100_000)
    with pytest.raises(CorpusError, match="line 2: a minimal pair must be"):
        read_minimal_pairs(file)


def test_minimal_pairs_by_paradigm(both: tuple[Model, Any], tmp_path: Path) -> None:
    model, theirs = both
    reference = Reference(theirs, model.config, PLACES["llama"])
    lines = draw_lines([6] * 12, seed=5)
    file = tmp_path / "pairs.jsonl"
    entries = [
        f'{{"sentence_good": "{good}", "sentence_bad": "{bad}", "UID": "{"ab"[number % 2]}"}}'
        for number, (good, bad) in enumerate(zip(lines[::2], lines[1::2], strict=True))
    ]
    file.write_text("\n".join(entries))
    pairs = read_minimal_pairs(file)
    found = ablation_curve(model, RANKING, pairs, (8,), sets=("top",), fill="zero", measure="minimal-pairs", slots=64)

    def right(zeroed: Mapping | None) -> np.ndarray:
        sums = [log_probability(model, reference, line, zeroed) for line in lines]
        return np.array(sums[::2]) > np.array(sums[1::2])

    for point, zeroed in ((found.whole_by_group, None), (found.points[0].by_group, zeroed_by(RANKING.top(8)))):
        assert point == {"a": right(zeroed)[::2].mean(), "b": right(zeroed)[1::2].mean()}
    assert found.whole == right(None).mean()
    assert len(read_minimal_pairs(file, paradigms=["a"])) == 3
    with pytest.raises(CorpusError, match="no paradigm 'c'"):
        read_minimal_pairs(file, paradigms=["c"])
    file.write_text('{"sentence_good": "w5"}')
    with pytest.raises(CorpusError, match="line 1: a minimal pair must be"):
        read_minimal_pairs(file)
    with pytest.raises(CorpusError, match="cannot be read"):
        read_minimal_pairs(tmp_path / "none.jsonl")


def test_the_accuracy_of_a_probe_is_that_of_extracting_with_the_edits(model: Model) -> None:
    words = [line.split() for line in draw_lines([8] * 30, seed=6)]
    labels = [["odd" if int(word[1:]) % 2 else "even" for word in sentence] for sentence in words]
    corpus = Corpus.from_words(words, {"parity": labels})
    store = extract(model, corpus)
    probes = fit_probes(store, ElasticNet(l1=1e-3, l2=1e-3), tasks=["parity"])
    measure = ProbeAccuracy.of(model, probes, "parity", corpus, slots=128)
    found = ablation_curve(model, RANKING, counts=(20,), sets=("top",), fill="zero", measure=measure)
    gold = np.array([label == "odd" for sentence in labels for label in sentence])
    assert found.whole == (probes.one("parity").predict(store.matrix()) == gold).mean()
    edited = extract(model, corpus, edits=ablate(model, RANKING.top(20), axis=AXIS))
    expected = (probes.one("parity").predict(edited.matrix()) == gold).mean()
    assert found.points[0].value == pytest.approx(expected, abs=0.01)
    assert found.points[0].value < found.whole - 0.05
    of_layers = fit_probes(store, ElasticNet(l1=1e-3, l2=1e-3), tasks=["parity"], subsets="layers", control=False)
    one = ProbeAccuracy.of(model, of_layers, "parity", corpus, subset="residual 1", slots=128)
    assert one.further["weights"].shape == (32, 2)  # other layers are not read
    of_one = ablation_curve(model, RANKING, counts=(20,), sets=("top",), fill="zero", measure=one)
    probe = of_layers.one("parity", subset="residual 1")
    assert of_one.whole == (probe.predict(store.matrix()) == gold).mean()
    assert of_one.points[0].value == pytest.approx((probe.predict(edited.matrix()) == gold).mean(), abs=0.01)
    assert of_one.measure == "accuracy on parity in residual 1"
    with pytest.raises(SettingsError, match="`last` or `first`"):
        ProbeAccuracy.of(model, probes, "parity", corpus, pool="mean")


@pytest.fixture(scope="module")
def translator(tmp_path_factory: pytest.TempPathFactory) -> Model:
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("translator")
    write_model(folder, TINY["bart, scaled embedding"], seed=7)
    return load_model(folder, head=True)


def test_translations_have_the_scores_of_sacrebleu(translator: Model) -> None:
    metrics = pytest.importorskip("sacrebleu.metrics")
    sources, search = draw_lines([4, 6, 3, 5, 7], seed=8), Search(longest=14)
    columns = RANKING.top(6)

    def texts(edits) -> list[str]:
        return [one.text for one in translator.write(sources, edits, search=search)]

    plain, edited = texts(None), texts(ablate(translator, columns, axis=AXIS))
    assert plain != edited
    references = [" ".join([*text.split()[:-2], "w5"]) for text in plain]
    pairs = list(zip(sources, references, strict=True))
    compared: tuple[tuple[Metric, Any], ...] = (("bleu", metrics.BLEU()), ("chrf", metrics.CHRF()))
    for name, metric in compared:
        measure = Translations.of(translator, pairs, metric=name, search=search, slots=32)
        found = ablation_curve(translator, RANKING, counts=(6,), sets=("top",), fill="zero", measure=measure)
        assert found.whole == pytest.approx(metric.corpus_score(plain, [references]).score, abs=1e-9)
        assert found.points[0].value == pytest.approx(metric.corpus_score(edited, [references]).score, abs=1e-9)
    decoder = NeuronAxis(blocks=(LayerBlock("decoder.mlp", 0, 40),))
    with pytest.raises(SettingsError, match="has no mean over slots"):
        ablation_curve(
            translator, rank_by_scores("t", decoder, np.arange(40.0)), pairs, (6,), fill="mean", measure="bleu"
        )


def test_perplexity_of_targets_and_of_masked_texts(translator: Model, model: Model) -> None:
    pairs = [("w5 w6 w7", "w8 w9"), ("w11", "w4 w7 w12 w9"), ("w6 w6 w20 w30 w31", "w13")]
    found = ablation_curve(translator, RANKING, pairs, (6,), sets=("top",), fill=("zero", "mean"), slots=32)
    assert found.whole > 1
    assert found.sentences == 3
    assert len({point.value for point in found.points} | {found.whole}) == 3
    with pytest.raises(ModelError, match="give pairs"):
        Perplexity.of(translator, LINES)
    with pytest.raises(ModelError, match="no encoder-decoder"):
        Perplexity.of(model, pairs)
    with pytest.raises(ModelError, match="translates nothing"):
        ablation_curve(model, RANKING, pairs, (6,), measure="bleu")


@pytest.mark.usefixtures("as_users_run_it")
def test_bad_settings_are_refused(model: Model) -> None:
    other = NeuronAxis(blocks=(LayerBlock("mlp", 0, 40),))
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"measure": "blue"}, "must be one of perplexity, minimal-pairs, bleu, chrf"),
        ({"sets": ("best",)}, "must be among top, random, matched, bottom"),
        ({"sweep": "all"}, "must be one of cumulative, interval, each"),
        ({"counts": (97,)}, "from 1 to 96"),
        ({"counts": ()}, "from 1 to 96"),
        ({"fill": "median"}, "`fill` must be `zero`, `mean`"),
        ({"fill": np.zeros(3)}, "96 finite numbers"),
        ({"random": 1}, "proves nothing"),
        ({"where": "words only"}, "must be one of all, words, after first"),
        ({"rankings": {"random": RANKING}}, "give the ranking another name"),
        ({"layers": (5,)}, "name at least one"),
    )
    for changes, message in wrong:
        with pytest.raises(SettingsError, match=message):
            ablation_curve(model, **{"rankings": RANKING, "texts": LINES, "counts": (3,), **changes})
    with pytest.raises(DataError, match="same neurons"):
        ablation_curve(model, {"a": RANKING, "b": rank_by_scores("t", other, np.zeros(40))}, LINES, (3,))
    with pytest.raises(DataError, match="needs texts"):
        ablation_curve(model, RANKING, counts=(3,))
    with pytest.raises(DataError, match="at least one minimal pair"):
        ablation_curve(model, RANKING, [], (3,), measure="minimal-pairs")
    with pytest.raises(DataError, match="one finite number"):
        ablation_curve(model, RANKING, counts=(3,), fill="zero", measure=lambda _: np.full(3, np.nan))


def test_a_pair_is_two_sentences() -> None:
    assert MinimalPair(good="a", bad="b").paradigm == "pairs"
