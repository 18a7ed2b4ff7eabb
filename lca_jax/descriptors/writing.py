"""Has a generator write about every text, part by part, so that a run that was stopped goes on where it was.

A part is some neighbouring texts with one prompt; its answers are one JSON file, written whole. What decides the
answers (texts, prompts, generator, samples, seed) stands in `recipe.json`; another recipe is refused.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lca_jax.descriptors.generators import Generator, identity_of
from lca_jax.descriptors.prompts import Prompt, refuse_doubles
from lca_jax.descriptors.texts import Texts
from lca_jax.errors import SettingsError, StoreError
from lca_jax.machine.files import write_text_whole
from lca_jax.machine.json_text import as_json_has, parse_json, read_object
from lca_jax.machine.progress import counted

PART = 128
"""Number of texts in a part."""
RECIPE = "recipe.json"
PARTS = "answers"
_SEEDS = 1_000_003
"""Distance between the seeds of two parts."""


@dataclass(frozen=True, kw_only=True)
class WritingRecipe:
    """Everything that decides what is written."""

    texts: str
    """Checksum of the texts."""
    generator: str
    """Fingerprint or name of the generator."""
    prompts: tuple[Prompt, ...]
    samples: int
    seed: int

    def as_json(self) -> dict[str, object]:
        """Returns it in plain values."""
        return as_json_has(asdict(self))


def write_about(
    generator: Generator,
    texts: Texts,
    numbers: Sequence[int],
    *,
    prompts: Sequence[Prompt],
    samples: int,
    seed: int,
    folder: Path | None,
) -> dict[str, list[list[str]]]:
    """Returns what was written: prompt to the answers of every text that was read.

    Args:
        generator: What writes.
        texts: All texts.
        numbers: Those that it reads.
        prompts: The prompts.
        samples: Number of answers to every prompt.
        seed: Seed of the answers.
        folder: Where the parts are kept; None keeps nothing.

    Raises:
        SettingsError: No prompt, two of one name, or fewer than one sample.
        StoreError: The folder holds answers to something else, or a broken part.
    """
    refuse_doubles(prompts)
    if samples < 1:
        raise SettingsError(f"`samples` must be at least 1, got {samples}.")
    recipe = WritingRecipe(
        texts=texts.checksum_of(numbers),
        generator=identity_of(generator),
        prompts=tuple(prompts),
        samples=samples,
        seed=seed,
    )
    if folder is not None:
        _begin(folder, recipe)
    count = len(numbers)
    parts = [(number, prompt, first) for number, prompt in enumerate(prompts) for first in range(0, count, PART)]
    written: dict[str, list[list[str]]] = {prompt.name: [] for prompt in prompts}
    for number, prompt, first in counted(parts, "phrases"):
        last = min(first + PART, count)
        file = None if folder is None else folder / PARTS / f"{prompt.name}-{first:06}.json"
        answers = None if file is None else _read_part(file, texts=last - first, samples=samples)
        if answers is None:
            part_seed = seed + _SEEDS * (first // PART + number * (1 + count // PART))
            answers = generator.write(texts.fill(prompt, numbers[first:last]), samples=samples, seed=part_seed)
            _check(answers, texts=last - first, samples=samples, place=identity_of(generator))
            if file is not None:
                write_text_whole(file, json.dumps(answers, ensure_ascii=False, indent=0))
        written[prompt.name] += answers
    return written


def _begin(folder: Path, recipe: WritingRecipe) -> None:
    """Writes the recipe, or checks that it is the one that the folder was begun with."""
    wanted = recipe.as_json()
    try:
        found = read_object(folder / RECIPE, error=StoreError, way_out="Give another folder, or delete this one.")
    except FileNotFoundError:
        write_text_whole(folder / RECIPE, json.dumps(wanted, ensure_ascii=False, indent=1))
        return
    if others := [name for name in wanted if found.get(name) != wanted[name]]:
        raise StoreError(
            f"{folder} has phrases of another {', '.join(others)}. Give another folder, or delete this one to write "
            "them anew."
        )


def _read_part(file: Path, *, texts: int, samples: int) -> list[list[str]] | None:
    try:
        answers = parse_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise StoreError(f"{file} cannot be read: {error}. Delete it; the same call writes it anew.") from None
    _check(answers, texts=texts, samples=samples, place=str(file))
    return answers


def _check(answers: object, *, texts: int, samples: int, place: str) -> None:
    if not (isinstance(answers, list) and len(answers) == texts and all(_are_texts(one, samples) for one in answers)):
        raise StoreError(f"{place} must give {samples} texts for each of {texts} prompts, and did not.")


def _are_texts(answers: object, count: int) -> bool:
    return isinstance(answers, list) and len(answers) == count and all(isinstance(answer, str) for answer in answers)
