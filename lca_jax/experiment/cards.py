"""The cards of the best neurons of every task, from one reading of the dev store for all tasks together."""

from collections.abc import Sequence

import numpy as np

from lca_jax.descriptors.top_words import NeuronCard, neuron_cards
from lca_jax.experiment.rankings import Rankings
from lca_jax.store.store import ActivationStore

_CARDS = 20
"""Number of neurons of a task on the page."""


def cards_of_tasks(rankings: Rankings, tasks: Sequence[str], dev: ActivationStore) -> dict[str, tuple[NeuronCard, ...]]:
    """Describes the best neurons of each task, with the classes whose weights hold them.

    Args:
        rankings: The rankings of the run.
        tasks: The tasks that show neurons. Without any, the store is not read.
        dev: The words that the cards show.
    """
    of_tasks = {task: rankings.of(task) for task in tasks}
    tops = {task: ranking.top(min(_CARDS, len(ranking.columns))) for task, ranking in of_tasks.items()}
    if not tops:
        return {}
    columns = np.unique(np.concatenate(list(tops.values())))
    activations = dev.matrix()[:, columns]
    forms, sentences = dev.forms(), dev.words["sentence"].to_numpy()
    cards = {}
    for task, top in tops.items():
        by_class = rankings.by_class(task, top)
        cards[task] = neuron_cards(
            forms,
            sentences,
            activations[:, np.searchsorted(columns, top)],
            neurons=of_tasks[task].axis.neurons(top),
            classes=[[name for name, needed in by_class.items() if column in needed] for column in top],
            labels=dev.labels(task),
            usable=dev.usable,
            min_occurrences=1 if dev.unit == "sentence" else 2,  # a text seldom comes twice
        )
    return cards
