"""In-place migration where the database refuses, the line breaks, or somebody interferes."""

from __future__ import annotations

import dataclasses
from typing import Any

import psycopg
import pytest
from psycopg import sql

from integration.conftest import App
from support import PROOFS, migration, proxies
from support.migration import agree, batch_statuses
from trueup.core import connection
from trueup.migration import engine, plan, session
from trueup.migration.keys import Piece

TABLE, COLUMN = "portfoliocompanies", "stage"
SCOPE = plan.Scope((TABLE,), (COLUMN,))
PACE = plan.Pace(batch_size=500, sleep_ms=0, target_ms=1000)
TRUTH = "select cast(row_key as bigint), raw_value, canonical_value from trueup_sample.truth"


class Sample:
    """The column that is migrated, and what it must become."""

    def __init__(self, app: App) -> None:
        self.app = app
        rows = app.query(
            f"{TRUTH} where table_name = %s and column_name = %s order by 1", TABLE, COLUMN
        )
        self.before = {key: raw for key, raw, _ in rows}
        self.expected = {
            key: raw if canonical is None else canonical for key, raw, canonical in rows
        }
        self.dirty = [key for key in self.before if self.before[key] != self.expected[key]]

    def now(self) -> dict[int, str]:
        return dict(self.app.query(f"select id, {COLUMN} from {TABLE} order by id"))

    def without(self, *keys: int) -> dict[int, str]:
        """As it must be where these rows could not be changed."""
        return {**self.expected, **{key: self.before[key] for key in keys}}


@pytest.fixture
def rows(built: App) -> Sample:
    return Sample(built)


def raising(app: App, key: int, body: str, kind: str = "trigger", when: str = "before") -> None:
    """A trigger that runs `body` for updates of this row."""
    timing = "deferrable initially deferred" if kind == "constraint trigger" else ""
    app.query(f"create function poison_{key}() returns trigger language plpgsql as"
              f" $$ begin {body} end $$")  # fmt: skip
    app.query(
        f"create {kind} poison_{key} {when} update on {TABLE} {timing} for each row"
        f" when (new.id = {key}) execute function poison_{key}()"
    )


def keep(app: App, condition: str) -> None:
    """Only these rows."""
    app.query("alter table investments drop constraint investments_company_id_fkey")
    app.query(f"delete from {TABLE} where not ({condition})")


def quarantined(app: App, made: plan.Plan) -> list[tuple[Any, ...]]:
    return app.query(
        "select row_key, value_before, sqlstate, reason"
        " from trueup_ledger.migration_quarantine where run_id = %s order by 1", made.run_id,
    )  # fmt: skip


# ------------------------------------------------------------------------------ bad rows


def test_one_poison_row_stops_nobody_else(built: App, rows: Sample) -> None:
    key = rows.dirty[len(rows.dirty) // 2]
    with built.connect() as connected:
        constraint = sql.SQL("check (id <> {} or stage = {}) not valid").format(
            key, rows.before[key]
        )
        connected.execute(
            sql.SQL("alter table {} add constraint poison {}").format(
                sql.Identifier(TABLE), constraint
            )
        )
    migration.printed(built, "plan", "--table", TABLE, "--column", COLUMN)
    out = migration.printed(built, "apply", "--yes", "--sleep-ms", "0", code=1)
    assert f"Row {key} of {TABLE} cannot be changed" in out
    assert rows.now() == rows.without(key)
    found = built.query("select row_key, value_before, sqlstate, reason"
                        " from trueup_ledger.migration_quarantine")  # fmt: skip
    ((row_key, value, state, message),) = found
    assert (row_key, value, state) == (str(key), rows.before[key], "23514")
    assert 'violates check constraint "poison"' in message
    log = built.query(
        "select row_id, stage_before, error_message"
        " from trueup_ledger.stage_normalization_log where normalized_stage is null"
    )
    assert log == [(str(key), rows.before[key], message)]
    (run,) = built.query("select status from trueup_ledger.migration_runs")
    assert run == ("completed_with_failures",)
    totals = built.query("select sum(rows_failed), sum(rows_updated), sum(rows_planned)"
                         " from trueup_ledger.stage_migration_batches")  # fmt: skip
    assert totals == [(1, len(rows.dirty) - 1, len(rows.dirty))]


# kind of trigger, when, body, and what is put down: SQLSTATE and words
REFUSALS = [
    ("trigger", "before", "raise exception 'row % is frozen', old.id; return new;",
     "P0001", "is frozen (PL/pgSQL function poison_"),
    ("trigger", "after", "raise exception 'no' using errcode = '22003'; return null;",
     "22003", "no"),
    ("constraint trigger", "after", "raise exception 'at the end'; return null;",
     "P0001", "at the end"),
    ("trigger", "before", "new.stage := old.stage; return new;", "22P02", "a trigger wrote"),
]  # fmt: skip


def test_whatever_refuses_a_row(built: App, rows: Sample) -> None:
    cases = dict(zip((rows.dirty[n] for n in (0, 1, 800, -1)), REFUSALS, strict=True))
    for key, (kind, when, body, *_) in cases.items():
        raising(built, key, body, kind, when)
    made = migration.make_plan(built, SCOPE, PACE)
    outcome = migration.apply(built, made)
    assert outcome.status == "completed_with_failures"
    found = {int(key): rest for key, *rest in quarantined(built, made)}
    assert found.keys() == cases.keys()
    for key, (value, sqlstate, error) in found.items():
        *_, state, message = cases[key]
        assert (value, sqlstate) == (rows.before[key], state) and message in error
    assert rows.now() == rows.without(*cases)
    assert outcome.totals["rows_failed"] == 4
    agree(built, made.run_id, len(rows.dirty) - 4)


def test_a_row_that_a_trigger_skips_is_missed_not_done(built: App, rows: Sample) -> None:
    key = rows.dirty[7]
    raising(built, key, "return null;")
    made = migration.make_plan(built, SCOPE, PACE)
    outcome = migration.apply(built, made)
    assert outcome.status == "completed_with_failures"
    assert outcome.missed == [engine.Left(TABLE, COLUMN, rows.before[key], 1)]
    assert rows.now() == rows.without(key)
    agree(built, made.run_id, len(rows.dirty) - 1)


def test_too_many_bad_rows_stop_the_run_and_are_counted_once(built: App, rows: Sample) -> None:
    keys = rows.dirty[5:1500:250] + rows.dirty[-2:]
    for key in keys:
        raising(built, key, "raise exception 'frozen'; return null;")
    made = migration.make_plan(built, SCOPE, PACE)
    outcome = migration.apply(built, made, max_quarantined=3)
    assert (outcome.status, outcome.totals["rows_failed"]) == ("failed", 4)
    assert "more than 3 rows" in outcome.notes
    assert len(quarantined(built, made)) == 4
    assert outcome.totals["rows_updated"] < len(rows.dirty) - len(keys)
    agree(built, made.run_id, outcome.totals["rows_updated"])
    outcome = migration.apply(built, made, max_quarantined=len(keys))
    assert outcome.status == "completed_with_failures"
    assert outcome.totals["rows_failed"] == len(quarantined(built, made)) == len(keys)
    assert rows.now() == rows.without(*keys)
    agree(built, made.run_id, len(rows.dirty) - len(keys))


def test_nobody_is_put_aside_for_another_row(
    built: App, rows: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bad row is changed by the application between its error and the look for it."""
    bad, good = rows.dirty[0], rows.dirty[1]
    keep(built, f"id in ({bad}, {good})")
    raising(built, bad, "if new.stage <> 'edited' then raise exception 'frozen'; end if;"
                          " return new;")  # fmt: skip
    made = migration.make_plan(built, SCOPE, plan.Pace(500, 0, 1000, 1))
    cut = Piece.cut

    def edited(self: Piece, parts: int) -> list[Piece]:
        if parts > 1:
            built.query(f"update {TABLE} set stage = 'edited' where id = {bad}")
        return cut(self, parts)

    monkeypatch.setattr(Piece, "cut", edited)
    outcome = migration.apply(built, made)
    assert quarantined(built, made) == []
    assert rows.now() == {bad: "edited", good: rows.expected[good]}
    assert outcome.status == "completed"


def test_a_trigger_that_takes_one_row_for_granted_gets_one(built: App, rows: Sample) -> None:
    keep(built, f"id in ({', '.join(map(str, rows.dirty[:5]))})")
    built.query("create function one() returns trigger language plpgsql as $$ begin"
                " perform 1 where 0 < (select id from news); return null; end $$")  # fmt: skip
    built.query(f"create trigger one after update on {TABLE} referencing new table as news"
                " for each statement execute function one()")  # fmt: skip
    assert migration.apply(built, migration.make_plan(built, SCOPE, PACE)).status == "completed"
    assert rows.now() == {key: rows.expected[key] for key in rows.dirty[:5]}


# ------------------------------------------------------------------------------ unknown errors


STATES = {
    "08006": "lost", "57P01": "lost", "25P03": "lost", "53300": "lost",
    "55P03": "retry", "57014": "retry", "40001": "retry", "40P01": "retry",
    "22003": "bad row", "23514": "bad row", "44000": "bad row", "P0001": "bad row",
    "21000": "bad row", "27000": "bad row",
    "42501": "stop", "53200": "stop", "XX000": "stop", "ZZ999": "stop",
}  # fmt: skip


def test_an_error_is_classed_by_its_state() -> None:
    for state, kind in STATES.items():
        error = psycopg.Error()
        error.sqlstate = state
        assert session.classify(error) == kind, state
    assert session.classify(psycopg.OperationalError("the server closed the connection")) == "lost"
    assert session.classify(psycopg.ProgrammingError("no result")) == "stop"


@pytest.mark.parametrize("state", ["08006", "ZZ999"])
def test_an_error_of_no_known_class_stops_the_run(built: App, rows: Sample, state: str) -> None:
    """08006 is what a lost connection says; a trigger that talks to another server says it too."""
    key = rows.dirty[len(rows.dirty) // 2]
    raising(built, key, f"raise exception 'who knows' using errcode = '{state}'; return new;")
    made = migration.make_plan(built, SCOPE, PACE)
    for _ in range(2):  # the second is a resume that meets it again
        outcome = migration.apply(built, made)
        assert (outcome.status, outcome.notes[:9]) == ("failed", "who knows")
        assert built.query(
            "select count(*) from trueup_ledger.stage_migration_failures where run_id = %s"
            " and error_message ~ 'who knows .*poison_'", made.run_id,
        ) == [(1,)]  # fmt: skip
        assert quarantined(built, made) == []
        agree(built, made.run_id, outcome.totals["rows_updated"])
    assert batch_statuses(built, made.run_id) <= {"completed", "failed", "pending"}
    built.query(f"drop trigger poison_{key} on {TABLE}")
    assert migration.apply(built, made).status == "completed"
    assert rows.now() == rows.expected
    agree(built, made.run_id, len(rows.dirty))


# ------------------------------------------------------------------------------ lost connections


@pytest.mark.parametrize(
    ("sleep_ms", "options"),
    [(1000, {"every": 2.0}) if PROOFS else (400, {"every": 1.0}),
     (0, {"byte_range": (3000, 60000), "seed": 1})],
    ids=["again and again", "anywhere"],
)  # fmt: skip
def test_a_line_that_breaks(
    built: App, rows: Sample, sleep_ms: int, options: dict[str, Any]
) -> None:
    pace = plan.Pace(batch_size=300, sleep_ms=sleep_ms, target_ms=1000, stripes=2)
    made = migration.make_plan(built, SCOPE, pace)
    events: list[engine.Event] = []
    info = built.environment
    with proxies.bad_line(info["PGHOST"], int(info["PGPORT"]), **options) as line:
        settings = dataclasses.replace(
            built.settings, conninfo=f"{built.url}?host=127.0.0.1&port={line.port}"
        )
        outcome = engine.apply(
            lambda: connection.connect(settings), migration.order(built, made), events.append,
            engine.Stop(),
        )  # fmt: skip
    lost = sum(event.kind == "reconnecting" for event in events)
    assert line.cuts >= 3 and lost >= 2, (line.cuts, lost)
    assert (outcome.status, outcome.late, outcome.missed) == ("completed", [], [])
    assert rows.now() == rows.expected
    agree(built, made.run_id, len(rows.dirty))
    assert built.query(
        "select lease_token, lease_owner, status from trueup_ledger.stage_migration_control"
    ) == [(None, None, "completed")]
