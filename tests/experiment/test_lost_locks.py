"""A process that stood still and lost its folder meanwhile writes nothing beside the one that has it now."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lca_jax import ElasticNet, Experiment, run
from lca_jax.errors import StoreError
from lca_jax.experiment.config import Study
from lca_jax.experiment.results import analyse_task
from lca_jax.experiment.study import study
from tests.experiment.files import smallest_experiment, tiny_study
from tests.lost_locks import files_of_the_end


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Study:
    probe = ElasticNet(l1=1e-2, l2=(1e-2, 1e-1))
    return tiny_study(tmp_path_factory.mktemp("study"), 30, probe=probe)


@pytest.mark.parametrize(
    ("place", "there", "missing"),
    [
        ("lca_jax.probing.kept_answers:KeptBatch.keep", "activations/train/manifest.json", "unfinished-probes"),
        ("lca_jax.probing.probe_set:ProbeSet.select", "unfinished-probes", "probes"),
        ("lca_jax.experiment.study:checksum_of", "probes/probes.json", "fits.json"),
        ("lca_jax.probing.kept_answers:KeptAnswers.remove", "unfinished-probes", "rankings"),
        ("lca_jax.experiment.study:rank_neurons", "fits.json", "rankings"),
    ],
)
def test_a_study_ends_before_its_next_write(
    settings: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, there: str, missing: str
) -> None:
    settings = replace(settings, out=tmp_path / "out")
    before = files_of_the_end(monkeypatch, place, settings.out, partial(study, settings))
    assert any(name.startswith(there) for name in before)
    assert not any(name.startswith(f"{missing}/") or name == missing for name in before)
    assert (settings.out / ".lock-0").exists(), "the lock of another process is left alone"


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    return smallest_experiment(tmp_path_factory.mktemp("run"))


@pytest.mark.parametrize(
    ("place", "missing"),
    [
        ("lca_jax.experiment.run:fit_controls", "probes/probes.json"),
        ("lca_jax.experiment.run:csv_columns", "rankings/upos.csv"),
        ("lca_jax.experiment.run:analyse_task", "tasks/upos.json"),
        ("lca_jax.experiment.run:describe_corpus", "results.json"),
        ("lca_jax.experiment.folder:record_outputs", "probes/probes.json"),
    ],
)
def test_a_run_ends_before_its_next_write(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, missing: str
) -> None:
    experiment = replace(experiment, out=tmp_path / "out")
    before = files_of_the_end(monkeypatch, place, experiment.out, partial(run, experiment))
    assert "steps.json" in before
    assert missing not in before


def test_a_run_whose_folder_was_moved_away_does_not_make_it_anew(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = replace(experiment, out=tmp_path / "out")

    def analyse_and_move(*arguments: Any) -> Any:
        entry = analyse_task(*arguments)
        experiment.out.rename(tmp_path / "moved")
        return entry

    monkeypatch.setattr("lca_jax.experiment.run.analyse_task", analyse_and_move)
    with pytest.raises(StoreError, match="no longer the folder that this run began in"):
        run(experiment)
    assert not experiment.out.exists()
