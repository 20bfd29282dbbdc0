"""In-place migration where the database refuses, the line breaks, or somebody interferes."""

from __future__ import annotations

import dataclasses
from typing import Any

import psycopg
import pytest
from psycopg import sql

from integration.conftest import App
from support import migration, proxies
from trueup.core import connection
from trueup.migration import engine, plan, session, worker

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


def raising(
    app: App, keys: list[int], body: str, kind: str = "trigger", when: str = "before"
) -> None:
    """A trigger that runs `body` for updates of these rows."""
    listed = ", ".join(map(str, keys))
    timing = "deferrable initially deferred" if kind == "constraint trigger" else ""
    app.query(
        f"create function poison() returns trigger language plpgsql as $$ begin {body} end $$"
    )
    app.query(
        f"create {kind} poison {when} update on {TABLE} {timing} for each row"
        f" when (new.id in ({listed})) execute function poison()"
    )


def keep(app: App, condition: str) -> None:
    """Only these rows."""
    app.query("alter table investments drop constraint investments_company_id_fkey")
    app.query(f"delete from {TABLE} where not ({condition})")


def quarantined(app: App, made: plan.Plan) -> list[tuple[Any, ...]]:
    return app.query(
        "select row_key, value_before, sqlstate, error_message"
        " from trueup_ledger.migration_quarantine where run_id = %s order by 1", made.run_id,
    )  # fmt: skip


def agree(app: App, made: plan.Plan, changed: int) -> None:
    assert set(migration.books(app, made.run_id).values()) == {changed}


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
    code, _, err = migration.done(built, "plan", "--table", TABLE, "--column", COLUMN)
    assert code == 0, err
    code, out, err = migration.done(built, "apply", "--yes", "--sleep-ms", "0")
    assert code == 1, out + err
    assert f"Row {key} of {TABLE} cannot be changed" in out
    assert rows.now() == rows.without(key)
    found = built.query("select row_key, value_before, sqlstate, error_message"
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


@pytest.mark.parametrize(
    ("kind", "when", "body", "state", "message"),
    [
        ("trigger", "before", "raise exception 'row % is frozen', old.id; return new;",
         "P0001", "is frozen"),
        ("trigger", "after", "raise exception 'no' using errcode = '22003'; return null;",
         "22003", "no"),
        ("constraint trigger", "after", "raise exception 'at the end'; return null;",
         "P0001", "at the end"),
        ("trigger", "before", "new.stage := old.stage; return new;",
         "22P02", "a trigger wrote"),
    ],
    ids=["raises", "custom", "deferred", "rewrites"],
)  # fmt: skip
def test_whatever_refuses_a_row(
    built: App, rows: Sample, kind: str, when: str, body: str, state: str, message: str
) -> None:
    keys = [rows.dirty[0], rows.dirty[1], rows.dirty[-1]]
    raising(built, keys, body, kind, when)
    made = migration.make_plan(built, SCOPE, PACE)
    outcome = migration.apply(built, made)
    assert outcome.status == "completed_with_failures"
    found = {int(row[0]): row[1:] for row in quarantined(built, made)}
    assert found.keys() == set(keys)
    for key, (value, sqlstate, error) in found.items():
        assert (value, sqlstate) == (rows.before[key], state) and message in error
    assert rows.now() == rows.without(*keys)
    assert outcome.totals["rows_failed"] == 3
    agree(built, made, len(rows.dirty) - 3)


def test_a_row_that_a_trigger_skips_is_missed_not_done(built: App, rows: Sample) -> None:
    key = rows.dirty[7]
    raising(built, [key], "return null;")
    made = migration.make_plan(built, SCOPE, PACE)
    outcome = migration.apply(built, made)
    assert outcome.status == "completed_with_failures"
    assert outcome.missed == [engine.Left(TABLE, COLUMN, rows.before[key], 1)]
    assert rows.now() == rows.without(key)
    agree(built, made, len(rows.dirty) - 1)


def test_too_many_bad_rows_stop_the_run_and_are_counted_once(built: App, rows: Sample) -> None:
    keys = rows.dirty[5:1500:250] + rows.dirty[-2:]
    raising(built, keys, "raise exception 'frozen'; return null;")
    made = migration.make_plan(built, SCOPE, PACE)
    outcome = migration.apply(built, made, max_quarantined=3)
    assert (outcome.status, outcome.totals["rows_failed"]) == ("failed", 4)
    assert "more than 3 rows" in outcome.notes
    assert len(quarantined(built, made)) == 4
    assert outcome.totals["rows_updated"] < len(rows.dirty) - len(keys)
    agree(built, made, outcome.totals["rows_updated"])
    outcome = migration.apply(built, made, max_quarantined=len(keys))
    assert outcome.status == "completed_with_failures"
    assert outcome.totals["rows_failed"] == len(quarantined(built, made)) == len(keys)
    assert rows.now() == rows.without(*keys)
    agree(built, made, len(rows.dirty) - len(keys))


def test_nobody_is_put_aside_for_another_row(
    built: App, rows: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bad row is changed by the application between its error and the look for it."""
    bad, good = rows.dirty[0], rows.dirty[1]
    keep(built, f"id in ({bad}, {good})")
    raising(built, [bad], "if new.stage <> 'edited' then raise exception 'frozen'; end if;"
                          " return new;")  # fmt: skip
    made = migration.make_plan(built, SCOPE, plan.Pace(500, 0, 1000, 1))
    cut = worker.Worker.cut

    def edited(self: Any, *arguments: Any, **options: Any) -> Any:
        built.query(f"update {TABLE} set stage = 'edited' where id = {bad}")
        return cut(self, *arguments, **options)

    monkeypatch.setattr(worker.Worker, "cut", edited)
    outcome = migration.apply(built, made)
    assert quarantined(built, made) == []
    assert rows.now() == {bad: "edited", good: rows.expected[good]}
    assert outcome.status == "completed"


# ------------------------------------------------------------------------------ unknown errors


@pytest.mark.parametrize("state", ["53200", "XX000", "08006", "ZZ999"])
def test_an_error_of_no_known_class_stops_the_run(built: App, rows: Sample, state: str) -> None:
    """08006 is what a lost connection says; a trigger that talks to another server says it too."""
    key = rows.dirty[len(rows.dirty) // 2]
    raising(built, [key], f"raise exception 'who knows' using errcode = '{state}'; return new;")
    made = migration.make_plan(built, SCOPE, PACE)
    for _ in range(2):  # the second is a resume that meets it again
        outcome = migration.apply(built, made)
        assert (outcome.status, outcome.notes) == ("failed", "who knows")
        assert built.query(
            "select count(*) from trueup_ledger.stage_migration_failures where run_id = %s"
            " and error_message = 'who knows'", made.run_id,
        ) == [(1,)]  # fmt: skip
        assert quarantined(built, made) == []
        agree(built, made, outcome.totals["rows_updated"])
    assert statuses(built, made) <= {"completed", "failed", "pending"}
    built.query(f"drop trigger poison on {TABLE}")
    assert migration.apply(built, made).status == "completed"
    assert rows.now() == rows.expected
    agree(built, made, len(rows.dirty))


def test_rights_that_end_in_the_middle(built: App, rows: Sample) -> None:
    made = migration.make_plan(built, SCOPE, PACE)

    def revoke(event: engine.Event) -> None:
        if event.kind == "batch_completed":
            built.query(f"revoke update on {TABLE} from current_user")

    outcome = migration.apply(built, made, revoke)
    assert outcome.status == "failed" and "permission denied" in outcome.notes
    assert 0 < outcome.totals["rows_updated"] < len(rows.dirty)
    assert statuses(built, made) == {"completed", "failed", "pending"}
    built.query(f"grant update on {TABLE} to current_user")
    assert migration.apply(built, made).status == "completed"
    assert rows.now() == rows.expected
    agree(built, made, len(rows.dirty))


@pytest.mark.parametrize("state", ["40001", "57014"])
def test_a_row_that_is_never_free_fails_its_batch_alone(
    built: App, rows: Sample, state: str
) -> None:
    key = rows.dirty[3]
    raising(built, [key], f"raise exception 'busy' using errcode = '{state}'; return new;")
    made = migration.make_plan(built, SCOPE, PACE)
    outcome = migration.apply(built, made)
    assert outcome.status == "completed_with_failures"
    assert outcome.totals["failed_batches"] == 1
    assert outcome.missed == [engine.Left(TABLE, COLUMN, rows.before[key], 1)]
    assert rows.now() == rows.without(key)
    agree(built, made, len(rows.dirty) - 1)


def statuses(app: App, made: plan.Plan) -> set[str]:
    query = "select distinct status from trueup_ledger.stage_migration_batches where run_id = %s"
    return {status for (status,) in app.query(query, made.run_id)}


# ------------------------------------------------------------------------------ lost connections


@pytest.mark.parametrize(
    ("sleep_ms", "options"),
    [(1000, {"every": 2.0}), (0, {"byte_range": (3000, 60000), "seed": 1}),
     (0, {"byte_range": (3000, 60000), "seed": 2})],
    ids=["every two seconds", "anywhere", "anywhere else"],
)  # fmt: skip
def test_a_line_that_breaks_again_and_again(
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
    agree(built, made, len(rows.dirty))
    assert built.query(
        "select lease_token, lease_owner, status from trueup_ledger.stage_migration_control"
    ) == [(None, None, "completed")]


STATEMENTS = (
    "other_runners", "take_lease", "set_run_status", "reopen_failed", "batch_totals",
    "renew_lease", "claim_range", "value_map", "begin_batch", "apply_batch", "finish_piece",
    "note_progress", "run_columns", "remaining_values", "keys_to_change", "quarantine",
    "missed_rows", "note_audit_digest", "release",
)  # fmt: skip


def test_an_answer_that_never_comes(
    built: App, rows: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each statement in turn is executed and committed, and the connection dies with its answer."""
    keep(built, "id <= 100")
    built.query(f"create table kept as select id, {COLUMN} from {TABLE}")
    mine = {key: value for key, value in rows.expected.items() if key <= 100}
    key = next(key for key in rows.dirty if key > 20)
    raising(
        built,
        [key],
        "if new.stage <> old.stage and current_setting('application_name')"
        " = 'cursed' then raise exception 'frozen'; end if; return new;",
    )
    run = session.Session.run
    dirty = sum(each <= 100 for each in rows.dirty)
    for name in STATEMENTS:
        built.query(
            f"update {TABLE} as t set {COLUMN} = k.{COLUMN} from kept as k where t.id = k.id"
        )
        made = migration.make_plan(built, SCOPE, plan.Pace(50, 0, 1000, 2))
        lost: list[str] = []

        def lose(
            self: Any, statement: str, _name: str = name, _lost: Any = lost, **values: Any
        ) -> Any:
            found = run(self, statement, **values)
            if statement.split("__")[0] == _name and not _lost:
                _lost.append(statement)
                pid = self.connection.info.backend_pid
                if self.connection._pipeline is not None:
                    self.connection._pipeline.sync()
                self.connection.commit()
                built.query("select pg_terminate_backend(%s, 5000)", pid)
                raise psycopg.OperationalError("cut")
            return found

        monkeypatch.setattr(session.Session, "run", lose)
        order = migration.order(built, made, lease_seconds=0 if name == "renew_lease" else 15)
        outcome = engine.apply(
            lambda: migration.connect(built, application_name="cursed"), order,
            lambda event: None, engine.Stop(),
        )  # fmt: skip
        monkeypatch.setattr(session.Session, "run", run)
        assert lost, name
        assert outcome.status == "completed_with_failures", name
        assert rows.now() == {**mine, key: rows.before[key]}, name
        assert [row[0] for row in quarantined(built, made)] == [str(key)], name
        assert outcome.totals["rows_failed"] == 1, name
        agree(built, made, dirty - 1)
