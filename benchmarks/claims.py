"""What the papers claim, and what our result files say of it: `results/claims.json`, and the table of the README.

    python -m benchmarks.claims

Nothing is measured here. Every claim (`claimed.py`, `claimed_elsewhere.py`) names the figures of a result file that
test it, each turned so that it is above 0 where the claim is true, with its interval. The verdict is

- `holds`: all intervals lie above 0;
- `fails`: at least one lies below 0;
- `within noise`: anything else;
- `cannot be tested here`: the claim needs data, models or a protocol that are not at hand; the row says which;
- `not measured yet`: no result file has the figures.

A figure has an interval of 95 % from what its file repeats: sentences, half-samples, seeds of a tuning, properties of
words, or corpora.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from benchmarks.claimed import LCA_CLAIMS
from benchmarks.claimed_elsewhere import OTHER_CLAIMS
from benchmarks.claimed_results import Claim, Figure, Results

_RESULTS = Path(__file__).parent / "results"
_DIGITS = 4


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of the program."""

    results: Path = _RESULTS
    """Folder of the result files."""
    out: Path = _RESULTS / "claims.json"
    """Where the claims are written."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Collects the claims, writes them, prints the table of the README and the sentence of the project's README."""
    settings = tyro.cli(Settings, args=arguments, description="What the papers claim, beside our figures.")
    content = collect(settings.results)
    settings.out.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print("\n".join(table_of(content)), f"\n\n{summary_of(content)}")


def collect(folder: Path) -> dict[str, Any]:
    """Returns all claims with their figures and verdicts, from the result files of a folder."""
    rows = [row_of(claim, Results(folder)) for claim in (*LCA_CLAIMS, *OTHER_CLAIMS)]
    verdicts = [row["verdict"] for row in rows]
    counts = {verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))}
    rule = "each figure is above 0 where the claim is true; holds: all intervals above 0; fails: one below 0"
    return {"format": 1, "benchmark": "claims", "rule": rule, "counts": counts, "rows": rows}


def row_of(claim: Claim, results: Results) -> dict[str, Any]:
    """Returns one claim with its figures and its verdict."""
    figures = [] if claim.read is None else claim.read(results)
    row: dict[str, Any] = {"paper": claim.paper, "section": claim.section, "claim": claim.says}
    row["published"] = claim.published
    row["verdict"] = verdict_of(claim, figures)
    if claim.reason is not None:
        row["reason"] = claim.reason
    row["tested_by"] = claim.by
    row["figures"] = [
        {"of": figure.of, **{name: round(value, _DIGITS) for name, value in figure.numbers().items()}}
        for figure in figures
    ]
    row["files"] = sorted(results.used)
    return row


def verdict_of(claim: Claim, figures: Sequence[Figure]) -> str:
    """Returns the verdict on a claim, by the rule of this module."""
    if claim.reason is not None:
        return "cannot be tested here"
    if not figures:
        return "not measured yet"
    if any(figure.high < 0 for figure in figures):
        return "fails"
    return "holds" if all(figure.low > 0 for figure in figures) else "within noise"


def table_of(content: dict[str, Any]) -> list[str]:
    """Returns the rows of the README's table."""
    lines = [
        "| paper, section | claim | tested by (above 0: true) | figures (95 % interval) | verdict |",
        "| --- " * 5 + "|",
    ]
    for row in content["rows"]:
        figures = "; ".join(
            f"{one['of']} {_signed(one['value'])} ({_signed(one['low'])} to {_signed(one['high'])})"
            for one in row["figures"]
        )
        told = "; ".join(part for part in (figures, row.get("reason")) if part)
        cells = [f"{row['paper']}, {row['section']}", row["claim"], row["tested_by"], told, row["verdict"]]
        lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
    return lines


def summary_of(content: dict[str, Any]) -> str:
    """Returns what the project's README says of the claims."""
    count = Counter(row["verdict"] for row in content["rows"])
    told = [f"{count['holds']} hold", f"{count['fails']} fail", f"{count['within noise']} are within noise"]
    if count["not measured yet"]:
        told.append(f"{count['not measured yet']} are not measured yet")
    untested = f"{count['cannot be tested here']} cannot be tested here"
    return f"of {len(content['rows'])} claims of the papers {', '.join(told)}, and {untested}"


def _signed(value: float) -> str:
    """Writes a share as the README does: three digits, no zero before the point."""
    sign, digits = f"{value:+.3f}"[0], f"{abs(value):.3f}"
    return sign + digits.removeprefix("0")


if __name__ == "__main__":
    main()
