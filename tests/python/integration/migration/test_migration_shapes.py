"""In-place migration of odd tables: keys, names, collations, partitions, rights, a pooler."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from integration.conftest import ADDRESS, PROJECT, App, new_app, roles_of_the_server
from support import data, fire, migration, proxies, standby
from support.system_server import system_server  # noqa: F401  a fixture
from trueup.core import connection, dbt, runs, statements
from trueup.core.errors import TrueupError
from trueup.migration import plan, rehearsal
from trueup.migration import runner as job
from trueup.verification import verify

HOSTILE = 'My "Odd" Table, it\'s'
ROWS = 300
PACE = plan.Pace(batch_size=17, sleep_ms=0, target_ms=1000, stripes=4)


@dataclasses.dataclass(frozen=True)
class Shape:
    """A table of odd_tables.yml; the file says what its fields mean."""

    table: str
    key: dict[str, str]
    create: str
    values: str
    column: str = "stage"
    tenant: str | None = "fund_id"
    only: str | None = None


SHAPES = [Shape(**shape) for shape in data("odd_tables.yml")]


def prepare(app: App, kind: str) -> None:
    """A project that manages the tables: what it is compiled to, which takes no database."""
    (app.project / "models/staging/app").mkdir()
    managed = []
    for number, shape in enumerate(shapes_of(kind)):
        model = f"stg_app__odd_{number}"
        path = app.project / "models/staging/app" / f"{model}.sql"
        path.write_text(f"select * from public.{quoted(shape.table)}\n")
        managed.append({"table": shape.table, "column": shape.column, "key": shape.key,
                        "tenant": shape.tenant, "vocabulary": "stage", "model": model})  # fmt: skip
    configure(app, sample=False, managed_columns=managed)
    statements.statements(app.settings)
    # the model that reads every managed column
    outcome = dbt.run(app.settings, {}, "compile", "--select", "int_value_observations",
                      "--no-populate-cache", target=statements.TARGET)  # fmt: skip
    assert outcome.failures == []


def make_types(app: App, kind: str) -> None:
    """What the tables need in a database."""
    # the role has a schema of its own name
    app.query(f"alter database {quoted(app.database)} set search_path = public")
    app.query("create domain public.odd_stage as text check (length(value) < 200)")
    if kind == "system":
        app.query("create collation public.ignore_case (provider = icu,"
                  " locale = 'und-u-ks-level2', deterministic = false)")  # fmt: skip


def create(connected: psycopg.Connection[Any], shape: Shape) -> None:
    """Make the table, with every spelling of the sample in turn, NULL among them."""
    name = quoted(shape.table)
    connected.execute(f"drop table if exists {name} cascade".encode())
    connected.execute(shape.create.encode())
    # the managed column is filled afterwards, so that the values can come in the columns' order
    columns = connected.execute(
        "select attname from pg_attribute where attrelid = cast(%s as regclass) and attnum > 0"
        " and attname <> %s order by attnum", (name, shape.column),
    ).fetchall()  # fmt: skip
    listed = ", ".join(quoted(column) for (column,) in columns)
    connected.execute(
        f"""
        with spellings as (
            select raw_value, row_number() over (order by weight desc, raw_value) as position
            from trueup_sample.spellings where raw_value is not null and length(raw_value) < 60
        )
        insert into {name} ({listed}, {quoted(shape.column)})
        select {shape.values},
            (select raw_value from spellings where position = n % 29)
        from generate_series(1, {ROWS}) as numbers (n)
        """.encode()
    )


def configure(app: App, **variables: Any) -> None:
    path = app.project / "dbt_project.yml"
    content = yaml.safe_load(path.read_text())
    content["vars"].update(variables)
    path.write_text(yaml.safe_dump(content, allow_unicode=True, sort_keys=False))


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """Odd tables beside the built sample; their project is compiled once in a run of pytest."""
    compiled = Path(json.loads(os.environ[ADDRESS])["state"]) / "odd"
    with new_app(tmp_path_factory.mktemp("odd"), "built_template", "project/.trueup") as app:
        with compiled.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not compiled.exists():
                prepare(app, "embedded")
                shutil.copytree(app.project, compiled)
        shutil.copytree(compiled, app.project, dirs_exist_ok=True)
        make_types(app, "embedded")
        yield app


def key_of(shape: Shape) -> str:
    """SQL of a row's key as the ledger has it: a time is in UTC."""
    names = []
    for name, kind in shape.key.items():
        column = f"t.{quoted(name)}"
        text = f"cast({column} as text)"
        if kind == "timestamptz":
            text = f"replace(cast({column} at time zone 'UTC' as text), ' ', 'T')"
        names.append(f'{text} collate "C"')
    return names[0] if len(names) == 1 else f"cast(array[{', '.join(names)}] as text)"


def cells(app: App, shape: Shape) -> dict[str, tuple[str | None, str]]:
    """By row key as the ledger has it: the value, and all other columns."""
    key = key_of(shape)
    column = quoted(shape.column)
    with app.connect() as connected:
        rows = psycopg.RawCursor(connected).execute(
            f"select {key}, t.{column}, cast(to_jsonb(t) - cast($1 as text) as text)"
            f" from {quoted(shape.table)} as t".encode(), [shape.column],
        ).fetchall()  # fmt: skip
    return {row[0]: (row[1], row[2]) for row in rows}


def model(app: App, before: dict[str, tuple[str | None, str]]) -> dict[str, tuple[Any, str]]:
    """What the rows must be afterwards: the sample knows what its spellings mean."""
    meaning = dict(
        app.query(
            "select raw_value, canonical_value from trueup_sample.spellings"
            " where canonical_value is not null"
        )
    )
    return {key: (meaning.get(value, value), rest) for key, (value, rest) in before.items()}


def nodes_of(found: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A node of EXPLAIN's JSON and all below it."""
    yield found
    for below in found.get("Plans", []):
        yield from nodes_of(below)


def shapes_of(kind: str) -> list[Shape]:
    return [shape for shape in SHAPES if shape.only in (None, kind)]


EMBEDDED = [shape for shape in shapes_of("embedded") if shape.table != "refused"]


def test_tables_of_every_shape(odd: App) -> None:
    there_and_back(odd, EMBEDDED)


def there_and_back(app: App, shapes: list[Shape]) -> Any:
    """One plan, rehearsal, apply and rollback of all these tables; returns the run's id.

    In between, rows are edited, and others are changed by a second run in ranges of another cut.
    """
    scope = plan.Scope(tuple(shape.table for shape in shapes))
    with app.connect() as connected:
        for shape in shapes:
            create(connected, shape)
    before = {shape.table: cells(app, shape) for shape in shapes}
    expected = {name: model(app, rows) for name, rows in before.items()}
    changed = {
        name: sorted(key for key in rows if rows[key] != expected[name][key])
        for name, rows in before.items()
    }
    assert all(len(rows) == ROWS for rows in before.values())
    assert all(len(keys) > 100 for keys in changed.values())

    made = migration.make_plan(app, scope, PACE)
    assert {c["table_name"]: c["rows_planned"] for c in made.columns} == {
        name: len(keys) for name, keys in changed.items()
    }
    with migration.connect(app) as connected:
        rehearsed = rehearsal.rehearse(app.settings, connected, made, PACE)["columns"]
    for column, planned in zip(rehearsed, made.columns, strict=True):
        tried, name = column["tryout"], planned["table_name"]
        assert tried["rows_changed"] == tried["rows"] == tried["rows_planned"] > 0, name
        assert tried["refusals"] == tried["other_columns"] == tried["other_rows"] == [], name
        assert column["prediction"]["rows_planned"] == planned["rows_planned"], name
    assert all(cells(app, shape) == before[shape.table] for shape in shapes)
    outcome = migration.apply(app, made)
    assert (outcome.status, outcome.late, outcome.missed) == ("completed", [], [])
    for shape in shapes:
        assert cells(app, shape) == expected[shape.table], shape.table
    migration.agree(app, made.run_id, made.rows_planned)
    log = app.query(
        "select table_name, row_id, stage_before, stage_after"
        " from trueup_ledger.stage_normalization_log where run_id = %s", made.run_id,
    )  # fmt: skip
    assert {row[:2]: row[2:] for row in log} == {
        (name, key): (before[name][key][0], expected[name][key][0])
        for name, keys in changed.items()
        for key in keys
    }
    batched = app.query(
        "select table_name, sum(rows_in_batch) from trueup_ledger.stage_migration_batches"
        " where run_id = %s group by 1", made.run_id,
    )  # fmt: skip
    assert dict(batched) == dict.fromkeys(before, ROWS)  # every row is in exactly one batch
    again = migration.make_plan(app, scope)
    assert (again.rows_planned, again.batches) == (0, 0)

    later = {name: keys[1::10] for name, keys in changed.items()}
    with app.connect() as connected:
        for shape in shapes:
            rows = before[shape.table]
            update(connected, shape, changed[shape.table][0], "somebody's")
            for key in later[shape.table]:
                update(connected, shape, key, rows[key][0])
    second = migration.make_plan(app, scope, plan.Pace(100, 0, 1000, stripes=1))
    assert second.rows_planned == sum(map(len, later.values())) > 10 * len(shapes)
    assert migration.apply(app, second).status == "completed"
    back, outcome = migration.roll_back(app, made.run_id)
    assert outcome.status == "completed"
    for shape in shapes:
        rows = before[shape.table]
        edited, *_ = changed[shape.table]
        assert cells(app, shape) == {
            **rows,
            edited: ("somebody's", rows[edited][1]),
            **{key: expected[shape.table][key] for key in later[shape.table]},
        }, shape.table
    conflicts = app.query(
        "select table_name, row_key, reason from trueup_ledger.migration_conflicts"
        " where run_id = %s", back.run_id,
    )  # fmt: skip
    assert sorted(conflicts) == sorted(
        [(name, keys[0], "edited") for name, keys in changed.items()]
        + [(name, key, "changed by a later run") for name, keys in later.items() for key in keys]
    )
    with migration.connect(app) as connected:
        checks = verify.run(app.settings, connected, str(back.run_id))["checks"]
    assert {check["status"] for check in checks} <= {"ok", "info"}, checks
    return made.run_id


def test_rows_that_are_held_are_found_by_key(odd: App) -> None:
    """A rollback's batch is cut down to the row that somebody holds; the others are restored."""
    for name in ("odd_composite", HOSTILE):
        shape = table(name)
        with odd.connect() as connected:
            create(connected, shape)
        before = cells(odd, shape)
        pace = plan.Pace(batch_size=100, sleep_ms=0, target_ms=1000, stripes=2)
        made = migration.make_plan(odd, plan.Scope((shape.table,)), pace)
        migration.apply(odd, made)
        after = cells(odd, shape)
        key = next(key for key in before if before[key] != after[key])
        condition, values = where(shape, key)
        with migration.connect(odd) as locker:
            psycopg.RawCursor(locker).execute(
                f"select from {quoted(shape.table)} as t where {condition} for update".encode(),
                values,
            )
            _, outcome = migration.roll_back(odd, made.run_id, lock_timeout_ms=10)
            locker.rollback()
        assert outcome.status == "completed_with_failures"
        assert sum(left.rows for left in outcome.missed) == 1
        assert cells(odd, shape) == {**before, key: after[key]}


def update(connected: psycopg.Connection[Any], shape: Shape, key: str, value: str | None) -> None:
    condition, values = where(shape, key)
    column = quoted(shape.column)
    psycopg.RawCursor(connected).execute(
        f"update {quoted(shape.table)} as t set {column} = $2 where {condition}".encode(),
        [*values, value],
    )


def where(shape: Shape, key: str) -> tuple[str, list[str]]:
    text = key_of(shape)
    return f'{text} collate "C" = $1', [key]


@pytest.mark.parametrize("analyzed", [False, True])
def test_a_batch_reads_its_own_rows_only(odd: App, analyzed: bool) -> None:
    """Seen in the statement's own plan: as many rows as the list has, and a hash of the map."""
    with odd.connect() as connected:
        create(connected, table("odd_no_tenant"))
        connected.execute("insert into odd_no_tenant select n, 'x' from generate_series(301, 20000)"
                          " as numbers (n)")  # fmt: skip
        if analyzed:
            connected.execute("analyze odd_no_tenant")
    pace = plan.Pace(batch_size=500, sleep_ms=0, target_ms=1000, stripes=8)
    made = migration.make_plan(odd, plan.Scope(("odd_no_tenant",)), pace)
    own = migration.order(odd, made).statements
    statement = own["apply_batch__odd_no_tenant__stage"]
    values = dict.fromkeys(statement.parameters)
    spellings = [f"spelling {number}" for number in range(3000)]
    values |= {"key_1": list(range(4003, 8003, 8)), "first_place": 101, "last_place": 500,
               "is_partitioned": False, "map_ids": list(range(3000)),
               "values_before": spellings, "values_after": spellings}  # fmt: skip
    with migration.connect(odd) as connected:
        ((values["batch_id"],),) = connected.execute(
            "update trueup_ledger.stage_migration_batches set status = 'running', lease_token = %s"
            " where run_id = %s and range_no = 2 and stripe = 3 returning batch_id",
            [made.run_id, made.run_id],
        )
        values["lease_token"] = made.run_id
        own["run__begin_batch"].run(connected, lock_timeout="1s", statement_timeout="9s",
                                    transaction_timeout="9s", waits_for_disk=True,
                                    by_keys=True)  # fmt: skip
        found = migration.explained(connected, statement, values)
        nodes = list(nodes_of(found))
        (scan,) = (node for node in nodes if node.get("Alias") == "application"
                   and node["Node Type"] == "Index Scan")  # fmt: skip
        assert round(migration.rows_read(scan, "odd_no_tenant")) == 400, scan
        # over these rows: how the ledger's tables are joined depends on when they were analyzed
        (joined,) = (node for node in nodes if node["Node Type"] == "Hash Join"
                     and scan in nodes_of(node))  # fmt: skip
        assert "value_before" in joined["Hash Cond"], joined
        connected.rollback()


def test_a_batch_touches_the_partitions_of_its_range_only(odd: App) -> None:
    """Neither locked nor looked into: somebody may be about to detach another one."""
    with odd.connect() as connected:
        create(connected, table("odd_ranges"))
    made = migration.make_plan(odd, plan.Scope(("odd_ranges",)))
    found = migration.order(odd, made).statements
    for purpose in ("keys_to_change", "apply_batch", "apply_batch_comparing"):
        statement = found[f"{purpose}__odd_ranges__stage"]
        known = {"range_start": ["120"], "range_end": ["160"], "stripes": 8, "hashed": False,
                 "stripe_batches": [1], "values_before": ["x"], "values_after": ["y"],
                 "map_ids": [1], "key_1": [125, 133], "first_place": 1, "last_place": 2,
                 "is_partitioned": True}  # fmt: skip
        values = {name: known.get(name) for name in statement.parameters}
        explained = statement._replace(sql=f"explain {statement.sql}")
        with migration.connect(odd) as connected:
            text = "\n".join(line for (line,) in explained.run(connected, **values))
        assert "odd_ranges_1" in text
        if purpose != "apply_batch_comparing":  # joins rows that it has found by their keys
            assert "odd_ranges_0" not in text and "odd_ranges_2" not in text, text


# ------------------------------------------------------------------------------ an older server

ON_SYSTEM = ("odd_bigint", "odd_uuid", "odd_text", "odd_text_icu", "odd_text_ci", "odd_composite",
             HOSTILE, "odd_partitioned")  # fmt: skip


@pytest.fixture(scope="module")
def old(system_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:  # noqa: F811
    """The built sample on the system's own server, as pg_dump copies it there."""
    with new_app(tmp_path_factory.mktemp("old"), "built_template", "project/.trueup") as app:
        name = app.database
        with psycopg.connect(system_server, autocommit=True) as connected:
            port = connected.info.port
            connected.execute(f"create role {name} login in role pg_monitor")
            connected.execute(f"create database {name} owner {name}")
        target = psycopg.conninfo.make_conninfo(system_server, dbname=name)
        standby.copy_database(app.url, target, name)
        environment = {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": name,
                       "PGPASSWORD": "", "PGDATABASE": name}  # fmt: skip
        yield dataclasses.replace(app, environment=environment)


def test_the_main_path_on_the_systems_postgresql(old: App) -> None:
    deals = "select id, stage from deal_opportunities order by id"
    before = old.query(deals)
    expected = old.query(
        "select cast(row_key as bigint), coalesce(canonical_value, raw_value)"
        " from trueup_sample.truth where table_name = 'deal_opportunities' order by 1"
    )
    for arguments in (("plan", "--table", "deal_opportunities"), ("apply", "--yes"), ("verify",)):
        migration.printed(old, *arguments)
    assert old.query(deals) == expected != before
    ((run,),) = old.query("select cast(run_id as text) from trueup_ledger.migration_runs")
    migration.printed(old, "rollback", run, "--yes")
    assert old.query(deals) == before


@pytest.fixture(scope="module")
def old_odd(old: App) -> App:
    """Odd tables there: its collations have an order of their own."""
    if not old.query("select 1 from pg_collation where collname = 'en-x-icu'"):
        pytest.skip("the system's PostgreSQL has no ICU")
    prepare(old, "system")
    make_types(old, "system")
    return old


@pytest.mark.proofs
def test_the_systems_postgresql_does_the_same(old_odd: App) -> None:
    there_and_back(old_odd, [table(name) for name in ON_SYSTEM])


@pytest.mark.proofs
@pytest.mark.parametrize("name", ["odd_text_icu", "odd_text_ci"])
def test_a_key_to_resume_from_is_compared_as_the_table_does(old_odd: App, name: str) -> None:
    with old_odd.connect() as connected:
        create(connected, table(name))
    pace = plan.Pace(batch_size=10, sleep_ms=0, target_ms=1000, stripes=1)
    made = migration.make_plan(old_odd, plan.Scope((name,)), pace)
    rows = f"select id, stage from {name} order by id limit 145"
    before = old_odd.query(rows)
    with migration.connect(old_odd) as connected:
        run = runs.find(connected, migration.schema(old_odd), str(made.run_id), runs.PLANNED)
        assert job.skip_to(connected, run, None, before[-1][0]) == 15
    assert migration.apply(old_odd, made).status == "completed_with_failures"
    assert old_odd.query(rows) == before


# ------------------------------------------------------------------------------ what is refused


def table(name: str) -> Shape:
    return next(shape for shape in SHAPES if shape.table == name)


REFUSED = {
    "is (missing), not": "alter table refused drop constraint refused_pkey",
    "has no column stage": "alter table refused rename column stage to step",
    "row-level security may hide rows": "alter table refused enable row level security,"
                                        " force row level security;"
                                        " create policy half on refused using (id % 2 = 0)",
}  # fmt: skip


@pytest.mark.parametrize("words", REFUSED)
def test_what_cannot_be_migrated_in_place_is_refused(odd: App, words: str) -> None:
    """By plan, and by apply if it was changed after the plan; test_tables has all of what is."""
    with odd.connect() as connected:
        create(connected, table("refused"))
        made = migration.make_plan(odd, plan.Scope(("refused",)))
        planned = ledger_rows(odd)
        connected.execute(REFUSED[words].encode())
        rows = "select id, to_jsonb(t) from refused as t order by id"
        before = connected.execute(rows).fetchall()
        for arguments in (("plan", "--table", "refused"), ("apply", str(made.run_id), "--yes")):
            code, _, err = migration.done(odd, *arguments)
            assert code == 2 and err.startswith("Error: ") and words in err, err
            assert "bypassrls" in err or "security" not in words
        assert ledger_rows(odd) == planned
        assert connected.execute(rows).fetchall() == before


def test_the_command_with_a_hostile_name(odd: App) -> None:
    with odd.connect() as connected:
        create(connected, table(HOSTILE))
        connected.execute(f"update {quoted(HOSTILE)} set \"Sta\"\"ge\" = '[/b] [red]$1 %s'"
                          ' where "Key $1 %s" < 4'.encode())  # fmt: skip
    out = migration.printed(odd, "plan", "--table", HOSTILE)
    assert HOSTILE in out and "[/b] [red]$1 %s" in out
    migration.printed(odd, "apply", "--yes", "--sleep-ms", "0")
    (run,) = json.loads(migration.printed(odd, "runs", "--format", "json", "--limit", "1"))
    assert run["status"] == "completed"


def test_models_read_hostile_names(odd: App) -> None:
    """The observations of every managed column, by the SQL that dbt compiles."""
    shapes = {shape.table: shape for shape in shapes_of("embedded")}
    (path,) = (odd.settings.state / statements.TARGET).rglob(
        "compiled/**/int_value_observations.sql"
    )
    with odd.connect() as connected:
        for number, shape in enumerate(shapes.values()):
            create(connected, shape)
            connected.execute(f"create view trueup_staging.stg_app__odd_{number} as"
                              f" select * from {quoted(shape.table)}".encode())  # fmt: skip
        found = psycopg.RawCursor(connected).execute(
            "select table_name, column_name, count(*), count(raw_value), count(tenant)"
            f" from ({path.read_text()}) as observations group by 1, 2".encode()
        ).fetchall()  # fmt: skip
    assert {row[0] for row in found} == shapes.keys()
    for name, column, rows, filled, tenants in found:
        assert column == shapes[name].column and rows == ROWS and filled > 200
        assert (tenants > 0) == (shapes[name].tenant is not None)


def ledger_rows(app: App, run_id: Any = None) -> dict[str, Any]:
    """A digest of each table of the ledger, or of the rows of one run."""
    tables = ("migration_runs", "migration_value_map", "migration_baselines",
              "stage_migration_batches", "stage_migration_control", "stage_normalization_changes",
              "migration_quarantine")  # fmt: skip
    condition = "true" if run_id is None else f"run_id = '{run_id}'"
    return {
        name: app.query(
            "select count(*), md5(string_agg(cast(t as text), '|' order by cast(t as text)))"
            f" from trueup_ledger.{name} as t where {condition}"
        )[0]
        for name in tables
    }


# ------------------------------------------------------------------------------ tenants


def test_rows_of_no_tenant_and_of_one(odd: App) -> None:
    shape = table("odd_uuid")
    with odd.connect() as connected:
        create(connected, shape)
    before = cells(odd, shape)
    expected = model(odd, before)
    for tenants, condition in ((("none",), "fund_id is null"), (("f,1",), "fund_id = 'f,1'")):
        made = migration.make_plan(odd, plan.Scope((shape.table,), (), tenants))
        assert migration.apply(odd, made).status == "completed"
        mine = {key for (key,) in odd.query(
            f"select cast(id as text) from odd_uuid where {condition}")}  # fmt: skip
        after = cells(odd, shape)
        assert {key for key in before if after[key] != before[key]} == {
            key for key in mine if before[key] != expected[key]
        }
        before = after
    for scope, pace in (
        (plan.Scope(("odd_no_tenant",), (), ("1",)), plan.Pace(50, 0, 1000)),
        (plan.Scope(("odd_no_tenant",)), plan.Pace(50, 0, 1000, by_tenant=True)),
    ):
        with pytest.raises(TrueupError, match=r"odd_no_tenant\.stage has no tenant column"):
            migration.make_plan(odd, scope, pace)


# ------------------------------------------------------------------------------ a pooler


def test_through_a_pooler_of_transactions(odd: App) -> None:
    shape = table("odd_bigint")
    with odd.connect() as connected:
        create(connected, shape)
    expected = model(odd, cells(odd, shape))
    with proxies.pooler(odd.url) as pool:
        conninfo = f"host=127.0.0.1 port={pool.port} user=any dbname={odd.database}"
        settings = dataclasses.replace(odd.settings, conninfo=conninfo)
        with connection.connect(settings) as connected:
            pids = []
            for _ in range(2):
                pids += connected.execute("select pg_backend_pid()").fetchall()
                connected.rollback()
            assert pids[0] != pids[1]
            made = plan.make(settings, connected, plan.Scope((shape.table,)),
                             plan.Pace(17, 0, 1000, 4))  # fmt: skip
            run = runs.find(connected, "trueup_ledger", str(made.run_id), runs.PLANNED)
            job.check(settings, connected, run)
        assert "a pooler is in between" in str(made.findings)
        outcome = job.work(settings, run, lambda event: None)
        # the brakes have their own transactions in between
        assert sorted(set(pool.pids)) == sorted(pid for (pid,) in pids)
        assert min(map(pool.pids.count, set(pool.pids))) > 20
        with connection.connect(settings, autocommit=True) as connected:
            for _ in range(2):  # nothing of ours is left in either
                found = connected.execute(
                    "select (select count(*) from pg_prepared_statements),"
                    " (select count(*) from pg_locks where locktype = 'advisory'"
                    "  and database = (select oid from pg_database"
                    "   where datname = current_database())),"
                    " current_setting('lock_timeout'), current_setting('statement_timeout')"
                ).fetchone()
                assert found == (0, 0, "0", "0")
    assert outcome.status == "completed"
    assert cells(odd, shape) == expected
    migration.agree(odd, made.run_id, made.rows_planned)


def dump(app: App) -> bytes:
    """Everything but the ledger."""
    found = standby.dump(app.url, standby.PLAIN, "--exclude-schema=trueup_ledger")
    assert b"COPY public.portfoliocompanies" in found
    return found


# ------------------------------------------------------------------------------ rights

OPERATOR = "trueup_operator"
FORBIDDEN = (
    "delete from public.portfoliocompanies",
    "insert into public.investments (id) values (-1)",
    "update public.portfoliocompanies set name = 'x'",
    "update public.portfoliocompanies set id = -id",
    "update public.investments set fund_id = null",
    "truncate public.deal_opportunities",
    "alter table public.investments disable trigger all",
    "delete from trueup_ledger.stage_normalization_changes",
    "update trueup_ledger.stage_normalization_changes set row_keys = '{}'",
    "update trueup_ledger.migration_quarantine set reason = ''",
    "update trueup_ledger.migration_value_map set value_after = 'x'",
    "delete from trueup_ledger.migration_runs",
    "update trueup_ledger.migration_runs set statements = '{}'",
    "drop table trueup_ledger.migration_runs",
    "update trueup.dim_vocabularies set vocabulary_version = ''",
)


@pytest.fixture
def operator(built: App) -> Iterator[App]:
    """The sample as the operator of docs/grants.md sees it."""
    text = (PROJECT / "docs/grants.md").read_text()
    block = text.partition("```sql\n")[2].partition("```")[0]
    assert OPERATOR in block
    with roles_of_the_server(), fire.superuser(built) as connected:
        try:
            connected.execute(block.encode())
            connected.execute(f"alter role {OPERATOR} password 'secret'")
            yield dataclasses.replace(
                built,
                environment={**built.environment, "PGUSER": OPERATOR, "PGPASSWORD": "secret"},
            )
        finally:
            connected.execute(f"drop owned by {OPERATOR}")
            connected.execute(f"drop role {OPERATOR}")


def test_the_operator_can_work_and_no_more(operator: App, built: App) -> None:
    run = partial(migration.printed, operator)
    with psycopg.connect(operator.url) as connected:
        assert connected.execute("select * from stage_migration_progress").description
    rounds = "select id, round from investments"
    before = built.query(rounds)
    run("plan", "--rehearse")
    run("cancel", "--yes")
    run("plan", "--batch-size", "200")
    process = migration.command(operator, "apply", "--yes", "--sleep-ms", "300")
    fire.until(lambda: built.query(
        "select count(*) from trueup_ledger.stage_migration_batches where status = 'completed'"
    )[0][0] > 1)  # fmt: skip
    run("pause")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "is paused" in out, out + err
    run("resume", "--yes", "--sleep-ms", "0")
    assert "completed" in run("status")
    assert built.query("select count(*) from trueup_audit.audit_pending_changes") == [(0,)]
    ((row_id, key),) = built.query(
        "select cast(run_id as text), min(cast(row_id as bigint))"
        " from trueup_ledger.stage_normalization_log where table_name = 'investments' group by 1"
    )
    built.query("update investments set round = 'somebody''s' where id = %s", key)
    assert "1 row was left alone" in run("rollback", row_id, "--yes")
    assert dict(built.query(rounds)) == {**dict(before), key: "somebody's"}
    run("plan")
    assert "cancelled" in run("runs")
    outcome = built.dbt("run", "--select", "tag:ledger")  # as `dbt build` does, every night
    assert not outcome.failures
    run("plan")
    run("status")
    assert "! rights " in run("doctor")
    with psycopg.connect(operator.url, autocommit=True) as connected:
        for statement in FORBIDDEN:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connected.execute(statement.encode())
                pytest.fail(statement)
