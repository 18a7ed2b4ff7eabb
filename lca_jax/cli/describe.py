"""`lca describe`: textual descriptions of the neurons of a store, by phrases that a generator writes of its texts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from lca_jax.cli.compiling import keep_compiled_programs
from lca_jax.cli.idle import refuse_idle
from lca_jax.cli.output import say, shows_bars
from lca_jax.errors import SettingsError
from lca_jax.machine.files import real_path


def describe(
    store: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="STORE")],
    *,
    generator: str,
    out: Path,
    embedder: str | None = None,
    embedding_prefix: str = "",
    prompt: Literal["topics", "things", "grammar"] | None = None,
    presence: Literal["written", "words", "embedding", "carried", "judged"] | None = None,
    units: int | None = None,
    read: int | None = None,
    samples: int = 2,
    fewest: int = 3,
    top: int = 2,
    effect: float = 0.2,
    labels: Annotated[Sequence[str], tyro.conf.UseAppendAction] = (),
    seed: int = 0,
    quiet: bool = False,
    debug: bool = False,
) -> None:
    """Describes neurons by short phrases that a model writes.

    No label takes part. Started again with the same options, it goes on where it stopped. It writes the descriptors,
    descriptions.parquet, files for Neuronpedia, and index.html with a table to search.

    Args:
        store: A store of sentences (`lca extract --pool sentence-mean`) or of words.
        generator: Hub name or folder of a causal model, which writes the phrases.
        out: Folder of everything that is written.
        embedder: Hub name or folder of a model of texts, for near-duplicates and for presence by `carried` (the
            default with one) or `embedding`. Not the model that is explained.
        embedding_prefix: What the embedder wants before a text, such as "query: ".
        prompt: What the generator is asked: by default `topics` of sentences, `grammar` of words.
        presence: How it is told where a descriptor is present.
        units: Number of sentences or words that are drawn; all by default.
        read: Number of them that the generator reads; all by default.
        samples: Number of answers of each text.
        fewest: Minimum number of texts of a phrase.
        top: Maximum number of tags of a neuron.
        effect: Smallest correlation of a tag.
        labels: A task of the store that descriptions are compared with, after all. May be repeated.
        seed: Seed of draws, answers, halves and permutations.
        quiet: Show no progress.
        debug: Show tracebacks.
    """
    del debug
    if embedder is None:
        refuse_idle({"embedding_prefix": embedding_prefix}, describe, "only with `--embedder`")
    from lca_jax.descriptors.describing import describe_neurons
    from lca_jax.descriptors.export import write_descriptions
    from lca_jax.descriptors.finding import PhraseChoice, find_descriptors
    from lca_jax.descriptors.texts import texts_of_store
    from lca_jax.models.load import load_model
    from lca_jax.report.descriptions import write_descriptions_page
    from lca_jax.store.store import open_store

    keep_compiled_programs()
    out = real_path(out)
    opened = open_store(store)
    if unknown := sorted(set(labels) - set(opened.tasks)):
        raise SettingsError(f"{store} has no task {unknown[0]!r}. Its tasks: {', '.join(opened.tasks) or 'none'}.")
    texts = texts_of_store(opened, count=units, seed=seed)
    found = find_descriptors(
        load_model(generator, head=True),
        texts,
        prompts=[_prompt_of(prompt, words=texts.words is not None)],
        samples=samples,
        seed=seed,
        read=read,
        presence=presence or ("carried" if embedder else "words" if read else "written"),
        embedder=None if embedder is None else load_model(embedder),
        embedding_prefix=embedding_prefix,
        choice=PhraseChoice(fewest=fewest, reliable=0.3 if embedder else 0.0),
        out=out,
        progress=shows_bars(quiet=quiet),
    )
    told = describe_neurons(opened, found, top=top, effect=effect, seed=seed)
    against = told.score_against(_labels_of(opened, labels, texts.units or ())) if labels else None
    write_descriptions(told, out, model=opened.manifest.names.get("model", "model"))
    page = write_descriptions_page(told, out / "index.html", against=against)
    say(*repr(told).splitlines(), *(repr(against).splitlines() if against else ()), f"Page: {page.absolute()}")


def _prompt_of(name: str | None, *, words: bool) -> Any:
    from lca_jax.descriptors.prompts import GRAMMAR, THINGS, TOPICS

    if name == "grammar" and not words:
        raise SettingsError("`--prompt grammar` asks about words, and the units of this store are sentences.")
    return {"topics": TOPICS, "things": THINGS, "grammar": GRAMMAR}[name or ("grammar" if words else "topics")]


def _labels_of(store: Any, tasks: Sequence[str], units: Sequence[int]) -> Mapping[str, Mapping[str, Any]]:
    """Returns a mask for every class of every task."""
    import numpy as np

    found = {}
    for task in tasks:
        of_task = store.labels(task)
        column = np.array([of_task[unit] or "" for unit in units])
        found[task] = {label: column == label for label in sorted(set(column.tolist()) - {""})}
    return found
