"""Findings about tables and servers: what is judged, on both servers.

The cases of table_findings.yml and server_findings.yml are made in a schema of a test's own, with a
hostile name. A judgement is compared with what the server really does if that can be tried: a
refused update, a remedy that is executed.
"""

from __future__ import annotations

import dataclasses
import re
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from integration.conftest import App, server_conninfo
from support import PROOFS, data, fire, proxies, standby
from support.command import trueup
from support.system_server import system_server  # noqa: F401  a fixture
from trueup.core import config, ledger, statements
from trueup.core.errors import TrueupError
from trueup.core.settings import Settings
from trueup.findings import ERROR, FAIL, GOOD, OK, WARN, Finding
from trueup.migration import plan, tables

ENTRY: dict[str, Any] = {
    "table": "deals", "column": "stage", "key": {"id": "bigint"}, "vocabulary": "stage"
}  # fmt: skip
TABLE = (
    "create table deals (id bigint primary key, fund_id int, stage text, updated_at timestamptz)"
)
FUNCTIONS = """
    create function f() returns trigger language plpgsql as 'begin return new; end';
    create function touch() returns trigger language plpgsql as $$
    begin
        new.updated_at := now();
        if new.fund_id = 7 then return new; end if;
        return new;
    end $$
"""
MARKS = {"replica_bytes": 64 * 1024**2, "replica_seconds": 10, "slot_bytes": 1024**3,
         "snapshot_seconds": 60}  # fmt: skip
NAMES = ['Sel"ect', "user", "we.ird %s $1", "ünï 'x'", "N" * 63]
CATALOGS = {  # where the server's statement looks, and the columns of the rows that stand there
    "holders": ("from holders", "holders (kind, name, pid, state, age_seconds, age_transactions,"
                                " is_active, is_remote)"),
    "senders": ("from pg_catalog.pg_stat_replication as senders",
                "senders (pid, state, application_name, replay_lsn, flush_lsn, replay_lag,"
                " flush_lag)"),
    "slots": ("from pg_catalog.pg_replication_slots as slots",
              "slots (slot_name, active, restart_lsn, active_pid, xmin)"),
}  # fmt: skip


@dataclasses.dataclass
class Place:
    """A schema of a test's own, first on the search path of a superuser's connection."""

    connection: psycopg.Connection[Any]
    conninfo: str
    schema: str
    settings: Settings
    named: tables.Named
    roles: list[str] = dataclasses.field(default_factory=list)

    def do(self, *texts: str) -> None:
        for text in texts:
            self.connection.execute(text.encode())

    def role(self, *grants: str) -> str:
        """A role that may use the schema; grants hold {role} and {schema}."""
        name = f"r_{uuid.uuid4().hex[:12]}"
        self.do(f"create role {name}")
        self.roles.append(name)
        self.do(f"grant usage on schema {self.quoted} to {name}")
        self.do(*(grant.format(role=name, schema=self.quoted) for grant in grants))
        return name

    @contextmanager
    def acting_as(self, role: str | None) -> Iterator[None]:
        if role:
            self.do(f"set role {role}")
        try:
            yield
        finally:
            if role:
                self.do("reset role")

    def judge(
        self, role: str | None = None, writes: bool = True, entry: Any = None, **more: bool
    ) -> list[Finding]:
        """Findings about the managed column; a role that asks has no right to change settings."""
        values = {"writes": writes, "is_document": False, "is_built": False, **more}
        asked = {**ENTRY, **(entry or {})}
        with self.acting_as(role):
            return tables.column(self.settings, self.connection, self.named, asked, **values)

    def server(
        self,
        role: str | None = None,
        writes: bool = True,
        marks: Mapping[str, float | None] = {},
        plant: Mapping[str, str] = {},
    ) -> list[Finding]:
        """Findings about the server, with other marks, or another text of the statement."""
        known = config.project_variables(self.settings)["migration"]
        own = {name: None if mark is None else {"stop": mark, "start": 0}
               for name, mark in {**MARKS, **marks}.items()}  # fmt: skip
        settings = config.with_variables(
            self.settings, migration={**known, "brakes": {**known["brakes"], **own}}
        )
        statement = self.named["server__findings"]
        for old, new in plant.items():
            assert old in statement.sql
            statement = statement._replace(sql=statement.sql.replace(old, new))
        named = {**self.named, statement.name: statement}
        with self.acting_as(role):
            return tables.server(settings, self.connection, named, writes=writes, builds=True)

    def facts(self, role: str | None = None, **entry: Any) -> dict[str, Any]:
        with self.acting_as(role):
            return tables.facts(self.settings, self.connection, self.named, {**ENTRY, **entry})

    def fix(self, finding: Finding) -> None:
        """Execute the commands of a remedy."""
        assert finding.remedy
        _, *commands = finding.remedy.split("\n")
        assert commands
        self.do(*commands)

    @property
    def quoted(self) -> str:
        """The schema, as statements name it."""
        return sql.Identifier(self.schema).as_string(None)

    @property
    def version(self) -> int:
        return self.connection.info.server_version // 10000


@pytest.fixture(scope="module", params=["embedded", "system"] if PROOFS else ["embedded"])
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """A superuser's connection string to an empty database of the module's own."""
    if request.param == "system":
        conninfo = request.getfixturevalue("system_server")
    else:
        conninfo = server_conninfo("postgres")
    name = f"tables_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(f"create database {name}")
    yield psycopg.conninfo.make_conninfo(conninfo, dbname=name)
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")


@pytest.fixture
def place(database: str, shared_built: App) -> Iterator[Place]:
    schema = f'S "{uuid.uuid4().hex[:8]}'
    named = statements.statements(shared_built.settings)
    settings = config.with_variables(shared_built.settings, app_schema=schema, ledger_schema=schema)
    with psycopg.connect(database, autocommit=True) as connection:
        made = Place(connection, database, schema, settings, named)
        made.do(f"create schema {made.quoted}", f"set search_path to {made.quoted}", FUNCTIONS)
        yield made
        made.do(f"drop schema {made.quoted} cascade", "drop publication if exists p")
        for role in made.roles:
            made.do(f"drop owned by {role} cascade", f"drop role {role}")


def troubles(findings: Sequence[Finding]) -> dict[str, str]:
    """Statuses by code of what is not ok."""
    return {each.code: each.status for each in findings if each.status not in GOOD}


def one(findings: Sequence[Finding], code: str) -> Finding:
    (found,) = (each for each in findings if each.code == code)
    return found


# ------------------------------------------------------------------------------ tables


TABLES: dict[str, dict[str, Any]] = data("table_findings.yml")
SERVERS: dict[str, dict[str, Any]] = data("server_findings.yml")
INDEXES: dict[str, str | None] = data("index_findings.yml")


@pytest.mark.parametrize("case", TABLES.values(), ids=TABLES)
def test_what_is_found_about_a_table(place: Place, case: dict[str, Any]) -> None:
    setup, entry, code = case.get("setup", "select"), case.get("entry"), case.get("code")
    if case.get("since", 0) > place.version:
        pytest.skip("the server is too old for it")
    if not re.search(r"create (foreign table|table|(materialized )?view) deals ", setup):
        place.do(TABLE)
    try:
        place.do(setup)
    except psycopg.errors.FeatureNotSupported as missing:
        pytest.skip(str(missing))  # no ICU, or no citext
    role = None
    if "grants" in case:
        role = place.role(*(f"grant {each} on deals to {{role}}" for each in case["grants"]))
    more = case.get("more", {})
    for writes, status in (
        (False, case.get("reading", WARN)), (True, case.get("writing", FAIL))
    ):  # fmt: skip
        findings = place.judge(role, writes, entry)
        assert troubles(findings) == ({code: status} if code else {}) | more
        # table and column have one finding that is ok, or one that forbids
        for subject in {each.subject for each in findings}:
            own = [each.status for each in findings if each.subject == subject]
            assert own.count(OK) == (FAIL not in own), findings
    if code:
        found = one(findings, code)
        assert found.subject == case.get("subject", "deals.stage")
        assert all(fact in found.message for fact in case.get("says", []))
        if "refused" in case:
            with pytest.raises(psycopg.Error):
                place.do(case["refused"])
        if case.get("fixes"):
            place.fix(found)
            place.do(case.get("refused", "select"))
            assert troubles(place.judge(role, entry=entry)) == more


def test_a_sound_table(place: Place) -> None:
    place.do(
        TABLE,
        "insert into deals select n, n % 3, 'x' from generate_series(1, 1000) as n",
        "create view board as select stage from deals",
        "analyze deals",
        "create index on deals (fund_id)",
        "alter table deals add kept int, add shown text generated always as (stage) stored",
    )
    for code, facts in {"table__column": ["text", "id bigint"],
                        "table__size": ["table", "1,000", "board"]}.items():  # fmt: skip
        message = one(place.judge(), code).message
        assert all(fact in message for fact in facts)
    found = place.facts(tenant="fund_id", updated_at="updated_at", kept_by_triggers=["kept"])
    assert found["compared_columns"] == "application.id, application.fund_id"
    assert (found["estimated_rows"], found["deadlock_timeout_ms"]) == (1000, 1000)
    assert found["bytes"] >= 3 * 8192
    assert found["is_hot_possible"] and found["stripes_pay"]


def test_documents(place: Place) -> None:
    place.do("create table deals (id bigint primary key, stage jsonb)")
    outcomes = {"jsonb": ("table__column", OK), "json": ("table__no_document", FAIL)}
    for kind, outcome in outcomes.items():
        place.do(f"alter table deals alter stage type {kind} using null")
        (finding,) = place.judge(is_document=True)
        assert (finding.code, finding.status) == outcome
    place.do("alter table deals alter stage type jsonb using null",
             "alter table deals enable row level security")  # fmt: skip
    for built, status in ((False, FAIL), (True, WARN)):
        found = troubles(place.judge(place.role(), is_document=True, is_built=built))
        assert found == {"table__select_forbidden": status, "table__rows_hidden": WARN}


def test_hostile_names(place: Place) -> None:
    for name in NAMES:
        key, column = f"k{name}"[:63], name[::-1]
        parts = {"table": sql.Identifier(name), "column": sql.Identifier(column),
                 "key": sql.Identifier(key)}  # fmt: skip
        for text in ("create table {table} ({key} uuid primary key, {column} text)",
                     "create index on {table} ({column})"):  # fmt: skip
            place.connection.execute(sql.SQL(text).format(**parts))
        role = place.role()
        entry = {"table": name, "column": column, "key": {key: "uuid"}, "vocabulary": "stage"}
        forbidden = {"table__select_forbidden": FAIL, "table__update_forbidden": FAIL}
        findings = place.judge(role, entry=entry)
        assert troubles(findings) == {**forbidden, "table__index": WARN}
        for code in troubles(findings):
            place.fix(one(findings, code))
        assert troubles(place.judge(role, entry=entry)) == {}


def test_the_schema_must_be_usable(place: Place) -> None:
    place.do(TABLE)
    role = place.role("grant select, update (stage) on deals to {role}")
    place.do(f"revoke usage on schema {place.quoted} from {role}")
    findings = place.judge(role, writes=False)
    assert troubles(findings) == {"table__schema_forbidden": FAIL}
    place.fix(findings[0])
    place.connection.read_only = True
    with place.connection.transaction():
        assert troubles(place.judge(role)) == {}
    place.connection.read_only = None


def test_more_rights_than_needed(place: Place) -> None:
    place.do(TABLE)
    role = place.role("grant select, insert, update, delete, truncate on deals to {role}")
    assert troubles(place.judge(role)) == {}
    place.settings = dataclasses.replace(place.settings, environment="production")
    found = one(place.judge(role), "table__more_rights")
    for right in ("update of 3 other columns", "insert", "delete", "truncate"):
        assert right in found.message
    assert found.status == WARN
    assert troubles(place.judge()) == {"table__owner_rights": WARN}
    enough = place.role("grant select, update (stage) on deals to {role}")
    assert troubles(place.judge(enough)) == {}


def test_row_level_security_of_an_owner(place: Place) -> None:
    owner = place.role(f"grant create on schema {place.quoted} to {{role}}")
    with place.acting_as(owner):
        place.do(TABLE, "alter table deals enable row level security",
                 "create policy mine on deals using (fund_id = 1)")  # fmt: skip
    assert troubles(place.judge(owner)) == {}
    place.do("alter table deals force row level security")
    assert troubles(place.judge(owner)) == {"table__rows_hidden": FAIL}


def test_a_partitioned_table(place: Place) -> None:
    place.do(
        "create table deals (id bigint primary key, stage text) partition by range (id)",
        "create table low partition of deals for values from (0) to (500)",
        "create table odd (stage text, waste int, id bigint not null)",
        "alter table odd drop column waste",
        "alter table deals attach partition odd for values from (500) to (2000)",
        "create index odd_stage on odd (stage)",
        "create trigger of_all before update on deals for each row execute function f()",
        "create trigger of_one before update of stage on odd for each row execute function f()",
        "insert into deals select n, 'x' from generate_series(1, 1000) as n",
    )
    findings = place.judge()
    assert troubles(findings) == dict.fromkeys(
        ("table__trigger_before", "table__index", "table__never_analyzed"), WARN
    )
    # not once per copy
    assert [each.code for each in findings].count("table__trigger_before") == 2
    assert "odd_stage" in one(findings, "table__index").message
    assert " 2 " in one(findings, "table__size_unknown").message
    assert place.facts()["estimated_rows"] is None
    place.do("analyze low", "analyze odd")
    assert "table__never_analyzed" not in troubles(place.judge())
    assert place.facts()["estimated_rows"] == 1000


def test_rows_are_estimated_by_pages(place: Place) -> None:
    place.do("create table deals (id bigint primary key, stage text)"
             " with (autovacuum_enabled = false)",
             "insert into deals select n, 'x' from generate_series(1, 500) as n",
             "analyze deals",
             "insert into deals select n, 'x' from generate_series(501, 5000) as n")  # fmt: skip
    assert 4000 < place.facts()["estimated_rows"] < 6000


# ------------------------------------------------------------------------------ what costs HOT


def test_indexes_that_cost_hot_updates(place: Place) -> None:
    for setup, code in INDEXES.items():
        place.do("drop table if exists deals", TABLE, setup)
        findings = [each for each in place.judge() if each.name == "index"]
        assert [(each.code, each.status) for each in findings] == ([(code, WARN)] if code else [])
        found = place.facts()
        assert (found["is_hot_possible"], found["stripes_pay"]) == (not code, not code)
        # The server agrees: an update of the column is HOT exactly without this index.
        assert hot_updates(place) == (not code)
        if code:
            (finding,) = findings
            assert found["stripes_why"].startswith(finding.message.split(":")[0])
            assert finding.subject == ("deals" if "trigger" in code else "deals.stage")
        if code == "table__index":
            place.fix(finding)
            assert hot_updates(place) == 1


def hot_updates(place: Place) -> int:
    """1 if an update of the column writes to no index."""
    place.do("truncate deals", "insert into deals values (1, 1, 'a')",
             "select pg_stat_force_next_flush()")  # fmt: skip
    ask = "select n_tup_hot_upd from pg_stat_all_tables where relid = 'deals'::regclass"
    (before,) = place.connection.execute(ask).fetchone() or (0,)
    place.do("update deals set stage = 'b'", "select pg_stat_force_next_flush()")
    (after,) = place.connection.execute(ask).fetchone() or (0,)
    return int(after - before)


def test_brin_is_in_the_way_up_to_15(place: Place) -> None:
    place.do(TABLE, "create index i on deals using brin (stage)")
    possible = place.facts()["is_hot_possible"]
    assert possible == (place.version >= 16) == (hot_updates(place) == 1)


# ------------------------------------------------------------------------------ the server


@pytest.mark.parametrize("case", SERVERS.values(), ids=SERVERS)
def test_what_is_found_about_a_server(place: Place, case: dict[str, Any]) -> None:
    if case.get("ledger"):
        place.do(*(f"create table {name} ()" for name in ledger.relations(place.settings)))
    place.do(case.get("setup", "select"))
    plant = dict(case.get("plant", {}))
    for name, (text, columns) in CATALOGS.items():
        if name in case:
            plant[text] = f"from {rows_of(name, case[name])} as {columns}"
    if "senders" in case or "slots" in case:
        plant["pg_current_wal_lsn()"] = "cast('F/0' as pg_lsn)"
    role = (
        place.role(*(f"grant {each} to {{role}}" for each in case["grants"]))
        if "grants" in case
        else None
    )
    for writes in (True, False):
        findings = place.server(role, writes, case.get("marks", {}), plant)
        for code, status in case["codes"].items():
            for_run, for_reader = status if isinstance(status, list) else (status, status)
            assert {each.status for each in findings if each.code == code} == {
                for_run if writes else for_reader
            }, code
        assert case.get("not") not in {each.code for each in findings}
    first = next(each for each in findings if each.code == next(iter(case["codes"])))
    assert all(fact in first.message for fact in case.get("says", []))
    if "fixes" in case:
        place.fix(first)
        assert one(place.server(role), case["fixes"]).status == OK


def rows_of(name: str, rows: Sequence[Sequence[Any]]) -> str:
    """VALUES in place of a catalog; no row at all is a selection of none."""
    forms = {
        "holders": "{}, {}, cast({} as int), cast({} as text), cast({} as numeric), {}, {}, {}",
        "senders": "{}, cast({} as text), null, cast(null as pg_lsn), cast('F/0' as pg_lsn)"
                   " - cast({} as numeric), cast(null as interval), {} * interval '1 s'",
        "slots": "cast('a' as name), {}, cast('F/0' as pg_lsn) - cast({} as numeric),"
                 " cast(null as int), cast(null as xid)",
    }  # fmt: skip
    texts = [forms[name].format(*each) for each in rows or [[1, "null", "null", 0]]]
    values = f"(values {', '.join(f'({text})' for text in texts)})"
    return values if rows else f"(select * from {values} as v where false)"


def test_a_sound_server(place: Place) -> None:
    findings = place.server()
    codes = {each.code for each in findings}
    assert {"server__version", "server__writable", "server__direct", "server__monitor",
            "server__timeouts", "server__encoding"} <= codes  # fmt: skip
    with proxies.pooler(place.conninfo) as pool:
        conninfo = psycopg.conninfo.make_conninfo(place.conninfo, port=pool.port)
        with psycopg.connect(conninfo) as connection:
            found = tables.server(place.settings, connection, place.named, writes=True)
    assert one(found, "server__pooled").status == OK


def test_what_cannot_be_read_is_an_error_that_forbids_a_run(place: Place) -> None:
    place.do(TABLE)
    broken = place.named["tables__findings"]._replace(sql="select 1 / 0", parameters=())
    with place.connection.transaction():
        assert place.judge()  # also in the transaction of a caller, which goes on
        named = {**place.named, "tables__findings": broken}
        values = {"writes": True, "is_document": False, "is_built": True}
        for known, reason in ((named, "division by zero"), ({}, "no statement")):
            (found,) = tables.column(place.settings, place.connection, known, ENTRY, **values)
            assert (found.code, found.status) == ("table__unread", ERROR)
            assert reason in found.message
        with pytest.raises(TrueupError, match="division by zero"):
            plan.examine(place.settings, place.connection, named, [ENTRY])


def test_an_old_snapshot(place: Place) -> None:
    place.do(TABLE)
    role = place.role()
    elsewhere = psycopg.conninfo.make_conninfo(place.conninfo, dbname="template1")
    with (
        psycopg.connect(place.conninfo, application_name="a report") as other,
        psycopg.connect(elsewhere, application_name="elsewhere") as far,
    ):
        for each in (other, far):
            each.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            each.execute("select")
        pid = other.info.backend_pid

        def seen(role: str | None = None, plant: Mapping[str, str] = {}) -> list[str]:
            found = place.server(role, plant=plant)
            assert "elsewhere" not in str(found)  # a session of another database
            return [each.code for each in found if str(pid) in each.message]

        assert seen() == []
        # A role that may not see how old it is must not take it for young.
        assert seen(role) == ["server__transaction_unseen"]
        assert not place.facts(role)["stripes_pay"]
        time.sleep(0.1)
        assert seen(plant={"age_seconds > 60": "age_seconds > 0.05"}) == ["server__transaction_old"]
        place.named = {name: each._replace(sql=each.sql.replace("> 60\n", "> 0.05\n"))
                       for name, each in place.named.items()}  # fmt: skip
        found = place.facts()
        assert (found["is_hot_possible"], found["stripes_pay"]) == (True, False)
        assert f"process {pid}" in found["stripes_why"]
        other.rollback()
        assert place.facts()["stripes_pay"]


def test_a_real_receiver_and_its_slot(place: Place, tmp_path: Path) -> None:
    """pg_receivewal stands for a standby: it receives the log by a slot and says how far it is."""
    slot = f"slot_{uuid.uuid4().hex[:8]}"
    place.do(f"select pg_create_physical_replication_slot('{slot}', true)")
    receiver = subprocess.Popen(
        [standby.BINARIES / "pg_receivewal", "-D", tmp_path, "-S", slot, "-d", place.conninfo,
         "--no-password", "--synchronous"],
    )  # fmt: skip

    def codes(role: str | None = None, **marks: float) -> set[str]:
        return {each.code for each in place.server(role, marks=marks)}

    try:
        fire.until(lambda: "server__standby_follows" in codes())
        assert "server__standby_unseen" in codes(place.role())
        receiver.send_signal(signal.SIGSTOP)  # or it might have followed already
        place.do("select pg_logical_emit_message(false, 'x', repeat('x', 100000))")
        fire.until(lambda: "server__slot_behind" in codes(slot_bytes=0))
    finally:
        receiver.send_signal(signal.SIGCONT)
        receiver.terminate()
        receiver.wait(60)
        fire.until(lambda: "server__slot_behind" not in codes(slot_bytes=0))
        place.do(f"select pg_drop_replication_slot('{slot}')")


# ------------------------------------------------------------------------------ doctor


def test_doctor_is_content_with_a_role_that_may_only_read(app: App) -> None:
    role = f"reader_{uuid.uuid4().hex[:8]}"
    with fire.superuser(app) as connection:
        connection.execute(f"create role {role} login password 'reader'")
        try:
            connection.execute(f"grant create on database {app.database} to {role}")
            connection.execute(f"grant select on all tables in schema public to {role}")
            environment = {**app.environment, "PGUSER": role, "PGPASSWORD": "reader"}
            done = trueup(app.project, "doctor", **environment)
            assert (done.returncode, done.stderr) == (0, ""), done.stdout
            update = f"    grant update (stage) on public.portfoliocompanies to {role};"
            lines = done.stdout.splitlines()
            before = lines[lines.index(update) - 1]
            assert before.startswith("! portfoliocompanies.stage ")
            found = [line for line in lines if line[0] != " "]
            assert len(found) == len(set(found))  # what concerns a table is said once
        finally:
            connection.execute(f"drop owned by {role} cascade")
            connection.execute(f"drop role {role}")
