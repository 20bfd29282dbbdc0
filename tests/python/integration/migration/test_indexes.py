"""The index of rows that need work: made and dropped on live tables, on both servers."""

from __future__ import annotations

import dataclasses
import json
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from integration.conftest import SAMPLE, App, copy_project, new_app
from integration.core.test_versions import system_server  # noqa: F401  a fixture
from integration.migration.test_migration_shapes import (
    HOSTILE,
    LONG,
    cells,
    configure,
    create,
    operator,  # noqa: F401  a fixture
    prepare,
    table,
)
from support import migration, proxies
from support.fire import superuser, until
from trueup import findings
from trueup.core import config, statements
from trueup.core.errors import TrueupError
from trueup.core.settings import Settings
from trueup.local import sample
from trueup.migration import indexes, plan, tables

NAME = "trueup_pending__portfoliocompanies__stage"
SCOPE = ("--table", "portfoliocompanies", "--column", "stage")
ENTRY: dict[str, Any] = {"table": "portfoliocompanies", "column": "stage", "key": {"id": "bigint"},
                         "tenant": "fund_id", "vocabulary": "stage"}  # fmt: skip


def clean(app: App, dirty: int = 30) -> None:
    """Companies that are canonical, but for so many."""
    app.query("alter table portfoliocompanies disable trigger user")
    app.query("alter table portfoliocompanies alter column stage drop not null")
    app.query(
        "update portfoliocompanies set stage = case when id <= %s then 'Seed round' else"
        " (select canonical_value from trueup_sample.spellings where canonical_value is not null"
        " order by canonical_value limit 1) end",
        dirty,
    )
    app.query("alter table portfoliocompanies enable trigger user")
    app.query("vacuum analyze portfoliocompanies")


@pytest.fixture
def nearly(app: App) -> App:
    """The sample, nearly clean; no models are needed for an index."""
    clean(app)
    return app


@pytest.fixture(scope="module")
def on_system(
    system_server: str,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[App]:
    """The same on the system's own server, with a ledger."""
    with psycopg.connect(system_server, autocommit=True) as connected:
        port = connected.info.port
        connected.execute("create role keeper login")
        connected.execute("create database keeper owner keeper")
    with psycopg.connect(system_server, user="keeper", dbname="keeper") as connected:
        sample.load(connected, **SAMPLE)
    environment = {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "keeper",
                   "PGPASSWORD": "", "PGDATABASE": "keeper"}  # fmt: skip
    project = copy_project(tmp_path_factory.mktemp("system") / "project")
    app = App(Settings(project, project / ".trueup", "development", "", "text"), "keeper",
              environment)  # fmt: skip
    assert app.dbt("run", "--select", "tag:ledger").failures == []
    clean(app)
    yield app


def own(app: App) -> list[indexes.Index]:
    with app.connect() as connected:
        return indexes.own(connected, "public")


def names(app: App) -> list[str]:
    """Whatever index is there, valid or not."""
    found = app.query("select relname from pg_class where relkind = 'i' and relname ~ '^trueup'")
    return [name for (name,) in found]


def values(app: App) -> list[str]:
    """The canonical values, as the seed has them."""
    lines = (app.project / "seeds/stages.csv").read_text().splitlines()[1:]
    return [line.partition(",")[0] for line in lines]


def candidate(app: App, entry: dict[str, Any] = ENTRY) -> indexes.Candidate:
    with app.connect() as connected:
        return indexes.examine(app.settings, connected, "public", entry, 0.05)


def make(app: App, *options: str) -> tuple[int, str, str]:
    return migration.done(app, "index", "create", *SCOPE, "--yes", *options)


# ------------------------------------------------------------------------------ making and dropping


def test_an_index_is_made_shown_and_dropped(nearly: App) -> None:
    code, out, err = make(nearly)
    assert code == 0, out + err
    assert "no update of stage is HOT" in out and "index of about 1.0% of its rows" in out
    (index,) = own(nearly)
    assert (index.name, index.is_valid, index.is_ours) == (NAME, True, True)
    assert index.values == values(nearly)
    assert "trueup" in str(index.comment)
    # it holds exactly the rows that need work
    with nearly.connect() as connected:
        connected.execute("set enable_seqscan = off")
        condition = sqlish(values(nearly))
        query = f"select count(*) from portfoliocompanies where {condition}"
        assert connected.execute(query.encode()).fetchone() == (30,)
        shown = connected.execute(f"explain {query}".encode()).fetchall()
        assert any(NAME in line for (line,) in shown), shown
    # once more: it is there
    code, out, err = make(nearly)
    assert (code, "is there already" in out) == (0, True), out + err
    assert own(nearly) == [index]
    # doctor and plan know it, and how to get rid of it
    named = statements.statements(nearly.settings)
    with nearly.connect() as connected:
        judged = tables.judge(tables.facts(named, connected, "public", ENTRY),
                              tables.server_facts(named, connected), 9, writes=True)  # fmt: skip
    (finding,) = (each for each in judged if NAME in each.found)
    assert finding.remedy.startswith("trueup index drop --table portfoliocompanies --column stage")
    code, out, err = migration.done(nearly, "index", "drop")
    assert code == 2 and NAME in out and own(nearly) == [index]
    code, out, err = migration.done(nearly, "index", "drop", "--table", "investments", "--yes")
    assert (code, "no index" in out) == (0, True) and own(nearly) == [index]
    code, out, err = migration.done(nearly, "index", "drop", *SCOPE, "--yes")
    assert (code, names(nearly)) == (0, []), out + err


def sqlish(canonical: list[str]) -> str:
    listed = ", ".join("'" + value.replace("'", "''") + "'" for value in canonical)
    return f'cast(stage as text) collate "C" <> all (array[{listed}])'


def test_the_size_that_it_says_is_about_right(app: App) -> None:
    app.query("insert into portfoliocompanies (name, stage) select 'x', 'Seed round'"
              " from generate_series(1, 200000)")  # fmt: skip
    app.query("analyze portfoliocompanies")
    said = candidate(app).bytes
    assert said is not None
    code, out, err = make(app, "--force")
    assert code == 0, out + err
    (index,) = own(app)
    assert 0.8 < index.bytes / said < 1.25, (index.bytes, said)


@pytest.mark.parametrize("where", ["embedded", "system"])
def test_batches_use_it(where: str, request: pytest.FixtureRequest) -> None:
    """The statement that changes rows, as it was compiled and with its parameters bound."""
    app = request.getfixturevalue("built" if where == "embedded" else "on_system")
    app.query("insert into portfoliocompanies (name, stage) select 'x', 'x'"
              " from generate_series(1, 50000)")  # fmt: skip
    clean(app)
    code, out, err = make(app)
    assert code == 0, out + err
    with app.connect(prepare_threshold=None) as connected:
        pending = indexes.pending_values(connected, "public", ENTRY, ["Seed round"])
        assert pending == values(app)
        statement = statements.statements(app.settings)["apply_batch__portfoliocompanies__stage"]
        bound = {
            "batch_id": 1, "lease_token": "00000000-0000-0000-0000-000000000001",
            "range_start": None, "range_end": ["40000"], "stripe": 0, "stripes": 1,
            "hashed": False, "dense": False, "tenants": None, "values_before": ["Seed round"],
            "values_after": ["x"], "map_ids": [1], "by_tenant": False, "fund_id": None,
        }  # fmt: skip
        for canonical, is_used in ((pending, True), (None, False), (pending[1:], False)):
            shown = "\n".join(
                line
                for (line,) in psycopg.RawCursor(connected).execute(
                    f"explain {statement.sql}".encode(),
                    [{**bound, "canonical_values": canonical}[n] for n in statement.parameters],
                )
            )
            assert (NAME in shown) == is_used, shown
        # an index on another vocabulary's values, on planned ones or half made is of no use
        assert indexes.pending_values(connected, "public", ENTRY, pending[:1]) is None
        assert indexes.pending_values(connected, "public", {**ENTRY, "column": "x"}) is None
        connected.execute(f"comment on index {NAME} is null".encode())
        assert indexes.pending_values(connected, "public", ENTRY) is None
        connected.execute(f"drop index {NAME}".encode())


def test_a_run_beside_it_changes_every_row(built: App) -> None:
    clean(built, dirty=100)
    built.query("update portfoliocompanies set stage = null where id between 200 and 210")
    assert make(built)[0] == 0
    made = migration.make_plan(built, plan.Scope(("portfoliocompanies",), ("stage",)))
    assert made.rows_planned == 100
    with built.connect() as connected:
        pending = indexes.pending_values(connected, "public", ENTRY, ["Seed round"])
    assert pending is not None
    place = (ENTRY["table"], ENTRY["column"])
    outcome = migration.apply(built, made, canonical_values={place: pending})
    assert (outcome.status, outcome.totals["rows_updated"]) == ("completed", 100)
    assert (outcome.missed, outcome.late) == ([], [])
    condition = sqlish(values(built))
    assert built.query(f"select count(*) from portfoliocompanies where {condition}") == [(0,)]


# ------------------------------------------------------------------------------ whether it pays


def test_only_where_few_rows_need_work(app: App) -> None:
    app.query("analyze portfoliocompanies")
    code, out, err = make(app)
    assert code == 2 and "more than 5.0%" in out and "--force" in out, out + err
    assert names(app) == []
    code, out, err = make(app, "--force")
    assert (code, names(app)) == (0, [NAME]), out + err


def test_a_table_that_nobody_has_analyzed(app: App) -> None:
    app.query("create table fresh (like portfoliocompanies including all)")
    app.query("drop table portfoliocompanies cascade")
    app.query("alter table fresh rename to portfoliocompanies")
    app.query("alter table portfoliocompanies set (autovacuum_enabled = off)")
    app.query("insert into portfoliocompanies (name, stage) values ('x', 'y')")
    code, out, err = make(app)
    assert code == 2 and "never analyzed" in out and "analyze public.portfolio" in out, out + err
    assert make(app, "--force")[0] == 0


@pytest.mark.parametrize("share", [0.02, 1])
def test_the_share_is_configured(nearly: App, share: float) -> None:
    configure(nearly, migration={"index_share": share})
    assert indexes.most_share(nearly.settings) == share


@pytest.mark.parametrize("share", [0, 1.5, "5 %", True, None])
def test_a_share_that_is_none(nearly: App, share: Any) -> None:
    configure(nearly, migration={"index_share": share})
    with pytest.raises(TrueupError, match="index_share"):
        indexes.most_share(nearly.settings)


@pytest.mark.parametrize(("dirty", "share"), [(0, 0.0), (3, 0.001), (60, 0.02), (3000, 1.0)])
def test_the_share_is_what_is_in_the_table(app: App, dirty: int, share: float) -> None:
    clean(app, dirty)
    found = candidate(app).share
    assert found is not None and abs(found - share) < 0.001


def test_null_needs_no_work(app: App) -> None:
    clean(app, 0)
    app.query("update portfoliocompanies set stage = null where id <= 1500")
    app.query("analyze portfoliocompanies")
    found = candidate(app).share
    assert found is not None and found < 0.001


def test_what_a_plan_proposes(nearly: App) -> None:
    facts = candidate(nearly).facts

    def proposed(rows: int, pending: int, **changes: Any) -> findings.Finding | None:
        changed = dataclasses.replace(facts, **changes)
        return indexes.proposal(changed, rows, pending, 0.05)

    found = proposed(1_000_000, 20_000)
    assert found is not None and found.status == findings.OK
    assert "20,000 of 1,000,000" in found.found
    assert "trueup index create --table portfoliocompanies --column stage" in found.remedy
    assert proposed(100_000, 20) is None  # small
    assert proposed(1_000_000, 50_001) is None  # much to do
    assert proposed(1_000_000, 0) is None  # nothing to do
    assert proposed(1_000_000, 20_000, kind="partitioned table") is None
    assert make(nearly)[0] == 0
    facts = candidate(nearly).facts
    assert proposed(1_000_000, 20_000) is None  # it is there


# ------------------------------------------------------------------------------ odd tables


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """Odd tables, and a project that manages them."""
    with new_app(tmp_path_factory.mktemp("odd"), "app_template", "project/.trueup") as app:
        prepare(app, "embedded")
        yield app


@pytest.mark.parametrize(
    "name",
    [HOSTILE, LONG, "order", "odd_a", "odd_a__b", "odd_composite", "odd_varchar", "odd_domain",
     "odd_uuid", "odd_text_c", "odd_text_builtin"],
)  # fmt: skip
def test_odd_tables(odd: App, name: str) -> None:
    shape = table(name)
    with odd.connect() as connected:
        create(connected, shape)
        connected.execute("analyze")
    before = cells(odd, shape)
    arguments = ("--table", shape.table, "--column", shape.column)
    code, out, err = migration.done(odd, "index", "create", *arguments, "--force", "--yes")
    assert code == 0, out + err
    (index,) = (each for each in own(odd) if each.table_name == shape.table)
    assert index.values == values(odd) and index.is_valid
    assert re.fullmatch("trueup_pending__[a-z0-9_]+", index.name) and len(index.name) <= 63
    pending = [value for value, _ in before.values()
               if value is not None and value not in values(odd)]  # fmt: skip
    odd.query(f"analyze {index.table_qualified}")
    found = odd.query("select reltuples from pg_class where relname = %s", index.name)
    assert found == [(len(pending),)]
    entries = config.project_variables(odd.settings)["managed_columns"]
    (entry,) = (each for each in entries if each["table"] == shape.table)
    with odd.connect() as connected:
        assert indexes.pending_values(connected, "public", entry) == values(odd)
    if name != "odd_a":  # it stays, beside odd_a__b
        code, out, err = migration.done(odd, "index", "drop", *arguments, "--yes")
        assert code == 0 and index.name not in names(odd), out + err


def test_names_do_not_clash_and_are_cut() -> None:
    pairs = [("odd_a", "b__c"), ("odd_a__b", "c"), ("a-b", "c"), ("a_b", "c"), ("A", "b"),
             ("a", "b"), (LONG, LONG), (LONG, LONG[::-1]), ("t" * 60, "c" * 60),
             ("t" * 60, "c" * 59 + "d")]  # fmt: skip
    found = [indexes.index_name(*pair) for pair in pairs]
    assert len(set(found)) == len(pairs)
    assert all(len(name.encode()) <= 63 for name in found)
    assert indexes.index_name("deals", "stage") == "trueup_pending__deals__stage"


def test_a_partitioned_table_is_refused_with_a_reason(odd: App) -> None:
    with odd.connect() as connected:
        create(connected, table("odd_partitioned"))
    code, out, err = migration.done(
        odd, "index", "create", "--table", "odd_partitioned", "--force", "--yes"
    )
    assert code == 2 and "partitioned" in out and "Leave it out" in out, out + err
    assert not any("partitioned" in name for name in names(odd))


def test_the_operator_is_told_who_can(operator: App, built: App) -> None:  # noqa: F811
    clean(built)
    code, out, err = make(operator)
    assert code == 2 and "trueup_operator is not the owner of" in out, out + err
    assert "Run it as trueup" in out
    assert make(built)[0] == 0
    code, out, err = migration.done(operator, "index", "drop", "--yes")
    assert code == 2 and "run as trueup" in err, out + err
    assert names(built) == [NAME]
    with operator.connect() as connected:  # the runner may use it all the same
        assert indexes.pending_values(connected, "public", ENTRY) == values(built)


def test_another_index_of_that_name_is_left_alone(nearly: App) -> None:
    nearly.query(f"create unique index {NAME} on portfoliocompanies (id)")
    code, out, err = make(nearly)
    assert code == 2 and "another index of the name" in out, out + err
    code, out, err = migration.done(nearly, "index", "drop", "--yes")
    assert (code, "no index" in out) == (0, True), out + err
    assert names(nearly) == [NAME]


def test_an_index_of_an_older_vocabulary_is_made_anew(nearly: App) -> None:
    assert make(nearly)[0] == 0
    (first,) = own(nearly)
    seed = nearly.project / "seeds/stages.csv"
    seed.write_text("\n".join(seed.read_text().splitlines()[:-1]) + "\n")
    code, out, err = make(nearly)
    assert code == 0 and "made anew" in err, out + err
    (second,) = own(nearly)
    assert first.values is not None and second.values == first.values[:-1] == values(nearly)


# ------------------------------------------------------------------------------ live tables


class Held:
    """A transaction that stays open; writes: it has written to the table."""

    def __init__(self, app: App, writes: bool) -> None:
        self.connection = migration.connect(app, application_name="old report")
        if writes:
            self.connection.execute("update portfoliocompanies set name = name where id = 1")
        else:
            self.connection.execute("set transaction isolation level repeatable read")
            self.connection.execute("select count(*) from funds")

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()


def begin(app: App, *options: str) -> subprocess.Popen[str]:
    return migration.command(app, "index", "create", *SCOPE, "--yes", *options)


def is_building(app: App) -> bool:
    return bool(app.query("select 1 from pg_stat_progress_create_index where datname ="
                          " current_database() and lockers_total > 0"))  # fmt: skip


def nobody_builds(app: App) -> bool:
    with superuser(app) as watch:
        row = watch.execute(
            "select count(*) from pg_stat_activity where datname = current_database()"
            " and query ~ '^(create|drop) index concurrently' and state = 'active'"
        ).fetchone()
    return row == (0,)


def test_a_build_that_was_killed_is_mended(nearly: App) -> None:
    with Held(nearly, writes=False):
        process = begin(nearly)
        until(lambda: is_building(nearly))
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
        until(lambda: nobody_builds(nearly), 20)  # the server notices, and gives up by itself
    (index,) = own(nearly)
    assert (index.is_valid, index.values) == (False, None)
    with nearly.connect() as connected:
        assert indexes.pending_values(connected, "public", ENTRY) is None
    code, out, err = make(nearly)
    assert code == 0 and "incomplete" in err, out + err
    (index,) = own(nearly)
    assert index.is_valid and index.values == values(nearly)


def test_what_a_killed_build_left_can_be_dropped(nearly: App) -> None:
    with Held(nearly, writes=False):
        process = begin(nearly)
        until(lambda: is_building(nearly))
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
        until(lambda: nobody_builds(nearly), 20)
    assert names(nearly) == [NAME]
    code, out, err = migration.done(nearly, "index", "drop", "--yes")
    assert (code, "not valid" in out, names(nearly)) == (0, True, []), out + err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("writes", [False, True], ids=["reader", "writer"])
def test_ctrl_c_leaves_nothing_behind(nearly: App, writes: bool, number: int) -> None:
    with Held(nearly, writes):
        process = begin(nearly)
        assert process.stderr is not None
        line = process.stderr.readline()
        assert re.match(r"waits for session old report \(process \d+, idle in", line), line
        if not writes:
            assert is_building(nearly)
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 1, out + err
    assert "stopped before the end" in err and "not valid" not in err
    assert names(nearly) == []


@pytest.mark.parametrize("writes", [False, True], ids=["reader", "writer"])
def test_it_does_not_wait_for_ever(nearly: App, writes: bool) -> None:
    with Held(nearly, writes):
        started = time.monotonic()
        code, out, err = make(nearly, "--wait", "1")
        took = time.monotonic() - started
    assert code == 2 and "in vain for session old report" in err, out + err
    assert took < 20 and names(nearly) == []
    assert make(nearly)[0] == 0


def test_dropping_does_not_wait_for_ever(nearly: App) -> None:
    assert make(nearly)[0] == 0
    with Held(nearly, writes=True):
        code, out, err = migration.done(nearly, "index", "drop", "--yes", "--wait", "1")
    assert code == 2 and "in vain for session old report" in err, out + err
    (index,) = own(nearly)
    assert not index.is_valid and index.values is None  # of no use any more
    code, out, err = migration.done(nearly, "index", "drop", "--yes")
    assert (code, names(nearly)) == (0, []), out + err


class Application(threading.Thread):
    """Writes all the time; longest: seconds of its slowest transaction."""

    def __init__(self, app: App) -> None:
        super().__init__(daemon=True)
        self.app = app
        self.is_over = threading.Event()
        self.longest = 0.0
        self.writes = 0

    def run(self) -> None:
        with self.app.connect(application_name="application") as connected:
            while not self.is_over.wait(0.002):
                started = time.monotonic()
                connected.execute("update portfoliocompanies set stage = 'Seed round', name = name"
                                  " where id = %s", (self.writes % 3000 + 1,))  # fmt: skip
                self.longest = max(self.longest, time.monotonic() - started)
                self.writes += 1

    def __enter__(self) -> Application:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.is_over.set()
        self.join(10)


def blocked_by_us(app: App, is_over: threading.Event, found: list[float]) -> None:
    """Every look at which the application waited for a lock of ours."""
    query = """
        select 1 from pg_stat_activity as writers
        cross join unnest(pg_blocking_pids(writers.pid)) as blocking (pid)
        inner join pg_stat_activity as ours on ours.pid = blocking.pid
        where writers.application_name = 'application' and ours.application_name like 'trueup%'
    """
    with superuser(app) as watch:
        while not is_over.wait(0.005):
            if watch.execute(query).fetchone():
                found.append(time.monotonic())


def test_a_writer_is_never_held_up(app: App) -> None:
    app.query("insert into portfoliocompanies (name, stage) select 'x', 'x'"
              " from generate_series(1, 300000)")  # fmt: skip
    app.query("analyze portfoliocompanies")
    blocked: list[float] = []
    with Application(app) as writing:
        watching = threading.Thread(target=blocked_by_us, args=(app, writing.is_over, blocked))
        watching.start()
        for _ in range(2):
            assert make(app, "--force")[0] == 0
            code, _, err = migration.done(app, "index", "drop", "--yes")
            assert code == 0, err
    watching.join(10)
    assert blocked == []
    assert writing.writes > 500 and writing.longest < 1, (writing.writes, writing.longest)


def test_it_gives_way_to_who_would_hold_up_the_writers(nearly: App) -> None:
    """A deployment's `alter table` waits for the build, and every write behind it."""
    with Held(nearly, writes=False), Application(nearly) as writing:
        process = begin(nearly)
        until(lambda: is_building(nearly))
        started = time.monotonic()
        with nearly.connect(application_name="deployment") as other:
            other.execute("alter table portfoliocompanies add column more text")
        waited = time.monotonic() - started
        out, err = process.communicate(timeout=30)
    assert process.returncode == 2 and "gave way to deployment" in err, out + err
    assert "AccessExclusiveLock" in err
    assert waited < 2 and writing.longest < 1, (waited, writing.longest)
    assert names(nearly) == []


def test_through_a_pooler_no_setting_stays_behind(nearly: App) -> None:
    """Where each transaction may be given to another connection, which others use afterwards."""
    with proxies.pooler(nearly.url) as pool:
        url = f"host=127.0.0.1 port={pool.port} user=any dbname={nearly.database}"
        for command in (("create", *SCOPE), ("drop",)):
            code, out, err = migration.done(nearly, "index", *command, "--yes", DATABASE_URL=url)
            assert code == 0, out + err
            with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connected:
                for _ in range(2):
                    found = connected.execute(
                        "select current_setting('lock_timeout'),"
                        " current_setting('client_connection_check_interval')"
                    ).fetchone()
                    assert found == ("0", "0")
    # directly they are set, so that the server ends what a killed runner has begun
    with nearly.connect() as connected:
        indexes._limit(connected, 1)
        assert connected.execute("show lock_timeout").fetchone() == ("6s",)


def test_json_of_the_comment(nearly: App) -> None:
    assert make(nearly)[0] == 0
    (index,) = own(nearly)
    text = str(index.comment).removeprefix(indexes.MARK)
    assert json.loads(text) == {
        "table": "portfoliocompanies", "column": "stage", "values": values(nearly)
    }  # fmt: skip
