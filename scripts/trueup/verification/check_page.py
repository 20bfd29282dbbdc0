"""The page of `trueup verify`: selects the contents; the template formats them.

Its source is the document that verify.as_dict makes and that the ledger keeps, so that the page of
an old verification can be made again without its database.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from trueup.core.runs import ROLLBACK
from trueup.show import figures, flows, page
from trueup.show.figures import Part, Row
from trueup.show.terminal import counted
from trueup.verification import words
from trueup.verification.checks import ERROR, FAIL, FAILED, INFO, PASS, READ_BY_PEOPLE, UNMET, WARN

NAMED = 3  # checks in the headline
READ = 12  # rows of the sample at first sight: those edited since, and some from all over
SAMPLED = 500  # in all; the rest is counted, and the JSON has it

# status → mark, what it is called; what needs a person first
STATUSES = {
    FAIL: ("✗", "failed"),
    ERROR: ("✗", "could not be read"),
    WARN: ("!", "warning"),
    PASS: ("✓", "passed"),
    INFO: ("i", "for information"),
}


def build(document: Mapping[str, Any]) -> str:
    """The page as HTML, of the document of a verification."""
    metadata, columns = document["metadata"], document["columns"]
    is_rollback = document["run"]["kind"] == ROLLBACK
    checks = [_check(each) for each in document["checks"]]
    tenants, tenants_more = _answers(document, "per_fund_breakdown")
    drawn, drawn_more = _answers(document, "sample_inspection")
    sample = [{**row, "now": _now(row)} for row in drawn]
    first, later = _to_read(sample[:SAMPLED])
    pictures = [
        flows.picture(column, document["targets"], document["values"], is_rollback)
        for column in columns
    ]
    strips = figures.strips(sorted(tenants, key=lambda row: -row["rows"]), _tenant_parts)
    return page.render(
        "verification.html.j2",
        document=document,
        run=document["run"],
        metadata=metadata,
        version=metadata["versions"]["trueup"],
        is_rollback=is_rollback,
        statuses=STATUSES,
        headline=headline(checks),
        checks=checks,
        all_checks=_by_status(checks),
        not_met=sorted((check for check in checks if check["status"] in UNMET), key=_urgency),
        column_parts=figures.summed(map(flows.parts, columns)),
        columns=[(column, flows.place(column), flows.parts(column)) for column in columns],
        pictures=[picture for picture in pictures if picture.flow],
        strips=strips,
        tenant_label=metadata["tenant_label"],
        legend=figures.legend(strips),
        tenants_more=tenants_more,
        sample=first,
        sample_later=later,
        sample_count=len(sample) + drawn_more,
        has_columns=len({flows.place(row) for row in sample}) > 1,
        edited=sum(row["now"] != "same" for row in sample),
        scope=_scope(metadata),
        command=command(document),
    )


def headline(checks: Sequence[Row]) -> str:
    """The finding in one sentence, with the names of the checks that matter most."""
    if not checks:
        return "No check was made"
    total = len(checks)
    failed = [check for check in checks if check["status"] in FAILED]
    found = failed or [check for check in checks if check["status"] == WARN]
    if not found:
        return f"All {total} checks passed" if total > 1 else "The only check passed"
    if not failed:
        first, verb = "No check failed; ", "warns" if len(found) == 1 else "warn"
    else:
        is_read = any(check["status"] == FAIL for check in failed)
        first, verb = "", "failed" if is_read else "could not be read"
    names = ", ".join(check["name"] for check in found[:NAMED])
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return f"{first}{len(found)} of {counted(total, 'check')} {verb}: {names}{more}"


def command(document: Mapping[str, Any]) -> str:
    """The command that repeats the verification, with the same sample."""
    metadata = document["metadata"]
    words = ["trueup", "verify", document["run"]["short_id"]]
    for table in metadata["tables"] or []:
        words += ["--table", table]
    for tenant in metadata["tenants"] or []:
        words += ["--tenant", "none" if tenant is None else tenant]
    words += ["--sample-size", str(metadata["sample_size"]), "--seed", str(metadata["seed"]),
              "--epsilon", str(metadata["epsilon"])]  # fmt: skip
    words += [f"--{name}" for name in ("quiesced", "strict") if metadata[name]]
    return shlex.join(words)


def _check(check: Row) -> dict[str, Any]:
    """A check with its findings (offenders that are more than information), failures first."""
    count = words.faults(check["offenders"], check["offender_count"])
    findings = sorted((each for each in check["offenders"] if each["status"] != INFO),
                      key=_urgency)  # fmt: skip
    return {
        **check,
        "findings": findings,
        # informational rows are not findings, even if some were not listed
        "finding_count": len(findings) if check["id"] in READ_BY_PEOPLE else count,
        "stated": list(zip_longest(check["expected"], check["actual"], fillvalue="")),
    }


def _urgency(found: Row) -> int:
    """Sorts failures first; those alike keep their order."""
    return list(STATUSES).index(found["status"])


def _by_status(checks: Sequence[Row]) -> list[Part]:
    """The checks by status, as parts of a bar."""
    found = [check["status"] for check in checks]
    return [
        Part("passed", found.count(PASS) + found.count(INFO), "now"),
        Part("warnings", found.count(WARN), "warned"),
        Part("failed", sum(status in FAILED for status in found), "unknown"),
    ]


def _answers(document: Mapping[str, Any], check: str) -> tuple[list[dict[str, Any]], int]:
    """The informational findings that a check lists, and how many more there are.

    If a part of it could not be read, it also lists an error without a column.
    """
    offenders, count = [], 0
    for each in document["checks"]:
        if each["id"] == check:
            offenders += each["offenders"]
            count += each["offender_count"]
    return [each for each in offenders if "column_name" in each], max(count - len(offenders), 0)


def _tenant_parts(row: Row) -> list[Part]:
    """All rows of a tenant. Rows that were edited after the run count by their present value."""
    filled = max(row["rows"] - row["rows_left"] - row["rows_empty"], 0)
    changed = min(row["rows_changed"], filled)
    return [
        Part("canonical before", filled - changed, "now"),
        Part("changed", changed, "change"),
        Part("left, not canonical", row["rows_left"], "stays"),
        Part("empty", row["rows_empty"], "missing"),
    ]


def _now(row: Row) -> str:
    if not row["is_there"]:
        return "gone"
    return "same" if row["value_now"] == row["value_after"] else "other"


def _to_read(sample: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """The rows to read first, and the rest, both in the sample's own order.

    Rows that were edited since come first; the rest is picked evenly, because a sample may be
    sorted by its values.
    """
    edited = [number for number, row in enumerate(sample) if row["now"] != "same"][:READ]
    others = [number for number, row in enumerate(sample) if row["now"] == "same"]
    room = min(READ - len(edited), len(others))
    first = {*edited, *(others[number * len(others) // room] for number in range(room))}
    return (
        [row for number, row in enumerate(sample) if number in first],
        [row for number, row in enumerate(sample) if number not in first],
    )


def _scope(metadata: Mapping[str, Any]) -> str:
    """The selected scope, if it is not everything."""
    parts = []
    if metadata["tables"]:
        parts.append("tables " + ", ".join(metadata["tables"]))
    if metadata["tenants"]:
        named = ("none" if tenant is None else str(tenant) for tenant in metadata["tenants"])
        parts.append("tenants " + ", ".join(named))
    return "; ".join(parts)
