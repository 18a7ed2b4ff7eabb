"""What runs and studies say of their model: precision, revision, devices that share it, shards of its stores."""

import json
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from lca_jax import open_store, run
from lca_jax.cli.main import main
from lca_jax.errors import ModelError, SettingsError, StoreError
from lca_jax.machine.profiling import profiling, stretch
from tests.experiment.files import smallest_experiment


def step_keys(folder: Path) -> dict[str, str]:
    return {name: step["key"] for name, step in json.loads((folder / "steps.json").read_text("utf-8")).items()}


def test_options_change_the_keys_of_what_they_change(tmp_path: Path) -> None:
    experiment = smallest_experiment(tmp_path)
    found = {}
    for name, changed in {
        "plain": {},
        "dtype": {"model_dtype": "bfloat16"},
        "shards": {"shard_words": 256},
        "usual shards": {"shard_words": 16_384},
        "split": {"split_model": 2},
    }.items():
        settings = replace(experiment, out=tmp_path / name, **changed)
        run(settings, until="extract")
        found[name] = step_keys(settings.out)
    for other in ("dtype", "shards"):
        assert not set(found["plain"].values()) & set(found[other].values())
    assert found["usual shards"] == found["split"] == found["plain"]
    stores = {name: open_store(tmp_path / name / "activations/train") for name in found}
    assert stores["shards"].manifest.recipe.shard_words == 256
    plain, rounded = (stores[name].matrix() for name in ("plain", "dtype"))
    np.testing.assert_allclose(stores["split"].matrix(), plain, atol=1e-5)
    assert 0 < np.abs(rounded - plain).max() < 0.2
    command = replace(experiment, model_dtype="bfloat16", split_model=2, shard_words=256, revision="main").command()
    assert "--revision main --model-dtype bfloat16 --split-model 2" in command
    assert "--shard-words 256" in command


def test_what_the_model_cannot_be_is_said(tmp_path: Path) -> None:
    experiment = smallest_experiment(tmp_path)
    with pytest.raises(SettingsError, match="`split_model` must be 1 or more devices, got 0"):
        replace(experiment, split_model=0)
    with pytest.raises(ModelError, match=r"`revision` picks a version on the hub, but .*bert is a folder"):
        run(replace(experiment, revision="main"))
    with pytest.raises(SettingsError, match="`shard_words` must be a multiple of 256"):
        run(replace(experiment, shard_words=300))


def test_a_trace_names_the_stretches(tmp_path: Path) -> None:
    experiment = smallest_experiment(tmp_path)
    with profiling(tmp_path / "trace"):
        run(experiment, until="probe")
    (trace,) = (tmp_path / "trace").rglob("*.xplane.pb")
    data = jax.profiler.ProfileData.from_file(str(trace))
    names = {event.name for plane in data.planes for line in plane.lines for event in line.events}
    assert {"tokenize", "copy", "solve"} <= names
    content = trace.read_bytes()  # with the programs, in which every operation has its name
    assert all(f"jit(read_vectors)/{part}/".encode() in content for part in ("forward", "pool"))


def test_a_refused_command_leaves_no_trace_and_one_that_failed_late_does(tmp_path: Path) -> None:
    options = ["extract", "--model", "no/such/model", "--text", str(tmp_path / "none"), "--out", str(tmp_path / "out")]
    (tmp_path / "kept").mkdir()
    for place in ("new/trace", "kept"):
        with pytest.raises(SystemExit):
            main([*options, "--quiet", "--profile", str(tmp_path / place)])
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["kept"]
    with pytest.raises(StoreError, match="late"), profiling(tmp_path / "kept"), stretch("tokenize"):
        raise StoreError("late")
    with pytest.raises(SettingsError, match="early"), profiling(tmp_path / "kept"):
        raise SettingsError("early")
    assert len(list((tmp_path / "kept").rglob("*.xplane.pb"))) == 1


def test_a_text_is_extracted_with_the_same_options(tmp_path: Path) -> None:
    experiment = smallest_experiment(tmp_path)
    (tmp_path / "text").write_text("the cat sat\na cat sat slowly\n", "utf-8")
    options = ["--model", experiment.model, "--text", str(tmp_path / "text"), "--quiet"]
    main(["extract", *options, "--out", str(tmp_path / "one")])
    changed = ["--model-dtype", "bfloat16", "--split-model", "2", "--shard-words", "4"]
    main(["extract", *options, "--out", str(tmp_path / "other"), *changed])
    one, other = (open_store(tmp_path / name).manifest.recipe for name in ("one", "other"))
    assert (one.shard_words, other.shard_words) == (16_384, 4)
    assert one.model != other.model
