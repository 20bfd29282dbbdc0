"""The ledger: made once, never unmade; its views say what the operator asks."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import psycopg
import pytest
import yaml

from integration.conftest import PROJECT, App
from support.command import trueup
from trueup.core import dbt, ledger, runs
from trueup.core.errors import TrueupError
from trueup.core.settings import Settings

RUN = "00000000-0000-0000-0000-000000000001"
OTHER_RUN = "00000000-0000-0000-0000-000000000002"
DAY = datetime(2026, 11, 1, tzinfo=timezone.utc)
VIEWS = ("migration_run_states", "stage_migration_failures", "stage_migration_progress",
         "stage_migration_progress_by_fund", "stage_normalization_log",
         "validation_mode_current")  # fmt: skip
RELATIONS = sorted(path.stem for path in (PROJECT / "models/ledger").rglob("*.sql")
                   if path.parent.name != "functions")  # fmt: skip
TABLES = sorted(set(RELATIONS) - set(VIEWS))


class Ledger:
    """A database's ledger, to be filled by hand over one connection."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection

    def query(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        cursor = self.connection.execute(query.encode(), parameters or None)
        return cursor.fetchall() if cursor.description else []

    def add(self, table: str, *rows: dict[str, Any]) -> None:
        for row in rows:
            if "table_name" in row:
                row = {"schema_name": "public", **row}
            names, holes = ", ".join(row), ", ".join(["%s"] * len(row))
            self.query(
                f"insert into trueup_ledger.{table} ({names}) values ({holes})", *row.values()
            )

    def run(self, run_id: str = RUN, **values: Any) -> None:
        self.add("migration_runs", {
            "run_id": run_id, "kind": "migrate", "status": "running", "options": "{}",
            "record": '{"rules": {"picked_by": ["status", "verify", "report", "prune"]}}',
            "statements": "{}", "vocabulary_version": "1", "sources_sha256": "",
            "plan_sha256": "", "sql_sha256": "", **values,
        })  # fmt: skip

    def batch(self, seconds: float | None = None, **values: Any) -> int:
        """A batch of 100 rows; with seconds it was completed then, counted from some day on."""
        row = {"run_id": RUN, "table_name": "deals", "column_name": "stage", "range_no": 1,
               "range_end": ["9"], "rows_in_batch": 100, **values}  # fmt: skip
        if seconds is not None:
            row = {"status": "completed", "duration_ms": 6000, "started_at": DAY,
                   "completed_at": DAY + timedelta(seconds=seconds), **row}  # fmt: skip
        self.add("stage_migration_batches", row)
        batches = "trueup_ledger.stage_migration_batches"
        return int(self.query(f"select max(batch_id) from {batches}")[0][0])

    def one(self, view: str, *columns: str) -> tuple[Any, ...]:
        [row] = self.query(f"select {', '.join(columns)} from trueup_ledger.{view}")
        return row

    def estimate(self) -> tuple[float | None, ...]:
        """Minutes that remain: the best guess, and its bounds."""
        names = ("remaining", "low", "high")
        row = self.one("stage_migration_progress", *(f"estimated_minutes_{n}" for n in names))
        return tuple(None if minutes is None else float(minutes) for minutes in row)


@pytest.fixture
def empty(shared_built: App) -> Iterator[Ledger]:
    """A ledger without any run, in a database that the tests of this module share."""
    with shared_built.connect() as connection:
        tables = ", ".join(f"trueup_ledger.{name}" for name in TABLES)
        connection.execute(f"truncate {tables}".encode())
        yield Ledger(connection)


@pytest.fixture
def filled(empty: Ledger) -> Ledger:
    """A ledger with a run of which nothing is known but its name."""
    empty.run()
    return empty


def settings(app: App) -> Settings:
    """The test's project and database, as the command has them."""
    return dataclasses.replace(app.settings, conninfo=app.url, state=app.project / ".trueup")


def relations(app: App, schema: str = "trueup_ledger") -> dict[str, int]:
    """The oid of each table, index and view by name."""
    return dict(app.query(
        "select relname, cast(oid as bigint) from pg_class"
        " where relnamespace = to_regnamespace(%s) and relkind in ('r', 'v', 'i')", schema,
    ))  # fmt: skip


def differences(app: App, schema: str = "trueup_ledger") -> list[str]:
    """Where the database's ledger is not what the contracts say that dbt has read last."""
    manifest = json.loads((settings(app).state / "target" / "manifest.json").read_text())
    models = [node for node in manifest["nodes"].values()
              if "ledger" in node["tags"] and node["columns"]]  # fmt: skip
    found = []
    for model in models:
        name = model["name"]
        is_table = model["config"]["materialized"] == "ledger"
        expected = {}
        for column in model["columns"].values():
            kinds = {constraint["type"] for constraint in column["constraints"]}
            kinds |= {
                "not_null" for each in model["constraints"] if column["name"] in each["columns"]
            }
            [(data_type,)] = app.query("select %s::regtype::text", column["data_type"])
            default = column["config"]["meta"].get("default")
            expected[column["name"]] = (
                data_type, "not_null" in kinds, None if default is None else str(default),
                "custom" in kinds,
            )  # fmt: skip
        actual = {
            column: (data_type, not_null, default and default.replace("::text", ""), identity)
            for column, data_type, not_null, default, identity in app.query(
                """
                select
                    a.attname, format_type(a.atttypid, null), a.attnotnull,
                    pg_get_expr(d.adbin, d.adrelid), a.attidentity <> ''
                from pg_attribute as a
                left join pg_attrdef as d on a.attrelid = d.adrelid and a.attnum = d.adnum
                where a.attrelid = %s::regclass and a.attnum > 0 and not a.attisdropped
                order by a.attnum
                """,
                f"{schema}.{name}",
            )
        }
        found += [
            f"{name}.{column}: {actual.get(column)} instead of {expected.get(column)}"
            for column in expected | actual
            if actual.get(column) != expected.get(column)
        ]
        if list(actual) != list(expected):
            found.append(f"{name}: order of columns")
        wanted = [",".join(each["columns"]) for each in model["config"].get("indexes") or []]
        wanted += [",".join(each["columns"]) for each in model["constraints"] if each["columns"]]
        have = app.query(
            """
            select string_agg(a.attname, ',' order by k.place) from pg_index as i
            cross join lateral unnest(i.indkey) with ordinality as k (attnum, place)
            inner join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = k.attnum
            where i.indrelid = %s::regclass group by i.indexrelid
            """,
            f"{schema}.{name}",
        )
        if is_table and sorted(wanted) != sorted(columns for (columns,) in have):
            found.append(f"{name}: indexes {have} instead of {wanted}")
    assert len(models) == len(RELATIONS)
    return found


# ------------------------------------------------------------------------------------------- making


def change(app: App, model: str, **changes: Any) -> None:
    """Change entries of a model's YAML in the test's copy of the project."""
    path = app.project / "models" / "ledger" / f"{model}.yml"
    content = yaml.safe_load(path.read_text())
    [entry] = content["models"]
    columns = changes.pop("columns", {})
    kept = [each for each in entry["columns"] if each["name"] not in columns]
    added = [{"name": name, "description": "A test's.", **options}
             for name, options in columns.items() if options]  # fmt: skip
    path.write_text(yaml.safe_dump({
        **content, "models": [{**entry, **changes, "columns": kept + added}]
    }))  # fmt: skip


def test_the_command_makes_it_and_says_what_is_missing(app: App) -> None:
    """In the schema that is configured, and nowhere else."""
    path = app.project / "dbt_project.yml"
    text = path.read_text()
    path.write_text(text.replace("ledger_schema: trueup_ledger", "ledger_schema: books"))
    assert path.read_text() != text
    schemas = "select nspname from pg_namespace order by nspname"
    before = app.query(schemas)
    with app.connect() as connection:
        with pytest.raises(TrueupError) as missing:
            ledger.check(connection, "books", settings(app))
        assert str(missing.value) == (
            f"there is no ledger in database {app.database}: no schema books\n"
            "`trueup ledger init` makes it"
        )
        done = trueup(app.project, "ledger", "init", DATABASE_URL=app.url)
        assert done.returncode == 0, done.stderr
        head, ready = done.stdout.splitlines()
        assert f"database {app.database}" in head
        assert ready == "The ledger is ready: 22 tables and views in schema books."
        ledger.check(connection, "books", settings(app))
        assert app.query(schemas) == sorted([*before, ("books",)])

        connection.execute("alter table books.stage_migration_control drop column workers cascade")
        with pytest.raises(TrueupError, match=r"lacks stage_migration_control\.workers\n.*init"):
            ledger.check(connection, "books", settings(app))
        connection.execute("drop table books.migration_runs cascade")
        with pytest.raises(TrueupError, match="lacks migration_run_states, migration_runs, "):
            ledger.check(connection, "books", settings(app))
        ledger.init(settings(app))
        ledger.check(connection, "books", settings(app))
    found = differences(app, "books")
    assert found == ["stage_migration_control: order of columns"], "the last one was made anew"


def test_the_default_schema_is_that_of_the_macro(built: App) -> None:
    assert ledger.schema(built.settings) == ledger.DEFAULT_SCHEMA == "trueup_ledger"
    text = (PROJECT / "macros/engine/generate_schema_name.sql").read_text()
    assert f"var('ledger_schema', '{ledger.DEFAULT_SCHEMA}')" in text


def test_tables_and_rows_outlive_every_run_and_every_contract(built: App) -> None:
    """Columns and indexes that a contract gains are added; what it loses or changes stays."""
    with built.connect() as connection:
        made = Ledger(connection)
        made.run(notes="read me")
        made.add("migration_quarantine", {
            "run_id": RUN, "batch_id": made.batch(), "table_name": "deals", "column_name": "stage",
            "row_key": "1", "sqlstate": "23514", "reason": "too long",
        })  # fmt: skip
    before = relations(built)
    change(
        built, "migration_quarantine", config={"indexes": [{"columns": ["run_id", "tries"]}]},
        columns={
            "tries": {"data_type": "integer", "config": {"meta": {"default": 3}},
                      "constraints": [{"type": "not_null", "warn_unsupported": False}]},
            "hint": {"data_type": "text"},
        },
    )  # fmt: skip
    change(built, "migration_runs", columns={"notes": None})
    change(built, "stage_normalization_changes", columns={"run_at": {"data_type": "timestamp"}})

    outcome = dbt.run(settings(built), built.environment, "build", "--select", "tag:ledger",
                      "--full-refresh")  # fmt: skip

    assert outcome.failures == []
    after = relations(built)
    tables = [name for name in before if name not in VIEWS]
    assert {name: after[name] for name in tables} == {name: before[name] for name in tables}
    assert len(after.keys() - before.keys()) == 1, "the index"
    assert built.query(
        "select r.notes, q.row_key, q.tries, q.hint from trueup_ledger.migration_quarantine as q"
        " inner join trueup_ledger.migration_runs as r using (run_id)"
        " inner join trueup_ledger.stage_migration_batches using (batch_id)"
    ) == [("read me", "1", 3, None)]
    assert differences(built) == [
        "migration_runs.notes: ('text', False, None, False) instead of None",
        "migration_runs: order of columns",
        "stage_normalization_changes.run_at: ('timestamp with time zone', True, 'now()', False)"
        " instead of ('timestamp without time zone', False, None, False)",
    ]


def test_what_stands_in_the_way_is_told(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """A view of a table's name is not replaced; a model without a contract is refused."""
    app.query("""
        create schema trueup_ledger;
        create view trueup_ledger.migration_quarantine as select 1 as mine;
    """)
    change(app, "migration_runs", config={"contract": {"enforced": False}})
    outcomes: list[dbt.Outcome] = []
    run = dbt.run

    def recorded(*arguments: Any) -> dbt.Outcome:
        outcomes.append(run(*arguments))
        return outcomes[-1]

    monkeypatch.setattr(dbt, "run", recorded)
    with pytest.raises(TrueupError, match="the ledger could not be made: migration_"):
        ledger.init(settings(app))
    messages = {failure.name: failure.message for failure in outcomes[0].failures}
    assert messages.keys() == {"migration_quarantine", "migration_runs"}
    assert "relation 'view' is not allowed; allowed: table" in messages["migration_quarantine"]
    assert "contract 'not enforced' is not allowed" in messages["migration_runs"]
    assert app.query("select * from trueup_ledger.migration_quarantine") == [(1,)]
    assert "migration_runs" not in relations(app)


# ------------------------------------------------------------------------------------------ reading


PROGRESS = ("total_batches", "pending_batches", "running_batches", "completed_batches",
            "failed_batches", "cancelled_batches", "rows_planned", "rows_updated",
            "rows_skipped", "rows_failed", "completion_percent::float")  # fmt: skip


def test_progress_counts(filled: Ledger) -> None:
    filled.batch(6, rows_planned=80, rows_updated=70, rows_skipped=20, rows_failed=10)
    filled.batch(12, rows_planned=80, rows_updated=80, rows_skipped=20)
    filled.batch(status="failed", rows_planned=40)
    filled.batch(status="running", rows_planned=40, rows_updated=7)
    filled.batch(rows_planned=50)
    filled.batch(rows_planned=60, status="cancelled", rows_in_batch=99)
    # 200 of 599, rounded down
    assert filled.one("stage_migration_progress", *PROGRESS) == (
        6, 1, 1, 2, 1, 1, 350, 157, 40, 10, 33.38
    )  # fmt: skip
    assert filled.estimate() == (0.2, 0.2, 0.2)
    # it is asked every second: the audit, of which there may be millions, is not read
    text = str(filled.query("explain select * from trueup_ledger.stage_migration_progress"))
    assert "stage_migration_batches" in text and "stage_normalization_changes" not in text


def test_every_command_takes_the_same_run(empty: Ledger) -> None:
    """0 and 1 are the older and the newer run; a plan that was not begun is only shown."""
    for view in ("", "_by_fund"):
        assert empty.query(f"select * from trueup_ledger.stage_migration_progress{view}") == []
    ids = (RUN, OTHER_RUN)
    empty.run(planned_at="2026-11-01 12:00Z")
    empty.run(OTHER_RUN, kind="rollback", reverts_run_id=RUN, planned_at="2026-11-02 12:00Z")
    for run_id in ids:
        empty.batch(run_id=run_id)
    for *states, shown, begun in (
        ("completed", "completed", 1, 1), ("completed", "completed_with_failures", 1, 1),
        ("completed", "planned", 0, 0), ("planned", "completed", 1, 1),
        ("failed", "cancelled", 0, 0), ("completed", "cancelled", 1, 1),
        ("interrupted", "running", 1, 1), ("running", "interrupted", 0, 0),
        ("paused", "completed_with_failures", 0, 0), ("paused", "completed", 0, 0),
        ("completed", "completed unbegun", 0, 0), ("completed", "cancelled unbegun", 0, 0),
        ("planned", "cancelled unbegun", 0, None), ("cancelled unbegun", "planned", 1, None),
        ("completed unbegun", "planned", 1, 0),
    ):  # fmt: skip
        for run_id, state in zip(ids, states, strict=True):
            status, _, unbegun = state.partition(" ")
            empty.query("update trueup_ledger.migration_runs set status = %s where run_id = %s",
                        status, run_id)  # fmt: skip
            empty.query("update trueup_ledger.stage_migration_batches set attempts = %s"
                        " where run_id = %s", 0 if unbegun else 1, run_id)  # fmt: skip
        assert str(empty.one("stage_migration_progress", "run_id")[0]) == ids[shown], states
        for command in ("verify", "report"):
            try:
                found = runs.find(empty.connection, "trueup_ledger", None, runs.BEGUN, (), command)
            except TrueupError:
                assert begun is None, states
            else:
                assert begun is not None and str(found.run_id) == ids[begun], (states, command)


def test_a_run_is_taken_back_until_that_is_taken_back(filled: Ledger) -> None:
    for last, of, restored, rows in ((OTHER_RUN, RUN, 90, 90), (RUN[:-1] + "3", OTHER_RUN, 40, 50),
                                     (RUN[:-1] + "4", OTHER_RUN, 50, 0)):  # fmt: skip
        filled.run(last, kind="rollback", reverts_run_id=of)
        filled.batch(run_id=last, rows_updated=restored)
        (state,) = filled.query(
            "select taken_back_by, rows_taken_back, state_text"
            " from trueup_ledger.migration_run_states where run_id = %s", RUN,
        )  # fmt: skip
        by, words = ([OTHER_RUN], "running, taken back by 00000000") if rows else ([], "running")
        assert state == (by, rows, words)


def test_estimates_before_the_first_batch_and_at_the_end(filled: Ledger) -> None:
    def percent() -> float:
        (found,) = filled.one("stage_migration_progress", "completion_percent")
        return float(found)

    assert (filled.estimate(), percent()) == ((0, 0, 0), 100), "no batches, nothing to do"
    filled.batch()
    assert (filled.estimate(), percent()) == ((None, None, None), 0)
    filled.batch(6)
    assert (filled.estimate(), percent()) == ((0.1, 0.1, 0.1), 50)
    filled.query("update trueup_ledger.migration_runs set status = 'cancelled'")
    assert (filled.estimate(), percent()) == ((0, 0, 0), 50)


@pytest.mark.parametrize(
    ("completions", "minutes"),
    [
        # every 9 s, of which 3 s are pauses between batches; the first one's pause is not known
        ([9 * n for n in range(1, 11)], 1.45),
        # two workers: the time of both is shared
        ([6 * (1 + n // 2) for n in range(10)], 0.5),
        # a brake for 30 s in the middle counts
        ([6 * n + 30 * (n > 5) for n in range(1, 11)], 1.5),
        # an hour in which it was stopped does not
        ([6 * n + 3600 * (n > 5) for n in range(1, 11)], 1.0),
        # nor does it just after the resume
        ([6 * n + 3600 * (n > 9) for n in range(1, 11)], 1.0),
        # only the last 50 batches count
        ([60 * n for n in range(1, 51)] + [3000 + 6 * n for n in range(1, 51)], 1.0),
    ],
)
def test_minutes_that_remain_for_ten_batches(
    filled: Ledger, completions: list[int], minutes: float
) -> None:
    for seconds in completions:
        filled.batch(seconds)
    for _ in range(10):
        filled.batch()
    estimate, low, high = filled.estimate()
    assert estimate == minutes
    assert low is not None and high is not None and low <= minutes <= high


def test_a_pause_is_no_work_however_short_it_was(filled: Ledger) -> None:
    for number in range(1, 11):
        filled.batch(6 * number + 50 * (number > 5), lease_token=(RUN, OTHER_RUN)[number > 5])
    filled.batch()
    assert filled.estimate() == (0.1, 0.1, 0.1)


def test_bounds_are_the_quickest_and_the_slowest_fifth(filled: Ledger) -> None:
    for seconds in (1, 2, 4, 6, 9, 12, 16, 20, 30, 40):
        filled.batch(seconds, duration_ms=1000)
    filled.batch(rows_in_batch=6000)
    assert filled.estimate() == (4.0, 1.0, 10.0)


def test_failures(filled: Ledger) -> None:
    filled.batch(6, rows_failed=3)
    failed = filled.batch(
        status="failed", attempts=4, error_message="deadlock", range_start=["1"], range_end=["7"]
    )
    columns = ("run_id::text", "batch_id", "range_start", "range_end", "attempts", "error_message")
    assert filled.one("stage_migration_failures", *columns) == (
        RUN, failed, ["1"], ["7"], 4, "deadlock"
    )  # fmt: skip


MAP: list[dict[str, Any]] = [
    {"map_id": 1, "value_before": "Series A", "value_after": "series-a", "match_type": "exact"},
    {"map_id": 2, "value_before": "SEED", "value_after": "seed", "match_type": "exact"},
    {"value_before": "growth", "match_type": "unknown"},
    {"match_type": "null"},
]


def add_map(made: Ledger) -> None:
    where = {"run_id": RUN, "table_name": "deals", "column_name": "stage"}
    made.add("migration_value_map", *({**where, "rows_planned": 1, **row} for row in MAP))


def test_the_log_shows_updates_reverts_and_quarantine(filled: Ledger) -> None:
    add_map(filled)
    filled.run(OTHER_RUN, kind="rollback")
    filled.add("migration_value_map", {  # a rollback's own map says what comes back
        "run_id": OTHER_RUN, "table_name": "deals", "column_name": "stage", "rows_planned": 1,
        "map_id": 2, "value_before": "seed", "value_after": "SEED", "match_type": "exact",
    })  # fmt: skip
    first, second = filled.batch(6), filled.batch(12, run_id=OTHER_RUN)
    filled.add(
        "stage_normalization_changes",
        {"run_id": RUN, "batch_id": first, "row_keys": ["1", "2", "3"],
         "tenants": ["7", None, "8"], "map_ids": [1, 2, 1]},
        {"run_id": OTHER_RUN, "batch_id": second, "row_keys": ["2"], "tenants": [None],
         "map_ids": [2], "action": "revert"},
    )  # fmt: skip
    filled.add("migration_quarantine", {
        "run_id": RUN, "batch_id": first, "table_name": "deals", "column_name": "stage",
        "row_key": "4", "value_before": "SEED", "sqlstate": "23514", "reason": "no",
    })  # fmt: skip
    log = "trueup_ledger.stage_normalization_log"
    assert filled.query(f"""
        select
            run_id::text, batch_id, table_name, column_name, row_id, tenant, stage_before,
            stage_after, action, error_message
        from {log} order by run_id, row_id
    """) == [
        (RUN, first, "deals", "stage", "1", "7", "Series A", "series-a", "update", None),
        (RUN, first, "deals", "stage", "2", None, "SEED", "seed", "update", None),
        (RUN, first, "deals", "stage", "3", "8", "Series A", "series-a", "update", None),
        (RUN, first, "deals", "stage", "4", None, "SEED", None, "quarantine", "no"),
        (OTHER_RUN, second, "deals", "stage", "2", None, "seed", "SEED", "revert", None),
    ]
    assert filled.query(f"select row_id from {log} where normalized_stage is null") == [("4",)]
    assert filled.query(
        f"select count(*) from {log} where normalized_stage is distinct from stage_after"
    ) == [(0,)]
    filled.add("stage_normalization_changes", {  # its batch and its value are missing
        "run_id": RUN, "batch_id": 404, "row_keys": ["5"], "tenants": [None], "map_ids": [9],
    })  # fmt: skip
    assert filled.query(f"select table_name, stage_after from {log} where row_id = '5'") == [
        (None, None)
    ]


FUND = ("fund_id", "total_batches", "pending_batches", "completed_batches", "rows_planned",
        "rows_updated", "rows_skipped", "rows_failed", "completion_percent::float",
        "estimated_minutes_remaining::float")  # fmt: skip


def by_fund(made: Ledger) -> list[tuple[Any, ...]]:
    return made.query(
        f"select {', '.join(FUND)} from trueup_ledger.stage_migration_progress_by_fund"
        " order by fund_id"
    )


def test_by_fund_where_batches_are_cut_by_fund(filled: Ledger) -> None:
    filled.batch(6, fund_id="7", rows_planned=80, rows_updated=70, rows_skipped=20, rows_failed=10)
    filled.batch(fund_id="7", rows_planned=50)
    filled.batch(12, fund_id="8", rows_planned=60, rows_updated=60, rows_skipped=40)
    filled.batch(rows_planned=30, rows_in_batch=300)
    assert by_fund(filled) == [
        ("7", 2, 1, 1, 130, 70, 20, 10, 50.0, 0.1),
        ("8", 1, 0, 1, 60, 60, 40, 0, 100.0, 0.0),
        (None, 1, 1, 0, 30, 0, 0, 0, 0.0, 0.3),
    ]
    assert filled.estimate()[0] == 0.4


def test_by_fund_where_batches_are_cut_by_key(filled: Ledger) -> None:
    add_map(filled)
    counted = {"run_id": RUN, "table_name": "deals", "column_name": "stage", "nulls": 1,
               "blanks": 0}  # fmt: skip
    counts = {"7": {"Series A": 3, "growth": 5}, "8": {"SEED": 2, "Series A": 2}, "9": {"seed": 4},
              None: {"SEED": 1}}  # fmt: skip
    filled.add("migration_baselines", *(
        {**counted, "tenant": tenant, "rows": 9, "row_counts": json.dumps(rows)}
        for tenant, rows in counts.items()
    ))  # fmt: skip
    filled.add(  # another column of the same run
        "migration_value_map",
        {"run_id": RUN, "table_name": "deals", "column_name": "old_stage", "rows_planned": 10,
         **MAP[1]},
    )  # fmt: skip
    filled.add("migration_baselines", {
        **counted, "column_name": "old_stage", "tenant": "8", "rows": 10,
        "row_counts": json.dumps({"SEED": 6}),
    })  # fmt: skip
    batch_id = filled.batch(6)
    filled.batch()
    filled.add("stage_normalization_changes", {
        "run_id": RUN, "batch_id": batch_id, "row_keys": ["1", "2", "3", "4"],
        "tenants": ["7", None, "8", "8"], "map_ids": [1, 2, 2, 2],
    })  # fmt: skip
    assert by_fund(filled) == [
        ("7", None, None, None, 3, 1, None, None, 33.33, 0.1),
        ("8", None, None, None, 10, 2, None, None, 20.0, 0.1),
        ("9", None, None, None, 0, 0, None, None, 100.0, 0.0),
        (None, None, None, None, 1, 1, None, None, 100.0, 0.0),
    ]
