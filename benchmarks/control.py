r"""Control of a property: what becomes of tense, number, gender and polarity when neurons are shifted.

    python -m benchmarks.control --corpus en_ewt-ud-train.conllu.gz --translator marian-tiny-en-pt \
        --tatoeba por-eng.tsv.gz --pud ud/pud --causal smollm2-135m --model minilm-l6 --work WORK --out control.json

Neurons are ranked by LCA on words of an English treebank (`controlled_words.py` says which words have which class).
For each property and direction a grid of numbers of neurons, strengths and edited words (those of the class that is
left, or all slots) is tried on some texts. For both kinds of words, the setting with the largest lead over random
neurons of the same layers in the share of texts that reach the target is reported on other texts: in all slots it may
be one that breaks the texts. On these, and on the words of the class, the first neurons of one layer in the middle are
also translated and zeroed (Antverg and Belinkov 2022, section 4).

The parts are translations, next words and what a probe of a later layer says (`controlled_cases.py`); each is left out
where its model or texts are not given. What is done is kept in WORK: a program that was killed goes on there. The
result has for each property and direction the whole `grid`, the `chosen` settings, and what they do (`reported`),
beside `translated` and `zeroed`, all as `PropertyControl.to_dict` returns them, without texts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import tyro

from benchmarks import harness
from benchmarks.controlled_cases import Case, CaseSettings, next_words, probe_below, translations
from benchmarks.controlled_words import read_english
from lca_jax.interventions.control.answers import Answering
from lca_jax.interventions.control.property_change import PropertyControl
from lca_jax.interventions.control.property_control import control_property

Part = Literal["translations", "next_words", "probe"]
_PUBLISHED_STRENGTH = 8.0
"""Of a translation, in Antverg and Belinkov 2022."""


@dataclass(frozen=True, kw_only=True)
class Settings(CaseSettings):
    """Settings of the benchmark."""

    translator: Path | None = None
    """Encoder-decoder from English to Portuguese; None for no translations."""
    causal: Path | None = None
    """Causal model; None for no next words."""
    tatoeba: Path | None = None
    """Pairs of Portuguese and English, with a tab between them."""
    pud: Path | None = None
    """Folder of the parallel treebanks."""
    work: Path
    """Folder in which every measured direction is kept when it is done; another one for other settings."""
    out: Path
    """Where the result is written."""
    parts: tuple[Part, ...] = get_args(Part)
    """Parts that are measured, of those whose model and texts are given."""
    sizes: tuple[int, ...] = (50, 100)
    """Numbers of neurons in the grid."""
    strengths: tuple[float, ...] = (0.0, 2.0)
    """Strengths in the grid."""
    of_layer: int = 50
    """Number of neurons of the middle layer that are translated and zeroed."""
    random: int = 3
    """Random sets beside what is reported; two beside what is tried, translated or zeroed."""
    quick: bool = False
    """Only tries the program, on few texts."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints the table and writes the result."""
    settings = tyro.cli(Settings, args=arguments, description="What becomes of properties when neurons are shifted.")
    if settings.quick:
        settings = replace(settings, words=20, tried=4, reported=6, sizes=(20,), strengths=(2.0,), random=2)
    load = harness.load_average()
    parts = measure(settings)
    for part, directions in parts.items():
        harness.print_table(part, {name: _row(of) for name, of in directions.items()})
    names = {"translator": settings.translator, "causal": settings.causal, "tatoeba": settings.tatoeba}
    names = {name: path.name for name, path in names.items() if path is not None}
    content = {"input": {**settings.names(), **names}, "settings": _numbers(settings), "parts": harness.rounded(parts)}
    content["load"] = {"before": load, "after": harness.load_average()}
    harness.write_result(settings.out, "control", content)


def _numbers(settings: Settings) -> dict[str, object]:
    """Returns the settings that are no files."""
    return {name: value for name, value in asdict(settings).items() if isinstance(value, int | float | tuple)}


def _row(of: dict[str, Any]) -> dict[str, object]:
    top, random = of["reported"]["class"]["points"][:2]
    row: dict[str, object] = {"neurons": top["size"], "strength": top["strength"]}
    row |= {"reached": top["reached"]["value"], "random": random["reached"]["value"]}
    row |= {name: top[name] and top[name]["value"] for name in ("clean", "erased", "error_rate")}
    row |= {name: of_metric["value"] for name, of_metric in top["quality"].items()}
    return row | {how: of[how]["points"][0]["error_rate"]["value"] for how in ("translated", "zeroed")}


def measure(settings: Settings) -> dict[str, dict[str, Any]]:
    """Returns what became of every direction, part by part."""
    english = read_english(settings.corpus_file)
    cases: dict[str, Iterator[Case]] = {}
    if settings.pud is not None:
        if settings.translator is not None and settings.tatoeba is not None:
            cases["translations"] = translations(
                settings, english, translator=settings.translator, tatoeba=settings.tatoeba, pud=settings.pud
            )
        if settings.causal is not None:
            cases["next_words"] = next_words(settings, english, causal=settings.causal, pud=settings.pud)
        cases["probe"] = probe_below(settings, english, model_folder=settings.model_folder, pud=settings.pud)

    def measured(part: str) -> dict[str, Any]:
        return {
            case.name: harness.kept(
                settings.work / f"{part} {case.name}.json", lambda case=case: measure_case(case, settings)
            )
            for case in cases[part]
        }

    # A part that is whole is read without its model.
    chosen = [part for part in cases if part in settings.parts]
    return {part: harness.kept(settings.work / f"{part}.json", lambda part=part: measured(part)) for part in chosen}


def measure_case(case: Case, settings: Settings) -> dict[str, Any]:
    """Tries the grid, and reports the settings with the largest leads over random neurons on other texts."""

    def shifted(output: Answering, **chosen: Any) -> PropertyControl:
        return control_property(
            case.model,
            case.ranking,
            case.statistics,
            output,
            task=case.task,
            source=case.source,
            target=case.target,
            seed=settings.seed,
            **chosen,
        )

    grid = {
        where: shifted(case.tried, where=where, sizes=settings.sizes, strengths=settings.strengths, random=2)
        for where in ("class", "all")
    }
    best = {
        where: max((point for point in found.points if point.excess is not None), key=lambda point: point.excess or 0.0)
        for where, found in grid.items()
    }
    chosen = {where: {"sizes": [of.size], "strengths": [of.strength]} for where, of in best.items()}
    layers = [block.layer for block in case.ranking.axis.blocks]
    one_layer = {"where": "class", "sizes": [settings.of_layer], "layers": [layers[len(layers) // 2]], "random": 2}
    return {
        "grid": {where: _told(found) for where, found in grid.items()},
        "chosen": chosen,
        "reported": {
            where: _told(shifted(case.reported, where=where, random=settings.random, **of))
            for where, of in chosen.items()
        },
        "layer": one_layer["layers"][0],
        "translated": _told(shifted(case.reported, shift="translate", strengths=[_PUBLISHED_STRENGTH], **one_layer)),
        "zeroed": _told(shifted(case.reported, shift="zero", strengths=[0.0], **one_layer)),
    }


def _told(found: PropertyControl) -> dict[str, Any]:
    """Returns the record without texts."""
    told = found.to_dict()
    told["points"] = [{name: of for name, of in point.items() if name != "examples"} for point in told["points"]]
    return told


if __name__ == "__main__":
    main()
