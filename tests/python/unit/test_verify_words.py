"""What a verification makes of its rows: merged parts, sentences, and commands that exist."""

from __future__ import annotations

import re
import shlex
import uuid
from datetime import datetime, timezone
from typing import Any

import click
import pytest

from trueup.cli import main
from trueup.core.runs import Run
from trueup.verification import markdown, words
from trueup.verification.checks import CHECKS, Check, Options, Verification

NOW = datetime(2026, 11, 20, 20, 0, tzinfo=timezone.utc)
RUN_ID = uuid.UUID("3f2a91c0-0000-4000-8000-000000000000")
COLUMNS: list[dict[str, Any]] = [
    {"table_name": "a", "row_total": 1000, "batches": 10, "rows_updated": 450},
    {"table_name": "b", "row_total": None, "batches": 5, "rows_updated": 0},
]
SCHEMA = "trueup_ledger"


def found(status: str, message: str, **more: Any) -> dict[str, Any]:
    return {"status": status, "message": message, **more}


def made(check_id: str, *parts: tuple[str, list[dict[str, Any]], int]) -> Check:
    check = Check(check_id)
    for status, offenders, count in parts:
        check.add(status, "expected", "actual", offenders, count)
    return check


def message(check: Check, of_all: bool = True) -> str:
    return words.message(check, COLUMNS, of_all)


def verification(*checks: Check, kind: str = "migrate", status: str = "completed") -> Verification:
    run = Run(RUN_ID, kind, status, {}, {}, "1", "", "", "", "", "", NOW, NOW, NOW)
    return Verification(RUN_ID, NOW, run, SCHEMA, Options(), list(checks), 0.0, {})


@pytest.mark.parametrize(
    ("statuses", "worst"),
    [
        (["pass", "info"], "pass"),
        (["info", "info"], "info"),
        (["warn", "pass", "info"], "warn"),
        (["pass", "fail", "warn"], "fail"),
        (["fail", "error", "pass"], "error"),
        ([], "info"),
    ],
)
def test_the_worst_part_decides(statuses: list[str], worst: str) -> None:
    assert made("row_counts", *((status, [], 0) for status in statuses)).status == worst


def test_those_that_fail_come_first_whatever_part_they_are_of() -> None:
    check = made(
        "null_integrity",
        ("warn", [found("warn", "one"), found("info", "two")], 2),
        ("fail", [found("fail", "three"), found("warn", "four")], 700),
    )
    assert [each["message"] for each in check.offenders] == ["three", "one", "four", "two"]
    assert check.offender_count == 702
    # information is no fault; what was not read is taken for one
    assert message(check) == "Values became NULL or blank: three; and 700 more"


def test_sentences_of_checks_that_are_met() -> None:
    passed = ("pass", list[dict[str, Any]](), 0)
    assert message(made("batch_tracking", passed)) == (
        "All batches completed successfully (15 total)"
    )
    assert message(made("canonical_values", passed)) == (
        "Every value is canonical (2 columns, 1,000 cells)"
    )
    assert message(made("row_counts", passed)) == (
        "The number of rows is unchanged (2 tables, 1,000 rows)"
    )
    assert "450 rows changed" in message(made("audit_consistency", passed))
    for check_id in CHECKS:
        # of some tenants, nothing is said that counts them all
        assert not re.search("450|1,000", message(made(check_id, passed), of_all=False))
    assert message(Check("weight_sums")) == "Nothing to check"
    breakdown = [found("info", "", table_name="t", column_name="c", tenant=each)
                 for each in ("1", "2", None)]  # fmt: skip
    for label in ("tenant", "fund"):
        check = made("per_fund_breakdown", ("info", breakdown, 5))
        check.tenant_label = label
        assert check.name == f"Per-{label.capitalize()} Breakdown"
        assert message(check) == (
            f"2 {label}s and rows without a {label}, in 1 column; 2 rows were not read"
        )
    assert message(made("per_fund_breakdown", ("info", breakdown[2:], 1))) == (
        "rows without a tenant, in 1 column"
    )
    sample = [found("info", "row")] * 3
    assert message(made("sample_inspection", ("info", sample, 3))) == (
        "3 of 450 changed rows to read"
    )


def test_an_error_is_said_to_be_one() -> None:
    check = made("row_counts", ("error", [found("fail", "Row Counts of t.c: no such table")], 1))
    assert message(check) == "Could not be read: Row Counts of t.c: no such table"
    (advice,) = words.recommendations(verification(check))
    assert "did not pass" in advice["text"] and "trueup doctor" in advice["commands"]


def test_a_check_that_fails_without_an_offender_says_what_is() -> None:
    assert message(made("row_counts", ("fail", [], 0))).endswith(": actual")


def every_advice() -> list[tuple[str, str]]:
    """Every command that is ever recommended, with the check."""
    listed = []
    for kind, status in (("migrate", "completed"), ("migrate", "completed_with_failures"),
                         ("migrate", "paused"), ("rollback", "completed")):  # fmt: skip
        for check_id in CHECKS:
            for worst, reasons in (("warn", ["unknown"]), ("fail", [None]), ("error", [None]),
                                   ("warn", [words.SINCE]),
                                   ("fail", [words.MISSED, words.SINCE]),
                                   ("fail", [None, words.SINCE, "unknown"])):  # fmt: skip
                check = made(check_id, (
                    worst,
                    [found("fail" if worst != "warn" else worst, "m", because=reason,
                           table_name="o'brien", row_key="1") for reason in reasons], 1,
                ))  # fmt: skip
                shown = verification(check, kind=kind, status=status)
                (advice,) = words.recommendations(shown)
                assert advice["check"] == check_id and advice["text"] and advice["commands"]
                listed += [(check_id, command) for command in advice["commands"]]
    return sorted(set(listed))


def test_recommended_commands_exist() -> None:
    """Parsed as they would be typed; nothing is run. Queries are run by an integration test."""
    from dbt.cli.main import cli as dbt

    groups: dict[str, Any] = {"trueup": main.main, "dbt": dbt}
    kinds = set()
    for check_id, command in every_advice():
        program, *words = shlex.split(command)
        kinds.add(program)
        if program == "select":
            continue
        group = groups[program]
        while isinstance(group, click.Group):
            name, *words = words
            assert name in group.commands, (check_id, command)
            group = group.commands[name]
        group.make_context(name, words)
    assert kinds == {"trueup", "dbt", "select"}


def test_what_a_query_is_given_is_quoted() -> None:
    check = made("null_integrity", ("fail", [
        found("fail", "m", table_name="o'brien", row_key="1'; drop table x --")
    ], 1))  # fmt: skip
    (advice,) = words.recommendations(verification(check))
    assert "table_name = 'o''brien' and row_id = '1''; drop table x --'" in advice["commands"][0]


def test_spellings_that_were_written_since_need_a_new_plan() -> None:
    check = made("canonical_values", ("warn", [found("warn", "m", because=words.SINCE)], 1))
    (advice,) = words.recommendations(verification(check))
    assert "Make a new plan" in advice["text"] and advice["commands"] == ["trueup plan"]
    # nothing is to be decided where the others were promised and not changed
    missed = [found("fail", "m", because=words.MISSED)]
    check.add("fail", "expected", "actual", missed, 1)
    (advice,) = words.recommendations(verification(check))
    assert "Continue the run" in advice["text"] and "Make a new plan" in advice["text"]
    assert "Decide" not in advice["text"] and advice["commands"] == ["trueup plan"]


def test_markdown_shows_what_a_value_says() -> None:
    for value, shown in (
        ("a|b", r"a\|b"),
        ("<script>", "&lt;script&gt;"),
        ("[x](y)", r"\[x\](y)"),
        ("`code` *b* _i_", r"\`code\` \*b\* \_i\_"),
        ("two\nlines", "two⏎lines"),
        ("\x1b[31m", "‹U+001B›\\[31m"),
    ):
        assert markdown._text(value) == shown
