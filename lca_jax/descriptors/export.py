"""Writes descriptions for other programs: a parquet table, and JSON lines in the layout of Neuronpedia's exports.

A folder gets `features`, `explanations` and `activations` of Neuronpedia (one object a line, gzip), and
`descriptions.parquet` with a row a neuron and tag. Neuronpedia knows a neuron by the name of a layer and an index: the
layer is `3-residual` for layer 3 of the site `residual`.
"""

import gzip
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lca_jax.axes import Neuron
from lca_jax.descriptors.describing import Descriptions, NeuronDescription
from lca_jax.errors import StoreError
from lca_jax.machine.files import write_whole
from lca_jax.machine.json_text import parse_json

FEATURES, EXPLANATIONS, ACTIVATIONS = "features.jsonl.gz", "explanations.jsonl.gz", "activations.jsonl.gz"
TABLE = "descriptions.parquet"
_COLUMNS = {
    "site": pa.string(),
    **dict.fromkeys(("layer", "index", "place"), pa.int32()),
    "descriptor": pa.string(),
    **dict.fromkeys(("r", "r_low", "r_high", "average_precision", "auc", "consistency"), pa.float64()),
}


def write_descriptions(
    told: Descriptions, folder: str | Path, *, model: str = "model", contexts: int = 10
) -> list[Path]:
    """Writes the descriptions of all neurons that have one.

    Args:
        told: The descriptions.
        folder: Where the four files are written, in place of older ones.
        model: Name of the model in the files.
        contexts: Number of texts of each neuron, from all quantiles.

    Returns:
        The paths of the files.
    """
    described = [told.of_column(int(column), contexts=contexts) for column in told.described]
    paths = [Path(folder) / name for name in (TABLE, FEATURES, EXPLANATIONS, ACTIVATIONS)]
    makers = (_feature_lines, _explanation_lines, _activation_lines)
    with write_whole(paths, overwrite=True) as (table, *files):
        pq.write_table(_table(described), table)
        for file, lines in zip(files, makers, strict=True):
            text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines(described, model))
            file.write_bytes(gzip.compress(text.encode("utf-8"), mtime=0))
    return paths


def read_explanations(folder: str | Path) -> dict[Neuron, str]:
    """Returns the description of every neuron that `write_descriptions` wrote one of; none where there is no file.

    Raises:
        StoreError: The file is damaged.
    """
    file = Path(folder) / EXPLANATIONS
    if not file.is_file():
        return {}
    found = {}
    try:
        for line in gzip.decompress(file.read_bytes()).decode("utf-8").splitlines():
            said = parse_json(line)
            layer, _, site = said["layer"].partition("-")
            found[Neuron(site, int(layer), int(said["index"]))] = str(said["description"])
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{file} cannot be read: {error!r}. Start `lca describe` again, or delete it.") from None
    return found


def _table(described: list[NeuronDescription]) -> pa.Table:
    rows = [
        {
            "site": one.neuron.site,
            "layer": one.neuron.layer,
            "index": one.neuron.index,
            "place": place,
            "descriptor": tag.name,
            "r": tag.r,
            "r_low": tag.low,
            "r_high": tag.high,
            "average_precision": tag.average_precision,
            "auc": tag.auc,
            "consistency": one.consistency,
        }
        for one in described
        for place, tag in enumerate(one.tags, 1)
    ]
    return pa.Table.from_pylist(rows, schema=pa.schema(list(_COLUMNS.items())))


def _feature_lines(described: list[NeuronDescription], model: str) -> Iterator[Mapping[str, Any]]:
    for one in described:
        yield _key(one.neuron, model) | {"neuron_site": one.neuron.site, "consistency": one.consistency}


def _explanation_lines(described: list[NeuronDescription], model: str) -> Iterator[Mapping[str, Any]]:
    for one in described:
        said = ", ".join(f"{'' if tag.r > 0 else 'not '}{tag.name}" for tag in one.tags)
        scores = [
            {"name": tag.name, "r": tag.r, "low": tag.low, "high": tag.high, "auc": _plain(tag.auc)} for tag in one.tags
        ]
        yield _key(one.neuron, model) | {"description": said, "typeName": "lca_jax", "tags": scores}


def _activation_lines(described: list[NeuronDescription], model: str) -> Iterator[Mapping[str, Any]]:
    for one in described:
        for context in one.contexts:
            yield _key(one.neuron, model) | {
                "tokens": context.text.split(),
                "word": context.word,
                "deviations": context.deviations,
                "quantile": context.quantile,
            }


def _key(neuron: Neuron, model: str) -> dict[str, Any]:
    return {"modelId": model, "layer": f"{neuron.layer}-{neuron.site}", "index": str(neuron.index)}


def _plain(value: float) -> float | None:
    """Returns a number that JSON has; None for NaN."""
    return None if value != value else value
