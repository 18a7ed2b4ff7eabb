"""The page of descriptions: what was found, how it agrees with labels, and a table of neurons that can be searched.

Like the page of a run it needs only a browser and requests nothing. Its one script hides the rows that do not hold
what is searched; the content policy allows this script by its checksum, and no other. Without scripts the whole table
is shown.
"""

import base64
import hashlib
from pathlib import Path

from lca_jax.descriptors.describing import Descriptions
from lca_jax.descriptors.gold import AgainstLabels, Rates
from lca_jax.machine.files import write_text_whole
from lca_jax.report.environment import page_environment

_NAMES = {
    "precision_1": "P@1",
    "precision_2": "P@2",
    "recall_1": "R@1",
    "recall_2": "R@2",
    "mrr": "MRR",
}
_SEARCH = (
    'const box=document.getElementById("search"),rows=[...document.querySelectorAll(".neurons tbody tr")],'
    'count=document.getElementById("count");function show(){const words=box.value.toLowerCase().split(/\\s+/);'
    "let shown=0;for(const row of rows){const text=row.textContent.toLowerCase();"
    'row.hidden=!words.every(word=>text.includes(word));shown+=!row.hidden}count.textContent=shown+" of "+rows.length'
    '+" shown"}box.addEventListener("input",show);show()'
)


def write_descriptions_page(
    told: Descriptions, out: Path, *, against: AgainstLabels | None = None, contexts: int = 6, most: int = 1000
) -> Path:
    """Writes the page, whole or not at all.

    Args:
        told: The descriptions.
        out: The name of the `.html` file.
        against: Their agreement with labels, if there are any.
        contexts: Number of texts of a neuron.
        most: Number of neurons in the table, those with the strongest tags first.

    Returns:
        The path of the page.

    Raises:
        MissingExtraError: The extra `plots` is not installed.
    """
    page = page_environment().get_template("descriptions.html.jinja")
    text = page.render(
        rows=[told.of_column(int(column), contexts=contexts) for column in told.described[:most]],
        described=len(told.described),
        neurons=told.axis.size,
        bound=told.tags.bound,
        effect=told.settings["effect"],
        consistency=told.consistency,
        null=told.null_consistency,
        rates=None if against is None else _rows(against),
        rate_names=list(_NAMES.values()),
        script=_SEARCH,
        script_hash=base64.b64encode(hashlib.sha256(_SEARCH.encode()).digest()).decode(),
    )
    write_text_whole(out, text)
    return out


def _rows(against: AgainstLabels) -> list[tuple[str, Rates]]:
    rows = [
        ("descriptions", against.rates),
        ("ceiling", against.ceiling),
        ("tags of other neurons", against.other_neurons),
    ]
    return rows if against.permuted_labels is None else [*rows, ("permuted labels", against.permuted_labels)]
