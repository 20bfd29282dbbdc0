"""Brakes against the real thing: standbys that lag, slots, an archiver that fails, old snapshots,
vacuums, sessions that wait for us, and a role that cannot see any of it."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from psycopg import sql

from integration.conftest import PROJECT, App
from support import PROOFS, migration, standby
from support.fire import until
from support.system_server import system_server  # noqa: F401  a fixture
from trueup.core import statements
from trueup.core.errors import TrueupError
from trueup.core.statements import Statement
from trueup.local import server
from trueup.migration import brakes, plan
from trueup.migration.brakes import Brakes, Change, Mark, Reading

MEGABYTE = 1024**2
READY = "select count(*) from pg_ls_archive_statusdir() where name ~ '^[0-9A-F]{24}[.]ready$'"
# what the archiver does is said by files in the data directory: a new setting needs its time
ARCHIVE = "while test -e hangs; do sleep 0.05; done; test ! -e fails"
Connection = psycopg.Connection[Any]


@dataclasses.dataclass(frozen=True)
class Lab:
    """A server of the tests' own, and brakes that watch it.

    conninfo: as its superuser. place: the state folder; its server archives and no autovacuum runs
    """

    conninfo: str
    statements: dict[str, Statement]
    place: Path = Path()

    def superuser(self, dbname: str = server.DATABASE) -> Connection:
        """A look from the side, in autocommit mode."""
        return psycopg.connect(self.conninfo, dbname=dbname, autocommit=True)

    def connect(self, name: str = brakes.APPLICATION, dbname: str = server.DATABASE) -> Connection:
        """As the command opens it, by default for its brakes."""
        return psycopg.connect(
            self.conninfo, user=server.ROLE, application_name=name, dbname=dbname
        )

    @contextmanager
    def watching(self, *table_names: str, **options: Any) -> Iterator[Brakes]:
        """Brakes with these marks (name=Mark), else with those of the project."""
        chosen = {name: options.pop(name) for name in brakes.NAMES if name in options}
        connect = options.pop("connect", self.connect)
        found = options.pop("statements", self.statements)
        marks = chosen or brakes.marks(variables())
        with Brakes(connect, found, marks, table_names, **options) as watched:
            yield watched


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty samples a second."""
    monkeypatch.setattr(brakes, "SAMPLE_SECONDS", 0.05)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, shared_built: App) -> Iterator[Lab]:
    place = tmp_path_factory.mktemp("brakes") / "primary"
    options = {"archive_mode": "on", "archive_command": ARCHIVE, "autovacuum": "off"}
    with standby.primary(place, **options) as address:
        conninfo = psycopg.conninfo.make_conninfo(address.conninfo(), user=server.SUPERUSER)
        found = Lab(conninfo, statements.statements(shared_built.settings), place)
        with found.superuser() as connection:
            connection.execute(f"grant pg_monitor to {server.ROLE}")
        yield found


@pytest.fixture(params=["18", "15"] if PROOFS else ["18"])
def any_lab(request: pytest.FixtureRequest, lab: Lab) -> Lab:
    """The same, or a server of the system's binaries."""
    if request.param == "18":
        return lab
    return Lab(str(request.getfixturevalue("system_server")), lab.statements)


def variables() -> dict[str, Any]:
    found = yaml.safe_load((PROJECT / "dbt_project.yml").read_text())["vars"]
    assert isinstance(found, dict)
    return found


def readings(watched: Brakes) -> list[Reading]:
    """All brakes as they are now."""
    watched.reason()
    return list(watched._readings.values())


def of(watched: Brakes, name: str) -> Reading:
    """The brake as it is now."""
    (found,) = (each for each in readings(watched) if each.name == name)
    return found


def shows(watched: Brakes, name: str, number: float | None) -> bool:
    return of(watched, name).sample.value == number


def value(watched: Brakes, name: str) -> float:
    found = of(watched, name).sample.value
    assert found is not None
    return found


def sees(look: Connection, query: str, *values: Any) -> Any:
    return (look.execute(query, values or None).fetchone() or (None,))[0]


# ------------------------------------------------------------------------------------ the marks


def test_the_marks_are_those_of_the_project() -> None:
    found = brakes.marks(variables())
    assert tuple(found) == brakes.NAMES
    assert found["replica_bytes"] == Mark(64 * MEGABYTE, 16 * MEGABYTE)
    changed = variables()
    changed["migration"]["brakes"]["slot_bytes"] = None
    assert "slot_bytes" not in brakes.marks(changed)


WRONG = [
    ("replica_byte", {"stop": 1, "start": 0}, "brakes.replica_byte of .*allowed: null, or"),
    ("slot_bytes", 5, "brakes.slot_bytes .* is 5; allowed: null, or {stop: number, start: number}"),
    ("slot_bytes", {"stop": 1}, "{'stop': 1}; allowed"),
    ("slot_bytes", {"stop": 1, "start": 0, "go": 0}, "allowed"),
    ("slot_bytes", {"stop": "4 GB", "start": 0}, "4 GB"),
    ("slot_bytes", {"stop": 1, "start": 2}, "start not above stop"),
    ("slot_bytes", {"stop": True, "start": 0}, "True"),
    ("slot_bytes", {"stop": float("nan"), "start": 0}, "nan"),
    ("slot_bytes", {"stop": float("inf"), "start": 0}, "inf"),
    ("slot_bytes", {"stop": 1, "start": -1}, "neither below 0"),
]


def test_a_wrong_mark_is_refused() -> None:
    for name, mark, words in WRONG:
        changed = variables()
        changed["migration"]["brakes"][name] = mark
        with pytest.raises(TrueupError, match=words):
            brakes.marks(changed)
    changed = variables()
    del changed["migration"]["brakes"]["slot_bytes"]
    with pytest.raises(TrueupError, match=r"brakes of .* allowed: a mark for each"):
        brakes.marks(changed)
    for text in ("null", "[]", "5"):
        changed["migration"]["brakes"] = yaml.safe_load(text)
        with pytest.raises(TrueupError, match=r"migration.brakes of .* allowed: a mark for each"):
            brakes.marks(changed)


def test_a_plan_needs_sound_marks(built: App) -> None:
    path = built.project / "dbt_project.yml"
    path.write_text(path.read_text("utf-8").replace("stop: 42,", "stop: many,"), "utf-8")
    with pytest.raises(TrueupError, match=r"brakes.archiver_files .*many"):
        migration.make_plan(built)


# ------------------------------------------------------------------------------------ hysteresis


@pytest.fixture
def knob(lab: Lab) -> Iterator[tuple[Any, Lab]]:
    """A table whose one row is what brake_slot_bytes returns."""
    with lab.superuser() as connection:
        connection.execute("create table knob (value double precision, state text, detail text)")
        connection.execute("insert into knob values (0, 'seen', 'turned')")
        connection.execute(f"grant select on knob to {server.ROLE}")
        turned = Statement("brakes__slot_bytes", (), "select value, state, detail from knob")
        yield (
            lambda number, state="seen": connection.execute(
                "update knob set value = %s, state = %s", [number, state]
            ),
            dataclasses.replace(lab, statements={**lab.statements, "brakes__slot_bytes": turned}),
        )
        connection.execute("drop table knob")


def test_on_above_stop_and_off_at_start(knob: tuple[Any, Lab]) -> None:
    turn, lab = knob
    told: list[Change] = []
    tellers: set[int] = set()

    def report(change: Change) -> None:
        tellers.add(threading.get_ident())
        told.append(change)

    with lab.watching(slot_bytes=Mark(100, 10), report=report) as watched:
        watched.check()
        is_on = []
        for number in (0, 50, 100, 101, 50, 11, 10, 50, 200, 0, None):
            turn(number, "seen" if number is not None else "none")
            until(partial(shows, watched, "slot_bytes", number))
            is_on.append(watched.reason() is not None)
            assert of(watched, "slot_bytes").is_on == is_on[-1]
        assert is_on == [0, 0, 0, 1, 1, 1, 0, 0, 1, 0, 0]
    assert [change.is_on for change in told] == [True, False, True, False]
    assert told[0].reason == (
        "slot_bytes: turned (waits above 100 bytes, goes on at 10 bytes or less)"
    )
    assert told[1].reason == "slot_bytes: turned"
    assert tellers == {threading.get_ident()}


def test_what_the_report_raises_reaches_the_runner(knob: tuple[Any, Lab]) -> None:
    turn, lab = knob
    turn(5)

    def report(change: Change) -> None:
        raise BrokenPipeError

    with (
        lab.watching(slot_bytes=Mark(1, 0), report=report) as watched,
        pytest.raises(BrokenPipeError),
    ):
        until(watched.reason)


def test_blind_waits_unless_that_is_allowed(knob: tuple[Any, Lab]) -> None:
    turn, lab = knob
    for number, state in ((None, "blind"), (5.0, "blind"), (500.0, "blind"), (None, "seen")):
        turn(number, state)  # a number that is none has not been seen
        with lab.watching(slot_bytes=Mark(100, 10)) as watched:
            with pytest.raises(TrueupError, match="slot_bytes: turned") as caught:
                watched.check()
            assert f"grant pg_monitor to {server.ROLE}" in (caught.value.remedy or "")
            assert "--allow-blind-brakes" in (caught.value.remedy or "")
            assert "turned" in (watched.reason() or "")
            # a brake that is switched off is not asked
            assert [(each.name, each.sample.state) for each in readings(watched)] == [
                ("slot_bytes", "blind")
            ]
        with lab.watching(slot_bytes=Mark(100, 10), allow_blind=True) as watched:
            watched.check()
            assert bool(watched.reason()) == (number == 500)  # what it does see counts


def test_a_statement_that_fails_is_blind_and_the_others_are_not(lab: Lab) -> None:
    failing = Statement("brakes__slot_bytes", (), "select 1 / 0")
    with lab.watching(statements={**lab.statements, "brakes__slot_bytes": failing}) as watched:
        with pytest.raises(TrueupError, match="slot_bytes: division by zero"):
            watched.check()
        found = {each.name: each.sample for each in readings(watched)}
        assert found["slot_bytes"] == (None, "blind", "division by zero")
        assert {name for name, sample in found.items() if sample.state == "blind"} == {"slot_bytes"}
        assert watched.wal_bytes


# ------------------------------------------------------------------------------ every server


def test_a_quiet_server(any_lab: Lab) -> None:
    with any_lab.watching("deals", connect=lambda: any_lab.superuser("postgres")) as watched:
        watched.check()
        assert watched.reason() is None
        found = {each.name: each.sample for each in readings(watched)}
        assert tuple(found) == brakes.NAMES
        archives = found.pop("archiver_files")
        assert archives.state in ("none", "seen")
        assert {name: sample.state for name, sample in found.items()} == {
            "replica_bytes": "none", "replica_seconds": "none", "slot_bytes": "none",
            "vacuum_seconds": "seen", "blocked_ms": "seen", "snapshot_seconds": "seen",
        }  # fmt: skip
        assert found["vacuum_seconds"].value == found["blocked_ms"].value == 0
        assert found["slot_bytes"].detail == "no slot keeps log"


def test_a_role_that_cannot_see(any_lab: Lab) -> None:
    """Nothing raises; what it cannot see is blind; the remedy mends it while the brakes run."""
    with psycopg.connect(any_lab.conninfo, autocommit=True) as connection:
        connection.execute("create role \"Few rights\" login password 'few'")

        def connect() -> Connection:
            return psycopg.connect(any_lab.conninfo, user="Few rights", password="few")

        try:
            with any_lab.watching("deals", connect=connect) as watched:
                with pytest.raises(TrueupError) as caught:
                    watched.check()
                assert [line.split(":")[0] for line in caught.value.message.splitlines()] == [
                    "vacuum_seconds", "snapshot_seconds"
                ]  # fmt: skip
                assert watched.reason()
                remedy = (caught.value.remedy or "").split("`")[1]
                assert remedy == 'grant pg_monitor to "Few rights"'
                with any_lab.watching("deals", connect=connect, allow_blind=True) as allowed:
                    allowed.check()
                    assert allowed.reason() is None
                connection.execute(remedy.encode())
                until(lambda: watched.reason() is None)
                watched.check()
        finally:
            connection.execute('drop role "Few rights"')


# ------------------------------------------------------------------------------ sessions


def test_an_old_snapshot(lab: Lab) -> None:
    with lab.watching(snapshot_seconds=Mark(0.4, 0.1)) as watched:
        assert watched.reason() is None
        with lab.connect("a report") as other:
            other.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            other.execute("select 1")
            until(watched.reason)
            reason = watched.reason() or ""
            assert f"session a report (process {other.info.backend_pid}, idle in tran" in reason
            assert "goes on at 100 ms or less" in reason
        until(lambda: watched.reason() is None)


def test_a_transaction_that_has_written(lab: Lab) -> None:
    """It has no snapshot between its statements, but its number keeps old versions just as well.

    So it does when it is prepared, and no session is there any more.
    """
    with lab.watching(snapshot_seconds=Mark(0.2, 0)) as watched, lab.superuser() as connection:
        connection.execute("begin")
        connection.execute("select pg_current_xact_id()")
        until(watched.reason)
        assert f"process {connection.info.backend_pid}" in (watched.reason() or "")
        connection.execute("prepare transaction 'left behind'")
        try:
            until(lambda: "prepared transaction left behind" in (watched.reason() or ""))
        finally:
            connection.execute("rollback prepared 'left behind'")
        until(lambda: watched.reason() is None)


def test_our_own_snapshot_and_those_of_other_databases_do_not_count(lab: Lab) -> None:
    with (
        lab.watching(snapshot_seconds=Mark(0.1, 0)) as watched,
        lab.connect("trueup apply") as ours,
        lab.connect("elsewhere", "postgres") as far,
    ):
        for connection in (ours, far):
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.execute("select 1")
        time.sleep(0.4)
        assert value(watched, "snapshot_seconds") == 0
        # another role may call itself what it likes
        with lab.superuser() as pretender:
            pretender.execute("set application_name = 'trueup apply'")
            pretender.execute("begin isolation level repeatable read")
            pretender.execute("select 1")
            until(watched.reason)
            pretender.execute("rollback")


@pytest.fixture
def deals(lab: Lab) -> Iterator[None]:
    """A partitioned table of enough pages, and another."""
    with lab.superuser() as connection:
        connection.execute(
            "create table deals (id int, stage text) partition by range (id);"
            "create table deals_all partition of deals default;"
            "create table others (id int, stage text);"
            f"grant all on deals, others to {server.ROLE};"
            "insert into deals select n, repeat('x', 1000) from generate_series(1, 4000) n;"
            "insert into others select * from deals"
        )
        yield
        connection.execute("drop table deals, others")


def test_somebody_waits_for_us(lab: Lab, deals: None) -> None:
    def change(name: str) -> None:
        with lab.connect(name) as connection:
            connection.execute("update deals set stage = 'theirs' where id = 1")

    def waits(holder: Connection, name: str) -> threading.Thread:
        holder.execute("update deals set stage = 'ours' where id = 1")
        thread = threading.Thread(target=change, args=(name,))
        thread.start()
        until(partial(sees, look, "select count(*) from pg_locks where not granted"))
        return thread

    with lab.watching(blocked_ms=Mark(200, 0)) as watched, lab.superuser() as look:
        with lab.connect("trueup apply") as ours:
            waiter = waits(ours, "the application")
            until(watched.reason)
            assert value(watched, "blocked_ms") > 200
            assert "has been waiting for the run for" in of(watched, "blocked_ms").text
        waiter.join()
        until(lambda: watched.reason() is None)
        # neither who waits for somebody else, nor our own workers
        for holder, name in (("a report", "the application"), ("trueup apply", "trueup apply")):
            with lab.connect(holder) as other:
                waiter = waits(other, name)
                time.sleep(0.4)
                assert value(watched, "blocked_ms") == 0, holder
            waiter.join()


def test_a_vacuum(lab: Lab, deals: None) -> None:
    """Of another table, and of a partition of the run's table; it takes its time."""
    query = (
        "select count(*) from pg_stat_progress_vacuum"
        " where relid = cast(%s as regclass) and datname = current_database()"
    )
    marks = {"vacuum_seconds": Mark(0.3, 0), "snapshot_seconds": Mark(900, 300)}
    with (
        lab.watching("deals", **marks) as watched,
        lab.superuser() as look,
        lab.superuser() as slow,
    ):
        slow.execute("set vacuum_cost_delay = 100; set vacuum_cost_limit = 1")

        def vacuum(table: str) -> None:
            with suppress(psycopg.errors.QueryCanceled):
                slow.execute(sql.SQL("vacuum {}").format(sql.Identifier(table)))

        for table in ("others", "deals_all"):
            thread = threading.Thread(target=vacuum, args=(table,))
            thread.start()
            try:
                until(partial(sees, look, query, table))
                if table == "deals_all":
                    until(watched.reason)
                    assert "a vacuum has been working on deals_all" in (watched.reason() or "")
                else:
                    time.sleep(0.6)
                    assert watched.reason() is None
                # a vacuum keeps no old versions
                assert value(watched, "snapshot_seconds") < 0.2
            finally:
                slow.cancel_safe()
                thread.join()
        until(lambda: watched.reason() is None)


# ------------------------------------------------------------------------------ the log


def test_a_slot_that_nobody_reads(lab: Lab) -> None:
    marks = Mark(4 * MEGABYTE, MEGABYTE)
    with lab.watching(slot_bytes=marks) as watched, lab.superuser() as connection:
        assert of(watched, "slot_bytes").sample.state == "none"
        connection.execute("select pg_create_physical_replication_slot('forgotten')")
        time.sleep(0.2)
        assert of(watched, "slot_bytes").sample.state == "none"  # it has reserved nothing
        connection.execute("select pg_drop_replication_slot('forgotten')")
        connection.execute("select pg_create_physical_replication_slot('forgotten', true)")
        try:
            until(lambda: of(watched, "slot_bytes").sample.state == "seen")
            before = watched.wal_bytes
            standby.write_log(connection, 5)
            until(lambda: "slot forgotten (inactive) keeps" in (watched.reason() or ""))
            until(lambda: (watched.wal_bytes or 0) >= (before or 0) + 5 * MEGABYTE)
            assert (watched.wal_per_second or 0) > 0
        finally:
            connection.execute("select pg_drop_replication_slot('forgotten')")
        until(lambda: watched.reason() is None)


@contextmanager
def archiver(lab: Lab, how: str) -> Iterator[None]:
    """It hangs, or fails."""
    file = server.home(lab.place) / "pgdata" / how
    file.touch(0o644)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def fill_files(connection: Connection, files: int) -> None:
    for _ in range(files):
        standby.write_log(connection, 0)
        connection.execute("select pg_switch_wal()")


def test_an_archiver_that_fails(lab: Lab) -> None:
    """It tries the oldest file again and again; mended, it takes all of them."""
    with lab.watching(archiver_files=Mark(4, 1)) as watched, lab.superuser() as connection:

        def ready() -> int:
            return int(sees(connection, READY))

        fill_files(connection, 1)
        until(lambda: ready() == 0)
        until(partial(shows, watched, "archiver_files", 0))
        with archiver(lab, "fails"):
            fill_files(connection, 3)
            until(partial(shows, watched, "archiver_files", 3))
            assert (ready(), watched.reason()) == (3, None)
            fill_files(connection, 3)
            until(watched.reason)
            until(lambda: value(watched, "archiver_files") == ready() == 6)
            until(lambda: "the archiver fails" in (watched.reason() or ""))
            # as after a crash: nothing is known but what fails now
            connection.execute("select pg_stat_reset_shared('archiver')")
            fill_files(connection, 1)
            until(lambda: value(watched, "archiver_files") == ready() == 7)
        until(lambda: watched.reason() is None)
        until(lambda: value(watched, "archiver_files") == ready() == 0)


def test_an_archiver_that_never_said_anything(lab: Lab) -> None:
    """Then what was written since the run began waits, and nothing before counts."""
    with lab.superuser() as connection:
        until(lambda: sees(connection, READY) == 0)
    with lab.superuser() as connection, archiver(lab, "hangs"):
        fill_files(connection, 3)
        connection.execute("select pg_stat_reset_shared('archiver')")
        with lab.watching(archiver_files=Mark(2, 1)) as watched:
            until(partial(shows, watched, "archiver_files", 0))
            fill_files(connection, 3)
            until(watched.reason)
            assert value(watched, "archiver_files") == 3


def test_a_standby_that_lags(lab: Lab, tmp_path: Path) -> None:
    """Its number rises, the brake comes on above stop and goes off at start, not before."""
    marks = {"replica_bytes": Mark(4 * MEGABYTE, MEGABYTE), "replica_seconds": Mark(1.5, 0.5)}
    with (
        lab.superuser() as connection,
        standby.standby(lab.place, tmp_path / "standby", recovery_min_apply_delay="0") as follower,
        standby.superuser(follower) as replay,
        lab.watching(**marks) as watched,
    ):
        standby.until_it_follows(connection)
        until(lambda: of(watched, "replica_bytes").sample.state == "seen")
        assert watched.reason() is None
        replay.execute("select pg_wal_replay_pause()")
        until(partial(sees, replay, "select pg_get_wal_replay_pause_state() = 'paused'"))
        standby.write_log(connection, 3)
        until(lambda: value(watched, "replica_bytes") > 3 * MEGABYTE)
        assert not of(watched, "replica_bytes").is_on
        standby.write_log(connection, 2)
        until(lambda: of(watched, "replica_bytes").is_on)
        assert "replica_bytes: standby follower is " in (watched.reason() or "")
        until(lambda: of(watched, "replica_seconds").is_on)
        text = of(watched, "replica_seconds").text
        assert "waits above 1.5 s, goes on at 500 ms or less" in text
        replay.execute("select pg_wal_replay_resume()")
        until(lambda: watched.reason() is None)
        assert value(watched, "replica_bytes") <= MEGABYTE
        assert value(watched, "replica_seconds") <= 0.5
        server.stop(tmp_path / "standby")
        until(lambda: of(watched, "replica_bytes").sample.state == "none")


# ------------------------------------------------------------------------------ silence


def test_a_server_that_does_not_answer(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is cut is opened again unheard; who is away for long is told of."""
    monkeypatch.setattr(brakes, "BLIND_SECONDS", 1)
    away = threading.Event()
    connections: list[Connection] = []
    told: list[Change] = []

    def connect() -> Connection:
        if away.is_set():
            raise TrueupError("cannot connect to host x: nobody is there", "start it")
        connections.append(lab.connect())
        return connections[-1]

    def cut(look: Connection) -> None:
        for each in list(connections):
            look.execute("select pg_terminate_backend(%s)", [each.info.backend_pid])

    marks = {"snapshot_seconds": Mark(900, 0)}
    with (
        lab.superuser() as look,
        lab.watching(connect=connect, report=told.append, **marks) as watched,
        lab.watching(connect=connect, allow_blind=True, **marks) as allowed,
    ):
        watched.check()
        allowed.check()
        cut(look)
        until(lambda: len(connections) == 4)
        assert (watched.reason(), told) == (None, [])
        away.set()
        cut(look)
        until(watched.reason)
        reason = watched.reason() or ""
        assert reason.endswith("s: cannot connect to host x: nobody is there"), reason
        with pytest.raises(TrueupError, match="the brakes have seen nothing for"):
            watched.check()
        assert allowed.reason() is None
        allowed.check()
        with lab.watching(connect=connect) as late, pytest.raises(TrueupError, match="nothing for"):
            late.check()  # it was never there
        away.clear()
        until(lambda: watched.reason() is None)
    assert [(change.name, change.is_on) for change in told] == [("brakes", True), ("brakes", False)]


def test_a_stuck_statement_counts_as_blind(lab: Lab) -> None:
    """No statement may take longer than its timeout, whatever it waits for."""
    stuck = Statement("brakes__slot_bytes", (), "select pg_sleep(60)")
    found = {**lab.statements, "brakes__slot_bytes": stuck}
    with lab.watching(statements=found, slot_bytes=Mark(1, 0), blocked_ms=Mark(1, 0)) as watched:
        with pytest.raises(TrueupError, match=r"slot_bytes: .*statement timeout"):
            watched.check()
        assert of(watched, "blocked_ms").sample.state == "seen"


# ------------------------------------------------------------------------------ whole runs


def test_a_run_waits_for_its_standby(built: App, lab: Lab, tmp_path: Path) -> None:
    """It needs to see it; then it does not fail, stops within a sample, and goes on when the
    standby has caught up."""
    address = server.running(lab.place)
    assert address
    with lab.superuser("postgres") as connection:
        connection.execute(f"create database {built.database} owner {server.ROLE}")
    target = psycopg.conninfo.make_conninfo(lab.conninfo, dbname=built.database)
    standby.copy_database(built.url, target, server.ROLE)
    environment = {**built.environment, "PGPORT": str(address.port), "PGPASSWORD": address.password}
    moved = dataclasses.replace(built, environment=environment)
    control = "select max(brake) from trueup_ledger.stage_migration_control"
    changed = "select sum(rows_updated) from trueup_ledger.stage_migration_batches"
    path = moved.project / "dbt_project.yml"
    text = path.read_text("utf-8")
    usual, small = "stop: 67108864, start: 16777216", "stop: 200000, start: 20000"
    assert usual in text
    path.write_text(text.replace(usual, small), "utf-8")
    first = migration.make_plan(moved, plan.Scope(("investments",)))
    with (
        lab.superuser(moved.database) as connection,
        standby.standby(lab.place, tmp_path / "standby") as follower,
        standby.superuser(follower, moved.database) as replay,
    ):
        connection.execute(f"revoke pg_monitor from {server.ROLE}")
        try:
            code, out, err = migration.done(moved, "apply", "--yes")
            assert (code, sees(connection, changed)) == (2, 0), out + err
            assert "cannot see how far standbys are behind" in err
            assert "`grant pg_monitor to trueup`" in err and "--allow-blind-brakes" in err
            code, out, err = migration.done(moved, "apply", "--yes", "--allow-blind-brakes")
            assert (code, sees(connection, changed)) == (0, first.rows_planned), out + err
        finally:
            connection.execute(f"grant pg_monitor to {server.ROLE}")
        pace = dataclasses.replace(migration.PACE, batch_size=100)
        made = migration.make_plan(moved, pace=pace)
        changed += f" where run_id = '{made.run_id}'"
        standby.until_it_follows(connection)
        replay.execute("select pg_wal_replay_pause()")
        run = migration.command(moved, "apply", "--yes", "--sleep-ms", "100", "--verbose")
        try:
            until(lambda: sees(connection, control) or run.poll() is not None)
            assert "replica_bytes: standby follower is " in sees(connection, control)
            time.sleep(0.5)  # what was under way when the brake came on
            before = sees(connection, changed)
            assert 0 < before < made.rows_planned
            time.sleep(1.5)
            assert run.poll() is None
            assert sees(connection, changed) == before
            replay.execute("select pg_wal_replay_resume()")
            out, err = run.communicate(timeout=60)
        finally:
            run.kill()
        assert run.returncode == 0, out + err
        assert "Waiting for replica_bytes: standby follower" in out + err
        assert "Going on: replica_bytes: standby follower" in out + err
        assert sees(connection, changed) == made.rows_planned
        assert sees(connection, control) is None
        standby.until_it_follows(connection)
        pending = "select count(*) from trueup_audit.audit_pending_changes"
        assert sees(replay, pending) == 0
