"""One function decides for every guard: all combinations, as a table that people can read."""

from __future__ import annotations

import csv

from integration.conftest import PROJECT
from integration.guard.conftest import SCOPE, Guarded
from trueup.guard.bucket import bucket

DECISIONS = PROJECT / "tests/python/data/decisions.csv"
TENANTS = [str(number) for number in range(50)]
INSIDE = next(each for each in TENANTS if bucket(SCOPE, each) < 5000)
OUTSIDE = next(each for each in TENANTS if bucket(SCOPE, each) >= 5000)
SUBJECTS = {"inside": INSIDE, "outside": OUTSIDE, "missing": None}


def test_every_combination_is_decided_as_the_table_says(guarded: Guarded) -> None:
    with DECISIONS.open() as file:
        wanted = list(csv.DictReader(file))
    assert len(wanted) > 400
    with guarded.app.connect() as connected:
        connected.autocommit = False
        for row in wanted:
            subject = SUBJECTS[row["subject"]]
            connected.execute("delete from trueup_ledger.validation_mode_events")
            connected.execute("update trueup_ledger.guard_scopes set environment = %s",
                              [row["environment"]])  # fmt: skip
            if row["mode"] != "none":
                connected.execute(
                    "insert into trueup_ledger.validation_mode_events (scope, version, new_mode,"
                    " percent, shadow, write_only, overridden)"
                    " values (%s, 1, %s, %s, %s, %s, false)",
                    [SCOPE, row["mode"], row["percent"], row["shadow"], row["write_only"]],
                )
            ((*decided, place),) = connected.execute(
                "select * from trueup_ledger.validation_decision(%s, %s, %s)",
                [SCOPE, row["operation"], subject],
            ).fetchall()
            found = [decided[0], *(str(each).lower() for each in decided[1:])]
            assert found == [row["decided"], row["enforces"], row["headers"], row["would_reject"],
                             row["dry_run"]], row  # fmt: skip
            assert place == (10_000 if subject is None else bucket(SCOPE, subject))
        connected.rollback()


def test_any_scope_operation_and_subject_are_decided(guarded: Guarded) -> None:
    """Total: one row without a NULL, whatever is asked."""
    for scope in (None, "", "/api/nowhere", SCOPE):
        for operation in (None, "", "DROP"):
            for subject in (None, "", "\n"):
                ((*decided,),) = guarded.app.query(
                    "select * from trueup_ledger.validation_decision(%s, %s, %s)",
                    scope, operation, subject,
                )  # fmt: skip
                assert None not in decided, (scope, operation, subject)
