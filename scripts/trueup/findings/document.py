"""The report of findings: one document for terminal, page, Markdown, JSON and the ledger."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import platform
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg

from trueup import __version__
from trueup.findings import FAILED, GOOD, UNMET, WARN, Finding
from trueup.findings import failed as has_failed


def make(
    system: str,
    subject: str,
    findings: Sequence[Finding],
    *,
    taken_at: str,
    duration_ms: float,
    is_strict: bool = False,
    about: Mapping[str, str] | None = None,
    details: Mapping[str, Any] | None = None,
    subject_sha256: str | None = None,
    run_id: str | None = None,
) -> dict[str, Any]:
    """The document, ready for JSON; docs/schemas/findings.schema.json describes it.

    system:   who judged: verification, ...
    subject:  what was judged, such as "run 3f2a91c0"; subject_sha256: of its content
    about:    label → text, what else people should know: server, options
    details:  what only this system has
    run_id:   of the run that was judged, if it was one
    """
    return {
        "verification_id": str(uuid.uuid4()),
        "system": system,
        "subject": subject,
        "subject_sha256": subject_sha256,
        "run_id": run_id,
        "timestamp": taken_at,
        "verdict": "failed" if has_failed(findings, is_strict) else "passed",
        "summary": {
            "totalChecks": len(findings),
            "passed": _count(findings, *GOOD),
            "failed": _count(findings, *FAILED),
            "warnings": _count(findings, WARN),
        },
        "checks": [dataclasses.asdict(each) for each in findings],
        "recommendations": [
            {"code": each.code, "name": each.name or each.subject, "subject": each.subject,
             "text": text, "commands": list(dict.fromkeys(commands))}
            for each in findings
            if each.status in UNMET and each.remedy
            for text, *commands in [each.remedy.split("\n")]
        ],
        "metadata": {
            "strict": is_strict,
            "duration_ms": round(duration_ms, 1),
            "about": dict(about or {}),
            "versions": {
                "trueup": __version__,
                "python": platform.python_version(),
                "psycopg": psycopg.__version__,
                "dbt": importlib.metadata.version("dbt-core"),
            },
        },
        "details": dict(details or {}),
    }  # fmt: skip


def is_failed(document: Mapping[str, Any]) -> bool:
    """Whether the verdict is failed, so that the command exits with 1."""
    return bool(document["verdict"] == "failed")


def summary_text(document: Mapping[str, Any]) -> str:
    """One line: 8 of 10 checks passed, 1 warning, 1 failed (Row Counts, Models Agree)."""
    summary = document["summary"]
    names = [each["name"] for each in document["checks"] if each["status"] in UNMET]
    parts = [f"{summary['passed']} of {summary['totalChecks']} checks passed"]
    if summary["warnings"]:
        parts.append(f"{summary['warnings']} warning{'s' * (summary['warnings'] != 1)}")
    if summary["failed"]:
        parts.append(f"{summary['failed']} failed")
    return ", ".join(parts) + (f" ({', '.join(names)})" if names else "")


def _count(findings: Sequence[Finding], *statuses: str) -> int:
    return sum(each.status in statuses for each in findings)
