"""A study in an object store: model, texts, stores, probes and rankings, and going on there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lca_jax import ElasticNet, load_probes, open_store
from lca_jax.errors import StoreError
from lca_jax.experiment.config import Study
from lca_jax.experiment.study import study
from lca_jax.machine.folders import list_files, open_folder, write_file
from lca_jax.probing import kept_answers
from tests.experiment.files import write_conllu
from tests.object_store import BUCKET, running_server
from tests.tiny_bert import write_bert


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with running_server() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield BUCKET


def upload(folder: Path, url: str) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            write_file(open_folder(url), file.relative_to(folder).as_posix(), file.read_bytes())


def test_a_study_lies_in_a_bucket_as_in_a_folder(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    here = {"model": write_bert(tmp_path / "in/bert"), "train": write_conllu(tmp_path / "in/train.conllu", 30, seed=0)}
    upload(tmp_path / "in", f"{bucket}/in")
    probe = ElasticNet(l1=1e-2, l2=(1e-2, 1e-1))
    local = study(Study(model=str(here["model"]), train=here["train"], out=tmp_path / "out", probe=probe))
    out = f"{bucket}/deep/out"
    there = Study(model=f"{bucket}/in/bert", train=Path(f"{bucket}/in/train.conllu"), out=Path(out), probe=probe)
    keep = kept_answers.KeptBatch.keep

    def killed(batch: kept_answers.KeptBatch, number: int, answer: object) -> None:
        keep(batch, number, answer)  # pyright: ignore[reportArgumentType] - an answer
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(kept_answers.KeptBatch, "keep", killed)
        with pytest.raises(KeyboardInterrupt):
            study(there)
    with caplog.at_level("INFO", logger="lca_jax"):
        chosen = study(there)
    assert "1 of 4 problems were solved before" in caplog.messages
    for one, other in zip(chosen, local, strict=True):
        assert (one.weights == other.weights).all()
    assert [probe.l2 for probe in load_probes(f"{out}/probes")] == [probe.l2 for probe in local]
    ours = {name for name in list_files(open_folder(out)) if not name.startswith(("activations", "probes/arrays"))}
    assert ours == {"fits.json", "probes/probes.json", "rankings/upos.csv"}
    assert (
        open_store(f"{out}/activations/train").manifest.recipe
        == open_store(tmp_path / "out/activations/train").manifest.recipe
    )
    text = open_folder(f"{out}/rankings").read("upos.csv").result().value
    assert text == (tmp_path / "out/rankings/upos.csv").read_bytes()
    # A set that is saved again takes the place of the old one, whose arrays go.
    chosen.save(f"{out}/probes")
    arrays = {name.split("/")[0] for name in list_files(open_folder(f"{out}/probes")) if "/" in name}
    assert arrays == {"arrays-2"}
    assert load_probes(f"{out}/probes").one("upos").l2 == local.one("upos").l2
    write_file(open_folder(out), "steps.json", b"{}")
    with pytest.raises(StoreError, match=f"{out} is the folder of a run"):
        study(there)
    assert {entry.name for entry in tmp_path.iterdir()} == {"in", "out"}
