"""Findings: what was looked at, and whether it is as it should be. One row for every system.

A system's statements return rows of this shape (the macro finding_rows adds the words). `runner`
reads them in one snapshot, `document` makes the report of them, `store` keeps it in the ledger.
Codes decide; no program compares a message.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

OK, INFO, WARN, FAIL, ERROR = "ok", "info", "warn", "fail", "error"
# The worst of several parts decides; one part that is ok makes more of them than information.
ORDER = (INFO, OK, WARN, FAIL, ERROR)
GOOD = (OK, INFO)
UNMET = (WARN, FAIL, ERROR)
FAILED = (FAIL, ERROR)


@dataclass(frozen=True)
class Finding:
    """One row.

    area:     the system, or the part of it, that was looked at: server, table, verification
    code:     what was found, for programs; name: the same for people
    subject:  what it is about, such as table.column; empty if that is clear from the name
    status:   ok, info, warn, fail, or error: it could not be read, which is never ok
    remedy:   what to do; its first line is a sentence, the others are commands to type
    rows:     how many rows it is about; sample: the first of them, as objects, worst first
    """

    area: str
    code: str
    name: str
    subject: str
    status: str
    message: str
    expected: str | None = None
    found: str | None = None
    remedy: str | None = None
    rows: int | None = None
    sample: list[dict[str, Any]] = field(default_factory=list)
    duration_ms: float = field(default=0.0, compare=False)


def failed(findings: Iterable[Finding], is_strict: bool = False) -> bool:
    """Whether one failed or could not be read; strict: or warned."""
    return any(each.status in (UNMET if is_strict else FAILED) for each in findings)
