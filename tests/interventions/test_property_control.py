"""Control of a property: against NumPy, plain loops, worked examples, planted neurons; one program."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from scipy import stats

from lca_jax.axes import LayerBlock, NeuronAxis
from lca_jax.errors import DataError, ModelError, SettingsError
from lca_jax.extraction.extract import extract
from lca_jax.gathering.gather import gather_statistics
from lca_jax.interventions.control.judging import Excess, Judged, rest_same
from lca_jax.interventions.control.predicted import PredictedWords
from lca_jax.interventions.control.property_control import control_property
from lca_jax.interventions.control.shifts import ClassPair, class_pair, falling_strengths, shift_neurons
from lca_jax.interventions.control.word_rows import edit_words, sentence_rows
from lca_jax.interventions.control.written import WrittenTexts, one_word_differs
from lca_jax.interventions.edited_runs import run_edits
from lca_jax.interventions.edits import stack_edits
from lca_jax.interventions.task_probe import ProbeAccuracy
from lca_jax.models.load import load_model
from lca_jax.models.model import Model
from lca_jax.models.stack.stack import Batch
from lca_jax.models.writing.generation import Search
from lca_jax.probing.fit import fit_probes
from lca_jax.probing.metrics import share_interval
from lca_jax.probing.objective import ElasticNet
from lca_jax.ranking.ranking import Ranking, rank_by_scores
from lca_jax.store.statistics import ClassStatistics, Gathering, Statistics
from lca_jax.text.corpus import Corpus
from tests.compilations import count_programs
from tests.stores import planted_store
from tests.tiny_models import TINY, write_model

AXIS = NeuronAxis(blocks=tuple(LayerBlock("residual", layer, 32) for layer in range(3)))
RANKING = rank_by_scores("parity", AXIS, np.random.default_rng(0).normal(size=AXIS.size))
PLANTED = 5
"""Channel of the embedding that carries the parity of a word's number in `planted`."""


def draw_corpus(counts: list[int], seed: int = 0) -> Corpus:
    generator = np.random.default_rng(seed)
    words = [[f"w{number}" for number in generator.integers(4, 30, count)] for count in counts]
    labels = [[parity(word) for word in sentence] for sentence in words]
    return Corpus.from_words(words, {"parity": labels})


def parity(word: str) -> str | None:
    """Odd or even; words whose number is a multiple of 5 show neither."""
    if not word.startswith("w") or not word[1:].isdigit() or int(word[1:]) % 5 == 0:
        return None
    return "odd" if int(word[1:]) % 2 else "even"


def of_text(text: str) -> str | None:
    """The parity of most of a text's words."""
    said = [parity(word) for word in text.split()]
    odd, even = said.count("odd"), said.count("even")
    return None if odd == even else "odd" if odd > even else "even"


CORPUS = draw_corpus([5, 9, 3, 7, 12, 6, 4, 8] * 3)


def loaded(factory: pytest.TempPathFactory, name: str, *, seed: int = 0) -> Model:
    pytest.importorskip("torch")
    folder = factory.mktemp("controlled")
    write_model(folder, TINY[name], seed=seed)
    return load_model(folder, head=True)


@pytest.fixture(scope="module")
def causal(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return loaded(tmp_path_factory, "llama, grouped queries")


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return loaded(tmp_path_factory, "bert")


@pytest.fixture(scope="module")
def translator(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return loaded(tmp_path_factory, "bart, scaled embedding", seed=7)


def statistics_of(model: Model) -> Statistics:
    return extract(model, CORPUS, statistics=Gathering(sample_words=0, covariance=False)).statistics()


@pytest.fixture(scope="module")
def of_masked(masked: Model) -> Statistics:
    return statistics_of(masked)


# --- shifts ---------------------------------------------------------------------------------------------------------


def test_class_means_are_those_of_the_words() -> None:
    store = planted_store(words=120)
    pair = class_pair(gather_statistics(store), "upos", source="NOUN", target="VERB")
    X, labels = store.matrix(), np.array(store.labels("upos"))
    for found, name in ((pair.source, "NOUN"), (pair.target, "VERB")):
        np.testing.assert_allclose(found, X[labels == name].mean(axis=0), rtol=0, atol=1e-5)
    with pytest.raises(DataError, match=r"no word of `upos` is 'ADV'\. Classes with words: ADJ, NOUN, VERB"):
        class_pair(gather_statistics(store), "upos", source="NOUN", target="ADV")
    with pytest.raises(SettingsError, match="two classes"):
        class_pair(gather_statistics(store), "upos", source="NOUN", target="NOUN")


def test_strengths_fall_as_published() -> None:
    published = np.logspace(np.log(8), np.log(0.001), 768, base=np.e)
    np.testing.assert_allclose(falling_strengths(8.0, 768), published, rtol=1e-12)
    np.testing.assert_allclose(falling_strengths(-8.0, 768), -published, rtol=1e-12)
    assert not falling_strengths(0.0, 5).any()
    with pytest.raises(SettingsError, match=r"0, or at least 0.001"):
        falling_strengths(0.0001, 5)


def test_shifted_states_are_those_by_hand(causal: Model) -> None:
    generator = np.random.default_rng(3)
    pair = ClassPair(AXIS, generator.normal(size=AXIS.size), generator.normal(size=AXIS.size))
    ids = np.arange(4, 10, dtype=np.int32)[None]
    batch = Batch(ids, np.arange(6, dtype=np.int32)[None], np.ones_like(ids))
    run = jax.jit(lambda params, edits: model_states(causal, params, batch, edits))
    plain = np.asarray(run(causal.params, shift_neurons(causal, [], pair)))
    np.testing.assert_array_equal(plain, np.asarray(causal.forward(causal.params, batch)["residual"]))
    columns = np.array([70, 3, 95])  # neurons 6 and 31 of layer 2, and 3 of layer 0
    clamped = np.asarray(run(causal.params, shift_neurons(causal, columns, pair, strength=1.5)))
    for column in columns:
        value = pair.target[column] + 1.5 * (pair.target[column] - pair.source[column])
        np.testing.assert_allclose(clamped[column // 32, 0, :, column % 32], value, rtol=1e-5)
    moved = np.asarray(
        run(causal.params, shift_neurons(causal, [70, 95], pair, shift="translate", strength=4.0, ranked=96))
    )
    expected = plain.copy()
    for rank, column in enumerate((70, 95)):
        alpha = np.exp(np.log(4) + rank / 95 * (np.log(0.001) - np.log(4)))
        expected[2, 0, :, column % 32] += alpha * (pair.target[column] - pair.source[column])
    np.testing.assert_allclose(moved, expected, rtol=0, atol=1e-5)
    zeroed = np.asarray(run(causal.params, shift_neurons(causal, [70, 95], pair, shift="zero")))
    expected = plain.copy()
    expected[2, 0, :, [6, 31]] = 0
    np.testing.assert_allclose(zeroed, expected, rtol=0, atol=1e-6)
    still = run(causal.params, shift_neurons(causal, columns, pair, shift="translate", strength=0.0))
    np.testing.assert_array_equal(np.asarray(still), plain)


def model_states(model: Model, params: Any, batch: Batch, edits: Any) -> jax.Array:
    return model.forward(params, batch, edits)["residual"]


def test_clamping_leads_to_the_target_and_the_printed_sign_away(causal: Model) -> None:
    """Bau et al. print μ1 + β (μ1 - μ2) with μ1 the mean of the class that is left."""
    pair = ClassPair(AXIS, np.full(AXIS.size, -1.0), np.full(AXIS.size, 2.0))

    def value(strength: float) -> float:
        return float(np.asarray(shift_neurons(causal, [0], pair, strength=strength)["residual"].shift)[0, 0])

    assert [value(strength) for strength in (0.0, 1.0, 2.0)] == [2.0, 5.0, 8.0]
    assert value(-1.0) == -1.0
    for beta in (0.5, 2.0):
        printed = pair.source[0] + beta * (pair.source[0] - pair.target[0])
        assert value(-1 - beta) == pytest.approx(printed)
        assert abs(printed - pair.target[0]) > abs(pair.source[0] - pair.target[0])


# --- what is counted ------------------------------------------------------------------------------------------------


def test_shares_of_a_worked_example() -> None:
    """Six answers in English: four showed the present, one the past, one nothing."""
    plain = ["walks", "talks", "sees", "runs", "went", "of"]
    edited = ["walked", "talk!", "looked", "runs", "goes", "of"]
    said = {
        "walks": "s",
        "talks": "s",
        "sees": "s",
        "runs": "s",
        "went": "t",
        "goes": "s",
        "walked": "t",
        "looked": "t",
    }
    lemma = {"walks": 1, "walked": 1, "talks": 2, "talk!": 2, "sees": 3, "looked": 4, "runs": 5, "went": 6, "goes": 6}

    def judged(values: Any) -> np.ndarray:
        return np.array([[values(text) for text in texts] for texts in (plain, edited)])

    record = Judged(
        source=judged(lambda text: said.get(text) == "s"),
        target=judged(lambda text: said.get(text) == "t"),
        none=judged(lambda text: text not in said),
        changed=np.array([np.zeros(6, bool), [a != b for a, b in zip(plain, edited, strict=True)]]),
        otherwise_same=np.array(
            [np.ones(6, bool), [lemma.get(a) == lemma.get(b) for a, b in zip(plain, edited, strict=True)]]
        ),
        sentences=np.arange(6),
        texts=None,
        metrics={},
    )
    shares = {name: share and share.value for name, share in record.shares([1]).items()}
    assert shares == {
        "reached": 2 / 4,  # walked, looked
        "clean": 1 / 4,  # walked
        "erased": 1 / 4,  # talk!
        "other": 0.0,
        "kept": 1 / 4,  # runs
        "error_rate": 3 / 4,
        "clwv": 1 / 4,
        "backward": 1.0,  # went to goes
    }
    wilson = stats.binomtest(2, 4).proportion_ci(method="wilson")
    found = record.shares([1])["reached"]
    assert found is not None
    assert (found.low, found.high) == pytest.approx(tuple(wilson), abs=0.06)  # four sentences are worth three words
    assert share_interval(np.zeros(0, bool), np.zeros(0, np.int64)) is None


def test_intervals_over_random_are_those_of_a_paired_bootstrap() -> None:
    generator = np.random.default_rng(5)
    hits = generator.random((4, 60)) < np.array([[0.0], [0.7], [0.3], [0.3]])
    hits[3] = hits[2]  # two draws that are alike: no luck of the draw
    had = generator.random(60) < 0.8
    record = Judged(
        source=np.stack([had] * 4), target=hits, none=hits, changed=hits, otherwise_same=None,
        sentences=np.arange(60), texts=None, metrics={},
    )  # fmt: skip
    over = Excess.of(record, hits, draws=2, seed=0).over([(1, [2, 3])])
    top, random = hits[1, had].astype(float), hits[2, had].astype(float)
    assert over.value == pytest.approx(top.mean() - random.mean())
    theirs = stats.bootstrap(
        (top - random,), np.mean, n_resamples=4000, method="percentile",
        random_state=1,  # pyright: ignore[reportCallIssue] - the name that older versions of SciPy know too
    ).confidence_interval  # fmt: skip
    np.testing.assert_allclose(over[1:], theirs, rtol=0, atol=0.04)


@pytest.mark.parametrize(("units", "shown"), [(3, False), (4, True)])
def test_few_answers_that_all_agree_are_not_sure(units: int, shown: bool) -> None:
    hits = np.zeros((4, units), bool)
    hits[1] = True
    record = Judged(
        source=np.ones((4, units), bool), target=hits, none=hits, changed=hits, otherwise_same=None,
        sentences=np.arange(units), texts=None, metrics={},
    )  # fmt: skip
    excess = Excess.of(record, hits, draws=1, seed=0)
    # Point 1 turns all answers and point 2 none; random neurons turn none. McNemar's test shows 4 of 4, not 3 of 3.
    alone = excess.over([(1, [3])])
    assert (alone.value, alone.high) == (1, 1)
    assert (alone.low > 0) == shown
    nothing = excess.over([(2, [3])])
    assert nothing.low == -nothing.high < -0.4
    # Half of the points turn all answers: no sample of four answers differs from another, and neither is that sure.
    both = excess.over([(1, [3]), (2, [3])])
    assert both.value == 0.5
    assert both.low < 0 < 0.7 < both.high < 1


def test_the_rest_of_a_sentence() -> None:
    changed = np.array([[False] * 5, [True, False, True, False, True]])
    same = rest_same(changed, np.array([0, 0, 0, 1, 1]), np.array([True, True, False, True, True]))
    assert same.tolist() == [[True] * 5, [False, False, False, True, True]]
    assert one_word_differs([["a b c", "a b"], ["a x c", "a b c"], ["x x c", "a b"]]).tolist() == [
        [True, True],
        [True, False],
        [False, True],
    ]


# --- the running model ----------------------------------------------------------------------------------------------


def pieces_by_hand(model: Model, edits: Any, chosen: str) -> list[str]:
    """The most likely word at every labelled word, one sentence after the other, one word after the other."""
    found = []
    run = jax.jit(lambda params, batch, edits: model.logits(params, batch, edits))
    for sentence, labels in zip(CORPUS.sentences, CORPUS.labels["parity"], strict=True):
        ids = np.zeros((1, 12), np.int32)
        ids[0, : len(sentence)] = [int(word[1:]) for word in sentence]
        inside = (np.arange(12) < len(sentence))[None]
        where = np.array([[label == chosen for label in labels] + [False] * (12 - len(labels))])
        placed = {site: edit._replace(where=where) for site, edit in edits.items()}
        batch = Batch(ids, np.arange(12, dtype=np.int32)[None] * inside, inside.astype(np.int32))
        predicted = np.asarray(run(model.params, batch, placed))[0].argmax(axis=-1)
        decoded = [str(model.tokenizer.decode([int(piece)])) for piece in predicted]
        found += [word for word, label in zip(decoded, labels, strict=False) if label == chosen]
    return found


def lemma_of(word: str) -> object:
    return int(word[1:]) // 2 if word[1:].isdigit() else word


def test_predicted_words_are_those_of_a_plain_loop(masked: Model, of_masked: Statistics) -> None:
    output = PredictedWords.of(masked, CORPUS, "parity", classify=parity, lemmas=lemma_of, slots=64)
    assert output.left_out == 0
    found = control_property(
        masked, RANKING, of_masked, output, source="odd", target="even", sizes=(6, 20), strengths=(0.0, 2.0), random=2
    )
    pair = class_pair(of_masked, "parity", source="odd", target="even")
    plain = pieces_by_hand(masked, shift_neurons(masked, [], pair), "odd")
    had = [number for number, word in enumerate(plain) if parity(word) == "odd"]
    assert (found.units, found.all_units) == (len(had), len(plain))
    for size, strength in ((6, 2.0), (20, 0.0), (20, 2.0)):
        edits = shift_neurons(masked, RANKING.top(size), pair, strength=strength)
        edited = pieces_by_hand(masked, edits, "odd")
        point = found.at("parity", "top", size, strength)
        both = [(plain[number], edited[number]) for number in had]
        assert point.error_rate.value == np.mean([a != b for a, b in both])
        assert point.reached.value == np.mean([parity(b) == "even" for _, b in both])
        assert point.erased.value == np.mean([parity(b) is None for _, b in both])
        assert point.clwv is not None
        clwv = [lemma_of(a) == lemma_of(b) and parity(b) not in (None, "odd") for a, b in both]
        assert point.clwv.value == np.mean(clwv)
    assert found.at("parity", "top", 20, 2.0).error_rate.value > 0
    assert found.points[0].quality == {}


def test_a_masked_word_is_predicted_from_the_others(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    write_model(tmp_path, TINY["bert"])
    model = load_model(tmp_path, head=True)
    with pytest.raises(SettingsError, match="cannot read masked words"):
        PredictedWords.of(model, CORPUS, "parity", classify=parity, masked=True)
    model.tokenizer.add_special_tokens({"mask_token": "w30"})
    output = PredictedWords.of(model, CORPUS, "parity", classify=parity, masked=True, slots=64)
    still = stack_edits([shift_neurons(model, [], ClassPair(AXIS, *np.zeros((2, AXIS.size))))])
    settings: dict[str, Any] = {"score": output.score, "further": (), "where": "all", "name": output.name}
    texts = output.answers(run_edits(model, output.batches, still, **settings)).texts
    assert texts is not None
    found = iter(texts[0])
    run = jax.jit(lambda params, batch: model.logits(params, batch))
    for sentence, labels in list(zip(CORPUS.sentences, CORPUS.labels["parity"], strict=True))[:3]:
        for place in np.flatnonzero([label is not None for label in labels]):
            ids = np.array([[int(word[1:]) for word in sentence]], np.int32)
            ids[0, place] = 30
            batch = Batch(ids, np.arange(ids.size, dtype=np.int32)[None], np.ones_like(ids))
            expected = int(np.asarray(run(model.params, batch))[0, place].argmax())
            assert next(found) == output.decode([expected]).strip()


def test_what_follows_a_word_is_asked_of_a_causal_model(causal: Model) -> None:
    output = PredictedWords.of(causal, CORPUS, "parity", classify=parity, slots=64)
    scored = run_edits(
        causal, output.batches, stack_edits([shift_neurons(causal, [], ClassPair(AXIS, *np.zeros((2, 96))))]),
        score=output.score, further=(), where="all", name=output.name,
    )  # fmt: skip
    texts = output.answers(scored).texts
    assert texts is not None
    sentence = CORPUS.sentences[0]
    ids = np.array([[int(word[1:]) for word in sentence]], np.int32)
    batch = Batch(ids, np.arange(ids.size, dtype=np.int32)[None], np.ones_like(ids))
    expected = np.asarray(causal.logits(causal.params, batch))[0].argmax(axis=-1)
    labelled = [number for number, label in enumerate(CORPUS.labels["parity"][0]) if label]
    assert list(texts[0][: len(labelled)]) == [output.decode([int(expected[number])]) for number in labelled]
    with pytest.raises(SettingsError, match="cannot read masked words"):
        PredictedWords.of(causal, CORPUS, "parity", classify=parity, masked=True)


@pytest.mark.parametrize("kind", ["translator", "causal"])
def test_written_texts_are_those_of_the_model_with_the_edits(kind: str, request: pytest.FixtureRequest) -> None:
    model: Model = request.getfixturevalue(kind)
    corpus, search = draw_corpus([4, 6, 3, 5], seed=8), Search(longest=8)
    output = WrittenTexts.of(model, corpus, classify=of_text, metrics=(), search=search, slots=16)
    generator = np.random.default_rng(1)
    pair = ClassPair(AXIS, generator.normal(size=96), generator.normal(size=96))
    edits = [shift_neurons(model, columns, pair, strength=1.0) for columns in ([], RANKING.top(12))]
    settings: dict[str, Any] = {"score": output.score, "further": (), "name": output.name}
    everywhere = output.answers(run_edits(model, output.batches, stack_edits(edits), where="all", **settings)).texts
    lines = [" ".join(sentence) for sentence in corpus.sentences]
    assert everywhere is not None
    for point, edit in zip(everywhere, edits, strict=True):
        assert list(point) == [output.decode(one.pieces).strip() for one in model.write(lines, edit, search=search)]
    chosen = np.arange(corpus.word_count) % 3 == 0
    batches = edit_words(output.batches, output.places, chosen)
    at_words = output.answers(run_edits(model, batches, stack_edits(edits), where="words", **settings)).texts
    assert at_words is not None
    ids = model.tokenizer(lines[1])["input_ids"]
    first = len(corpus.sentences[0])
    where = np.zeros((1, len(ids) + (search.longest if kind == "causal" else 0)), bool)
    where[0, : len(corpus.sentences[1])] = chosen[first : first + len(corpus.sentences[1])]
    batch = Batch(
        np.array([ids], np.int32), np.arange(len(ids), dtype=np.int32)[None], np.ones((1, len(ids)), np.int32)
    )
    placed = {site: edit._replace(where=where) for site, edit in edits[1].items()}
    run = jax.jit(lambda params, edits: model.write_pieces(params, batch, edits, search=search).pieces)
    written = np.asarray(run(model.params, placed))[0]
    assert at_words[1][1] == output.decode([int(piece) for piece in written if piece >= 0]).strip()
    assert at_words[1] != everywhere[1]


def test_texts_of_about_the_same_length_have_rows_of_one_shape(causal: Model) -> None:
    shapes = [sentence_rows(causal, draw_corpus(counts), limit=20)[0].segments.shape for counts in ([3, 5], [8, 2])]
    assert shapes == [(2, 8), (2, 8)]
    cut, _ = sentence_rows(causal, draw_corpus([9]), limit=12)
    assert cut.segments.shape == (1, 12)
    assert cut.segments.sum() == 9


def test_strength_zero_is_the_model_as_it_is(translator: Model) -> None:
    pytest.importorskip("sacrebleu")
    output = WrittenTexts.of(translator, CORPUS, classify=of_text, search=Search(longest=8), slots=256)
    said = [
        of_text(one.text) for one in translator.write([" ".join(s) for s in CORPUS.sentences], search=Search(longest=8))
    ]
    source, target = ("odd", "even") if "odd" in said else ("even", "odd")
    settings: dict[str, Any] = {"sizes": (30,), "strengths": (0.0, 6.0), "where": "words", "random": 2}
    settings |= {"source": source, "target": target, "shift": "translate"}
    found = control_property(translator, RANKING, statistics_of(translator), output, **settings)
    assert found.units == said.count(source)
    for of in ("top", "matched"):
        still, moved = found.at("parity", of, 30, 0.0), found.at("parity", of, 30, 6.0)
        assert (still.error_rate.value, still.reached.value, still.kept.value) == (0, 0, 1)
        assert still.quality["chrf"].value == pytest.approx(100)
        assert moved.quality["chrf"].value < 100
    assert f"turn {source} into {target} more often than random" in repr(found)
    assert "<table" in found._repr_html_()
    assert found.to_dict()["points"][0]["size"] == 30


def of_task(statistics: Statistics, width: int) -> ClassStatistics:
    """The statistics of the classes of the first neurons."""
    whole = statistics.of_task("parity")
    return replace(whole, mean=whole.mean[:, :width], variance=whole.variance[:, :width])


# --- planted neurons ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def planted(causal: Model) -> Model:
    """A model in which one channel of the embedding says the parity of a word, and nothing else of it does."""
    table = np.array(causal.params["embedding"]["pieces"]["embedding"])
    table[:, PLANTED] = np.where(np.arange(len(table)) % 2, 3.0, -3.0)
    changed = {**causal.params["embedding"], "pieces": {"embedding": jax.numpy.asarray(table)}}
    return causal.with_params({**causal.params, "embedding": changed})


def by_parity(corpus: Corpus) -> Corpus:
    labels = [["odd" if int(word[1:]) % 2 else "even" for word in sentence] for sentence in corpus.sentences]
    return corpus.with_task("parity", labels)


def planted_first(place: int) -> Ranking:
    """Neurons of layer 0 with the planted one at a place, best first."""
    axis = NeuronAxis(blocks=AXIS.blocks[:1])
    order = [column for column in range(32) if column != PLANTED]
    order.insert(place, PLANTED)
    scores = np.empty(32)
    scores[order] = np.arange(32, 0, -1.0)
    return rank_by_scores("parity", axis, scores)


def test_a_planted_neuron_switches_the_probe_of_a_later_layer_and_random_ones_do_not(planted: Model) -> None:
    train, test = by_parity(draw_corpus([8] * 60, seed=1)), by_parity(draw_corpus([6] * 20, seed=2))
    gathering = Gathering(sample_words=0, covariance=False)
    below = extract(planted, train, layers=(0,), statistics=gathering).statistics()
    probes = fit_probes(extract(planted, train, layers=(2,)), ElasticNet(l1=1e-3, l2=1e-3), tasks=["parity"])
    output = ProbeAccuracy.of(planted, probes, "parity", test, slots=128)
    rankings = {"found": planted_first(0), "missed": planted_first(31)}
    found = control_property(
        planted, rankings, below, output, source="odd", target="even", sizes=(1,), strengths=(0.0, 1.0), random=10
    )
    top, missed = (found.at(name, "top", 1, 1.0) for name in ("found", "missed"))
    assert top.reached.value > 0.9
    assert top.clean is not None
    assert missed.reached.value < 0.1
    assert np.median(found.at("found", "matched", 1, 1.0).draws) < 0.1
    assert [claim.outcome for claim in found.claims if not claim.clean] == ["holds", "within noise"]
    assert [claim.outcome for claim in found.claims if claim.clean] == ["holds", "within noise"]
    assert top.excess == pytest.approx(top.reached.value - np.mean(found.at("found", "matched", 1, 1.0).draws))
    assert top.excess_low is not None
    assert top.excess_low > 0.5
    away = control_property(  # the printed sign leaves all words where they are
        planted, rankings["found"], below, output, source="odd", target="even", sizes=(1,), strengths=(-2.0,), random=2
    )
    assert away.at("parity", "top", 1, -2.0).reached.value < 0.1
    with pytest.raises(SettingsError, match="There is no point"):
        found.at("found", "top", 2, 1.0)
    with pytest.raises(DataError, match="of the same neurons"):
        control_property(
            planted, RANKING, below, output, source="odd", target="even", sizes=(1,), strengths=(0.0,), random=2
        )


def test_all_points_are_one_program_and_the_next_ones_are_none(masked: Model, of_masked: Statistics) -> None:
    output = PredictedWords.of(masked, CORPUS, "parity", classify=parity, slots=48)
    settings: dict[str, Any] = {"source": "odd", "target": "even", "random": 2}
    with count_programs(afresh=True) as first:
        control_property(masked, RANKING, of_masked, output, sizes=(2, 5), strengths=(0.0, 1.0), **settings)
    assert len([name for name in first if "score_edits" in name]) == 1
    settings |= {"shift": "translate", "where": "words", "layers": (1,)}
    with count_programs() as second:
        control_property(masked, RANKING, of_masked, output, sizes=(3, 7), strengths=(2.0, 4.0), **settings)
    assert not [name for name in second if "score_edits" in name]


@pytest.mark.usefixtures("as_users_run_it")
def test_bad_settings_are_refused(masked: Model, of_masked: Statistics, translator: Model, tmp_path: Path) -> None:
    del tmp_path
    output = PredictedWords.of(masked, CORPUS, "parity", classify=parity, slots=48)
    written = WrittenTexts.of(translator, CORPUS, classify=of_text, metrics=())
    never = PredictedWords.of(masked, CORPUS, "parity", classify=lambda _: None, slots=48)
    plain: dict[str, Any] = {"source": "odd", "target": "even", "sizes": (3,), "strengths": (1.0,), "random": 2}
    wrong: tuple[tuple[dict[str, Any], type[Exception], str], ...] = (
        ({"shift": "push"}, SettingsError, "`shift` must be one of clamp, translate, zero"),
        ({"shift": "zero"}, SettingsError, "their strength must be 0, got 1"),
        ({"where": "verbs"}, SettingsError, "must be one of all, words, class"),
        ({"where": [[True]]}, SettingsError, "shaped like the sentences"),
        ({"where": [[False] * len(s) for s in CORPUS.sentences]}, DataError, "No word of words is edited"),
        ({"strengths": ()}, SettingsError, "at least one strength"),
        ({"strengths": (0.0,), "shift": "translate"}, SettingsError, "strength that changes something"),
        ({"strengths": (np.inf,)}, SettingsError, "must be finite"),
        ({"sizes": (97,)}, SettingsError, "from 1 to 96"),
        ({"task": "upos"}, SettingsError, "no classes of 'upos'"),
        ({"random": 1}, SettingsError, "proves nothing"),
        ({"output": never}, DataError, r"No answer of the model as it is shows 'odd'.*Classes found .*None \("),
    )
    for changes, error, message in wrong:
        settings = {"output": output, **plain, **changes}
        with pytest.raises(error, match=message):
            control_property(masked, RANKING, of_masked, **settings)
    with pytest.raises(ModelError, match="ask for them with `WrittenTexts`"):
        PredictedWords.of(translator, CORPUS, "parity", classify=parity)
    with pytest.raises(ModelError, match="cannot write"):
        WrittenTexts.of(masked, CORPUS, classify=of_text, metrics=())
    decoder = NeuronAxis(blocks=(LayerBlock("decoder.mlp", 0, 40),))
    in_decoder = replace(of_masked, axis=decoder, by_task={"parity": of_task(of_masked, 40)})
    with pytest.raises(SettingsError, match="edit the decoder in `all` slots"):
        control_property(translator, rank_by_scores("parity", decoder, np.arange(40.0)), in_decoder, written, **plain)
    unlabelled = WrittenTexts.of(translator, Corpus.from_words(CORPUS.sentences), classify=of_text, metrics=())
    with pytest.raises(SettingsError, match="no labels of `parity`"):
        control_property(masked, RANKING, of_masked, unlabelled, **plain)
