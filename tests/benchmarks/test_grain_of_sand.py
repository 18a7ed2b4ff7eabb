"""The experiment of the first paper, end to end on tiny models and made captions, and its figure."""

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from benchmarks import grain_of_sand
from benchmarks.grain.figure import draw
from benchmarks.grain.paper import PAPER
from benchmarks.grain.texts import position_labels, read_pairs, read_treebank
from lca_jax.models.recurrent.config import TranslatorConfig
from lca_jax.models.recurrent.making import initial_params
from lca_jax.training.language_settings import TranslationSettings
from lca_jax.training.many import EpochLoss
from lca_jax.training.pieces import learn_pieces
from lca_jax.training.translation_models import TranslationModels

ENGLISH = {"ein": "a", "hund": "dog", "mann": "man", "läuft": "runs", "und": "and", "frau": "woman"}


def write_data(folder: Path, *, seed: int = 0) -> None:
    """Captions of random words with their translations, and treebanks of such words, in the layout of the data."""
    rng = np.random.default_rng(seed)
    (folder / "mt" / "multi30k").mkdir(parents=True)
    (folder / "ud").mkdir()
    for part, count in (("train", 90), ("val", 20), ("test_2016_flickr", 12)):
        german = [rng.choice(list(ENGLISH), int(rng.integers(2, 6))).tolist() for _ in range(count)]
        for language, sentences in (("de", german), ("en", [[ENGLISH[word] for word in one] for one in german])):
            text = "".join(f"{' '.join(one).capitalize()}.\n" for one in sentences)
            with gzip.open(folder / "mt" / "multi30k" / f"{part}.{language}.gz", "wt", encoding="utf-8") as file:
                file.write(text)
    for name in (name for names in grain_of_sand.TREEBANKS.values() for name in names):
        with gzip.open(folder / "ud" / f"{name}.conllu.gz", "wt", encoding="utf-8") as file:
            for _ in range(30):
                for place, word in enumerate(rng.choice(["Hund", "dog", "und", "and"], 5).tolist(), start=1):
                    tag, feats = ("CCONJ", "_") if word in ("und", "and") else ("NOUN", "Number=Sing")
                    if place == 5:
                        feats = "Number=Plur"
                    file.write(f"{place}\t{word}\t_\t{tag}\t_\t{feats}\t0\t_\t_\t_\n")
                file.write("\n")


def untrained_translators(
    pairs: list[tuple[str, str]], settings: TranslationSettings, *, told: Callable[[EpochLoss], None], **_: Any
) -> TranslationModels:
    """As after a training, which has tests of its own and takes most of the time to compile."""
    tokenizer = learn_pieces([text for pair in pairs for text in pair], settings.vocabulary)
    config = TranslatorConfig(vocabulary=len(tokenizer), width=settings.width, layers=settings.layers)
    keys = jax.random.split(jax.random.key(0), settings.models)
    params = jax.vmap(lambda key: initial_params(config.stack(), key))(keys)
    curve = tuple(EpochLoss(epoch, (1.0, 1.0), (2.0, 2.0)) for epoch in (1, 2))
    for entry in curve:
        told(entry)
    return TranslationModels(config=config, tokenizer=tokenizer, params=params, curve=curve, left_out=0)


def test_the_experiment_runs_and_goes_on_from_what_it_has_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grain_of_sand, "train_translation_models", untrained_translators)
    monkeypatch.setattr(grain_of_sand.steps, "MODES", ("mask",))
    monkeypatch.setattr(grain_of_sand.steps, "PROBED", ("upos",))
    data, out, figure = tmp_path / "data", tmp_path / "grain.json", tmp_path / "grain.svg"
    write_data(data)
    arguments = ["--data", str(data), "--work", str(tmp_path / "work"), "--out", str(out), "--figure", str(figure)]
    arguments += ["--probed", "100", "--shares", "0.2", "--fills", "zero", "--longest", "8", "--slots", "512"]
    for kind in ("lm", "nmt"):
        arguments += [f"--{kind}.models", "2", f"--{kind}.layers", "1", f"--{kind}.width", "8", f"--{kind}.epochs", "2"]
        arguments += [f"--{kind}.vocabulary", "60"]
    grain_of_sand.main(arguments)
    held = json.loads(out.read_text("utf-8"))
    assert "lm 1: perplexity a word" in capsys.readouterr().out
    for kind in ("lm", "nmt"):
        assert len(held[kind]["training"]["curve"]) == len(held[kind]["training"]["seconds"]) == 2
        for model in held[kind]["models"]:
            assert model["across"]["neurons"] == model["ablation"]["neurons"] == 8
            assert {point["ranking"] for point in model["ablation"]["points"]} == {
                "max_corr",
                "variance",
                "lca",
                "random",
            }
            assert set(model["properties"]) == {"upos"}
            assert set(model["distribution"]["classes"]) == {"CCONJ", "NOUN"}
            assert 0 <= model["exclusive"]["of_all"] <= model["exclusive"]["first"]
    drawn = figure.read_text("utf-8")
    assert drawn.count("perplexity, times that") == 2
    # A second run computes nothing again.
    monkeypatch.setattr(grain_of_sand.steps, "probe_properties", None)
    grain_of_sand.main(arguments)
    again = json.loads(out.read_text("utf-8"))
    assert again["lm"] == held["lm"]
    assert again["nmt"]["models"] == held["nmt"]["models"]


def test_texts_are_lower_cased_words(tmp_path: Path) -> None:
    write_data(tmp_path)
    source, target = read_pairs(tmp_path, "val", 1)[0]
    assert re.fullmatch(r"[a-zä ]+ \.", source)
    assert target == " ".join(ENGLISH.get(word, word) for word in source.split())
    corpus = read_treebank(tmp_path, "de_gsd-ud-dev", 50, 0)
    assert corpus.sentences[0][0].islower()
    assert corpus.labels["position"][0] == ("begin", "begin", "middle", "middle", "end")
    assert position_labels(["a"]) == ["begin"]


def test_the_figure_has_the_papers_curves_beside_the_measured_ones() -> None:
    points = [
        {
            "ranking": "max_corr",
            "set": of,
            "fill": "zero",
            "last": 4,
            "value": value,
            "low": value - 1,
            "high": value + 1,
        }
        for of, value in (("top", 5.0), ("bottom", 15.0))
    ]
    model = {"ablation": {"whole": 20.0, "neurons": 10, "points": points}}
    drawn = draw({"nmt": {"models": [model]}})
    lines = re.findall(r'<polyline points="([^"]+)"', drawn)
    measured, papers = lines[0].split(), next(line for line in lines if len(line.split()) > 2).split()
    # The whole model is at 1, a quarter of its BLEU at three quarters of the height below.
    heights = [float(place.split(",")[1]) for place in measured]
    shown = [float(place.split(",")[1]) for place in papers]
    expected = PAPER["nmt"].top[0] / PAPER["nmt"].whole
    assert (shown[1] - shown[0]) / (heights[1] - heights[0]) == pytest.approx((1 - expected) / 0.75, rel=1e-2)
    with pytest.raises(ValueError, match="must be trained for longer"):
        draw({"nmt": {"models": [{"ablation": {"whole": 0.0}}]}})
