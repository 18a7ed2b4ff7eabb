"""The templates of the page, with the filters that write numbers and names in them.

Needs the extra `plots` (jinja2). The words of a corpus are text from strangers: the templates escape whatever they are
given.
"""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from lca_jax.errors import MissingExtraError
from lca_jax.report import formats

if TYPE_CHECKING:
    from jinja2 import Environment

_FILTERS = (
    formats.decimal,
    formats.direction,
    formats.fact,
    formats.integer,
    formats.listing,
    formats.model_name,
    formats.number,
    formats.percent,
    formats.points,
    formats.seconds,
    formats.share,
    formats.shorten,
    formats.signed,
)


@cache
def page_environment() -> "Environment":
    """Returns the templates; a missing key is an undefined value, which the filters write as a dash.

    Raises:
        MissingExtraError: The extra `plots` is not installed.
    """
    try:
        from jinja2 import ChainableUndefined, Environment, FileSystemLoader
    except ImportError:
        raise MissingExtraError("jinja2", "plots", "The report page") from None
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update({write.__name__: write for write in _FILTERS})
    environment.tests["known"] = formats.is_number
    return environment
