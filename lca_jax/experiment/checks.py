"""Checks a run before it writes: what can be known to be wrong from the settings, the texts and the model alone."""

from lca_jax.errors import DataError
from lca_jax.experiment.inputs import Inputs
from lca_jax.experiment.request import Request
from lca_jax.extraction.reading import choose_neurons
from lca_jax.text.task_names import refuse_like_names


def check_inputs(inputs: Inputs, request: Request) -> None:
    """Reads texts and model, and compares the settings with them; activations are not computed.

    Raises:
        LcaError: A text or the model cannot be read, a site, layer or neuron is unknown, a task has no two classes
            among the training labels, or no label in another part.
    """
    corpus, model = inputs.corpora["train"], inputs.model
    choose_neurons(model, model.config.choose_layers(request.sites, request.layers), request.neurons)
    refuse_like_names(inputs.tasks)
    for task in inputs.tasks:
        classes = corpus.classes(task)
        if len(classes) < 2:
            only = f"one class only ({classes[0]!r})" if classes else "no label"
            raise DataError(f"The task `{task}` must have at least two classes, and {corpus.name} has {only}.")
        for part, other in inputs.corpora.items():
            if not other.classes(task):
                raise DataError(
                    f"{part} ({other.name}) must have a label for `{task}`, and has none. Name a file that has some, "
                    "or a higher limit."
                )
    _ = inputs.pool  # refuses a pooling that does not fit the labels
