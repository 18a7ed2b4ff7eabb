"""`lca tune` as its user meets it: from files to a model that opens, and the way out of wrong options."""

from pathlib import Path

import pytest

from lca_jax import load_model
from lca_jax.cli.main import main
from tests.tiny_bert import write_bert
from tests.training.texts import write_sentiment


def test_a_model_is_tuned_from_files_and_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [
        option
        for seed, part in enumerate(("train", "dev", "test"))
        for option in (f"--{part}", str(write_sentiment(tmp_path / f"{part}.tsv", 48, seed=seed)))
    ]
    given = ["--model", str(write_bert(tmp_path / "bert")), "--out", str(tmp_path / "tuned"), "--quiet", *files]
    columns = ["--task", "has=1", "--text-column", "2"]
    options = ["--tuning.epochs", "2", "--tuning.batch", "16", "--tuning.rate", "3e-3", "--tuning.frozen", "embedding"]
    main(["tune", *given, *columns, *options])
    printed = capsys.readouterr().out
    assert printed.startswith("6 steps, the best after ")
    assert "\ntest accuracy 0." in printed
    assert printed.endswith(f"The tuned model: {tmp_path / 'tuned'}\n")
    classifier = load_model(tmp_path / "tuned").classifier
    assert classifier is not None
    assert (classifier.task, classifier.classes) == ("has", ("no", "yes"))
    main(["tune", *given, *columns, *options])  # done already: nothing is trained again
    assert capsys.readouterr().out == printed
    with pytest.raises(SystemExit) as end:
        main(["tune", *given, *columns, *options, "--tuning.seed", "1"])
    assert end.value.code == 1
    assert "its settings differ" in capsys.readouterr().err


def test_settings_out_of_range_are_told_as_options_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--model", "bert", "--train", str(tmp_path / "no.tsv"), "--out", str(tmp_path / "out"), "--task", "has=1"]
    with pytest.raises(SystemExit) as end:
        main(["tune", *given, "--tuning.dropout", "1.5"])
    assert end.value.code in (1, 2)
    assert "`dropout` must be in [0, 1), got 1.5" in capsys.readouterr().err
