"""A study that was killed while it solved goes on: no problem is solved twice, and the end is the same."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lca_jax import ElasticNet, load_probes
from lca_jax.experiment.config import Study
from lca_jax.experiment.study import study
from lca_jax.probing import kept_answers
from lca_jax.probing.problems import Answer
from tests.experiment.files import tiny_study


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Study:
    probe = ElasticNet(l1=(1e-3, 1e-2), l2=(1e-2, 1e-1))
    return tiny_study(tmp_path_factory.mktemp("study"), 60, tasks=("upos", "feats:Number"), probe=probe)


class Solved:
    """Counts the answers that are kept, and ends the process, as it were, after some of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, most: int | None = None) -> None:
        self.count = 0
        keep = kept_answers.KeptBatch.keep

        def counted(batch: kept_answers.KeptBatch, number: int, answer: Answer) -> None:
            if self.count == most:
                raise KeyboardInterrupt
            keep(batch, number, answer)
            self.count += 1

        monkeypatch.setattr(kept_answers.KeptBatch, "keep", counted)


def test_no_problem_is_solved_twice(
    settings: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        whole = Solved(patch)
        expected = study(settings)
    # Each task and its control by four pairs, and each task without a penalty.
    assert whole.count == 2 * 2 * 4 + 2
    assert not (settings.out / kept_answers.ANSWERS).exists()
    killed, total = replace(settings, out=tmp_path / "killed"), 0
    for most in (3, 6, None):
        with monkeypatch.context() as patch:
            solved = Solved(patch, most=most)
            if most is None:
                study(killed)
            else:
                with pytest.raises(KeyboardInterrupt):
                    study(killed)
            total += solved.count
    assert total == whole.count
    found = load_probes(killed.out / "probes")
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.weights, other.weights, atol=1e-6)
    for file in (settings.out / "rankings").iterdir():
        assert (killed.out / "rankings" / file.name).read_text("utf-8") == file.read_text("utf-8")
    assert not (killed.out / kept_answers.ANSWERS).exists()
    # A finished study is read and not fitted again, until something is other.
    with monkeypatch.context() as patch, caplog.at_level("INFO", logger="lca_jax"):
        again = Solved(patch)
        study(killed)
        assert again.count == 0
        assert "probes: finished before, skipped" in caplog.messages
        study(replace(killed, probe=ElasticNet(l1=1e-2, l2=1e-1)))
        assert again.count == 4
    assert load_probes(killed.out / "probes").one("upos").l2 == 0.1


def test_an_altered_answer_is_found_anew(
    settings: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    killed = replace(settings, out=tmp_path / "killed")
    with monkeypatch.context() as patch:
        Solved(patch, most=3)
        with pytest.raises(KeyboardInterrupt):
            study(killed)
    one, *_ = sorted((killed.out / kept_answers.ANSWERS).iterdir())
    content = bytearray(one.read_bytes())
    content[-3] ^= 1
    one.write_bytes(content)
    solved = Solved(monkeypatch)
    study(killed)
    assert solved.count == 2 * 2 * 4 + 2 - 2
    assert any("its problem is solved anew" in message for message in caplog.messages)
