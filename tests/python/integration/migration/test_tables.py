"""What `trueup.tables` sees of tables and servers, and what it makes of it: on both servers.

Each fact is made in a schema of a test's own, with a hostile name; each judgement is compared with
what the server really does where that can be tried (a refused update, a remedy that is executed).
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from integration.conftest import ADDRESS, App
from support import PROOFS, data, fire, proxies, standby
from support.command import trueup
from support.system_server import system_server  # noqa: F401  a fixture
from trueup.core import ledger, statements
from trueup.findings import FAIL, OK, WARN, Finding
from trueup.local import server
from trueup.migration import tables
from trueup.migration.brakes import Mark
from trueup.migration.tables import ServerFacts, TableFacts

LONGEST = 8
ENTRY: dict[str, Any] = {"table": "deals", "column": "stage", "key": {"id": "bigint"}}
TABLE = (
    "create table deals (id bigint primary key, fund_id int, stage text, updated_at timestamptz)"
)
MARKS = {
    "replica_bytes": Mark(64 * 1024**2, 0),
    "replica_seconds": Mark(10, 0),
    "slot_bytes": Mark(1024**3, 0),
    "snapshot_seconds": Mark(0.05, 0),
}
NAMES = ['Sel"ect', "user", "we.ird %s $1", "ünï 'x'", "N" * 63]


@dataclasses.dataclass
class Place:
    """A schema of a test's own, first on the search path of a superuser's connection."""

    connection: psycopg.Connection[Any]
    conninfo: str
    schema: str
    named: tables.Named
    roles: list[str] = dataclasses.field(default_factory=list)

    def do(self, *statements: str) -> None:
        for statement in statements:
            self.connection.execute(statement)

    def role(self, *grants: str) -> str:
        """A role that may use the schema; grants hold {role}."""
        name = f"r_{uuid.uuid4().hex[:12]}"
        self.do(f"create role {name}")
        self.roles.append(name)
        self.do(f"grant usage on schema {self.quoted} to {name}")
        self.do(*(grant.format(role=name) for grant in grants))
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

    def facts(self, role: str | None = None, **entry: Any) -> TableFacts:
        with self.acting_as(role):
            return tables.facts(self.named, self.connection, self.schema, {**ENTRY, **entry})

    def server(self, role: str | None = None, **arguments: Any) -> ServerFacts:
        with self.acting_as(role):
            return tables.server_facts(self.named, self.connection, **arguments)

    def judge(
        self, role: str | None = None, writes: bool = True, entry: Any = None, **options: Any
    ) -> list[Finding]:
        found = self.facts(role, **(entry or {}))
        return tables.judge(found, self.server(role), LONGEST, writes=writes, **options)

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
        address = json.loads(os.environ[ADDRESS])
        conninfo = psycopg.conninfo.make_conninfo(
            host=address["host"], port=address["port"], user=server.SUPERUSER,
            password=address["password"], dbname="postgres",
        )  # fmt: skip
    name = f"tables_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(f"create database {name}")
    yield psycopg.conninfo.make_conninfo(conninfo, dbname=name)
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")


@pytest.fixture
def place(database: str, shared_built: App) -> Iterator[Place]:
    schema = f'S "{uuid.uuid4().hex[:8]}'
    with psycopg.connect(database, autocommit=True) as connection:
        made = Place(connection, database, schema, statements.statements(shared_built.settings))
        made.do(f"create schema {made.quoted}", f"set search_path to {made.quoted}")
        yield made
        made.do(f"drop schema {made.quoted} cascade")
        for role in made.roles:
            made.do(f"drop owned by {role} cascade", f"drop role {role}")


def matching(findings: list[Finding], words: str) -> Finding:
    """The one finding that says so."""
    (found,) = (finding for finding in findings if words in finding.found)
    return found


def troubles(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(each.status, each.found) for each in findings if each.status != OK]


def both(place: Place, words: str, role: str | None = None, entry: Any = None) -> Finding:
    """A finding that forbids writing and only warns who reads."""
    reading = place.judge(role, writes=False, entry=entry)
    assert matching(reading, words).status == WARN
    assert not [each for each in reading if each.status == FAIL]
    found = matching(place.judge(role, entry=entry), words)
    assert found.status == FAIL
    return found


CASES: dict[str, dict[str, Any]] = data("table_findings.yml")


# ------------------------------------------------------------------------------ shape


def test_a_sound_table(place: Place) -> None:
    place.do(TABLE, "insert into deals select n, n % 3, 'x' from generate_series(1, 1000) as n",
             "create view board as select stage from deals", "analyze deals")  # fmt: skip
    found = place.facts(tenant="fund_id", updated_at="updated_at")
    assert found.exists and found.kind == "table"
    assert found.primary_key == ("id",)
    assert found.needed == ("stage", "id", "fund_id", "updated_at")
    assert found.estimated_rows == 1000
    assert found.bytes >= 2 * 8192
    assert found.last_analyze is not None
    assert found.fillfactor == 100
    assert found.replica_identities == ("default",)
    assert [view.rpartition(".")[2] for view in found.views] == ["board"]
    assert found.column is not None
    assert (found.column.type, found.column.base) == ("text", "text")
    assert [index.role("id") for index in found.indexes] == ["key"]
    findings = place.judge()
    assert [(each.subject, each.status) for each in findings] == [
        ("deals.stage", OK), ("deals", OK)
    ]  # fmt: skip
    assert findings[0].found == "text, key id bigint"
    assert "about 1,000 rows" in findings[1].found and "board" in findings[1].found


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_is_found(place: Place, case: dict[str, Any]) -> None:
    try:
        place.do(case["setup"])
    except psycopg.errors.FeatureNotSupported as missing:
        pytest.skip(str(missing))  # no ICU, or no citext
    entry, words = case.get("entry"), case["words"]
    found = matching(place.judge(writes=False, entry=entry), words)
    assert found.status == case.get("reading", WARN)
    found = matching(place.judge(entry=entry), words)
    assert found.status == case.get("writing", FAIL)
    if case.get("mends"):
        place.do(found.remedy)
        assert not troubles(place.judge(entry=entry))


def test_what_is_sound(place: Place) -> None:
    for columns in (
        f"(id bigint primary key, stage varchar({LONGEST}))",  # just long enough
        "(id bigint primary key, stage text) partition by range (id)",
    ):
        place.do("drop table if exists deals", f"create table deals {columns}")
        assert not troubles(place.judge())
    place.do("drop table deals", "create table deals (id bigint primary key, stage jsonb)")
    (finding,) = place.judge(document=True)
    assert (finding.status, finding.found) == (OK, "jsonb, key id bigint")
    place.do("alter table deals alter stage type json using null")
    (finding,) = place.judge(document=True)
    assert (finding.status, finding.found) == (FAIL, "is json; a document is jsonb")


def test_hostile_names(place: Place) -> None:
    for name in NAMES:
        key, column = f"k{name}"[:63], name[::-1]
        parts = {"table": sql.Identifier(name), "column": sql.Identifier(column),
                 "key": sql.Identifier(key)}  # fmt: skip
        for statement in ("create table {table} ({key} uuid primary key, {column} text)",
                          "create index on {table} ({column})"):  # fmt: skip
            place.connection.execute(sql.SQL(statement).format(**parts))
        role = place.role()
        entry = {"table": name, "column": column, "key": {key: "uuid"}}
        found = place.facts(role, **entry)
        assert found.exists and found.primary_key == (key,)
        assert found.column is not None and found.column.name == column
        assert [index.role(column) for index in found.indexes].count("key") == 1
        assert len(found.missing_select) == 2 and found.column.quoted in found.missing_select
        # The remedies are commands: executed, they mend it.
        findings = place.judge(role, entry=entry)
        for words in ("may not read", "may not update"):
            remedy = matching(findings, words).remedy
            assert remedy.startswith("grant ")
            place.connection.execute(remedy.encode())
        assert not [each for each in place.judge(role, entry=entry) if each.status == FAIL]


def test_a_name_is_not_cut_to_63_bytes(place: Place) -> None:
    name = "n" * 63
    place.do(f"create table {name} (id bigint primary key, stage text)")
    assert place.facts(table=name).exists
    assert not place.facts(table=name + "n").exists
    assert not place.facts(table="N" * 63).exists


def test_keys(place: Place) -> None:
    place.do("create table deals (a integer, b text, stage text, id bigint, primary key (b, a))")
    right: dict[str, Any] = {"key": {"b": "text", "a": "integer"}}
    assert place.facts(**right).primary_key == ("b", "a")
    assert not troubles(place.judge(entry=right))
    for wrong in ({"a": "integer", "b": "text"}, {"b": "text"}, {"id": "bigint"}):
        finding = matching(place.judge(writes=False, entry={"key": wrong}), "the primary key of")
        assert finding.status == FAIL and "is (b, a), not (" in finding.found
    typed = place.judge(entry={"key": {"b": "text", "a": "bigint"}})
    assert matching(typed, "key a is integer, not bigint").status == FAIL
    place.do("alter table deals drop constraint deals_pkey")
    finding = matching(place.judge(entry=right), "is (missing), not (b, a)")
    assert finding.status == FAIL
    place.do(finding.remedy.partition(", or ")[2])  # the remedy is a command too
    assert not troubles(place.judge(entry=right))


def test_a_partitioned_table(place: Place) -> None:
    place.do(
        "create table deals (id bigint primary key, stage text) partition by range (id)",
        "create table low partition of deals for values from (0) to (500)",
        "create table odd (stage text, waste int, id bigint not null)",
        "alter table odd drop column waste",
        "alter table deals attach partition odd for values from (500) to (2000)",
        "create index odd_stage on odd (stage)",
        "create function same() returns trigger language plpgsql as 'begin return new; end'",
        "create trigger of_all before update on deals for each row execute function same()",
        "create trigger of_one before update of stage on odd for each row execute function same()",
        "insert into deals select n, 'x' from generate_series(1, 1000) as n",
    )
    found = place.facts()
    assert (found.kind, found.partitions) == ("partitioned table", 2)
    assert found.primary_key == ("id",)
    assert not found.is_partition_key
    assert {trigger.name for trigger in found.triggers if trigger.fires} == {"of_all", "of_one"}
    assert len(found.triggers) == 2  # not once per copy
    blockers = tables.hot_blockers(found, place.server())
    assert [each.index.qualified.rpartition(".")[2] for each in blockers] == ["odd_stage"]
    assert len(found.never_analyzed) == 2
    place.do("analyze low", "analyze odd")
    analyzed = place.facts()
    assert (analyzed.never_analyzed, analyzed.estimated_rows) == ((), 1000)


def test_columns_generated_from_it(place: Place) -> None:
    kinds = ["stored", "virtual"] if place.version >= 18 else ["stored"]
    place.do(TABLE)
    for kind in kinds:
        place.do(f"alter table deals add of_{kind} text generated always as (stage || '!') {kind}")
    place.do("alter table deals add unrelated int generated always as (fund_id + 1) stored")
    found = place.facts()
    assert found.computed_columns == tuple(f"of_{kind}" for kind in kinds)
    assert tables.stripes_possible(found, place.server())[0]
    place.do("create index of_generated on deals (of_stored)")
    (blocker,) = tables.hot_blockers(place.facts(), place.server())
    assert "has of_stored, which is generated from it, in its key" in blocker.words
    assert not blocker.by_trigger


# ------------------------------------------------------------------------------ what costs HOT


INDEXES = {
    "create index i on deals (stage)": "key",
    "create index i on deals using hash (stage)": "key",
    "create unique index i on deals (fund_id, stage)": "key",
    "create index i on deals (fund_id) include (stage)": "include",
    "create index i on deals (lower(stage))": "expression",
    "create index i on deals ((deals is null))": "expression",
    "create index i on deals (fund_id) where stage = 'x'": "predicate",
    "create index i on deals (fund_id) where updated_at is null": "",
    "create index i on deals (fund_id, (fund_id + 1)) include (updated_at)": "",
}


def test_indexes_that_contain_the_column(place: Place) -> None:
    for statement, role in INDEXES.items():
        place.do("drop table if exists deals", TABLE, statement)
        found = place.facts()
        contains = [index for index in found.indexes if index.role("stage")]
        possible, why = tables.stripes_possible(found, place.server())
        if not role:
            assert (contains, possible, troubles(place.judge())) == ([], True, [])
            continue
        (index,) = contains
        assert index.role("stage") == role
        assert index.bytes > 0 or "hash" not in statement
        assert (possible, "rules out HOT updates" in why) == (False, True)
        finding = matching(place.judge(), f"has the column, in its {role}")
        assert finding.status == WARN
        # The server agrees: an update of the column is HOT exactly without this index.
        assert hot_updates(place) == 0
        if "unique" in statement:  # a rule of the application: nobody is told to drop it
            assert "drop" not in finding.remedy
            continue
        place.do(finding.remedy.partition(" for the run")[0].replace(" concurrently", ""))
        assert hot_updates(place) == 1


def hot_updates(place: Place) -> int:
    """1 where an update of the column writes to no index."""
    place.do("truncate deals", "insert into deals values (1, 1, 'a')",
             "select pg_stat_force_next_flush()")  # fmt: skip
    ask = "select n_tup_hot_upd from pg_stat_all_tables where relid = 'deals'::regclass"
    (before,) = place.connection.execute(ask).fetchone() or (0,)
    place.do("update deals set stage = 'b'", "select pg_stat_force_next_flush()")
    (after,) = place.connection.execute(ask).fetchone() or (0,)
    return int(after - before)


def test_brin_is_in_the_way_up_to_15(place: Place) -> None:
    place.do(TABLE, "create index i on deals using brin (stage)")
    possible, _ = tables.stripes_possible(place.facts(), place.server())
    assert possible == (place.version >= 16) == (hot_updates(place) == 1)


TOUCH = """
    create function touch() returns trigger language plpgsql as $$
    begin
        new.updated_at := now();
        if new.fund_id = 7 then return new; end if;
        return new;
    end $$;
    create trigger touch before update on deals for each row execute function touch()
"""


def test_an_index_on_what_a_trigger_sets(place: Place) -> None:
    place.do(TABLE, TOUCH, "create index on deals (fund_id)")
    (trigger,) = place.facts().triggers
    assert trigger.sets_columns == ("updated_at",)  # fund_id is compared, not set
    assert tables.stripes_possible(place.facts(), place.server())[0]
    assert hot_updates(place) == 1
    place.do("create index on deals (updated_at)")
    possible, why = tables.stripes_possible(place.facts(), place.server())
    assert (possible, "has updated_at, which trigger touch sets" in why) == (False, True)
    assert matching(place.judge(), "no HOT update").subject == "deals"
    assert hot_updates(place) == 0


def test_triggers(place: Place) -> None:
    place.do(
        TABLE,
        "create function f() returns trigger language plpgsql as 'begin return new; end'",
        "create trigger b before insert or update on deals for each row execute function f()",
        "create trigger c after update on deals for each row execute function f()",
        "create trigger d after update on deals for each statement execute function f()",
        "create trigger other before update of fund_id on deals for each row execute function f()",
        "create trigger off before update on deals for each row execute function f()",
        "alter table deals disable trigger off",
        "create trigger copy before update on deals for each row execute function f()",
        "alter table deals enable replica trigger copy",
        "create trigger gone after delete on deals for each row execute function f()",
    )
    found = {trigger.name: trigger for trigger in place.facts().triggers}
    assert {name for name, trigger in found.items() if trigger.fires} == {"b", "c", "d"}
    assert {name for name, trigger in found.items() if not trigger.is_enabled} == {"off", "copy"}
    assert (found["b"].timing, found["b"].events, found["b"].is_row) == (
        "before", "insert or update", True
    )  # fmt: skip
    findings = place.judge()
    assert matching(findings, "trigger b (").found.endswith("may change other columns")
    assert matching(findings, "trigger c (").found.endswith("after update, once per row")
    assert matching(findings, "trigger d (").found.endswith("after update, once per batch")
    assert {each.status for each in findings} == {OK, WARN}
    assert len(troubles(findings)) == 3


# ------------------------------------------------------------------------------ what refuses


def test_constraints_on_the_column(place: Place) -> None:
    place.do("create table stages (name text primary key)",
             TABLE.replace("stage text", "stage text unique check (stage <> '')"
                           " references stages (name)"),
             "alter table deals add check (fund_id > 0)",
             "create table notes (deal_stage text references deals (stage))")  # fmt: skip
    kinds = {each.kind: each.name for each in place.facts().constraints}
    assert kinds == {
        "check": "deals_stage_check",
        "foreign key": "deals_stage_fkey",
        "referenced by": "notes_deal_stage_fkey",
        "unique": "deals_stage_key",
    }
    for words in ("check deals_stage_check", "foreign key deals_stage_fkey",
                  "referenced by notes_deal_stage_fkey"):  # fmt: skip
        assert matching(place.judge(), words).status == WARN
    assert matching(place.judge(), "no HOT update").remedy == "expect more WAL and growth"


def test_row_level_security(place: Place) -> None:
    owner = place.role(f"grant create on schema {place.quoted} to {{role}}")
    with place.acting_as(owner):
        place.do(TABLE, "alter table deals enable row level security",
                 "create policy mine on deals using (fund_id = 1)")  # fmt: skip
    role = place.role("grant select, update (stage) on deals to {role}")
    assert not place.facts().row_security_active  # a superuser sees all
    assert not place.facts(owner).row_security_active
    assert place.facts(role).row_security_active
    found = both(place, "row-level security may hide rows", role)
    place.do(found.remedy)
    assert not [each for each in place.judge(role) if each.status == FAIL]
    place.do("alter table deals force row level security")
    assert place.facts(owner).row_security_active


def test_replica_identity(place: Place) -> None:
    place.do(TABLE, "insert into deals values (1, 1, 'a')", "analyze deals",
             "create publication inserts for table deals with (publish = 'insert')")  # fmt: skip
    assert place.facts().publications == ()
    place.do("drop publication inserts")
    for identity in ("nothing", "full"):
        place.do(f"alter table deals replica identity {identity}")
        assert place.facts().replica_identities == (identity,)
        assert not troubles(place.judge())
        place.do("create publication p for table deals")
        assert place.facts().publications == ("p",)
        if identity == "nothing":
            with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
                place.do("update deals set stage = 'b'")
            found = both(place, "without a replica identity: updates are refused")
        else:
            found = matching(place.judge(), "whole rows go to the log")
            assert found.status == WARN
        place.do(found.remedy, "update deals set stage = 'b'", "drop publication p")
    place.do("create publication every for all tables")
    assert place.facts().publications == ("every",)
    place.do("drop publication every")


# ------------------------------------------------------------------------------ rights, statistics


def test_rights(place: Place) -> None:
    place.do(TABLE)
    operator = place.role("grant select (id, stage), update (stage) on deals to {role}")
    found = place.facts(operator)
    assert (found.missing_select, found.may_update, found.more_rights) == ((), True, ())
    assert not troubles(place.judge(operator, production=True))
    missing = place.judge(operator, entry={"tenant": "fund_id"})
    assert matching(missing, f"role {operator} may not read fund_id").status == FAIL
    reader = place.role("grant select on deals to {role}")
    place.do(both(place, f"role {reader} may not update it", reader).remedy)
    assert not troubles(place.judge(reader))
    nobody = place.role()
    place.connection.read_only = True
    with place.connection.transaction():
        assert place.facts(nobody).exists
        assert place.server(nobody).role == nobody
    place.connection.read_only = None
    place.do(f"revoke usage on schema {place.quoted} from {nobody}")
    findings = place.judge(nobody, writes=False)
    for words in ("may not use schema", "may not read id, stage"):
        finding = matching(findings, words)
        assert finding.status == FAIL
        place.do(finding.remedy)
    assert FAIL not in {each.status for each in place.judge(nobody, writes=False)}
    owner = place.role("grant select, insert, update, delete, truncate on deals to {role}")
    wanted = ("update of 3 other columns", "insert", "delete", "truncate")
    assert place.facts(owner).more_rights == wanted
    assert not troubles(place.judge(owner))
    more = matching(place.judge(owner, production=True), "may do more than a migration needs")
    assert more.status == WARN and all(right in more.found for right in wanted)


def test_statistics_and_fillfactor(place: Place) -> None:
    place.do("create table deals (id bigint primary key, stage text)"
             " with (fillfactor = 70, autovacuum_enabled = false)")  # fmt: skip
    assert (place.facts().fillfactor, place.facts().never_analyzed) == (70, ())  # empty
    place.do("insert into deals select n, 'x' from generate_series(1, 500) as n")
    assert len(place.facts().never_analyzed) == 1
    assert place.facts().estimated_rows is None
    finding = matching(place.judge(), "never analyzed")
    assert finding.status == WARN
    place.do(finding.remedy)
    assert place.facts().estimated_rows == 500
    assert not troubles(place.judge())
    place.do("insert into deals select n, 'x' from generate_series(501, 5000) as n")
    rows = place.facts().estimated_rows
    assert rows is not None and 4000 < rows < 6000  # by its pages, not by the last analyze


# ------------------------------------------------------------------------------ the server


def finding_of(server_facts: ServerFacts, subject: str, writes: bool = True) -> Finding:
    (found,) = (
        each
        for each in tables.judge_server(server_facts, writes=writes, marks=MARKS)
        if each.subject == subject
    )
    return found


def test_the_server(place: Place) -> None:
    # at the same time another test may have a receiver of the log on this server
    found = dataclasses.replace(place.server(), replicas=(), slots=())
    assert (found.version, found.is_standby, found.behind_pooler) == (place.version, False, False)
    assert (found.deadlock_timeout_ms, found.lock_timeout_ms) == (1000, 0)
    assert found.wal_level == "replica"
    assert found.sees_activity  # a superuser
    for subject in ("version", "standby", "pooler", "pg_monitor", "timeouts", "replicas", "slots"):
        assert finding_of(found, subject).status == OK, subject
    for change in ({"version": 14}, {"is_standby": True}):
        judged = tables.judge_server(
            dataclasses.replace(found, **change), writes=False, marks=MARKS
        )
        assert FAIL in {each.status for each in judged}

    for setting, status in (
        ("deadlock_timeout = '100ms'", WARN),
        ("deadlock_timeout = '250ms'", OK),
        ("statement_timeout = '30s'", WARN),
    ):
        place.do(f"set {setting}")
        assert finding_of(place.server(), "timeouts").status == status
    role = place.role()
    finding = finding_of(place.server(role), "pg_monitor")
    assert finding.status == WARN
    place.do(finding.remedy)
    assert finding_of(place.server(role), "pg_monitor").status == OK


def test_an_old_snapshot(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.do(TABLE)
    role = place.role()
    elsewhere = psycopg.conninfo.make_conninfo(place.conninfo, dbname="template1")
    with (
        psycopg.connect(place.conninfo, application_name="a report") as other,
        psycopg.connect(elsewhere) as far,
    ):
        for each in (other, far):
            each.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            each.execute("select")
        pid = other.info.backend_pid
        assert far.info.backend_pid not in [each.pid for each in place.server().snapshots]

        def seen(role: str | None = None) -> tables.Snapshot:
            (found,) = (each for each in place.server(role).snapshots if each.pid == pid)
            return found

        assert (seen().kind, seen().name, seen().state) == (
            "session", "a report", "idle in transaction"
        )  # fmt: skip
        assert not seen().is_old
        # Who may not see how old it is must not take it for young.
        assert seen(role).age_seconds is None and seen(role).is_old
        possible, why = tables.stripes_possible(place.facts(), place.server(role))
        assert (possible, "of an age that this role cannot see" in why) == (False, True)
        monkeypatch.setattr(tables, "OLD_SECONDS", 0.05)
        time.sleep(0.1)
        assert seen().is_old
        possible, why = tables.stripes_possible(place.facts(), place.server())
        assert (possible, f"process {pid}" in why) == (False, True)
        warned = [
            each for each in tables.judge_server(place.server(), writes=True, marks=MARKS)
            if each.subject == "snapshots" and str(pid) in each.remedy
        ]  # fmt: skip
        assert [(each.status, "a run waits" in each.found) for each in warned] == [(WARN, True)]
        other.rollback()
        assert pid not in [each.pid for each in place.server().snapshots]


def test_which_snapshots_are_old() -> None:
    for snapshot, is_old in {
        ("session", "a", 1, "active", 59.0, 10**6, True, False): False,
        ("session", "a", 1, "active", 61.0, 0, True, False): True,
        ("session", "a", 1, None, None, 0, True, False): True,
        ("prepared transaction", "a", None, "prepared", 61.0, 0, True, False): True,
        ("session", "walreceiver", 1, "active", None, 5, True, True): False,
        ("session", "walreceiver", 1, "active", None, 10**5, True, True): True,
        ("replication slot", "a", None, "inactive", None, 5, False, True): True,
    }.items():
        assert tables.Snapshot(*snapshot).is_old == is_old, snapshot
        assert tables.Snapshot(*snapshot).label.startswith(f"{snapshot[0]} {snapshot[1]}")


def test_replicas_and_slots(place: Place, tmp_path: Path) -> None:
    """pg_receivewal stands for a standby: it receives the log by a slot and says how far it is."""
    slot = f"slot_{uuid.uuid4().hex[:8]}"
    role = place.role()
    place.do(f"select pg_create_physical_replication_slot('{slot}', true)")
    receiver = subprocess.Popen(
        [standby.BINARIES / "pg_receivewal", "-D", tmp_path, "-S", slot, "-d", place.conninfo,
         "--no-password", "--synchronous"],
    )  # fmt: skip
    try:
        fire.until(lambda: [each.state for each in place.server().replicas] == ["streaming"])
        found = place.server()
        (replica,) = found.replicas
        assert replica.lag_bytes is not None and replica.lag_bytes < MARKS["replica_bytes"].stop
        assert finding_of(found, "replicas").status == OK
        (kept,) = (each for each in found.slots if each.name == slot)
        assert kept.is_active and kept.kept_bytes is not None
        blind = finding_of(place.server(role), "replicas")
        assert (blind.status, "cannot be seen" in blind.found) == (WARN, True)
        behind = dataclasses.replace(
            found, replicas=(dataclasses.replace(replica, lag_bytes=10**9),),
            slots=(dataclasses.replace(kept, kept_bytes=2 * 1024**3),),
        )  # fmt: skip
        assert "954 MB" in finding_of(behind, "replicas").found
        assert finding_of(behind, "replicas").status == WARN
        assert "keeps 2048 MB of log" in finding_of(behind, "slots").found
    finally:
        receiver.terminate()
        receiver.wait(60)
        fire.until(lambda: not any(each.is_active for each in place.server().slots))
        place.do(f"select pg_drop_replication_slot('{slot}')")


def test_a_pooler(place: Place) -> None:
    with proxies.pooler(place.conninfo) as pool:
        conninfo = psycopg.conninfo.make_conninfo(place.conninfo, port=pool.port)
        with psycopg.connect(conninfo) as connection:
            found = tables.server_facts(place.named, connection)
    assert found.behind_pooler
    assert finding_of(found, "pooler").found.startswith("a pooler is in between")


def test_the_ledger(place: Place) -> None:
    found = place.server(ledger_schema=place.schema)
    assert found.ledger.is_absent
    assert finding_of(found, "ledger", writes=False).status == WARN
    finding = finding_of(found, "ledger")
    assert (finding.status, finding.found.startswith("no ledger in schema")) == (FAIL, True)
    assert "trueup ledger init" in finding.remedy
    for name in ledger.RELATIONS[1:]:
        place.do(f"create table {name} ()")
    finding = finding_of(place.server(ledger_schema=place.schema), "ledger")
    assert (finding.status, f"lacks {ledger.RELATIONS[0]}" in finding.found) == (FAIL, True)
    place.do(f"create table {ledger.RELATIONS[0]} ()")
    assert finding_of(place.server(ledger_schema=place.schema), "ledger").status == OK
    role = place.role(f"grant select, insert on all tables in schema {place.quoted} to {{role}}")
    rights = place.server(role, ledger_schema=place.schema).ledger.missing_rights
    assert rights == tuple(f"update on {name}" for name in tables.UPDATED_LEDGER)
    finding = finding_of(place.server(role, ledger_schema=place.schema), "ledger")
    assert (finding.status, "update on migration_runs" in finding.found) == (FAIL, True)


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
            update = f"grant update (stage) on public.portfoliocompanies to {role}"
            lines = done.stdout.splitlines()
            (line,) = (line for line in lines if line.endswith(update))
            assert line.startswith("! portfoliocompanies.stage ")
            assert len(lines) == len(set(lines))  # what concerns a table is said once
        finally:
            connection.execute(f"drop owned by {role} cascade")
            connection.execute(f"drop role {role}")
