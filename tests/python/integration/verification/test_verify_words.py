"""What the statement verification__conclude makes of the parts: status, sentences, commands."""

from __future__ import annotations

import re
import shlex
from typing import Any

import click
import pytest
from psycopg.types.json import Jsonb

from support.verification import CHECKS, Run
from trueup.cli import main
from trueup.core import records
from trueup.findings import Finding
from trueup.show import page

COLUMNS: list[dict[str, Any]] = [
    {"table_name": "a", "row_total": 1000, "batches": 10, "rows_updated": 450},
    {"table_name": "b", "row_total": None, "batches": 5, "rows_updated": 0},
]
Part = tuple[str, list[dict[str, Any]], int]  # status, sample, rows
PASSED: Part = ("ok", [], 0)


def found(status: str, message: str, **more: Any) -> dict[str, Any]:
    return {"status": status, "message": message, **more}


def concluded(
    run: Run, code: str, *parts: Part, of_all: bool = True, label: str = "tenant"
) -> Finding:
    """The finding of a check of which these parts were read."""
    listed = [
        {"code": code, "status": status, "expected": "expected", "found": "actual",
         "sample": sample, "rows": rows, "duration_ms": 1.0}
        for status, sample, rows in parts
    ]  # fmt: skip
    rows = records.rows(
        run.connection, run.statements["verification__conclude"], run_id=run.run_id,
        parts=Jsonb(listed), columns=Jsonb(COLUMNS), of_all=of_all, tenant_label=label,
    )  # fmt: skip
    findings = {row["code"]: Finding(**row) for row in rows}
    assert list(findings) == [each for each in CHECKS if each in findings]
    return findings[code]


def pretend(run: Run, kind: str, status: str) -> None:
    ((record,),) = run.statements[f"run_kind__{kind}"].run(run.connection).fetchall()
    run.query("update trueup_ledger.migration_runs set kind = %s, status = %s, record = %s",
              kind, status, Jsonb(record))  # fmt: skip


@pytest.mark.parametrize(
    ("statuses", "worst"),
    [
        (["ok", "info"], "ok"),
        (["info", "info"], "info"),
        (["warn", "ok", "info"], "warn"),
        (["ok", "fail", "warn"], "fail"),
        (["fail", "error", "ok"], "error"),
        ([], "info"),
    ],
)
def test_the_worst_part_decides(deals: Run, statuses: list[str], worst: str) -> None:
    parts: list[Part] = [(status, [], 0) for status in statuses]
    assert concluded(deals, "row_counts", *parts).status == worst


def test_those_that_fail_come_first_whatever_part_they_are_of(deals: Run) -> None:
    check = concluded(
        deals,
        "null_integrity",
        ("warn", [found("warn", "one"), found("info", "two")], 2),
        ("fail", [found("fail", "three"), found("warn", "four")], 700),
    )
    assert [each["message"] for each in check.sample] == ["three", "one", "four", "two"]
    assert check.rows == 702
    # information is no fault; what was not read is taken for one
    assert check.message == "More rows are NULL or blank than before: three; and 700 more"
    assert (check.expected, check.found) == ("expected\nexpected", "actual\nactual")


def test_sentences_of_checks_that_are_met(deals: Run) -> None:
    for code, sentence in (
        ("batch_tracking", "All batches completed successfully (15 total)"),
        ("canonical_values", "Every value is canonical or was decided on (2 columns, 1,000 cells)"),
        ("row_counts", "The number of rows is unchanged (2 tables, 1,000 rows)"),
        ("audit_consistency", "Audit, counters and rows agree (450 rows changed)"),
    ):
        assert concluded(deals, code, PASSED).message == sentence
    note = ("ok", [found("info", "one row behind")], 1)
    assert concluded(deals, "models_agree", note).message.endswith("; but one row behind")
    listed = ("warn", [found("warn", "one"), found("info", "two")], 30)  # 28 more notes
    assert concluded(deals, "canonical_values", listed).message == "Values are not canonical: one"
    for code in CHECKS:
        # of some tenants, nothing is said that counts them all
        some = concluded(deals, code, PASSED, of_all=False)
        assert not re.search("450|1,000", some.message) and some.remedy is None
    assert concluded(deals, "weight_sums").message == "Nothing to check"
    breakdown = [found("info", "", table_name="t", column_name="c", tenant=each)
                 for each in ("1", "2", None)]  # fmt: skip
    for label, many in (("fund", "funds"), ("company", "companies"), ("batch", "batches")):
        check = concluded(deals, "per_fund_breakdown", ("info", breakdown, 5), label=label)
        assert check.name == f"Per-{label.capitalize()} Breakdown"
        assert check.message == (
            f"2 {many} and rows without a {label}, in 1 column; 2 rows were not read"
        )
    sample = [found("info", "row")] * 3
    assert concluded(deals, "sample_inspection", ("info", sample, 3)).message == (
        "3 of 450 changed rows to read"
    )


def test_an_error_is_said_to_be_one(deals: Run) -> None:
    part = ("error", [found("fail", "row counts of t.c: no such table")], 1)
    check = concluded(deals, "row_counts", part)
    assert check.message == "Could not be read: row counts of t.c: no such table"
    assert check.remedy and "did not pass" in check.remedy and "\ntrueup doctor" in check.remedy
    assert concluded(deals, "row_counts", ("fail", [], 0)).message.endswith(": actual")


def every_command(run: Run) -> set[tuple[str, str]]:
    """Every command that is ever recommended, with the check."""
    listed = set()
    for kind, status in (("migrate", "completed"), ("migrate", "completed_with_failures"),
                         ("rollback", "completed")):  # fmt: skip
        pretend(run, kind, status)
        for code in CHECKS:
            if kind == "rollback" and code == "canonical_values":
                continue  # it is not judged
            for worst, reasons in (
                ("warn", ["unknown"]), ("fail", [None]), ("error", [None]),
                ("warn", ["written_since"]), ("fail", ["missed", "written_since", "unknown"]),
            ):  # fmt: skip
                sample = [
                    found("warn" if worst == "warn" else "fail", "m", reason=reason,
                          table_name="o'brien", row_key="1") for reason in reasons
                ]  # fmt: skip
                check = concluded(run, code, (worst, sample, 1))
                if code in ("sample_inspection", "per_fund_breakdown") and worst != "error":
                    continue  # they only inform
                assert check.remedy, (code, worst)
                text, *commands = check.remedy.split("\n")
                assert text and commands, (code, worst)
                listed |= {(code, command) for command in commands}
    return listed


def test_recommended_commands_exist(deals: Run) -> None:
    """Parsed as they would be typed; nothing is run. Queries are run by another test."""
    from dbt.cli.main import cli as dbt

    groups: dict[str, Any] = {"trueup": main.main, "dbt": dbt}
    kinds = set()
    for code, command in every_command(deals):
        program, *words = shlex.split(command)
        kinds.add(program)
        if program == "select":
            continue
        group = groups[program]
        while isinstance(group, click.Group):
            name, *words = words
            assert name in group.commands, (code, command)
            group = group.commands[name]
        group.make_context(name, words)
    assert kinds == {"trueup", "dbt", "select"}


def test_what_a_query_is_given_is_quoted(deals: Run) -> None:
    fault = found("fail", "m", table_name="o'brien", row_key="1'; drop table x --")
    remedy = concluded(deals, "null_integrity", ("fail", [fault], 1)).remedy
    assert remedy and "table_name = 'o''brien' and row_id = '1''; drop table x --'" in remedy


def test_spellings_that_were_written_since_need_a_new_plan(deals: Run) -> None:
    since = ("warn", [found("warn", "m", reason="written_since")], 1)
    remedy = concluded(deals, "canonical_values", since).remedy
    assert remedy and "Make a new plan" in remedy and remedy.split("\n")[1:] == ["trueup plan"]
    # nothing is to be decided if the others were promised and not changed
    missed = ("fail", [found("fail", "m", reason="missed")], 1)
    remedy = concluded(deals, "canonical_values", since, missed).remedy
    assert remedy and "Continue the run" in remedy and "Make a new plan" in remedy
    assert "Decide" not in remedy and remedy.split("\n")[1:] == ["trueup plan"]


def test_markdown_shows_what_a_value_says() -> None:
    for value, shown in (
        ("a|b", r"a\|b"),
        ("<script>", "&lt;script&gt;"),
        ("[x](y)", r"\[x\](y)"),
        ("`code` *b* _i_", r"\`code\` \*b\* \_i\_"),
        ("two\nlines", "two⏎lines"),
        ("\x1b[31m", "‹U+001B›\\[31m"),
    ):
        assert page.markdown(value) == shown
