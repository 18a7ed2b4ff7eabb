"""One neuron of the first list of a page: its card, and what the results of the run say of it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lca_jax.axes import Neuron
from lca_jax.descriptors.top_words import NeuronCard
from lca_jax.report import formats
from lca_jax.report.activation_chart import ActivationChart, draw_activations
from lca_jax.report.reliability import neuron_sentence


class NeuronRow(NamedTuple):
    """A card, and what the weights and the half-samples say of its neuron."""

    card: NeuronCard
    facts: Mapping[str, Any]
    """Its entry of `top_neurons`; empty if there is none."""
    direction: str
    """Where it lies in its class; empty if that is not known."""
    copies: Sequence[str]
    """Its near copies, each with the correlation."""
    reproduced: str
    """How often half-samples select it, and its ranks there; empty if that was not measured."""
    activations: ActivationChart | None
    """Its activations by class; None where the words have none."""


def neuron_row(card: NeuronCard, task: Mapping[str, Any]) -> NeuronRow:
    """Puts together what is known of a neuron.

    Args:
        card: The card of the neuron.
        task: The entry of its task in the results.
    """

    def of_card(entries: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        named = [one for one in entries if tuple(map(one.get, ("site", "layer", "index"))) == tuple(card.neuron)]
        return named[0] if named else {}

    entry = of_card(task.get("top_neurons", ()))
    reliability = task.get("reliability", {})
    ends = [entry.get(name) for name in ("mean_inside", "mean_outside")]
    said = ""
    if all(formats.is_number(end) for end in ends) and formats.is_number(weight := entry.get("weight")):
        inside, outside = (formats.number(end) for end in ends)
        said = f"mean {inside} inside, {outside} outside, weight {formats.signed(weight, 3)}"
    copies = [
        f"{Neuron(copy['site'], copy['layer'], copy['index'])} ({formats.signed(copy.get('correlation'), 2)})"
        for copy in entry.get("copies", ())
        if {"site", "layer", "index"} <= set(copy)
    ]
    return NeuronRow(
        card,
        entry,
        said,
        copies,
        neuron_sentence(reliability, of_card(reliability.get("top_neurons", ()))),
        draw_activations(card.activations, own=entry.get("class"), unit=str(task.get("unit", "word"))),
    )
