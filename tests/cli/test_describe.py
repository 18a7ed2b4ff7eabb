"""`lca describe` as its user meets it: a whole run with a trained generator, done again, and what it refuses."""

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from lca_jax import demo_corpus_file, extract, load_descriptors, load_model, read_conllu
from lca_jax.cli.main import main
from tests.stores import write_planted_store
from tests.tiny_bert import write_bert


@pytest.mark.slow
def test_a_run_is_whole_and_done_again_writes_nothing_anew(
    tmp_path: Path, trained_folder: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("jinja2")
    writer = trained_folder("tinystories-260k")
    corpus = read_conllu(demo_corpus_file("train"), tasks=["upos"]).take_sentences(0, 60)
    extract(load_model(write_bert(tmp_path / "bert")), corpus, tmp_path / "store", pool="sentence-mean")
    options = [str(tmp_path / "store"), "--generator", str(writer), "--out", str(tmp_path / "told"), "--fewest", "1"]
    main(["describe", *options, "--quiet"])
    said = capsys.readouterr().out
    assert "neurons have a description" in said
    assert said.endswith(f"Page: {tmp_path / 'told' / 'index.html'}\n")
    found = load_descriptors(tmp_path / "told")
    assert found.texts_of(found.names[0])
    assert pq.read_table(tmp_path / "told" / "descriptions.parquet").schema.names[:3] == ["site", "layer", "index"]
    answers = sorted((tmp_path / "told" / "answers").iterdir())
    written = [answer.stat().st_mtime_ns for answer in answers]
    main(["describe", *options, "--quiet"])
    assert capsys.readouterr().out == said
    assert [answer.stat().st_mtime_ns for answer in answers] == written


def test_a_task_that_the_store_does_not_have_is_refused_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = write_planted_store(tmp_path / "store", words=40)
    options = ["--generator", "no/such/model", "--out", str(tmp_path / "told"), "--labels", "xpos"]
    with pytest.raises(SystemExit, match="1"):
        main(["describe", str(store), *options])
    assert "has no task 'xpos'. Its tasks: upos." in capsys.readouterr().err
    assert not (tmp_path / "told").exists()
