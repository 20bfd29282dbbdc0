"""A verification as people see it on a terminal, and the list of those that were kept.

All is made from the document of verify.as_dict, so that one that was kept looks the same again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from trueup.show.terminal import new_table, visible
from trueup.verification.checks import GOOD, INFO, UNMET
from trueup.verification.words import faults

RULE = "=" * 80
MARKS = {"pass": "✓", "info": "✓", "warn": "!", "fail": "✗", "error": "✗"}
WHOLE = 1000  # characters of a line
READ = 5  # rows of the sample, tenants
SHOWN = 10  # offenders of a check


def show(out: Console, document: Mapping[str, Any], limit: int | None = SHOWN) -> None:
    """The report without its last line; limit: offenders shown per check, None for all read."""
    run, summary, metadata = document["run"], document["summary"], document["metadata"]
    _print(out, RULE, "VERIFICATION REPORT", RULE, "")
    _print(out, f"Run: {run['short_id']}, {run['kind']}, {run['status'].replace('_', ' ')}")
    _print(out, f"Verification: {document['verification_id'][:8]} of {document['timestamp'][:19]}Z")
    for name in ("tables", "tenants"):
        if metadata[name]:
            _print(
                out, f"{name.capitalize()}: {', '.join(visible(each) for each in metadata[name])}"
            )
    _print(out, f"Seed of the sample: {metadata['seed']}")
    if run["audit_digest"]:
        _print(out, f"Audit digest: {run['audit_digest']}")
    _print(out, "", "SUMMARY", f"  Total Checks: {summary['totalChecks']}",
           f"  Passed: {summary['passed']}", f"  Failed: {summary['failed']}",
           f"  Warnings: {summary['warnings']}", "", "CHECKS")  # fmt: skip
    for check in document["checks"]:
        _show_check(out, check, metadata["tenant_label"], limit)
    if document["recommendations"]:
        names = {check["id"]: check["name"] for check in document["checks"]}
        _print(out, "", "RECOMMENDATIONS")
        for each in document["recommendations"]:
            _print(out, f"  {names[each['check']]}: {each['text']}")
            _print(out, *(f"    {command}" for command in each["commands"]))
    _print(out, "")


def show_verdict(out: Console, document: Mapping[str, Any]) -> None:
    """The last line."""
    if document["verdict"] == "failed":
        _print(out, "[ERROR] Verification FAILED: One or more checks failed")
    else:
        _print(out, "[INFO] Verification PASSED")


def show_list(out: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    """Verifications, one line each."""
    headings = ("id", "run", "verdict", "passed", "failed", "warned", "at", "by", "s")
    table = new_table(*headings, right=(3, 4, 5, 8))
    for row in rows:
        table.add_row(
            str(row["verification_id"])[:8],
            str(row["run_id"])[:8],
            row["verdict"] + (" (strict)" if row["is_strict"] else ""),
            f"{row['checks_passed']}",
            f"{row['checks_failed']}",
            f"{row['checks_warned']}",
            f"{row['verified_at']:%Y-%m-%d %H:%M}",
            escape(row["verified_by"] or ""),
            f"{row['duration_ms'] / 1000:.1f}",
        )
    out.print(table)


def _show_check(out: Console, check: Mapping[str, Any], label: str, limit: int | None) -> None:
    status, offenders = check["status"], check["offenders"]
    rest: Sequence[Any]
    shown: Sequence[Any]
    _print(out, f"{MARKS[status]} {check['name']}: {check['message']}")
    if check["id"] == "per_fund_breakdown" and status in GOOD:
        _show_tenants(out, offenders, label, limit)
        return
    if status in UNMET:
        # the first one is in the message
        found = [each for each in offenders if each["status"] != INFO]
        rest, hidden = found[1:], faults(offenders, check["offender_count"]) - 1
        shown = rest[: None if limit is None else max(limit - 1, 0)]
    else:
        said = status == INFO and check["id"] != "sample_inspection"
        rest = offenders[1:] if said else offenders
        hidden = check["offender_count"] - said
        shown = rest if limit is None else _from_all_over(rest, min(limit, READ))
    _print(out, *(f"    {each['message']}" for each in shown))
    hidden -= len(shown)
    if hidden > 0:
        _print(out, f"    and {hidden:,} more" + (" (--verbose)" if limit is not None else ""))


def _from_all_over(rows: Sequence[Any], number: int) -> Sequence[Any]:
    """So many of the rows, as far apart as they can be."""
    step = -(-len(rows) // number) if number else 1
    return rows[::step][:number] if rows else rows


def _show_tenants(
    out: Console, offenders: Sequence[Mapping[str, Any]], label: str, limit: int | None
) -> None:
    """The largest tenants and the rows of none; nothing if no column has a tenant."""
    tenants = sorted(
        (each for each in offenders if each.get("tenant") is not None),
        key=lambda each: -_number(each, "rows"),
    )
    none = [each for each in offenders if each.get("tenant") is None]
    if not offenders:
        return
    shown = tenants if limit is None else tenants[: min(limit, READ)]
    names = ("rows", "distinct_values", "rows_changed", "rows_left", "rows_empty")
    headings = ("  column", escape(label), "rows", "distinct values", "changed", "left", "empty")
    table = new_table(*headings, right=range(2, 7))
    for each in (*shown, *(none if limit is None else none[:READ])):
        tenant = each.get("tenant")
        table.add_row(
            escape(visible(f"  {each.get('table_name')}.{each.get('column_name')}").strip("'")),
            escape(f"no {label}" if tenant is None else visible(str(tenant))),
            *(f"{_number(each, name):,}" for name in names),
        )
    out.print(table)
    hidden = len(tenants) - len(shown)
    if hidden:
        _print(out, f"    and {hidden:,} more (--verbose)")


def _number(row: Mapping[str, Any], name: str) -> int:
    value = row.get(name)
    return int(value) if isinstance(value, int | float) else 0


def _print(out: Console, *lines: str) -> None:
    """As it is, on one line each: what values bring along cannot move the cursor."""
    for line in lines:
        text = line.lstrip(" ")
        indent = line[: len(line) - len(text)]
        shown = indent + visible(text, WHOLE) if text else ""
        out.print(shown, markup=False, soft_wrap=True)
