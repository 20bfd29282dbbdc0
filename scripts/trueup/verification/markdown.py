"""A verification as Markdown, for a ticket or a pull request."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from trueup.show.terminal import counted, visible
from trueup.verification.check_tables import MARKS
from trueup.verification.checks import READ_BY_PEOPLE, UNMET

LETTERS = 200  # of a value
WHOLE = 1000  # of a sentence
MEANING = re.compile(r"([\\`*_\[\]|~])")  # special characters of Markdown
SAMPLE = ("table_name", "column_name", "row_key", "tenant", "value_before", "value_after",
          "value_now", "alias", "match_type", "reason", "added_by", "added_on")  # fmt: skip
TENANTS = ("table_name", "column_name", "tenant", "rows", "distinct_values", "rows_changed",
         "rows_left", "rows_empty")  # fmt: skip


def build(document: Mapping[str, Any]) -> str:
    """The document of verify.as_dict as a page of Markdown; every value is escaped."""
    run, summary, metadata = document["run"], document["summary"], document["metadata"]
    server = metadata["server"]
    verdict = document["verdict"].upper()
    facts = [
        ("run", f"{run['run_id']}, {run['kind']}, {run['status']}"),
        ("planned", f"{run['planned_at']} by {run['operator']}"),
        ("audit digest", run["audit_digest"] or "not recorded"),
        ("plan, statements", f"{run['plan_sha256']}, {run['sql_sha256']}"),
        ("verified at", document["timestamp"]),
        ("verification", document["verification_id"]),
        ("server", f"PostgreSQL {server['version']}, {server['url']}, {metadata['environment']}"),
        ("tables", ", ".join(metadata["tables"] or ["all of the run"])),
        ("tenants", ", ".join(metadata["tenants"] or ["all of the run"])),
        ("sample", f"{metadata['sample_size']} rows, seed {metadata['seed']}"),
        ("epsilon", str(metadata["epsilon"])),
        ("quiesced, strict", f"{_yes(metadata['quiesced'])}, {_yes(metadata['strict'])}"),
        ("versions", ", ".join(f"{name} {each}" for name, each in metadata["versions"].items())),
    ]
    parts = [
        f"# Verification of run {run['short_id']}: {verdict}",
        f"{summary['totalChecks']} checks: {summary['passed']} passed, {summary['failed']} failed,"
        f" {counted(summary['warnings'], 'warning')}.",
        _table(("check", "says", "ms"), [
            (f"{MARKS[check['status']]} {check['name']}", check["message"],
             f"{check['duration_ms']:,.0f}") for check in document["checks"]
        ]),
    ]  # fmt: skip
    if document["recommendations"]:
        names = {check["id"]: check["name"] for check in document["checks"]}
        parts.append("## Recommendations")
        for each in document["recommendations"]:
            parts.append(f"**{_text(names[each['check']])}**: {_text(each['text'])}")
            parts.append("\n".join(f"    {visible(line, WHOLE)}" for line in each["commands"]))
    for check in document["checks"]:
        parts += _check(check, metadata["tenant_label"])
    parts += ["## Facts", _table(("", ""), facts)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _check(check: Mapping[str, Any], label: str) -> list[str]:
    """Expected and actual state, and all findings that were read."""
    rows = check["offenders"]
    if check["status"] not in UNMET and not rows:
        return []
    parts = [f"## {MARKS[check['status']]} {_text(check['name'])}"]
    if check["status"] in UNMET:
        pairs = list(zip(check["expected"], check["actual"], strict=True))
        parts.append(_table(("expected", "found"), pairs))
    if check["id"] == READ_BY_PEOPLE[0]:
        parts += _listed(rows, SAMPLE, label)
    elif check["id"] == READ_BY_PEOPLE[1]:
        parts += _listed(rows, TENANTS, label)
    else:
        parts.append("\n".join(f"- {each['status']}: {_text(each['message'])}" for each in rows))
    hidden = check["offender_count"] - len(rows)
    return [*parts, f"and {hidden:,} more" if hidden > 0 else ""]


def _listed(rows: Sequence[Mapping[str, Any]], names: tuple[str, ...], label: str) -> list[str]:
    """A table of those with fields; a statement that failed has only a message."""
    told = [f"- {_text(each['message'])}" for each in rows if "table_name" not in each]
    fields = [
        [_cell(name, each.get(name), label) for name in names]
        for each in rows
        if "table_name" in each
    ]
    headings = tuple(name.replace("_", " ").replace("tenant", label) for name in names)
    return ["\n".join(told), _table(headings, fields) if fields else ""]


def _cell(name: str, value: Any, label: str) -> str:
    if value is None:
        return f"no {label}" if name == "tenant" else "–"
    return visible(str(value), LETTERS)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings)]
    head, rule = (f"| {' | '.join(line)} |" for line in lines)
    return "\n".join(
        [head, rule, *(f"| {' | '.join(_text(cell) for cell in row)} |" for row in rows)]
    )


def _text(value: str) -> str:
    """One line that Markdown and HTML read as what it says; not for the beginning of a line."""
    shown = visible(value, WHOLE).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return MEANING.sub(r"\\\1", shown)


def _yes(value: bool) -> str:
    return "yes" if value else "no"
