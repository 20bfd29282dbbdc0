"""The statement report__judgement: counters and totals in, verdict and sign-off list out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from integration.conftest import App
from support import data, migration
from trueup.core import records, statements

COLUMN: dict[str, Any] = {
    "table_name": "t", "measured": None, "rows_planned": 5, "rows_updated": 5, "rows_failed": 0,
    "rows_left": 0, "batches": 3, "batches_completed": 3, "batches_failed": 0,
    "batches_cancelled": 0,
}  # fmt: skip
Judge = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def judge(shared_built: App) -> Iterator[Judge]:
    """The answer for a run of this kind and status; it is rolled back."""
    made = migration.make_plan(shared_built)
    named = statements.statements(shared_built.settings)

    def judged(
        columns: list[dict[str, Any]], kind: str = "migrate", status: str = "completed",
        checks: str = "passed",
    ) -> dict[str, Any]:  # fmt: skip
        with migration.connect(shared_built) as connected:
            ((record,),) = named[f"run_kind__{kind}"].run(connected)
            connected.execute(
                "update trueup_ledger.migration_runs set status = %s, record = %s"
                " where run_id = %s",
                [status, Jsonb(record), made.run_id],
            )
            (row,) = records.rows(
                connected, named["report__judgement"], run_id=made.run_id, columns=Jsonb(columns),
                conflicts=0, sample=0, audit=Jsonb({"rows_audited": 5, "rows_counted": 5}),
                checks=Jsonb({"status": checks, "summary_text": "", "failed": ["Row Counts"]}),
                standbys=Jsonb({"state": "met", "evidence": ""}),
            )  # fmt: skip
            connected.rollback()
        return row

    yield judged


def measured(before: Any, after: Any) -> dict[str, Any]:
    names = ("n_tup_upd", "n_tup_hot_upd", "wal_bytes")
    return {
        "before": dict(zip(names, before, strict=True)),
        "after": dict(zip(names, after, strict=True)),
    }


def test_counters_of_a_table_are_not_added_up_over_its_columns(judge: Judge) -> None:
    one = {**COLUMN, "measured": measured((10, 5, 1000), (110, 85, 9000))}
    found = judge([one, one, {**one, "table_name": "u"}])["server_work"]
    assert found == {
        "tables": [
            {"table_name": "t", "updates": 100, "hot_updates": 80},
            {"table_name": "u", "updates": 100, "hot_updates": 80},
        ],
        "wal_bytes": 8000,
    }


@pytest.mark.parametrize(
    "counters",
    [None, {}, {"before": {"n_tup_upd": 1, "n_tup_hot_upd": 1, "wal_bytes": 1}},
     measured((10, 5, 10), (3, 1, 5)), measured((None, None, None), (1, 1, 1)),
     {"before": 1, "after": []}],
    ids=["none", "empty", "under way", "reset", "blind", "odd"],
)  # fmt: skip
def test_what_was_not_counted_is_not_recorded(judge: Judge, counters: Any) -> None:
    found = judge([{**COLUMN, "measured": counters}])["server_work"]
    assert found == {"tables": [], "wal_bytes": None}


@pytest.mark.parametrize(
    ("kind", "status", "planned", "updated", "more", "checks", "state", "tone", "words"),
    data("verdicts.yml"),
)
def test_the_verdict_is_a_sentence(
    judge: Judge, kind: str, status: str, planned: int, updated: int, more: dict[str, int],
    checks: str, state: str, tone: str, words: str,
) -> None:  # fmt: skip
    column = {**COLUMN, "rows_planned": planned, "rows_updated": updated, **more}
    found = judge([column], kind, status, checks)
    assert found["verdict"].pop("badge")
    assert found["verdict"] == {"state": state, "tone": tone, "sentence": words}
    states = {line["id"]: line["state"] for line in found["sign_off"]}
    done = column["batches_completed"] == 3 and not column["rows_failed"]
    assert states["no_failed_batch"] == ("met" if done else "not met")
