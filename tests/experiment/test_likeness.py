"""Models side by side: the files, and the command, on stores with planted likenesses."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import lca_jax as lca
from lca_jax.cli.main import main
from lca_jax.experiment.likeness import measure_likeness
from lca_jax.text.corpus import Corpus
from tests.models_of_one_corpus import CONSTANT, mixed, noisy_copy
from tests.stores import store_of, write_store

SENTENCES = [[f"w{number}" for number in range(start, start + 6)] for start in range(0, 600, 6)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    corpus = Corpus.from_words(SENTENCES)
    folder, X = tmp_path_factory.mktemp("stores"), mixed(0)
    copy = noisy_copy(X, sigma=0.5)[0].reshape(X.shape)
    run = folder / "run" / "activations"
    run.mkdir(parents=True)
    return [
        write_store(folder / "one", store_of(X, SENTENCES, {}), corpus, model="first"),
        write_store(run / "test", store_of(copy, SENTENCES, {}), corpus, model="second").parents[1],
        write_store(folder / "three", store_of(mixed(8, layers=2), SENTENCES, {}), corpus, model="stranger"),
    ]


def test_the_command_says_and_writes_what_is_common(
    folders: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    main(["compare-models", *map(str, folders), "--out", str(out), "--drawn", "30"])
    said = capsys.readouterr().out
    assert "600 of 600 words are in every store (without a vector: 0 of first, 0 of second, 0 of stranger)" in said
    held = json.loads((out / "likeness.json").read_text("utf-8"))
    assert [model["name"] for model in held["models"]] == ["first", "second", "stranger"]
    best = held["rankings"]["max_corr"]
    assert best[0]["median"] == pytest.approx(1 / np.sqrt(1.25), abs=0.03)
    assert best[0]["above_chance"] == 29
    assert best[2]["above_chance"] <= 4
    assert (
        f"first: best partner's |r| {best[0]['median']:.2f} in the median ({best[0]['chance']:.2f} by chance)" in said
    )
    assert f"held-out R2 {held['rankings']['lin_reg'][1]['median']:.2f}" in said
    assert held["parts"] == [360, 120, 120]
    assert [pair["models"] for pair in held["layers"]] == [
        ["first", "second"],
        ["first", "stranger"],
        ["second", "stranger"],
    ]
    assert np.shape(held["layers"][1]["cka"]["values"]) == np.shape(held["layers"][1]["svcca"]["chance"]) == (3, 2)
    with (out / best[0]["file"]).open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 30
    ranking = lca.rank(
        [*map(lca.open_store, (folders[0], folders[1] / "activations/test", folders[2]))], method="max_corr"
    )
    assert [int(row["index"]) for row in rows] == [neuron.index for neuron in ranking.neurons]
    assert rows[0]["partner in second"] == ranking.table()["partner in second"][0]
    assert (int(rows[-1]["layer"]), int(rows[-1]["index"])) == (0, CONSTANT)


def test_one_store_has_its_own_layers_compared(folders: list[Path], tmp_path: Path) -> None:
    results = measure_likeness([lca.open_store(folders[0])], tmp_path / "own", drawn=0)
    (own,) = results["layers"]
    assert own["models"] == ["first", "first"]
    np.testing.assert_allclose(np.diagonal(own["cka"]["values"]), 1, atol=1e-6)
    assert results["rankings"] == {}
    assert sorted(path.name for path in (tmp_path / "own").iterdir()) == ["likeness.json"]


def test_the_command_refuses_in_one_line(
    folders: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["compare-models", str(folders[0]), str(tmp_path / "none"), "--out", str(tmp_path / "out")])
    assert ended.value.code == 1
    assert "is not an activation store" in capsys.readouterr().err
