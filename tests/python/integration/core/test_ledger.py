"""The ledger: made once, never unmade; its views say what the operator asks."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
import yaml

from integration.conftest import PROJECT, App
from support.command import trueup
from trueup.core import ledger
from trueup.core.errors import TrueupError
from trueup.core.settings import Settings

INIT = ("run", "--select", "tag:ledger")
TABLES = [name for name in ledger.RELATIONS if "_log" not in name and "_progress" not in name
          and "_failures" not in name]  # fmt: skip
RUN = "00000000-0000-0000-0000-000000000001"
OTHER_RUN = "00000000-0000-0000-0000-000000000002"
CLASSIC = """
select stage, count(*) from portfoliocompanies group by stage order by stage;
select * from stage_migration_progress;
select * from stage_migration_progress_by_fund;
select * from stage_migration_failures;
select estimated_minutes_remaining, completion_percent, pending_batches from stage_migration_progress;
select batch_id, fund_id, rows_updated, rows_skipped, rows_failed, duration_ms from stage_migration_batches where status = 'completed' order by completed_at desc limit 10;
select table_name, row_id, stage_before, stage_after, run_at from stage_normalization_log where run_at > now() - interval '1 day' order by run_at desc;
select * from stage_normalization_log where normalized_stage is null;
select * from stage_migration_control order by updated_at desc limit 1;
"""  # noqa: E501


class Ledger:
    """A database's ledger, to be filled by hand."""

    def __init__(self, app: App) -> None:
        self.app = app

    def add(self, table: str, *rows: dict[str, Any]) -> None:
        for row in rows:
            names, holes = ", ".join(row), ", ".join(["%s"] * len(row))
            self.app.query(
                f"insert into trueup_ledger.{table} ({names}) values ({holes})", *row.values()
            )

    def run(self, run_id: str = RUN, **values: Any) -> None:
        self.add("migration_runs", {
            "run_id": run_id, "kind": "migrate", "status": "running", "options": "{}",
            "statements": "{}", "vocabulary_version": "1", "sources_sha256": "",
            "plan_sha256": "", "sql_sha256": "", **values,
        })  # fmt: skip

    def batch(self, seconds: float | None = None, **values: Any) -> int:
        """A batch of 100 rows; with seconds it was completed then, counted from some day on."""
        row = {"run_id": RUN, "table_name": "deals", "column_name": "stage", "range_no": 1,
               "range_end": ["9"], "rows_in_batch": 100, **values}  # fmt: skip
        if seconds is not None:
            row |= {"status": "completed", "duration_ms": row.get("duration_ms", 6000)}
        names, holes = ", ".join(row), ", ".join(["%s"] * len(row))
        [(batch_id,)] = self.app.query(
            f"insert into trueup_ledger.stage_migration_batches ({names}) values ({holes})"
            " returning batch_id",
            *row.values(),
        )
        if seconds is not None:
            self.app.query(
                "update trueup_ledger.stage_migration_batches"
                " set completed_at = timestamptz '2026-11-01' + %s * interval '1 second',"
                " started_at = timestamptz '2026-11-01' where batch_id = %s",
                seconds, batch_id,
            )  # fmt: skip
        return int(batch_id)

    def one(self, view: str, *columns: str) -> tuple[Any, ...]:
        [row] = self.app.query(f"select {', '.join(columns)} from trueup_ledger.{view}")
        return row

    def estimate(self) -> tuple[float | None, ...]:
        """Minutes that remain: the best guess, and its bounds."""
        names = ("remaining", "low", "high")
        row = self.one("stage_migration_progress", *(f"estimated_minutes_{n}" for n in names))
        return tuple(None if minutes is None else float(minutes) for minutes in row)


def settings(app: App) -> Settings:
    """The test's project and database, as a user configures them."""
    return dataclasses.replace(app.settings, conninfo=app.url)


@pytest.fixture
def filled(built: App) -> Ledger:
    """A ledger with a run of which nothing is known but its name."""
    made = Ledger(built)
    made.run()
    return made


def relations(app: App, schema: str = "trueup_ledger") -> dict[str, tuple[str, int]]:
    """Kind and oid by name."""
    return {
        name: (kind, oid)
        for name, kind, oid in app.query(
            "select relname, relkind::text, oid::int from pg_class"
            " where relnamespace = to_regnamespace(%s) and relkind in ('r', 'v')",
            schema,
        )
    }


def indexes(app: App) -> list[tuple[str, int]]:
    return app.query("""
        select relname, oid::int from pg_class
        where relnamespace = 'trueup_ledger'::regnamespace and relkind = 'i' order by relname
    """)


def differences(app: App) -> list[str]:
    """Where the database's ledger is not what the models' contracts say."""
    app.dbt("parse")
    manifest = json.loads((app.settings.state / "target" / "manifest.json").read_text())
    models = [node for node in manifest["nodes"].values() if "ledger" in node["tags"]]
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
                f"trueup_ledger.{name}",
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
        wanted += [",".join(each["columns"]) for each in model["constraints"]]
        have = app.query(
            """
            select string_agg(a.attname, ',' order by k.place) from pg_index as i
            cross join lateral unnest(i.indkey) with ordinality as k (attnum, place)
            inner join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = k.attnum
            where i.indrelid = %s::regclass group by i.indexrelid
            """,
            f"trueup_ledger.{name}",
        )
        if is_table and sorted(wanted) != sorted(columns for (columns,) in have):
            found.append(f"{name}: indexes {have} instead of {wanted}")
    assert len(models) == len(ledger.RELATIONS)
    return found


# ------------------------------------------------------------------------------------------- making


def test_it_is_made_by_its_tag_alone(app: App) -> None:
    schemas = "select nspname from pg_namespace order by nspname"
    before = app.query(schemas)
    assert app.dbt(*INIT).failures == []
    made = relations(app)
    assert sorted(made) == sorted(ledger.RELATIONS)
    assert {name for name, (kind, _) in made.items() if kind == "r"} == set(TABLES)
    assert app.query(schemas) == sorted([*before, ("trueup_ledger",)])
    assert differences(app) == []


def test_tables_and_rows_outlive_every_run(filled: Ledger) -> None:
    app = filled.app
    filled.batch()
    filled.add("stage_normalization_changes", {
        "run_id": RUN, "batch_id": 1, "row_keys": ["1"], "tenants": [None], "map_ids": [1],
    })  # fmt: skip
    tables = {name: found for name, found in relations(app).items() if name in TABLES}
    kept = "select r, b, c from {0}migration_runs as r, {0}stage_migration_batches as b," \
           " {0}stage_normalization_changes as c".format("trueup_ledger.")  # fmt: skip
    before, made = app.query(kept), indexes(app)
    assert len(before) == 1 and len(made) > 10

    for arguments in (INIT, (*INIT, "--full-refresh"),
                      ("build", "--select", "tag:ledger", "--full-refresh")):  # fmt: skip
        assert app.dbt(*arguments).failures == []
        after = {name: found for name, found in relations(app).items() if name in TABLES}
        assert after == tables, "the tables are the same, not others of the same name"
        assert app.query(kept) == before
        assert indexes(app) == made


def change(app: App, model: str, **columns: dict[str, Any]) -> None:
    """Add or alter columns of a model's contract in the test's copy of the project."""
    path = app.project / "models" / "ledger" / f"{model}.yml"
    content = yaml.safe_load(path.read_text())
    [entry] = content["models"]
    for name, options in columns.items():
        entry["columns"] = [each for each in entry["columns"] if each["name"] != name]
        entry["columns"].append({"name": name, "description": "A test's.", **options})
    path.write_text(yaml.safe_dump(content))


def test_a_column_and_an_index_that_the_contract_gains_are_added(filled: Ledger) -> None:
    app = filled.app
    before = relations(app)["migration_quarantine"]
    filled.add("migration_quarantine", {
        "run_id": RUN, "batch_id": 1, "table_name": "deals", "column_name": "stage",
        "row_key": "1", "sqlstate": "23514", "error_message": "too long",
    })  # fmt: skip
    change(
        app, "migration_quarantine",
        tries={"data_type": "integer", "config": {"meta": {"default": 3}},
               "constraints": [{"type": "not_null", "warn_unsupported": False}]},
        hint={"data_type": "text"},
    )  # fmt: skip
    path = app.project / "models" / "ledger" / "migration_quarantine.yml"
    content = yaml.safe_load(path.read_text())
    content["models"][0]["config"] = {"indexes": [{"columns": ["run_id", "tries"]}]}
    path.write_text(yaml.safe_dump(content))
    assert len(differences(app)) == 4, "two columns, their order, an index"

    assert app.dbt(*INIT).failures == []

    assert differences(app) == []
    assert app.query("select row_key, tries, hint from trueup_ledger.migration_quarantine") == [
        ("1", 3, None)
    ]
    assert relations(app)["migration_quarantine"] == before


def test_a_column_that_the_contract_loses_stays(filled: Ledger) -> None:
    app = filled.app
    app.query("update trueup_ledger.migration_runs set notes = 'read me'")
    path = app.project / "models" / "ledger" / "migration_runs.yml"
    content = yaml.safe_load(path.read_text())
    columns = content["models"][0]["columns"]
    content["models"][0]["columns"] = [each for each in columns if each["name"] != "notes"]
    path.write_text(yaml.safe_dump(content))
    assert app.dbt(*INIT, "--full-refresh").failures == []
    assert app.query("select notes from trueup_ledger.migration_runs") == [("read me",)]


def test_a_changed_type_default_or_constraint_is_noticed(built: App) -> None:
    """dbt runs and changes nothing; this comparison is what tells."""
    assert differences(built) == []
    change(built, "stage_normalization_changes", run_at={"data_type": "timestamp"})
    assert built.dbt(*INIT).failures == []
    assert differences(built) == [
        "stage_normalization_changes.run_at: ('timestamp with time zone', True, 'now()', False)"
        " instead of ('timestamp without time zone', False, None, False)"
    ]


def test_a_view_of_that_name_is_not_replaced(app: App) -> None:
    app.query("""
        create schema trueup_ledger;
        create view trueup_ledger.migration_quarantine as select 1 as mine;
    """)
    outcome = app.dbt(*INIT, "--full-refresh")
    assert [failure.name for failure in outcome.failures] == ["migration_quarantine"]
    assert "relation 'view' is not allowed; allowed: table" in outcome.failures[0].message
    assert app.query("select * from trueup_ledger.migration_quarantine") == [(1,)]
    with pytest.raises(TrueupError, match="could not be made: migration_quarantine"):
        ledger.init(settings(app))


def test_a_model_without_a_contract_is_refused(app: App) -> None:
    path = app.project / "models" / "ledger" / "migration_runs.yml"
    content = yaml.safe_load(path.read_text())
    content["models"][0]["config"]["contract"] = {"enforced": False}
    path.write_text(yaml.safe_dump(content))
    outcome = app.dbt("run", "--select", "migration_runs")
    assert "contract 'not enforced' is not allowed" in outcome.failures[0].message
    assert relations(app) == {}


def test_another_schema(app: App) -> None:
    assert app.dbt(*INIT, variables={"ledger_schema": "books"}).failures == []
    assert sorted(relations(app, "books")) == sorted(ledger.RELATIONS)
    assert relations(app) == {}


def test_the_command_makes_it_and_its_absence_is_told(app: App) -> None:
    with app.connect() as connection:
        with pytest.raises(TrueupError) as missing:
            ledger.check(connection, "trueup_ledger")
        assert str(missing.value) == (
            f"there is no ledger in database {app.database}: no schema trueup_ledger\n"
            "`trueup ledger init` makes it"
        )
        done = trueup(app.project, "ledger", "init", DATABASE_URL=app.url)
        assert done.returncode == 0, done.stderr
        head, ready = done.stdout.splitlines()
        assert f"database {app.database}" in head
        assert ready == "The ledger is ready: 14 tables and views in schema trueup_ledger."
        ledger.check(connection, "trueup_ledger")

        connection.execute("drop table trueup_ledger.migration_runs cascade")
        with pytest.raises(TrueupError, match="lacks migration_runs, stage_migration_progress, "):
            ledger.check(connection, "trueup_ledger")
        ledger.init(settings(app))
        ledger.check(connection, "trueup_ledger")


def test_no_command_without_a_server(app: App) -> None:
    url = app.url.replace(f"/{app.database}", "/nowhere")
    done = trueup(app.project, "ledger", "init", DATABASE_URL=url)
    assert done.returncode == 2
    assert "cannot connect" in done.stderr


# ------------------------------------------------------------------------------------------ reading


def test_the_classic_queries_run_as_they_stand(filled: Ledger) -> None:
    queries = [query.strip() for query in CLASSIC.strip().split(";") if query.strip()]
    assert len(queries) == 9
    filled.batch(6)
    with filled.app.connect() as connection:
        connection.execute("set search_path to trueup_ledger, public")
        for query in queries:
            assert connection.execute(query.encode()).description


def test_progress_without_any_run(built: App) -> None:
    for view in ("", "_by_fund"):
        assert built.query(f"select * from trueup_ledger.stage_migration_progress{view}") == []


PROGRESS = ("total_batches", "pending_batches", "running_batches", "completed_batches",
            "failed_batches", "cancelled_batches", "rows_planned", "rows_updated",
            "rows_skipped", "rows_failed", "completion_percent")  # fmt: skip


def test_progress_counts(filled: Ledger) -> None:
    filled.batch(6, rows_planned=80, rows_updated=70, rows_skipped=20, rows_failed=10)
    filled.batch(12, rows_planned=80, rows_updated=80, rows_skipped=20)
    filled.batch(status="failed", rows_planned=40)
    filled.batch(status="running", rows_planned=40, rows_updated=7)
    filled.batch(rows_planned=50)
    filled.batch(rows_planned=60, status="cancelled", rows_in_batch=99)
    counts = filled.one("stage_migration_progress", *PROGRESS)
    assert counts[:-1] == (6, 1, 1, 2, 1, 1, 350, 157, 40, 10)
    assert float(counts[-1]) == 33.38, "200 of 599, rounded down"
    assert filled.estimate() == (0.2, 0.2, 0.2)


@pytest.mark.parametrize(
    ("first", "then", "shown"),
    [
        ("completed", "planned", OTHER_RUN),
        ("planned", "completed", RUN),
        ("failed", "cancelled", RUN),
        ("interrupted", "running", OTHER_RUN),
        ("paused", "completed_with_failures", RUN),
        ("completed", "cancelled", OTHER_RUN),
    ],
)
def test_progress_is_of_the_newest_run_that_is_not_finished(
    built: App, first: str, then: str, shown: str
) -> None:
    made = Ledger(built)
    made.run(status=first, planned_at="2026-11-01 12:00Z")
    made.run(OTHER_RUN, status=then, planned_at="2026-11-02 12:00Z")
    made.batch(6)
    assert str(made.one("stage_migration_progress", "run_id")[0]) == shown


def test_a_run_without_batches_is_done(filled: Ledger) -> None:
    assert filled.estimate() == (0, 0, 0)
    assert filled.one("stage_migration_progress", "completion_percent", "total_batches") == (100, 0)


def test_nothing_is_estimated_before_the_first_batch(filled: Ledger) -> None:
    filled.batch()
    assert filled.estimate() == (None, None, None)
    assert filled.one("stage_migration_progress", "completion_percent") == (0,)
    filled.batch(6)
    assert filled.estimate() == (0.1, 0.1, 0.1)


def test_a_finished_run_needs_no_time(filled: Ledger) -> None:
    filled.batch(6)
    filled.batch()
    filled.app.query("update trueup_ledger.migration_runs set status = 'cancelled'")
    assert filled.estimate() == (0, 0, 0)
    assert filled.one("stage_migration_progress", "completion_percent") == (50,)


@pytest.mark.parametrize(
    ("completions", "minutes"),
    [
        # every 6 s
        ([6 * n for n in range(1, 11)], 1.0),
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
    estimate = filled.estimate()
    assert estimate[0] == minutes
    low, high = estimate[1:]
    assert low is not None and high is not None and low <= minutes <= high


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
        "row_key": "4", "value_before": "SEED", "sqlstate": "23514", "error_message": "no",
    })  # fmt: skip
    log = "trueup_ledger.stage_normalization_log"
    assert filled.app.query(f"""
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
    assert filled.app.query(f"select row_id from {log} where normalized_stage is null") == [("4",)]
    assert filled.app.query(
        f"select count(*) from {log} where normalized_stage is distinct from stage_after"
    ) == [(0,)]


def test_a_change_whose_batch_or_value_is_missing_is_shown(filled: Ledger) -> None:
    filled.add("stage_normalization_changes", {
        "run_id": RUN, "batch_id": 404, "row_keys": ["1"], "tenants": [None], "map_ids": [9],
    })  # fmt: skip
    assert filled.one("stage_normalization_log", "row_id", "table_name", "stage_after") == (
        "1", None, None
    )  # fmt: skip


FUND = ("fund_id", "total_batches", "pending_batches", "completed_batches", "rows_planned",
        "rows_updated", "rows_skipped", "rows_failed", "completion_percent::float",
        "estimated_minutes_remaining::float")  # fmt: skip


def by_fund(made: Ledger) -> list[tuple[Any, ...]]:
    return made.app.query(
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


def test_progress_reads_batches_only_and_is_quick(filled: Ledger) -> None:
    app = filled.app
    app.query(f"""
        insert into trueup_ledger.stage_migration_batches
            (run_id, table_name, column_name, range_no, range_end, rows_in_batch, status,
             duration_ms, completed_at)
        select '{RUN}', 'deals', 'stage', n, array['9'], 1000, 'completed', 50,
            timestamptz '2026-11-01' + n * interval '0.1 second'
        from generate_series(1, 1000) as n
    """)
    with app.connect() as connection:
        query = (
            "explain (analyze, format json) select * from trueup_ledger.stage_migration_progress"
        )
        found = connection.execute(query).fetchone()
    assert found is not None
    text = json.dumps(found[0])
    assert "stage_migration_batches" in text
    assert "stage_normalization_changes" not in text
    assert found[0][0]["Execution Time"] < 100, "milliseconds"


def test_the_schema_is_that_of_the_project(built: App) -> None:
    assert ledger.schema(built.settings) == ledger.DEFAULT_SCHEMA == "trueup_ledger"
    text = (PROJECT / "macros/engine/generate_schema_name.sql").read_text()
    assert f"var('ledger_schema', '{ledger.DEFAULT_SCHEMA}')" in text


def test_a_ledger_of_an_older_trueup_is_told(built: App) -> None:
    with built.connect() as connection:
        ledger.check(connection, "trueup_ledger", settings(built))
        connection.execute(
            "alter table trueup_ledger.stage_migration_control drop column workers cascade"
        )
        with pytest.raises(TrueupError, match=r"lacks stage_migration_control\.workers") as older:
            ledger.check(connection, "trueup_ledger", settings(built))
        assert older.value.remedy and "trueup ledger init" in older.value.remedy
        ledger.init(settings(built))
        ledger.check(connection, "trueup_ledger", settings(built))
