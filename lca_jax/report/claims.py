"""The claims of a measurement that a page may tell."""

from collections.abc import Container, Mapping
from typing import Any

from lca_jax.report.formats import is_number


def claims_told(found: Mapping[str, Any], outcomes: Container[str]) -> list[Mapping[str, Any]]:
    """Returns the claims of something measured that have a known outcome, a number and its interval."""
    return [
        claim
        for claim in found.get("claims") or ()
        if claim.get("outcome") in outcomes and is_number(claim.get("excess")) and len(claim.get("interval") or ()) == 2
    ]
