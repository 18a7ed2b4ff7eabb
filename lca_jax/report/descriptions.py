"""The page of descriptions: what was found, how it agrees with labels, and a table of neurons that can be searched.

Like the page of a run it needs only a browser and requests nothing. Its one script hides the rows that do not hold
what is searched; the content policy allows this script by its checksum, and no other. Without scripts the whole table
is shown.
"""

import base64
import hashlib
from pathlib import Path

from lca_jax.descriptors.describing import Descriptions
from lca_jax.descriptors.gold import AgainstLabels
from lca_jax.machine.files import write_text_whole
from lca_jax.report.environment import page_environment

_NAMES = ("P@1", "P@2", "R@1", "R@2", "MRR")
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
        rates=None if against is None else list(against.rows.items()),
        rate_names=_NAMES,
        script=_SEARCH,
        script_hash=base64.b64encode(hashlib.sha256(_SEARCH.encode()).digest()).decode(),
    )
    write_text_whole(out, text)
    return out
