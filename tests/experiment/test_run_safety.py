"""A run folder is as safe as a store: one writer, checked before it changes, nothing mixed, nothing through links."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lca_jax import Experiment, run
from lca_jax.cli.main import main
from lca_jax.errors import LcaError, ModelError, SettingsError, StoreError
from lca_jax.experiment.config import Study, read_experiment
from lca_jax.experiment.folder import RunFolder, key_of
from lca_jax.experiment.holding import held_folder
from lca_jax.experiment.study import study
from lca_jax.machine.checksums import checksums_in
from tests.experiment.files import smallest_experiment
from tests.processes import ROOT

HOLD = """
import sys
from pathlib import Path
from lca_jax.experiment.holding import held_folder
with held_folder(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    experiment = smallest_experiment(tmp_path_factory.mktemp("safety"))
    run(experiment)
    return experiment


@pytest.fixture
def unchanged(done: Experiment) -> Iterator[None]:
    before = checksums_in(done.out)
    yield
    assert checksums_in(done.out) == before


@pytest.mark.usefixtures("unchanged")
def test_the_second_writer_hears_who_holds_the_folder_and_changes_nothing(done: Experiment) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(done.out)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    who = rf"run is being written by process {holder.pid} on {socket.gethostname()}, since 20\d\d-"
    other = replace(done, drop=0.5)
    with pytest.raises(StoreError, match=who):
        run(other)
    shared = Study(model=done.model, train=done.train, dev=done.dev, out=done.out, probe=done.probe)
    with pytest.raises(StoreError, match=who):
        study(shared)
    holder.communicate()
    with held_folder(done.out), pytest.raises(StoreError, match=f"by process {os.getpid()} on"):
        run(other)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"model": "/nope"}, ModelError, "is not a folder on this machine"),
        ({"train": Path("none.conllu")}, LcaError, "none.conllu"),
        ({"tasks": ("feats:Nothing",)}, LcaError, "Nothing"),
        ({"layers": (99,)}, SettingsError, "99"),
        ({"neurons": (9999,)}, SettingsError, "9999"),
        ({"pool": "cls"}, SettingsError, "`pool`"),
    ],
)
def test_a_failed_start_changes_nothing(done: Experiment, change: dict, error: type[LcaError], message: str) -> None:
    with pytest.raises(error, match=message):
        run(replace(done, **change))


def test_a_failed_start_leaves_no_folder(done: Experiment, tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        run(replace(done, model="/nope", out=tmp_path / "deep/run"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("output", "step"),
    [
        ("rankings/upos.csv", "rank"),
        ("report/index.html", "report"),
        ("tasks/upos.json", "ablate upos"),
        ("probes/probes.json", "probe"),
        ("activations/test/manifest.json", "extract test"),
        ("activations/test/residual/c/0/0/0", "extract test"),
    ],
)
@pytest.mark.parametrize("harm", ["deleted", "edited"])
def test_what_is_missing_or_altered_is_made_anew_and_told(
    done: Experiment, output: str, step: str, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = done.out / output
    before = json.loads((done.out / "results.json").read_text())
    content = file.read_bytes()
    if harm == "deleted":
        file.unlink()
    else:
        file.write_bytes(content[: len(content) // 2])
    with caplog.at_level("INFO", logger="lca_jax"):
        again = run(done)
    told = [record.getMessage() for record in caplog.records]
    assert any(line.startswith(f"{step}: done again, since") for line in told), told
    differs = dict.fromkeys(("seconds", "date"), 0)
    assert {**again, **differs} == {**before, **differs}
    if output != "report/index.html":  # the page tells seconds
        assert file.read_bytes() == content or "probes" in output


@pytest.mark.parametrize("entry", ["activations", "activations/train", "probes", "rankings", "report", "log.txt"])
def test_nothing_is_written_or_deleted_through_a_link(done: Experiment, entry: str, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("keep")
    target = elsewhere / "precious" if entry == "log.txt" else elsewhere
    out = tmp_path / "run"
    (out / entry).parent.mkdir(parents=True)
    (out / entry).symlink_to(target)
    with pytest.raises(StoreError, match=r"is a link to .*Nothing is written through links"):
        run(replace(done, out=out))
    assert checksums_in(elsewhere) == {"precious": checksums_in(elsewhere)["precious"]}
    assert (elsewhere / "precious").read_text() == "keep"


def test_deletion_stays_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "elsewhere/made").mkdir(parents=True)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/link").symlink_to(tmp_path / "elsewhere")
    folder = RunFolder(tmp_path / "run")
    for output in ("link/made", "../elsewhere"):
        with pytest.raises(StoreError, match="is not inside"):
            folder.remove([output])
    folder.remove(["link"])
    assert (tmp_path / "elsewhere/made").is_dir()
    assert not (tmp_path / "run/link").exists()


@pytest.mark.parametrize("text", ["", "[]", '{"rank": 1}', '{"rank": {"key": 1, "seconds": 2}}', "[" * 9999])
def test_a_damaged_record_of_steps_is_one_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "steps.json").write_text(text)
    with pytest.raises(StoreError, match=r"steps\.json.*Delete .*steps\.json"):
        RunFolder(tmp_path)


@pytest.mark.usefixtures("as_users_run_it")
@pytest.mark.parametrize("text", ["", "[]", "{}", '{"model": 1}', "[" * 9999, '{"probe": {"l1": {}}}'])
def test_a_damaged_config_is_one_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(LcaError, match=r"config\.json.*Start `lca run … --out"):
        read_experiment(tmp_path)


@pytest.mark.parametrize(
    "damage", ["", "[]", "[" * 9999, {"tasks": 1}, {"tasks": {"upos": {}}}, {"seconds": {"rank": "x"}}]
)
def test_show_tells_damaged_results_in_one_line(
    done: Experiment, tmp_path: Path, damage: str | dict, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("config.json", "steps.json", "inputs.json", "results.json"):
        shutil.copy(done.out / name, tmp_path / name)
    results = json.loads((tmp_path / "results.json").read_text())
    (tmp_path / "results.json").write_text(damage if isinstance(damage, str) else json.dumps(results | damage))
    with pytest.raises(SystemExit, match="1"):
        main(["show", str(tmp_path)])
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "results.json" in said
    assert "lca report --run" in said


def test_paths_with_dots_and_relative_models(done: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "inside").mkdir()
    monkeypatch.chdir(tmp_path / "inside")
    model = os.path.relpath(done.model)
    results = run(replace(done, model=model, out=Path("../run/../second")))
    assert results["tasks"]
    kept = json.loads((tmp_path / "second/config.json").read_text())
    assert kept["model"] == done.model
    assert kept["out"] == str(tmp_path / "second")


def test_a_step_of_an_older_record_is_not_taken_on_trust(tmp_path: Path) -> None:
    folder, calls = RunFolder(tmp_path), []

    def work() -> None:
        calls.append(1)
        (tmp_path / "made").write_text("x")

    folder.do("step", key_of(1), ["made"], work)
    steps = json.loads((tmp_path / "steps.json").read_text())
    del steps["step"]["files"]
    (tmp_path / "steps.json").write_text(json.dumps(steps))
    assert RunFolder(tmp_path).do("step", key_of(1), ["made"], work)
    assert not RunFolder(tmp_path).do("step", key_of(1), ["made"], work)


def test_a_run_of_other_pieces_is_refused_and_tells_one(done: Experiment, tmp_path: Path) -> None:
    copied = shutil.copytree(done.out, tmp_path / "run")
    inputs = json.loads((copied / "inputs.json").read_text())
    inputs["model"]["pieces"] |= {"x_y": "x_ y", "½": "1/2"}
    inputs["model"]["versions"]["tokenizers"] = "0.1.0"
    (copied / "inputs.json").write_text(json.dumps(inputs))
    before = checksums_in(copied)
    with pytest.raises(StoreError) as told:
        run(replace(done, out=copied))
    assert checksums_in(copied) == before
    (line,) = str(told.value).splitlines()
    assert "whose tokenizer makes other pieces: `½` was cut into `1/2`, now `[UNK]` (another reference word" in line
    assert ", made with tokenizers 0.1.0 (" in line
    run(replace(done, out=copied), overwrite=True)
    del inputs["model"]["pieces"], inputs["model"]["versions"]  # as earlier versions wrote it
    (copied / "inputs.json").write_text(json.dumps(inputs))
    run(replace(done, out=copied))
    assert json.loads((copied / "inputs.json").read_text())["model"]["pieces"]["x_y"] == "x [UNK] y"
