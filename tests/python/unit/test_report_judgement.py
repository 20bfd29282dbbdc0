"""The judgement of a run's report: numbers in, words out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from trueup.findings import Finding
from trueup.migration.report_judgement import server_work, standbys, verdict
from trueup.migration.report_records import MET, NOT_MET, OPEN, Column

COLUMN = Column(
    table_name="t", column_name="c", status="completed", notes=None, brake=None, target_ms=50,
    sleep_ms=0, workers=1, measured=None, row_total=10, null_total=0, blank_total=0, stripes=1,
    rows_planned=5, rows_updated=5, rows_failed=0, rows_left=0, spellings=1, batches=1,
    batches_completed=1, batches_failed=0, batches_cancelled=0,
)  # fmt: skip


def measured(before: Any, after: Any) -> dict[str, Any]:
    names = ("n_tup_upd", "n_tup_hot_upd", "wal_bytes")
    return {
        "before": dict(zip(names, before, strict=True)),
        "after": dict(zip(names, after, strict=True)),
    }


def test_counters_of_a_table_are_not_added_up_over_its_columns() -> None:
    one = replace(COLUMN, measured=measured((10, 5, 1000), (110, 85, 9000)))
    found = server_work([one, replace(one, column_name="d"), replace(one, table_name="u")])
    assert [(each.table_name, each.updates, each.hot_updates) for each in found.tables] == [
        ("t", 100, 80), ("u", 100, 80)
    ]  # fmt: skip
    assert found.wal_bytes == 8000


@pytest.mark.parametrize(
    ("state", "findings"),
    [
        (MET, {"standby_none": "ok", "slot_behind": "warn"}),
        (MET, {"standby_follows": "ok", "standby_starting": "ok"}),
        (NOT_MET, {"standby_follows": "ok", "standby_behind": "warn"}),
        (OPEN, {"standby_behind": "warn", "standby_unseen": "warn"}),
        (OPEN, {"standby_unlimited": "info"}),
        (OPEN, {"unread": "error"}),
    ],
)
def test_whether_standbys_have_caught_up(state: str, findings: dict[str, str]) -> None:
    found = [Finding("server", f"server__{code}", "replicas", "", status, "so far")
             for code, status in findings.items()]  # fmt: skip
    assert standbys(found)[0] == state


@pytest.mark.parametrize(
    "counters",
    [None, {}, {"before": {"n_tup_upd": 1, "n_tup_hot_upd": 1, "wal_bytes": 1}},
     measured((10, 5, 10), (3, 1, 5)), measured((None, None, None), (1, 1, 1)),
     {"before": 1, "after": []}],
    ids=["none", "empty", "under way", "reset", "blind", "odd"],
)  # fmt: skip
def test_what_was_not_counted_is_not_recorded(counters: Any) -> None:
    found = server_work([replace(COLUMN, measured=counters)])
    assert found.tables == [] and found.wal_bytes is None


@pytest.mark.parametrize(
    ("kind", "status", "planned", "updated", "more", "checks", "state", "words"),
    [
        ("migrate", "completed", 5, 5, {}, "passed", "passed",
         "5 rows were changed, as many as the plan promised"),
        ("migrate", "completed", 1, 1, {}, "passed", "passed",
         "1 row was changed, as many as the plan promised"),
        ("migrate", "completed", 5, 5, {}, "open", "open",
         "5 rows were changed, as many as the plan promised"),
        ("migrate", "completed", 5, 4, {}, "passed", "passed",
         "4 of 5 promised rows were changed; the other rows had already changed since the plan was"
         " made"),
        ("migrate", "completed", 5, 7, {}, "passed", "passed",
         "7 rows were changed: 5 as promised, and 2 written since the plan"),
        ("migrate", "completed", 0, 0, {}, "passed", "passed", "Nothing was to be changed"),
        ("migrate", "completed_with_failures", 5, 2, {"rows_failed": 1, "batches_failed": 2},
         "open", "failed",
         "2 of 5 promised rows were changed; 1 row refused by the database, 2 batches failed"),
        ("migrate", "completed_with_failures", 5, 4, {}, "open", "failed",
         "4 of 5 promised rows were changed; some were missed"),
        ("migrate", "paused", 5, 2, {"batches_completed": 1}, "open", "open",
         "The run is paused: 2 of 5 promised rows were changed, 2 batches not done"),
        ("rollback", "completed", 5, 5, {}, "passed", "passed",
         "5 rows were restored, as many as the plan promised"),
    ],
)  # fmt: skip
def test_the_verdict_is_a_sentence(
    kind: str, status: str, planned: int, updated: int, more: dict[str, int], checks: str,
    state: str, words: str,
) -> None:  # fmt: skip
    totals = {
        "rows_planned": planned, "rows_updated": updated, "rows_failed": 0, "batches": 3,
        "batches_completed": 3, "batches_failed": 0, **more,
    }  # fmt: skip
    found = verdict(kind, status, totals, 0, {"status": checks, "checks": []})
    assert (found.state, found.sentence) == (state, words)
