"""The page of `trueup verify`: a verification in pictures, as data for its template.

Its source is the document that verify.as_dict makes and that the ledger keeps, so that the page of
an old verification can be made again without its database.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from itertools import zip_longest
from typing import Any, TypeVar

from trueup.core.runs import ROLLBACK
from trueup.show import figures, flows, page, terminal
from trueup.show.figures import Part, Strip
from trueup.show.flows import Target, Value
from trueup.verification import words
from trueup.verification.checks import ERROR, FAIL, FAILED, INFO, PASS, READ_BY_PEOPLE, UNMET, WARN

# What a page shows at most; the rest is counted and said to be left out. The JSON has more.
NAMED = 3  # checks in the headline
OFFENDERS = 10  # of a check
STATED = 40  # expected and actual of a check
TOLD = 200  # letters of each
SPELLINGS = 200  # of a column that changed; of those that stay
STRIPED = 120  # tenants of one column, as bars
TENANTS = 300  # the same as a table
READ = 12  # rows of the sample at first sight: those edited since, and some from all over
SAMPLED = 500  # in all
WORDS = 300  # letters of a message
TYPED = 4000  # of a line to type that cannot be shown as it is
CELL = 48  # letters of a value among others
WIDEST = 12  # columns of a letter that has to be shown as ‹U+10FFFF›

# status → mark, what it is called; what needs a person first
STATUSES = {
    FAIL: ("✗", "failed"),
    ERROR: ("✗", "could not be read"),
    WARN: ("!", "warning"),
    PASS: ("✓", "passed"),
    INFO: ("i", "for information"),
}

Record = TypeVar("Record")


@dataclass(frozen=True)
class Finding:
    """An offender of a check: what it is called, and its line."""

    word: str
    text: str


@dataclass(frozen=True)
class Advice:
    """What to do about a check: text with `code` in it, and commands to type."""

    text: str
    commands: list[str]


@dataclass(frozen=True)
class Check:
    """A check for reading. share: its time, in % of the slowest one's.

    stated: pairs of expected and actual; *_more: how many are not listed
    """

    id: str
    name: str
    status: str
    mark: str
    word: str
    message: str
    duration_ms: float
    share: float
    stated: list[tuple[str, str]]
    stated_more: int
    findings: list[Finding]
    finding_count: int
    advice: list[Advice]

    @property
    def is_met(self) -> bool:
        """Whether nobody has to do anything."""
        return self.status not in UNMET


@dataclass(frozen=True)
class Column:
    """A column of the run, all its rows as parts of a bar; None where they were not counted."""

    name: str
    row_total: int | None
    rows_planned: int
    rows_done: int
    rows_left: int | None
    parts: list[Part] | None


@dataclass(frozen=True)
class Fund:
    """What stands in the rows of a tenant (None: of no tenant)."""

    tenant: str | None
    rows: int
    distinct_values: int
    rows_changed: int
    rows_left: int
    rows_empty: int


@dataclass(frozen=True)
class TenantPicture:
    """The tenants of one column, those with the most rows first; none: the rows of no tenant."""

    name: str
    strip: Strip
    rows: list[Fund]
    none: Fund | None


@dataclass(frozen=True)
class Sampled:
    """A row of the sample. now: "same", "other" or "gone"; why, added_*: of the alias."""

    column: str
    row_key: str
    tenant: str | None
    value_before: str | None
    value_after: str | None
    now: str
    value_now: str | None
    alias: str | None
    why: str
    added_by: str
    added_on: str


def build(document: Mapping[str, Any]) -> str:
    """The page as HTML, of the document of a verification."""
    run, metadata = document["run"], document["metadata"]
    is_rollback = run["kind"] == ROLLBACK
    checks = _checks(document)
    columns = [_column(row, is_rollback) for row in document["columns"]]
    funds, funds_more = _answers(document, "per_fund_breakdown")
    tenants = _tenants(funds)
    drawn, drawn_more = _answers(document, "sample_inspection")
    sample = [_sampled(row) for row in drawn]
    first, later = _to_read(sample[:SAMPLED])
    pictures = [_picture(document, row, is_rollback) for row in document["columns"]]
    return page.render(
        "verification.html.j2",
        document=document,
        run=run,
        metadata=metadata,
        version=metadata["versions"]["trueup"],
        is_rollback=is_rollback,
        done="restored" if is_rollback else "changed",
        promised="restorable" if is_rollback else "promised",
        headline=headline(checks),
        checks=checks,
        all_checks=_by_status(checks),
        not_met=sorted(
            (check for check in checks if not check.is_met),
            key=lambda check: list(STATUSES).index(check.status),
        ),
        rows_done=sum(column.rows_done for column in columns),
        rows_promised=sum(column.rows_planned for column in columns),
        columns=columns,
        column_parts=figures.summed(column.parts or [] for column in columns),
        pictures=[picture for picture in pictures if picture.flows],
        tenants=tenants,
        tenant_parts=figures.summed(
            _fund_parts(fund)
            for picture in tenants
            for fund in [*picture.rows, *([picture.none] if picture.none else [])]
        ),
        funds_more=funds_more,
        sample=first,
        sample_later=later,
        sample_count=len(sample) + drawn_more,
        has_columns=len({row.column for row in sample}) > 1,
        edited=sum(row.now != "same" for row in sample),
        scope=_scope(metadata),
        command=command(document),
        when=when,
        milliseconds=milliseconds,
        cut=lambda text: _cut(text, WORDS),
        STRIPED=STRIPED,
        TENANTS=TENANTS,
    )


def headline(checks: Sequence[Check]) -> str:
    """The finding in one sentence, with the names of the checks that matter most."""
    if not checks:
        return "No check was made"
    total = len(checks)
    failed = [check for check in checks if check.status in FAILED]
    found = failed or [check for check in checks if check.status == WARN]
    if not found:
        return f"All {total} checks passed" if total > 1 else "The only check passed"
    if not failed:
        first, verb = "No check failed; ", "warns" if len(found) == 1 else "warn"
    else:
        is_read = any(check.status == FAIL for check in failed)
        first, verb = "", "failed" if is_read else "could not be read"
    names = ", ".join(check.name for check in found[:NAMED])
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return f"{first}{len(found)} of {page.plural(total, 'check')} {verb}: {names}{more}"


def command(document: Mapping[str, Any]) -> str:
    """What verifies the same again, with the same sample."""
    metadata = document["metadata"]
    words = ["trueup", "verify", document["run"]["short_id"]]
    for table in metadata["tables"] or []:
        words += ["--table", table]
    for tenant in metadata["tenants"] or []:
        words += ["--fund-id", "none" if tenant is None else tenant]
    words += ["--sample-size", str(metadata["sample_size"]), "--seed", str(metadata["seed"]),
              "--epsilon", str(metadata["epsilon"])]  # fmt: skip
    words += [f"--{name}" for name in ("quiesced", "strict") if metadata[name]]
    return _printable(shlex.join(words))


def when(time: str | None) -> str:
    """2026-11-20T20:00:00.123456+00:00 → 2026-11-20 20:00:00 UTC."""
    if time is None:
        return "not yet"
    return f"{datetime.fromisoformat(time):%Y-%m-%d %H:%M:%S %Z}"


def milliseconds(value: float) -> str:
    """7.25 → 7.2 ms, 1850 → 1.9 s."""
    return figures.duration(value / 1000)


def _checks(document: Mapping[str, Any]) -> list[Check]:
    slowest = max((check["duration_ms"] for check in document["checks"]), default=0.0)
    return [_check(check, slowest, document["recommendations"]) for check in document["checks"]]


def _check(
    check: Mapping[str, Any], slowest_ms: float, recommendations: Iterable[Mapping[str, Any]]
) -> Check:
    """A check; its offenders that are more than information, failures first."""
    offenders = sorted((each for each in check["offenders"] if each["status"] != INFO),
                       key=_urgency)  # fmt: skip
    count = len(offenders)
    if check["id"] not in READ_BY_PEOPLE:
        count = words.faults(check["offenders"], check["offender_count"])
    stated = list(zip_longest(check["expected"], check["actual"], fillvalue=""))
    return Check(
        id=check["id"],
        name=check["name"],
        status=check["status"],
        mark=STATUSES[check["status"]][0],
        word=STATUSES[check["status"]][1],
        message=_cut(check["message"], WORDS),
        duration_ms=check["duration_ms"],
        share=100 * check["duration_ms"] / slowest_ms if slowest_ms else 0.0,
        stated=[(_cut(expected, TOLD), _cut(actual, TOLD)) for expected, actual in stated[:STATED]],
        stated_more=max(len(stated) - STATED, 0),
        findings=[
            Finding(STATUSES[each["status"]][1], _cut(each["message"], WORDS))
            for each in offenders[:OFFENDERS]
        ],
        finding_count=count,
        advice=[
            Advice(_printable(each["text"]), [_printable(line) for line in each["commands"]])
            for each in recommendations
            if each["check"] == check["id"]
        ],
    )


def _urgency(offender: Mapping[str, Any]) -> int:
    """Sorts failures first; those alike keep their order."""
    return list(STATUSES).index(offender["status"])


def _printable(text: str) -> str:
    """What is copied from the page: nothing in it is invisible."""
    return "\n".join(
        line if line.isprintable() else terminal.visible(line, TYPED) for line in text.split("\n")
    )


def _by_status(checks: Sequence[Check]) -> list[Part]:
    """The checks by what became of them, as parts of a bar."""
    return [
        Part("passed", sum(check.is_met for check in checks), "now"),
        Part("warnings", sum(check.status == WARN for check in checks), "warned"),
        Part("failed", sum(check.status in FAILED for check in checks), "unknown"),
    ]


def _answers(document: Mapping[str, Any], check: str) -> tuple[list[dict[str, Any]], int]:
    """What a check lists of those that only inform, and how many more there are.

    Where a part of it could not be read it also lists an error, which is of no column.
    """
    offenders, count = [], 0
    for each in document["checks"]:
        if each["id"] == check:
            offenders += each["offenders"]
            count += each["offender_count"]
    return [each for each in offenders if "column_name" in each], max(count - len(offenders), 0)


def _name(row: Mapping[str, Any]) -> str:
    """table.column, whole: a name of PostgreSQL is short."""
    name = f"{row['table_name']}.{row['column_name']}"
    return page.short(name, len(name) * WIDEST)


def _column(row: Mapping[str, Any], is_rollback: bool) -> Column:
    """A rollback counts no rows but those that it may touch."""
    total, planned, done, left = (
        row["row_total"], row["rows_planned"], row["rows_updated"], row["rows_left"]
    )  # fmt: skip
    parts = None
    if total is not None and not is_rollback:
        empty = (row["null_total"] or 0) + (row["blank_total"] or 0)
        parts = [
            Part("canonical before", max(total - empty - planned - left, 0), "now"),
            Part("changed", done, "change"),
            Part("left as planned", left, "stays"),
            Part("promised, not changed", max(planned - done, 0), "unknown"),
            Part("empty", empty, "missing"),
        ]
    return Column(_name(row), total, planned, done, None if is_rollback else left, parts)


def _picture(
    document: Mapping[str, Any], column: Mapping[str, Any], is_rollback: bool
) -> flows.ColumnPicture:
    name = _name(column)
    return flows.picture(
        name,
        [_record(Target, row) for row in document["targets"] if _name(row) == name],
        [_record(Value, row) for row in document["values"] if _name(row) == name],
        column["rows_updated"],
        SPELLINGS,
        is_rollback,
    )


def _record(kind: type[Record], row: Mapping[str, Any]) -> Record:
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    return kind(**{name: row[name] for name in names})


def _tenants(rows: Iterable[Mapping[str, Any]]) -> list[TenantPicture]:
    """Per column one bar per tenant; only where there is a tenant at all."""
    columns: dict[str, list[Fund]] = {}
    for row in rows:
        columns.setdefault(_name(row), []).append(_record(Fund, row))
    found = []
    for name, funds in columns.items():
        known = sorted((fund for fund in funds if fund.tenant is not None), key=lambda f: -f.rows)
        none = next((fund for fund in funds if fund.tenant is None), None)
        if known:
            bars = [_fund_parts(fund) for fund in known[:STRIPED]]
            strip = figures.strip(bars, _fund_parts(none) if none else None)
            found.append(TenantPicture(name, strip, known, none))
    return found


def _fund_parts(fund: Fund) -> list[Part]:
    """All rows of a tenant. What was changed and edited since counts as what it is now."""
    filled = max(fund.rows - fund.rows_left - fund.rows_empty, 0)
    changed = min(fund.rows_changed, filled)
    return [
        Part("canonical before", filled - changed, "now"),
        Part("changed", changed, "change"),
        Part("left, not canonical", fund.rows_left, "stays"),
        Part("empty", fund.rows_empty, "missing"),
    ]


def _sampled(row: Mapping[str, Any]) -> Sampled:
    now = "gone"
    if row["is_there"]:
        now = "same" if row["value_now"] == row["value_after"] else "other"
    why = [(row["match_type"] or "").replace("_", " "), row["reason"]]
    return Sampled(
        column=_name(row),
        row_key=page.short(row["row_key"], CELL),
        tenant=row["tenant"],
        value_before=row["value_before"],
        value_after=row["value_after"],
        now=now,
        value_now=row["value_now"],
        alias=row["alias"],
        why=_cut(": ".join(part for part in why if part), WORDS),
        added_by=_cut(row["added_by"], CELL),
        added_on=_cut(row["added_on"], CELL),
    )


def _to_read(sample: Sequence[Sampled]) -> tuple[list[Sampled], list[Sampled]]:
    """What is read first, and the rest, both in the sample's own order.

    Rows that are not as they were written come before others, the others are from all over: a
    sample may be sorted by its values.
    """
    edited = [number for number, row in enumerate(sample) if row.now != "same"][:READ]
    others = [number for number, row in enumerate(sample) if row.now == "same"]
    room = min(READ - len(edited), len(others))
    first = {*edited, *(others[number * len(others) // room] for number in range(room))}
    return (
        [row for number, row in enumerate(sample) if number in first],
        [row for number, row in enumerate(sample) if number not in first],
    )


def _scope(metadata: Mapping[str, Any]) -> str:
    """What was asked for, where that is not everything."""
    parts = []
    if metadata["tables"]:
        parts.append("tables " + ", ".join(metadata["tables"]))
    if metadata["tenants"]:
        named = ("none" if tenant is None else str(tenant) for tenant in metadata["tenants"])
        parts.append("funds " + ", ".join(named))
    return _cut("; ".join(parts), WORDS)


def _cut(text: str | None, columns: int) -> str:
    """page.short, but what is not there stays empty."""
    return page.short(text, columns) if text else ""
