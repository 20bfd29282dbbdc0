"""A document of findings as people see it: on a terminal, as Markdown, as a page.

All is made from the document of findings.document.make, so that one that was kept looks the same
again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from trueup.show import page
from trueup.show.figures import Part
from trueup.show.terminal import counted, show_table, visible

RULE = "=" * 80
UNMET = ("warn", "fail", "error")
# status → mark, what it is called; what needs a person first
STATUSES = {
    "fail": ("✗", "failed"),
    "error": ("✗", "could not be read"),
    "warn": ("!", "warning"),
    "ok": ("✓", "passed"),
    "info": ("i", "for information"),
}
WHOLE = 1000  # characters of a line
READ = 5  # rows of a sample that only informs
SHOWN = 10  # rows of a sample that is a fault
NAMED = 3  # checks in the headline

Row = Mapping[str, Any]


def show(out: Console, document: Row, limit: int | None = SHOWN) -> None:
    """The report without its last line; limit: rows shown per check, None for all."""
    summary = document["summary"]
    _print(out, RULE, f"{document['system'].upper()} REPORT", RULE, "")
    _print(out, *(f"{label}: {text}" for label, text in document["metadata"]["about"].items()))
    _print(out, "", "SUMMARY", f"  Total Checks: {summary['totalChecks']}",
           f"  Passed: {summary['passed']}", f"  Failed: {summary['failed']}",
           f"  Warnings: {summary['warnings']}", "", "CHECKS")  # fmt: skip
    for check in document["checks"]:
        _show_check(out, check, limit)
    if document["recommendations"]:
        _print(out, "", "RECOMMENDATIONS")
        for each in document["recommendations"]:
            _print(out, f"  {each['name']}: {each['text']}")
            _print(out, *(f"    {command}" for command in each["commands"]))
    _print(out, "")


def show_verdict(out: Console, document: Row) -> None:
    """The last line."""
    system = document["system"].capitalize()
    if document["verdict"] == "failed":
        _print(out, f"[ERROR] {system} FAILED: One or more checks failed")
    else:
        _print(out, f"[INFO] {system} PASSED")


def show_list(out: Console, rows: Sequence[Row]) -> None:
    """Documents that were kept, one line each."""
    headings = ("id", "of", "verdict", "ok", "fail", "warn", "at", "by", "s")
    listed = [
        [str(row["verification_id"])[:8], row["subject"],
         row["verdict"] + (" (strict)" if row["is_strict"] else ""),
         row["checks_passed"], row["checks_failed"], row["checks_warned"],
         f"{row['verified_at']:%Y-%m-%d %H:%M}", row["verified_by"] or "",
         round(row["duration_ms"] / 1000, 1)]
        for row in rows
    ]  # fmt: skip
    show_table(out, headings, listed)


def as_markdown(document: Row) -> str:
    """For a ticket or a pull request; every value is escaped."""
    return page.render("findings.md.j2", document=document, statuses=STATUSES, table_of=table_of)


def as_page(document: Row, template: str = "findings.html.j2", **more: Any) -> str:
    """As HTML; a system's own template extends findings.html.j2 and gets `more`."""
    checks = [{**check, "faults": faults(check), "parts": _parts(check)}
              for check in document["checks"]]  # fmt: skip
    found = [check["status"] for check in checks]
    return page.render(
        template,
        document=document,
        metadata=document["metadata"],
        version=document["metadata"]["versions"]["trueup"],
        statuses=STATUSES,
        headline=headline(checks),
        checks=checks,
        not_met=sorted((check for check in checks if check["status"] in UNMET), key=_urgency),
        all_checks=[
            Part("passed", found.count("ok") + found.count("info"), "now"),
            Part("warnings", found.count("warn"), "warned"),
            Part("failed", found.count("fail") + found.count("error"), "unknown"),
        ],
        table_of=table_of,
        **more,
    )


def headline(checks: Sequence[Row]) -> str:
    """The verdict in one sentence, with the names of the checks that matter most."""
    if not checks:
        return "No check was made"
    failed = [check for check in checks if check["status"] in ("fail", "error")]
    found = failed or [check for check in checks if check["status"] == "warn"]
    total = counted(len(checks), "check")
    if not found:
        return f"All {total} passed" if len(checks) > 1 else "The only check passed"
    if not failed:
        first, verb = "No check failed; ", "warns" if len(found) == 1 else "warn"
    else:
        is_read = any(check["status"] == "fail" for check in failed)
        first, verb = "", "failed" if is_read else "could not be read"
    names = ", ".join(check["name"] or check["subject"] for check in found[:NAMED])
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return f"{first}{len(found)} of {total} {verb}: {names}{more}"


def faults(check: Row) -> list[Row]:
    """The rows of its sample that are more than information, failures first."""
    return sorted((row for row in check["sample"] if _status(row) != "info"), key=_urgency)


def table_of(sample: Sequence[Row]) -> tuple[list[str], list[list[Any]]]:
    """The fields of a sample besides status and message, as headings and rows."""
    names = dict.fromkeys(name for row in sample for name in row if name not in _WORDS)
    return list(names), [[row.get(name) for name in names] for row in sample]


_WORDS = ("status", "message")


def _status(row: Row) -> str:
    return str(row.get("status", "info"))


def _urgency(found: Row) -> int:
    """Sorts failures first; those alike keep their order."""
    return list(STATUSES).index(_status(found))


def _parts(check: Row) -> list[tuple[str, str]]:
    """Expected and found, line by line."""
    pair = [(check[name] or "").split("\n") for name in ("expected", "found")]
    length = max(map(len, pair))
    lines = zip(*(each + [""] * (length - len(each)) for each in pair), strict=True)
    return [(expected, found) for expected, found in lines if expected or found]


def _show_check(out: Console, check: Row, limit: int | None) -> None:
    status, sample = check["status"], check["sample"]
    label = ", ".join(filter(None, (check["name"], check["subject"])))
    mark = "✓" if status == "info" else STATUSES[status][0]
    _print(out, f"{mark} {label}: {check['message']}")
    is_met = status not in UNMET
    listed = sample if is_met else faults(check)
    rest = [row for row in listed if not check["message"].endswith(_sentence(row))]
    if not is_met:
        rest = listed[1:]  # the first one is in the message
    shown = (
        rest if limit is None
        else _from_all_over(rest, min(limit, READ)) if is_met else rest[: max(limit - 1, 0)]
    )  # fmt: skip
    _print(out, *(f"    {_sentence(row)}" for row in shown))
    known = len(sample) - len(listed)
    total = max((check["rows"] or 0) - known, len(listed)) if sample else 0
    hidden = total - (len(listed) - len(rest)) - len(shown)
    if hidden > 0:
        _print(out, f"    and {hidden:,} more" + (" (--verbose)" if limit is not None else ""))


def _sentence(row: Row) -> str:
    if "message" in row:
        return str(row["message"])
    return ", ".join(f"{name}: {value}" for name, value in row.items() if name not in _WORDS)


def _from_all_over(rows: Sequence[Any], number: int) -> Sequence[Any]:
    """So many of the rows, as far apart as they can be."""
    step = -(-len(rows) // number) if number else 1
    return rows[::step][:number] if rows else rows


def _print(out: Console, *lines: str) -> None:
    """As it is, on one line each: what values bring along cannot move the cursor."""
    for line in lines:
        text = line.lstrip(" ")
        indent = line[: len(line) - len(text)]
        shown = indent + visible(text, WHOLE) if text else ""
        out.print(shown, markup=False, soft_wrap=True)
