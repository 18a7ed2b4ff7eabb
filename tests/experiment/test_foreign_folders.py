"""What a run or a study did not make is not written over, and not deleted."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lca_jax import Experiment, run
from lca_jax.errors import StoreError
from lca_jax.experiment.config import Study
from lca_jax.experiment.folder import RunFolder, key_of
from lca_jax.experiment.study import study
from lca_jax.machine.checksums import checksums_in
from tests.experiment.files import smallest_experiment


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    return smallest_experiment(tmp_path)


def study_like(experiment: Experiment, out: Path) -> Study:
    return Study(model=experiment.model, train=experiment.train, dev=experiment.dev, out=out, probe=experiment.probe)


def test_a_model_folder_is_not_taken_for_a_run_folder(experiment: Experiment) -> None:
    out = Path(experiment.model)
    before = checksums_in(out)
    with pytest.raises(StoreError, match=r"is not the folder of a run .* and holds config\.json, which a run"):
        run(replace(experiment, out=out))
    with pytest.raises(StoreError, match=r"holds config\.json"):
        run(replace(experiment, out=out), overwrite=True)
    assert checksums_in(out) == before


@pytest.mark.parametrize("entry", ["results.json", "report/thesis.tex", "rankings/mine.csv", "activations/mine.bin"])
def test_a_folder_of_others_is_refused(experiment: Experiment, entry: str) -> None:
    mine = experiment.out / entry
    mine.parent.mkdir(parents=True)
    mine.write_text("precious")
    with pytest.raises(StoreError, match=f"holds {entry.partition('/')[0]}, which a run would write over"):
        run(experiment)
    if entry.startswith("rankings"):
        with pytest.raises(StoreError, match="holds `rankings`, which a study would replace"):
            study(study_like(experiment, experiment.out))
    assert list(checksums_in(experiment.out)) == [entry]
    assert mine.read_text() == "precious"


def test_empty_folders_and_files_of_other_names_are_no_hindrance(experiment: Experiment) -> None:
    (experiment.out / "report").mkdir(parents=True)
    (experiment.out / "notes.txt").write_text("precious")
    run(experiment, until="extract")
    assert (experiment.out / "notes.txt").read_text() == "precious"


def test_a_study_refuses_a_run_folder_and_keeps_what_is_no_ranking(experiment: Experiment, tmp_path: Path) -> None:
    run(experiment, until="extract")
    before = checksums_in(experiment.out)
    with pytest.raises(StoreError, match="is the folder of a run, whose results a study would replace"):
        study(study_like(experiment, experiment.out))
    assert checksums_in(experiment.out) == before
    settings = study_like(experiment, tmp_path / "study")
    study(settings)
    made = (settings.out / "rankings/upos.csv").read_bytes()
    (settings.out / "rankings/mine.csv").write_text("precious,1\n")
    (settings.out / "rankings/old-task.csv").write_bytes(made)
    study(settings)
    assert {file.name for file in (settings.out / "rankings").iterdir()} == {"upos.csv", "mine.csv"}
    assert (settings.out / "rankings/mine.csv").read_text() == "precious,1\n"


@pytest.mark.parametrize("harm", ["settings", "altered", "overwrite"])
def test_files_of_others_in_the_folders_of_a_step_are_not_deleted(tmp_path: Path, harm: str) -> None:
    def work() -> None:
        (tmp_path / "rankings").mkdir()
        (tmp_path / "rankings/upos.csv").write_text("1")

    RunFolder(tmp_path).do("rank", key_of(1), ["rankings"], work)
    (tmp_path / "rankings/.hidden").write_text("of the desktop")
    (tmp_path / "rankings/mine.csv").write_text("precious")
    if harm == "altered":
        (tmp_path / "rankings/upos.csv").write_text("2")
    before = checksums_in(tmp_path)
    folder = RunFolder(tmp_path)
    begin = {
        "settings": lambda: folder.settle({"rank": key_of(2)}),
        "overwrite": folder.clear,
        "altered": lambda: folder.do("rank", key_of(1), ["rankings"], work),
    }[harm]
    with pytest.raises(StoreError, match=r"not its own: rankings/mine\.csv\. Nothing was deleted: move them elsewhere"):
        begin()
    assert checksums_in(tmp_path) == before
    (tmp_path / "rankings/mine.csv").unlink()
    RunFolder(tmp_path).settle({"rank": key_of(2)})
    assert not (tmp_path / "rankings").exists()
    assert json.loads((tmp_path / "steps.json").read_text()) == {}
