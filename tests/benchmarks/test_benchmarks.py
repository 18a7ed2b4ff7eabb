"""The benchmarks: statistics against hand-computed numbers, peers against each other, and both programs end to end."""

import json
import subprocess
import sys
import time
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import (
    bench_extract,
    bench_forward,
    bench_kills,
    bench_store,
    extract_memory,
    fit_memory,
    harness,
    incumbent,
    packing_share,
    reference,
)
from benchmarks.probing.reached import Penalties
from lca_jax.errors import NotConverged
from lca_jax.extraction.extract import extract
from lca_jax.models.load import load_model
from lca_jax.probing.fit import fit_elastic_net
from lca_jax.probing.objective import PenaltyName
from lca_jax.text.corpus import Corpus
from tests.tiny_bert import write_bert

SENTENCES = [["the", "cats", "sat"], ["a"], ["b", "satly", "c", "cats"], ["the", "cat", "s"]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bert(tmp_path_factory.mktemp("bert"), max_position_embeddings=64)


# The harness


def test_statistics_by_hand() -> None:
    timing = harness.Timing(
        wall_s=(4.0, 1.0, 2.0), cpu_s=(3.0, 5.0, 4.0), others_share=(0.0, 0.5, 0.1), first_s=10.0, compile_s=7.0
    )
    assert (timing.median_s, timing.minimum_s, timing.spread) == (2.0, 1.0, 1.5)
    assert timing.as_json()["cpu_median_s"] == 4.0
    even = harness.Timing(wall_s=(1.0, 2.0, 3.0, 8.0), cpu_s=(1.0,), others_share=(0.0,), first_s=1.0, compile_s=0.0)
    assert (even.median_s, even.spread) == (2.5, 2.8)


def test_floor_is_the_slower_of_computing_and_reading() -> None:
    ceiling = harness.Ceiling(flop_per_s=100.0, bytes_per_s=10.0)
    assert ceiling.floor_s(flop=300.0) == 3.0
    assert ceiling.floor_s(flop=300.0, read_bytes=50.0) == 5.0


def test_competitors_take_turns_after_a_first_call_of_each() -> None:
    calls: list[str] = []
    numbers = count()

    def call(name: str) -> int:
        calls.append(name)
        time.sleep(0.02 if name == "slow" else 0.0)
        return next(numbers)

    timings, results = harness.time_interleaved(
        {"slow": lambda: call("slow"), "fast": lambda: call("fast")}, repetitions=3
    )
    assert calls == ["slow", "fast"] * 4
    assert results == {"slow": 6, "fast": 7}
    assert len(timings["slow"].wall_s) == len(timings["fast"].cpu_s) == 3
    assert all(0 <= share <= 1.5 for share in timings["slow"].others_share)  # ticks of 10 ms are coarse
    assert timings["slow"].minimum_s >= 0.02 > timings["fast"].minimum_s


def test_compiling_is_told_apart_from_running() -> None:
    fresh = jax.jit(lambda x: jnp.tanh(x @ x).sum())
    x = jnp.ones((64, 64))
    timings, _ = harness.time_interleaved({"jitted": lambda: fresh(x)}, repetitions=2)
    assert 0 < timings["jitted"].compile_s <= timings["jitted"].first_s
    again, _ = harness.time_interleaved({"jitted": lambda: fresh(x)}, repetitions=2)
    assert again["jitted"].compile_s == 0


def test_no_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`repetitions` must be 1 or more, got 0"):
        harness.time_interleaved({"one": lambda: None}, repetitions=0)


def test_result_names_machine_and_day_and_no_path(tmp_path: Path) -> None:
    harness.write_result(tmp_path / "results" / "one.json", "one", {"figure": 1.5})
    held = json.loads((tmp_path / "results" / "one.json").read_text("utf-8"))
    assert held["figure"] == 1.5
    assert held["machine"]["device"]["platform"] == "cpu"
    assert held["machine"]["versions"]["jax"] == jax.__version__
    assert str(Path.home()) not in json.dumps(held)


# The measuring of what was reached


@pytest.mark.parametrize("penalty", ["elastic_net", "neurox"])
def test_reference_brackets_the_optimum(penalty: PenaltyName) -> None:
    generator = np.random.default_rng(0)
    X = generator.standard_normal((300, 12)).astype(np.float32)
    y = np.argmax(X[:, :3] + generator.standard_normal((300, 3)), axis=1).astype(np.int32)
    penalties = Penalties(l1=0.01, l2=0.02)
    probe = fit_elastic_net(X, y, standardize=False, penalty=penalty, tolerance=1e-5, **penalties)
    reached = reference.measure_objective(X, y, probe.weights, probe.bias, penalty=penalty, **penalties)
    bound = reference.lower_bound(X, y, probe.weights, probe.bias, penalty=penalty, **penalties)
    null = reference.null_objective(y)
    assert reached == pytest.approx(probe.objective, rel=1e-5)
    assert null == pytest.approx(probe.null_objective, rel=1e-6)
    assert -1e-12 <= reached - bound <= 1.1e-5 * null
    # Far from the optimum the bound is low, but a bound still.
    far = reference.lower_bound(X, y, 0 * probe.weights, 0 * probe.bias, penalty=penalty, **penalties)
    assert far <= bound + 1e-9


def test_objective_by_hand() -> None:
    X = np.array([[1.0], [-1.0]], np.float32)
    W, b = np.array([[2.0, -1.0]], np.float32), np.array([0.0, 0.0], np.float32)
    # Scores (2, -1) and (-2, 1): both words right by 3.
    loss = np.log1p(np.exp(-3.0))
    seconds: dict[PenaltyName, float] = {"elastic_net": 5 / 2, "neurox": 5**0.5}
    for penalty, second in seconds.items():
        reached = reference.measure_objective(X, np.array([0, 1]), W, b, l1=0.1, l2=0.01, penalty=penalty)
        assert reached == pytest.approx(loss + 0.1 * 3 + 0.01 * second, rel=1e-9)


# The peers


def test_peers_agree_with_the_package(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    corpus = Corpus.from_words(SENTENCES)
    ours = extract(load_model(folder), corpus).read("residual")[:]
    peer = incumbent.load_torch_model(folder)
    batched = np.load(incumbent.extract_in_batches(peer, SENTENCES, tmp_path / "batched.npy", batch_size=3))
    np.testing.assert_allclose(batched, ours, atol=1e-5)
    for path in (incumbent.sentence_file(tmp_path, "one"), tmp_path / "two.npy-sequence"):
        one_by_one = list(incumbent.read_vectors(incumbent.extract_one_by_one(peer, SENTENCES, path)))
        assert [len(vectors) for vectors in one_by_one] == [len(words) for words in SENTENCES]
        np.testing.assert_allclose(np.concatenate(one_by_one), ours, atol=1e-5)


def test_incumbent_trains_by_its_own_objective() -> None:
    pytest.importorskip("torch")
    generator = np.random.default_rng(0)
    X = generator.standard_normal((256, 6)).astype(np.float32)
    y = (X[:, 0] + X[:, 1] + generator.standard_normal(256) > 0).astype(np.int32)
    for penalty in ("neurox", "elastic_net"):
        settings: Any = {"l1": 1e-2, "l2": 1e-2, "penalty": penalty}
        reached = [
            reference.measure_objective(
                X, y, *incumbent.train_probe(X, y, epochs=epochs, learning_rate=1e-2, **settings), **settings
            )
            for epochs in (1, 5, 30)
        ]
        assert all(later < earlier for earlier, later in pairwise(reached))
        best = fit_elastic_net(X, y, l1=1e-2, l2=1e-2, standardize=False, penalty=penalty)
        # Mini-batches in a fixed order and sub-gradients keep it a little above the optimum, and it never is below.
        assert best.objective - best.duality_gap < reached[-1] < best.objective + 0.01


# The programs


def test_extraction_program(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    out = tmp_path / "extract.json"
    bench_extract.main(["--quick", "--model", str(folder), "--sentences", "12", "--out", str(out)])
    held = json.loads(out.read_text("utf-8"))
    assert (held["format"], held["benchmark"]) == (harness.FORMAT, "extract")
    assert set(held) == {
        *("format", "benchmark", "day", "machine", "input", "load", "ceiling", "work", "competitors"),
        "times_as_long_as_lca_jax",
    }
    assert held["input"]["model"] == folder.name
    assert held["input"]["sentences"] == 12
    assert {"lca_jax", "incumbent", "batched"} <= set(held["competitors"])
    for name, row in held["competitors"].items():
        assert row["words_per_s"] == pytest.approx(held["input"]["words"] / row["median_s"])
        if name != "lca_jax":
            assert row["largest_difference"] <= bench_extract.LARGEST_DIFFERENCE
            assert row["words_compared"] == held["input"]["words"]
    assert 0 < held["competitors"]["lca_jax"]["packed_share"] <= 1
    assert str(folder.parent) not in out.read_text("utf-8")
    assert "times as long as lca_jax" in capsys.readouterr().out


def test_extraction_work_by_hand(folder: Path) -> None:
    # Width 32, 40 units, 2 layers; "the cats sat" is 4 pieces and two special ones, "a" one and two.
    flop, pieces = bench_extract.count_work(load_model(folder), Corpus.from_words([["the", "cats", "sat"], ["a"]]))
    assert pieces == 6 + 3
    assert flop == 2 * 2 * (4 * 32**2 + 2 * 32 * 40) * 9 + 4 * 32 * 2 * (6**2 + 3**2)


def test_a_wrong_vector_is_no_result(folder: Path, tmp_path: Path) -> None:
    corpus = Corpus.from_words(SENTENCES)
    store = extract(load_model(folder), corpus)
    vectors = store.read("residual")[:].copy()
    vectors[3, 1, 5] += 0.01
    np.save(tmp_path / "altered.npy", vectors)
    with pytest.raises(ValueError, match=r"altered\.npy: vectors may differ .* by 0\.0001, got 1\.00e-02"):
        bench_extract.compare(store, corpus, tmp_path / "altered.npy")


@pytest.mark.slow
def test_forward_program(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    out = tmp_path / "forward.json"
    bench_forward.main(["--quick", "--model", str(folder), "--sentences", "12", "--out", str(out)])
    held = json.loads(out.read_text("utf-8"))
    assert (held["format"], held["benchmark"]) == (harness.FORMAT, "forward")
    text = held["text"]
    assert text["compilations"] == 1
    assert text["largest_difference"] <= bench_forward.LARGEST_DIFFERENCE
    assert set(text["competitors"]) == {"lca_jax", "torch"}
    for row in text["competitors"].values():
        assert row["words_per_s"] == pytest.approx(text["input"]["words"] / row["median_s"])
    assert list(held["stacks"]["rows"]) == ["family albert", "family bart"]
    assert "torch" in capsys.readouterr().out


def test_forward_work_by_hand(folder: Path) -> None:
    model = load_model(folder)
    # Two layers: four matrices 32 x 32, two of 32 x 40; attention to 5 pieces, both products.
    by_hand = 3 * 2 * (2 * (4 * 32**2 + 2 * 32 * 40) + 4 * 32 * 5)
    assert bench_forward._flop(model.config, model.params, pieces=3, length=5) == by_hand


def test_store_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("h5py")
    out = tmp_path / "store.json"
    bench_store.main(["--words", "600", "--width", "16", "--repetitions", "1", "--out", str(out)])
    content = json.loads(out.read_text())
    names = {"lca_jax", "shuffled", "hdf5", "files"}
    assert set(content["competitors"]) == {*names, *(f"{name}, cold" for name in names), "neurox"}
    assert content["neurox_times_as_long"] > 0
    assert "shares of the sequential speed" in capsys.readouterr().out
    with pytest.raises(ValueError, match="hdf5 read other numbers"):
        bench_store._check({"hdf5": np.ones((2, 2), np.float32)}, np.zeros((2, 2), np.float32))


def test_memory_program(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "memory.json"
    extract_memory.main(["--model", str(folder), "--words", "6000", "--out", str(out)])
    content = json.loads(out.read_text())
    memory = content["memory_bytes"]
    assert 5900 < content["input"]["words"] <= 6000
    assert memory["imported"] <= memory["with_corpus"] <= memory["with_model"] <= memory["largest"]


def test_fit_memory_program(folder: Path, tmp_path: Path) -> None:
    out, corpus = tmp_path / "memory.json", tmp_path / "corpus.conllu"
    tagged = (("the", "DET"), ("cats", "NOUN"), ("sat", "VERB"))
    rows = [f"{place}\t{word}\t_\t{tag}" + "\t_" * 6 for place, (word, tag) in enumerate(tagged, 1)]
    corpus.write_text("\n".join([*rows, "", ""]) * 3)
    asked = ["--model", str(folder), "--corpus", str(corpus), "--words", "50", "--tasks", "4", "--l1", "1", ".1"]
    with pytest.warns(NotConverged):
        fit_memory.main([*asked, "--max-iterations", "1", "--out", str(out)])
    content = json.loads(out.read_text())
    assert content["input"]["words"] == 51
    assert content["input"]["classes"] == 3
    assert content["answers"] == 2 * 4 * 2
    memory = content["memory_bytes"]
    assert 0 < memory["largest_own"] <= memory["largest"]


@pytest.mark.slow
def test_thirty_tasks_of_a_hundred_thousand_words_keep_to_their_memory(folder: Path, tmp_path: Path) -> None:
    """A process by itself, from the file of words to the rankings, held as well what it had let go of before."""
    out = tmp_path / "memory.json"
    asked = ["--model", str(folder), "--words", "100000", "--tasks", "30", "--max-iterations", "1", "--out", str(out)]
    subprocess.run([sys.executable, "-W", "ignore", "-m", "benchmarks.fit_memory", *asked], check=True)
    content = json.loads(out.read_text())
    assert content["answers"] == 60
    assert content["input"]["words"] >= 100_000
    assert content["memory_bytes"]["largest_own"] < 1.8e9  # measured, 1.5e9


def test_packing_program(folder: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "lines.conllu", tmp_path / "packing.json"
    lines = [f"{number}\t{word}\t_\tX\t" + "\t".join("_" * 6) for number, word in enumerate(("a", "cat", "sat"), 1)]
    file.write_text("\n".join([*lines, "", ""]) * 40)
    packing_share.main(["--model", str(folder), "--corpus", str(file), "--out", str(out)])
    rows = json.loads(out.read_text())["rows"]
    whole, cut = rows["lines.conllu"], rows["lines.conllu, lines of two to five words"]
    assert whole["words"] == cut["words"] == 120
    assert (whole["sentences"], cut["sentences"]) == (40, 35)
    assert 0 < whole["packed_share"] <= 1
    assert whole["compiled_shapes"] == 1


@pytest.mark.slow
def test_kill_program(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "kills.json"
    bench_kills.main(
        ["--model", str(folder), "--words", "3000", "--kills", "2", "--shard-words", "64", "--out", str(out)]
    )
    content = json.loads(out.read_text())
    assert (content["format"], content["benchmark"]) == (harness.FORMAT, "kills")
    assert {"processor", "device", "versions"} <= set(content["machine"])
    assert content["input"]["model"] == folder.name
    assert content["vectors"] + sum(content["excluded"].values()) == content["input"]["words"]
    assert content["killed"]["batches"] >= content["undisturbed"]["batches"]
    assert bench_kills.compare(tmp_path, tmp_path) == []
    (tmp_path / "other").mkdir()
    assert bench_kills.compare(tmp_path, tmp_path / "other") == ["kills.json"]
