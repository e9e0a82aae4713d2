"""The table of `docs/reliability.md`: a row for each fault."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.e2e.bounds import Row
from tests.e2e.seen import by_code

TABLE = Path("docs/reliability.md")
BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"
COLUMNS = (
    "engine",
    "fault, 30 s",
    "feed pages answered",
    "writes",
    "uploads",
    "plays",
    "searches",
    "after recovery",
    "memory",
    "connects/s",
)


def line(row: Row) -> str:
    """A row of the table."""
    seen = row.seen
    stale = f"{seen.stale} stale, {sum(seen.failed_reads.values())} failed"
    cells = (
        row.engine,
        row.fault,
        f"{seen.reads} ({stale}), p99 {seen.p99_read_ms:g} ms",
        _outcomes(seen.writes, seen.failed_writes),
        _outcomes(seen.uploads, seen.failed_uploads),
        _outcomes(seen.plays, seen.failed_plays),
        _outcomes(seen.searches, seen.failed_searches),
        f"counts {_took(row.caught_up_s)}, uploads {_took(row.uploads_ready_s)}",
        f"{row.grown_mib:+} MiB",
        f"{row.connects_per_s:g}",
    )
    return f"| {' | '.join(cells)} |"


def _outcomes(answered: int, failed: Counter[str]) -> str:
    named = ", ".join(f"{count} {code}" for code, count in sorted(by_code(failed).items()))
    return f"{answered}; {named}" if named else f"{answered}"


def _took(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:g} s"


def write_table(rows: Sequence[Row], names: Sequence[str]) -> None:
    """Put rows into the table between its marks, engines in the order of `names`; what else was measured stays."""
    text = TABLE.read_text()
    before, _, rest = text.partition(BEGIN)
    old, _, after = rest.partition(END)
    lines = {key(row): row for row in old.splitlines() if key(row)[0] in names}
    lines |= {key(line(row)): line(row) for row in rows}
    ordered = sorted(lines, key=lambda pair: (names.index(pair[0]), not pair[1].startswith("hangs")))
    head = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|"
    table = "\n".join([BEGIN, "", head, *(lines[pair] for pair in ordered), "", END])
    TABLE.write_text(before + table + after)


def key(row: str) -> tuple[str, str]:
    """Engine and fault of a row of the table; empty for a line that is none."""
    cells = [cell.strip() for cell in row.split("|")]
    return (cells[1], cells[2]) if len(cells) > 2 else ("", "")
