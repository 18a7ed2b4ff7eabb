"""A study reads what a run reads: the same rankings of words, of words with their heads, of sentences."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lca_jax import ElasticNet, Experiment, load_probes, open_store, run
from lca_jax.errors import SettingsError
from lca_jax.experiment.config import Study
from lca_jax.experiment.study import study
from tests.experiment.files import write_conllu, write_heads, write_sentences
from tests.tiny_bert import write_bert


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model, a treebank with heads and sentences with labels."""
    folder = tmp_path_factory.mktemp("study")
    words = write_conllu(folder / "plain.conllu", 60, seed=0)
    return {
        "model": write_bert(folder / "bert"),
        "words": write_heads(folder / "train.conllu", words),
        "sentences": write_sentences(folder / "train.tsv", 80, seed=0),
    }


def settings_for(files: dict[str, Path], train: str, out: Path, **options: object) -> Study:
    probe = ElasticNet(l1=(1e-3, 1e-2), l2=1e-2)
    return Study(model=str(files["model"]), train=files[train], out=out, probe=probe, **options)  # pyright: ignore[reportArgumentType] - options of every type


def rankings(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text("utf-8") for file in (folder / "rankings").iterdir()}


@pytest.mark.parametrize(
    ("train", "options", "names"),
    [
        ("words", {"tasks": ("feats:Number",), "labelled_only": True, "neurons": (5, 1, 9)}, {"feats-Number.csv"}),
        pytest.param("words", {"tasks": ("deprel",), "heads": "head"}, {"deprel.csv"}, marks=pytest.mark.slow),
        pytest.param(
            "sentences",
            {"tasks": ("more=1",), "pool": "cls", "max_train_per_class": 20, "seed": 3, "select": "accuracy"},
            {"more.csv"},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_study_finds_what_a_run_finds(
    files: dict[str, Path], tmp_path: Path, train: str, options: dict, names: set[str], caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_for(files, train, tmp_path / "study", **options)
    with caplog.at_level("WARNING", logger="lca_jax"):
        study(settings)
    shared = {name: getattr(settings, name) for name in ("model", "train", "probe")}
    by_mass = {"ranking": "mass", "replicates": 0}
    run(Experiment(**shared, test=files[train], out=tmp_path / "run", **by_mass, **options), until="rank")
    ours, theirs = (rankings(folder) for folder in (settings.out, tmp_path / "run"))
    assert set(ours) == set(theirs) == names
    for name in names:
        one, other = (list(csv.DictReader(found[name].splitlines())) for found in (ours, theirs))
        # A run fits control tasks after the choice, so its batches are others, and float32 rounds otherwise.
        scores = [[float(row.pop("score")) for row in rows] for rows in (one, other)]
        np.testing.assert_allclose(scores[0], scores[1], atol=1e-5)
        assert one == other
    for part in ("train", "dev"):
        ours, theirs = (open_store(folder / "activations" / part) for folder in (settings.out, tmp_path / "run"))
        assert ours.manifest.recipe == theirs.manifest.recipe
    said = [record.message for record in caplog.records]
    if train == "sentences":
        assert any(
            line.startswith("train: 32 of ") and line.endswith("sentences have no vector: not drawn from its class")
            for line in said
        )
    elif "heads" in options:
        assert any("no vector: root" in line for line in said)
    else:
        assert any("words have no vector: no label" in line for line in said)


@pytest.mark.slow
def test_layers_of_heads_and_words_are_probes_of_their_own(files: dict[str, Path], tmp_path: Path) -> None:
    settings = settings_for(
        files, "words", tmp_path, tasks=("deprel",), heads="head", layers=(0, 2), by_layer=True, replicates=1
    )
    probes = study(settings)
    names = [f"{site} {layer}" for site in ("head.residual", "residual") for layer in (0, 2)]
    assert list(probes.subsets) == names
    assert set(rankings(tmp_path)) == {f"deprel {name}.csv".replace(" ", "-") for name in names}
    assert load_probes(tmp_path / "probes").one("deprel", subset="residual 2", replicate=1).iterations > 0


def test_a_study_that_stores_nothing_finds_the_same(files: dict[str, Path], tmp_path: Path) -> None:
    settings = settings_for(files, "words", tmp_path / "stored", tasks=("feats:Number",))
    stored, computed = study(settings), study(replace(settings, out=tmp_path / "computed", stored=False))
    assert {entry.name for entry in (tmp_path / "computed").iterdir()} == {"fits.json", "probes", "rankings"}
    assert rankings(tmp_path / "computed") == rankings(tmp_path / "stored")
    np.testing.assert_array_equal(computed.one("feats:Number").weights, stored.one("feats:Number").weights)


def test_what_cannot_be_asked_of_a_study_is_said(files: dict[str, Path], tmp_path: Path) -> None:
    settings = settings_for(files, "sentences", tmp_path, tasks=("more=1",))
    with pytest.raises(SettingsError, match=r"Labels of sentences .*one of cls, sentence-mean, got last"):
        study(replace(settings, pool="last"))
    with pytest.raises(SettingsError, match=r"has labels of sentences .*Probe them in two runs"):
        study(replace(settings, heads="2"))
    with pytest.raises(SettingsError, match="`replicates` must be 0 or more, got -1"):
        replace(settings, replicates=-1)
    with pytest.raises(SettingsError, match="`statistics` lie beside the activations"):
        replace(settings, statistics=True, stored=False)
    with pytest.raises(SettingsError, match="Leave out `labelled_only`"):
        replace(settings, heads="head", labelled_only=True)
