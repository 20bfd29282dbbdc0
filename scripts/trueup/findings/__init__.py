"""Findings: what was looked at, and whether it is as it should be."""

from __future__ import annotations

from dataclasses import dataclass

OK, WARN, FAIL = "ok", "warn", "fail"


@dataclass(frozen=True)
class Finding:
    """One line: the subject, ok, warn or fail, what was found, and the remedy."""

    subject: str
    status: str
    found: str
    remedy: str = ""
