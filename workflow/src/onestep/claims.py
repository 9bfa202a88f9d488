"""Claims: what a paper states, the rule that judges it, what was measured, and the verdict that follows from both."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from onestep.errors import Mistake
from onestep.provenance import certificate, write_certificate, write_text

Verdict = Literal["holds", "fails", "inconclusive", "not contradicted", "not measured"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
Range = tuple[float, float]
Part = tuple[float, Range]
"""An estimate and its interval."""


@dataclass(frozen=True)
class Claim:
    """One line of the ledger."""

    id: str
    paper: str
    statement: str
    published: str
    measured: float | None
    interval: Range | None
    verdict: Verdict
    rule: str
    networks: int  # that the claim rests on
    samples: int  # their inputs
    scale: str
    data: str
    figure: str
    records: list[str]


def judge(interval: Range, holds: Range) -> Verdict:
    """Holds: the interval lies inside H. Fails: it lies outside. Else inconclusive."""
    low, high = interval
    if holds[0] <= low and high <= holds[1]:
        return "holds"
    return "fails" if high < holds[0] or low > holds[1] else "inconclusive"


def judge_all(intervals: Sequence[Range], holds: Range) -> tuple[Verdict, int]:
    """Judges a claim that is made of every part: fails if one part fails, holds if all hold; and which part decides.

    The deciding part is the failing one farthest from H, else the one that reaches farthest beyond (or nearest to) H's edge.
    """
    verdicts = [judge(interval, holds) for interval in intervals]
    if "fails" in verdicts:
        return "fails", max(range(len(intervals)), key=lambda i: max(holds[0] - intervals[i][1], intervals[i][0] - holds[1]))
    overall: Verdict = "holds" if all(verdict == "holds" for verdict in verdicts) else "inconclusive"
    return overall, max(range(len(intervals)), key=lambda i: max(holds[0] - intervals[i][0], intervals[i][1] - holds[1]))


class Judge:
    """Collects the claims of one paper at one scale."""

    def __init__(self, paper: str, scale: str, cell: Sequence[str], data: str, needed: int = 1) -> None:
        """`cell`: the columns that, where records have them, name the cell of a network; `needed`: networks in each cell of a claim."""
        self.paper, self.scale, self.cell, self.data, self.needed = paper, scale, cell, data, needed
        self.claims: list[Claim] = []

    def add(
        self,
        name: str,
        statement: str,
        published: str,
        rule: str,
        *,
        parts: Sequence[Part],
        holds: Range,
        rows: pd.DataFrame,
        figure: str,
        files: Sequence[Path],
        searched: bool = False,
        needed: int | None = None,
    ) -> None:
        """Adds a claim about all of `parts`, of which the ledger shows the one that decides; `rows` are the records it rests on.

        Without a part, with one that is not finite, or with a cell of fewer networks than needed, the claim is not measured. A search
        can refute a claim about all points, from any number of networks, and never confirm it. Two equal ends are no interval: those
        of a supremum that a search has found, or of what is said of these very networks.
        """
        finite = bool(parts) and bool(np.isfinite([(estimate, *interval) for estimate, interval in parts]).all())
        verdict, decides = judge_all([interval for _, interval in parts], holds) if finite else ("not measured", 0)
        measured, interval = parts[decides] if finite else (np.nan, (np.nan, np.nan))
        cell = [column for column in self.cell if column in rows]
        networks = rows.groupby(cell)["network"].nunique()
        few = not searched and (networks.empty or networks.min() < (needed or self.needed))
        if self.scale == "smoke" or few:
            verdict = "not measured"
        elif searched and verdict == "holds":
            verdict = "not contradicted"
        self.claims.append(
            Claim(
                id=f"{self.paper}.{name}",
                paper=self.paper,
                statement=statement,
                published=published,
                measured=measured if finite else None,
                interval=None if not finite or interval[0] == interval[1] else interval,
                verdict=verdict,
                rule=rule,
                networks=int(networks.sum()),
                samples=len(rows[[*cell, "network", "input"]].drop_duplicates()),
                scale=self.scale,
                data=self.data,
                figure=f"results/{self.scale}/figures/{self.paper}/{figure}.pdf",
                records=[str(file) for file in files],
            )
        )


def write(path: Path, claims: Sequence[Claim], born: Mapping[str, Any]) -> None:
    """Writes claims with their certificate: one paper's, or the ledger of all."""
    if len({claim.id for claim in claims}) != len(claims):
        raise ValueError(f"{path}: two claims have the same id")
    write_text(path, json.dumps({"provenance": born, "claims": [asdict(claim) for claim in claims]}, indent=2, allow_nan=False) + "\n")


def read(path: Path) -> list[Claim]:
    """The claims of a ledger."""
    try:
        return [Claim(**entry) for entry in json.loads(path.read_text())["claims"]]
    except FileNotFoundError:
        raise Mistake(f"{path}: no such ledger; run the workflow first (make paper)") from None
    except (ValueError, KeyError, TypeError):
        raise Mistake(f"{path}: not a ledger of claims; name a claims.json that this workflow made") from None


def _page(claims: Sequence[Claim]) -> str:
    """The ledger as an HTML page."""
    heads = ("Claim", "What is claimed", "Published", "Measured", "95% interval", "Verdict", "Networks", "Samples", "Rule")
    rows = [(c.id, c.statement, c.published, *_numbers(c), c.verdict, f"{c.networks:,}", f"{c.samples:,}", c.rule) for c in claims]
    cells = "\n".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    style = (
        "body{font:14px sans-serif}table{border-collapse:collapse}"
        "td,th{padding:4px 8px;border-bottom:1px solid #ccc;text-align:left;vertical-align:top}"
    )
    head = "".join(f"<th>{name}</th>" for name in heads)
    return f"<!doctype html><meta charset='utf-8'><title>Claims</title><style>{style}</style><table><tr>{head}</tr>\n{cells}\n</table>\n"


def collect(parts: Sequence[Path], out: Path, page: Path) -> None:
    """Makes the ledger of all papers from each one's claims, and the same as an HTML page."""
    ledger = [claim for part in parts for claim in read(part)]
    born = certificate(parameters={}, modules=[__name__], inputs=parts)
    write(out, ledger, born)
    write_text(page, _page(ledger))
    write_certificate(page, born)


def _numbers(claim: Claim) -> tuple[str, str]:
    """What was measured and its interval, as text."""
    measured = "-" if claim.measured is None else f"{claim.measured:.4g}"
    return measured, "-" if claim.interval is None else f"{claim.interval[0]:.4g} .. {claim.interval[1]:.4g}"


def table(claims: Sequence[Claim]) -> str:
    """The ledger as a table for a terminal."""
    rows = [("claim", "verdict", "measured", "95% interval", "networks", "statement")]
    for claim in claims:
        rows.append((claim.id, claim.verdict, *_numbers(claim), f"{claim.networks:,}", claim.statement))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return "\n".join("  ".join([*(cell.ljust(width) for cell, width in zip(row[:5], widths, strict=True)), row[5]]) for row in rows)
