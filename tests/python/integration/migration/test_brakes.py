"""Brakes against the real thing: standbys that lag, slots, an archiver that fails, old snapshots,
vacuums, sessions that wait for us, and a role that cannot see any of it."""

from __future__ import annotations

import dataclasses
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from psycopg import sql

from integration.conftest import PROJECT, App
from support import migration, standby
from support.fire import until
from support.system_server import system_server  # noqa: F401  a fixture
from trueup.core import statements as named
from trueup.core.errors import TrueupError
from trueup.core.statements import Statement
from trueup.local import server
from trueup.migration import brakes
from trueup.migration.brakes import Brakes, Change, Mark, Reading

MEGABYTE = 1024**2
Statements = dict[str, Statement]
Connect = Callable[[], psycopg.Connection[Any]]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty samples a second."""
    monkeypatch.setattr(brakes, "SAMPLE_SECONDS", 0.05)


@pytest.fixture(scope="module")
def statements(shared_built: App) -> Statements:
    return named.statements(shared_built.settings)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state folder of the primary."""
    return tmp_path_factory.mktemp("brakes") / "primary"


@pytest.fixture(scope="module")
def primary(place: Path) -> Iterator[server.Address]:
    """A server that archives, on which nobody but this module does anything."""
    with standby.primary(
        place, archive_mode="on", archive_command="true", autovacuum="off",
    ) as address:  # fmt: skip
        with standby.superuser(address) as connection:
            connection.execute(f"grant pg_monitor to {server.ROLE}")
        yield address


@pytest.fixture(params=["18", "15"])
def conninfo(request: pytest.FixtureRequest) -> str:
    """A superuser's connection string to the primary, or to a server of the system's binaries."""
    if request.param == "15":
        return str(request.getfixturevalue("system_server"))
    address = request.getfixturevalue("primary")
    return psycopg.conninfo.make_conninfo(address.conninfo(), user=server.SUPERUSER)


@pytest.fixture
def operator(primary: server.Address) -> Connect:
    """A connection as the command opens it for its brakes."""
    return lambda: psycopg.connect(primary.conninfo(), application_name=brakes.APPLICATION)


@contextmanager
def watching(
    connect: Connect, statements: Mapping[str, Statement], *table_names: str, **options: Any
) -> Iterator[Brakes]:
    """Brakes with these marks (name=Mark), else with those of the project."""
    chosen = {name: options.pop(name) for name in brakes.NAMES if name in options}
    marks = chosen or brakes.marks(variables())
    with Brakes(connect, statements, marks, table_names, **options) as watched:
        yield watched


def variables() -> dict[str, Any]:
    found = yaml.safe_load((PROJECT / "dbt_project.yml").read_text())["vars"]
    assert isinstance(found, dict)
    return found


def of(watched: Brakes, name: str) -> Reading:
    """The brake as it is now."""
    watched.reason()
    (found,) = (each for each in watched.readings() if each.name == name)
    return found


def shows(watched: Brakes, number: float | None) -> bool:
    return of(watched, "slot_bytes").sample.value == number


def value(watched: Brakes, name: str) -> float:
    found = of(watched, name).sample.value
    assert found is not None
    return found


# ------------------------------------------------------------------------------------ the marks


def test_the_marks_are_those_of_the_project() -> None:
    found = brakes.marks(variables())
    assert tuple(found) == brakes.NAMES
    assert found["replica_bytes"] == Mark(64 * MEGABYTE, 16 * MEGABYTE)
    changed = variables()
    changed["migration"]["brakes"]["slot_bytes"] = None
    assert "slot_bytes" not in brakes.marks(changed)


@pytest.mark.parametrize(
    ("name", "mark", "words"),
    [
        ("replica_byte", {"stop": 1, "start": 0}, "brakes.replica_byte .*allowed: the brakes repl"),
        ("slot_bytes", 5, "brakes.slot_bytes .* is 5; allowed: {stop: number, start: number}"),
        ("slot_bytes", {"stop": 1}, "{'stop': 1}; allowed"),
        ("slot_bytes", {"stop": 1, "start": 0, "go": 0}, "allowed"),
        ("slot_bytes", {"stop": "4 GB", "start": 0}, "4 GB"),
        ("slot_bytes", {"stop": 1, "start": 2}, "start not above stop"),
        ("slot_bytes", {"stop": True, "start": 0}, "True"),
        ("slot_bytes", {"stop": float("nan"), "start": 0}, "nan"),
        ("slot_bytes", {"stop": float("inf"), "start": 0}, "inf"),
        ("slot_bytes", {"stop": 1, "start": -1}, "neither below 0"),
        ("slot_bytes", ..., "is 'missing'"),
    ],
)
def test_a_wrong_mark_is_refused(name: str, mark: Any, words: str) -> None:
    changed = variables()
    marks = changed["migration"]["brakes"]
    marks[name] = mark
    if mark is ...:
        del marks[name]
    with pytest.raises(TrueupError, match=words):
        brakes.marks(changed)


@pytest.mark.parametrize("found", [None, [], 5])
def test_marks_that_are_none_at_all(found: Any) -> None:
    changed = variables()
    changed["migration"]["brakes"] = found
    with pytest.raises(TrueupError, match=r"vars.migration.brakes of .* allowed: a mark for each"):
        brakes.marks(changed)


def test_a_plan_needs_sound_marks(built: App) -> None:
    path = built.project / "dbt_project.yml"
    text = path.read_text("utf-8")
    path.write_text(text.replace("stop: 42,", "stop: many,"), "utf-8")
    with pytest.raises(TrueupError, match=r"brakes.archiver_files .*many"):
        migration.make_plan(built)


@pytest.mark.parametrize(
    ("name", "number", "text"),
    [
        ("slot_bytes", 64 * MEGABYTE, "64 MB"),
        ("snapshot_seconds", 900.0, "15 min"),
        ("blocked_ms", 200.0, "200 ms"),
        ("archiver_files", 0.0, "0 files"),
    ],
)
def test_amounts(name: str, number: float, text: str) -> None:
    assert brakes.amount(name, number) == text


# ------------------------------------------------------------------------------------ hysteresis


@pytest.fixture
def knob(primary: server.Address, statements: Statements) -> Iterator[tuple[Any, Statements]]:
    """A table whose one row is what brake_slot_bytes returns."""
    with standby.superuser(primary) as connection:
        connection.execute("create table knob (value double precision, state text, detail text)")
        connection.execute("insert into knob values (0, 'seen', 'turned')")
        connection.execute(f"grant select on knob to {server.ROLE}")
        turned = Statement("brake_slot_bytes", (), "select value, state, detail from knob")
        yield (
            lambda number, state="seen": connection.execute(
                "update knob set value = %s, state = %s", [number, state]
            ),
            {**statements, "brake_slot_bytes": turned},
        )
        connection.execute("drop table knob")


def test_on_above_stop_and_off_at_start(operator: Connect, knob: tuple[Any, Statements]) -> None:
    turn, turned = knob
    told: list[Change] = []
    tellers: set[int] = set()

    def report(change: Change) -> None:
        tellers.add(threading.get_ident())
        told.append(change)

    with watching(operator, turned, slot_bytes=Mark(100, 10), report=report) as watched:
        watched.check()
        is_on = []
        for number in (0, 50, 100, 101, 50, 11, 10, 50, 200, 0, None):
            turn(number, "seen" if number is not None else "none")
            until(partial(shows, watched, number))
            is_on.append(watched.reason() is not None)
            assert of(watched, "slot_bytes").is_on == is_on[-1]
        assert is_on == [0, 0, 0, 1, 1, 1, 0, 0, 1, 0, 0]
    assert [change.is_on for change in told] == [True, False, True, False]
    assert told[0].reason == (
        "slot_bytes: turned (waits above 100 bytes, goes on at 10 bytes or less)"
    )
    assert told[1].reason == "slot_bytes: turned"
    assert tellers == {threading.get_ident()}


def test_what_the_report_raises_reaches_the_runner(
    operator: Connect, knob: tuple[Any, Statements]
) -> None:
    turn, turned = knob
    turn(5)

    def report(change: Change) -> None:
        raise BrokenPipeError

    with (
        watching(operator, turned, slot_bytes=Mark(1, 0), report=report) as watched,
        pytest.raises(BrokenPipeError),
    ):
        until(watched.reason)


@pytest.mark.parametrize("number", [None, 5.0, 500.0])
def test_blind_waits_unless_that_is_allowed(
    operator: Connect, knob: tuple[Any, Statements], number: float | None
) -> None:
    turn, turned = knob
    turn(number, "blind")
    with watching(operator, turned, slot_bytes=Mark(100, 10)) as watched:
        with pytest.raises(TrueupError, match="slot_bytes: turned") as caught:
            watched.check()
        assert caught.value.remedy is not None
        assert f"grant pg_monitor to {server.ROLE}" in caught.value.remedy
        assert "--allow-blind-brakes" in caught.value.remedy
        reason = watched.reason()
        assert reason is not None and "turned" in reason
    with watching(operator, turned, slot_bytes=Mark(100, 10), allow_blind=True) as watched:
        watched.check()
        # what it does see counts nevertheless
        assert bool(watched.reason()) == (number == 500)


def test_a_number_that_is_none_has_not_been_seen(
    operator: Connect, knob: tuple[Any, Statements]
) -> None:
    turn, turned = knob
    turn(None, "seen")
    with watching(operator, turned, slot_bytes=Mark(100, 10)) as watched:
        assert of(watched, "slot_bytes").sample.state == "blind"
        assert watched.reason()


def test_a_brake_that_is_switched_off_is_not_asked(
    operator: Connect, statements: Statements
) -> None:
    with watching(operator, statements, snapshot_seconds=Mark(900, 0)) as watched:
        watched.check()
        assert [each.name for each in watched.readings()] == ["snapshot_seconds"]


def test_a_statement_that_fails_is_blind_and_the_others_are_not(
    operator: Connect, statements: Statements
) -> None:
    failing = Statement("brake_slot_bytes", (), "select 1 / 0")
    with watching(operator, {**statements, "brake_slot_bytes": failing}) as watched:
        found = {each.name: each.sample for each in watched.readings() or [*waited(watched)]}
        assert found["slot_bytes"] == (None, "blind", "division by zero")
        assert {name for name, sample in found.items() if sample.state == "blind"} == {"slot_bytes"}
        with pytest.raises(TrueupError, match="slot_bytes: division by zero"):
            watched.check()
        assert watched.wal_bytes


def waited(watched: Brakes) -> list[Reading]:
    watched.reason()
    return watched.readings()


# ------------------------------------------------------------------------------ every server


def test_a_quiet_server(conninfo: str, statements: Statements) -> None:
    """On the oldest and the newest version."""
    with watching(lambda: psycopg.connect(conninfo), statements, "deals") as watched:
        watched.check()
        assert watched.reason() is None
        found = {each.name: each.sample for each in watched.readings()}
        assert tuple(found) == brakes.NAMES
        archives = found.pop("archiver_files")
        assert archives.state in ("none", "seen")
        assert {name: sample.state for name, sample in found.items()} == {
            "replica_bytes": "none", "replica_seconds": "none", "slot_bytes": "none",
            "vacuum_seconds": "seen", "blocked_ms": "seen", "snapshot_seconds": "seen",
        }  # fmt: skip
        assert found["vacuum_seconds"].value == found["blocked_ms"].value == 0
        assert found["slot_bytes"].detail == "no slot keeps log"


def test_the_log_per_second(primary: server.Address, operator: Connect, statements: Statements
) -> None:  # fmt: skip
    with (
        watching(operator, statements, slot_bytes=Mark(1, 0)) as watched,
        standby.superuser(primary) as connection,
    ):
        watched.check()
        before = watched.wal_bytes
        assert before is not None
        standby.write_log(connection, 2)
        until(lambda: (watched.wal_bytes or 0) >= before + 2 * MEGABYTE)
        assert (watched.wal_per_second or 0) > MEGABYTE / 5


def test_a_role_that_cannot_see(conninfo: str, statements: Statements) -> None:
    """Nothing raises; what it cannot see is blind; the remedy mends it while the brakes run."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("create role \"Few rights\" login password 'few'")

        def connect() -> psycopg.Connection[Any]:
            few = psycopg.conninfo.make_conninfo(conninfo, user="Few rights", password="few")
            return psycopg.connect(few)

        try:
            with watching(connect, statements, "deals") as watched:
                with pytest.raises(TrueupError) as caught:
                    watched.check()
                assert [line.split(":")[0] for line in caught.value.message.splitlines()] == [
                    "vacuum_seconds", "snapshot_seconds"
                ]  # fmt: skip
                assert watched.reason()
                assert caught.value.remedy is not None
                remedy = caught.value.remedy.split("`")[1]
                assert remedy == 'grant pg_monitor to "Few rights"'
                with watching(connect, statements, "deals", allow_blind=True) as allowed:
                    allowed.check()
                    assert allowed.reason() is None
                connection.execute(remedy.encode())
                until(lambda: watched.reason() is None)
                watched.check()
        finally:
            connection.execute('drop role "Few rights"')


# ------------------------------------------------------------------------------ sessions


def test_an_old_snapshot(
    primary: server.Address, operator: Connect, statements: Statements
) -> None:
    with watching(operator, statements, snapshot_seconds=Mark(0.4, 0.1)) as watched:
        assert watched.reason() is None
        with psycopg.connect(primary.conninfo(), application_name="a report") as other:
            other.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            other.execute("select 1")
            until(watched.reason)
            reason = watched.reason() or ""
            assert f"session a report (process {other.info.backend_pid}, idle in tran" in reason
            assert "goes on at 100 ms or less" in reason
        until(lambda: watched.reason() is None)


def test_a_transaction_that_has_written(
    primary: server.Address, operator: Connect, statements: Statements
) -> None:
    """It has no snapshot between its statements, but its number keeps old versions just as well."""
    with watching(operator, statements, snapshot_seconds=Mark(0.2, 0)) as watched:
        with psycopg.connect(primary.conninfo()) as other:
            other.execute("select pg_current_xact_id()")
            until(watched.reason)
        until(lambda: watched.reason() is None)


def test_our_own_snapshot_and_those_of_other_databases_do_not_count(
    primary: server.Address, operator: Connect, statements: Statements
) -> None:
    with (
        watching(operator, statements, snapshot_seconds=Mark(0.1, 0)) as watched,
        psycopg.connect(primary.conninfo(), application_name="trueup apply") as ours,
        psycopg.connect(primary.conninfo("postgres"), application_name="elsewhere") as far,
    ):
        for connection in (ours, far):
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.execute("select 1")
        time.sleep(0.4)
        assert value(watched, "snapshot_seconds") == 0
        # another role may call itself what it likes
        with standby.superuser(primary) as pretender:
            pretender.execute("set application_name = 'trueup apply'")
            pretender.execute("begin isolation level repeatable read")
            pretender.execute("select 1")
            until(watched.reason)
            pretender.execute("rollback")


def test_a_prepared_transaction(
    primary: server.Address, operator: Connect, statements: Statements
) -> None:
    with (
        watching(operator, statements, snapshot_seconds=Mark(0.2, 0)) as watched,
        standby.superuser(primary) as connection,
    ):
        connection.execute("begin")
        connection.execute("select pg_current_xact_id()")
        connection.execute("prepare transaction 'left behind'")
        try:
            until(watched.reason)
            assert "prepared transaction left behind" in (watched.reason() or "")
        finally:
            connection.execute("rollback prepared 'left behind'")
        until(lambda: watched.reason() is None)


@pytest.fixture
def deals(primary: server.Address) -> Iterator[None]:
    """A partitioned table of enough pages, and another."""
    with standby.superuser(primary) as connection:
        connection.execute(
            "create table deals (id int, stage text) partition by range (id);"
            "create table deals_all partition of deals default;"
            "create table others (id int, stage text);"
            f"grant all on deals, others to {server.ROLE}"
        )
        for table in ("deals", "others"):
            connection.execute(
                f"insert into {table} select n, repeat('x', 1000) from generate_series(1, 4000) n"
            )
        yield
        connection.execute("drop table deals, others")


def test_somebody_waits_for_us(
    primary: server.Address, operator: Connect, statements: Statements, deals: None
) -> None:
    def connect(name: str) -> psycopg.Connection[Any]:
        return psycopg.connect(primary.conninfo(), application_name=name)

    def change(name: str) -> None:
        with connect(name) as connection:
            connection.execute("update deals set stage = 'theirs' where id = 1")

    def waits(holder: psycopg.Connection[Any], name: str) -> threading.Thread:
        holder.execute("update deals set stage = 'ours' where id = 1")
        thread = threading.Thread(target=change, args=(name,))
        thread.start()
        until(lambda: (look.execute("select count(*) from pg_locks where not granted").fetchone()
                       or (0,))[0])  # fmt: skip
        return thread

    with (
        watching(operator, statements, blocked_ms=Mark(200, 0)) as watched,
        standby.superuser(primary) as look,
    ):
        with connect("trueup apply") as ours:
            waiter = waits(ours, "the application")
            until(watched.reason)
            found = of(watched, "blocked_ms")
            assert 200 < (found.sample.value or 0) < 10_000
            assert "has been waiting for the run for" in found.text
        waiter.join()
        until(lambda: watched.reason() is None)
        # neither who waits for somebody else, nor our own workers
        for holder, name in (("a report", "the application"), ("trueup apply", "trueup apply")):
            with connect(holder) as other:
                waiter = waits(other, name)
                time.sleep(0.4)
                assert value(watched, "blocked_ms") == 0, holder
            waiter.join()


@pytest.mark.parametrize(("table", "counts"), [("deals_all", True), ("others", False)])
def test_a_vacuum(
    primary: server.Address, operator: Connect, statements: Statements, deals: None,
    table: str, counts: bool,
) -> None:  # fmt: skip
    """One that takes its time, on a partition of the run's table or on another table."""
    query = (
        "select count(*) from pg_stat_progress_vacuum"
        " where relid = cast(%s as regclass) and datname = current_database()"
    )
    with (
        watching(operator, statements, "deals", vacuum_seconds=Mark(0.3, 0),
                 snapshot_seconds=Mark(900, 300)) as watched,
        standby.superuser(primary) as look,
        standby.superuser(primary) as slow,
    ):  # fmt: skip
        slow.execute("set vacuum_cost_delay = 100")
        slow.execute("set vacuum_cost_limit = 1")

        def vacuum() -> None:
            with suppress(psycopg.errors.QueryCanceled):
                slow.execute(sql.SQL("vacuum {}").format(sql.Identifier(table)))

        thread = threading.Thread(target=vacuum)
        thread.start()
        try:
            until(lambda: (look.execute(query, [table]).fetchone() or (0,))[0])
            if counts:
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


def test_a_slot_that_nobody_reads(
    primary: server.Address, operator: Connect, statements: Statements
) -> None:
    with (
        watching(operator, statements, slot_bytes=Mark(4 * MEGABYTE, MEGABYTE)) as watched,
        standby.superuser(primary) as connection,
    ):
        assert of(watched, "slot_bytes").sample.state == "none"
        connection.execute("select pg_create_physical_replication_slot('forgotten')")
        time.sleep(0.2)
        assert of(watched, "slot_bytes").sample.state == "none"  # it has reserved nothing
        connection.execute("select pg_drop_replication_slot('forgotten')")
        connection.execute("select pg_create_physical_replication_slot('forgotten', true)")
        try:
            until(lambda: of(watched, "slot_bytes").sample.state == "seen")
            standby.write_log(connection, 5)
            until(watched.reason)
            assert "slot forgotten (inactive) keeps" in (watched.reason() or "")
        finally:
            connection.execute("select pg_drop_replication_slot('forgotten')")
        until(lambda: watched.reason() is None)


def archive_by(connection: psycopg.Connection[Any], command: str) -> None:
    connection.execute(sql.SQL("alter system set archive_command = {}").format(command))
    connection.execute("select pg_reload_conf()")


def fill_files(connection: psycopg.Connection[Any], files: int) -> None:
    for _ in range(files):
        standby.write_log(connection, 0)
        connection.execute("select pg_switch_wal()")


def test_an_archiver_that_fails(
    primary: server.Address, operator: Connect, statements: Statements
) -> None:
    """It tries the oldest file again and again; mended, it takes all of them."""
    waiting = "select count(*) from pg_ls_archive_statusdir() where name ~ '^[0-9A-F]{24}[.]ready$'"
    with (
        watching(operator, statements, archiver_files=Mark(4, 1)) as watched,
        standby.superuser(primary) as connection,
    ):

        def ready() -> int:
            return int((connection.execute(waiting).fetchone() or (0,))[0])

        fill_files(connection, 1)
        until(lambda: ready() == 0)
        until(lambda: value(watched, "archiver_files") == 0)
        archive_by(connection, "false")
        fill_files(connection, 3)
        until(lambda: value(watched, "archiver_files") == 3)
        assert (ready(), watched.reason()) == (3, None)
        fill_files(connection, 3)
        until(watched.reason)
        until(lambda: value(watched, "archiver_files") == ready() == 6)
        until(lambda: "the archiver fails" in (watched.reason() or ""))
        # as after a crash: nothing is known but what fails now
        connection.execute("select pg_stat_reset_shared('archiver')")
        fill_files(connection, 1)
        until(lambda: value(watched, "archiver_files") == ready() == 7)
        archive_by(connection, "true")
        until(lambda: watched.reason() is None)
        until(lambda: value(watched, "archiver_files") == ready() == 0)


def test_an_archiver_that_never_said_anything(
    primary: server.Address, place: Path, operator: Connect, statements: Statements
) -> None:
    """Then what was written since the run began waits, and nothing before counts."""
    go_on = server.home(place) / "pgdata" / "go_on"
    with standby.superuser(primary) as connection:
        try:
            archive_by(connection, f"while test ! -e {go_on.name}; do sleep 0.05; done")
            fill_files(connection, 3)
            time.sleep(0.3)
            connection.execute("select pg_stat_reset_shared('archiver')")
            with watching(operator, statements, archiver_files=Mark(2, 1)) as watched:
                until(lambda: of(watched, "archiver_files").sample.value == 0)
                time.sleep(0.2)
                fill_files(connection, 3)
                until(watched.reason)
                assert value(watched, "archiver_files") == 3
        finally:
            go_on.touch()
            archive_by(connection, "true")


def test_a_standby_that_lags(
    primary: server.Address, place: Path, tmp_path: Path, operator: Connect, statements: Statements
) -> None:
    """Its number rises, the brake comes on above stop and goes off at start, not before."""
    marks = {"replica_bytes": Mark(4 * MEGABYTE, MEGABYTE), "replica_seconds": Mark(1.5, 0.5)}
    with (
        standby.superuser(primary) as connection,
        standby.standby(place, tmp_path / "standby", recovery_min_apply_delay="0") as follower,
        standby.superuser(follower) as replay,
        watching(operator, statements, **marks) as watched,
    ):
        standby.until_it_follows(connection)
        until(lambda: of(watched, "replica_bytes").sample.state == "seen")
        assert watched.reason() is None
        replay.execute("select pg_wal_replay_pause()")
        until(lambda: (replay.execute("select pg_get_wal_replay_pause_state()").fetchone()
                       == ("paused",)))  # fmt: skip
        standby.write_log(connection, 3)
        until(lambda: value(watched, "replica_bytes") > 3 * MEGABYTE)
        assert not of(watched, "replica_bytes").is_on
        standby.write_log(connection, 2)
        until(lambda: of(watched, "replica_bytes").is_on)
        assert "replica_bytes: standby follower is " in (watched.reason() or "")
        until(lambda: of(watched, "replica_seconds").is_on)
        text = of(watched, "replica_seconds").text
        assert "waits above 1.5 s, goes on at 500 ms or less" in text
        without_rights(primary, statements)
        replay.execute("select pg_wal_replay_resume()")
        until(lambda: watched.reason() is None)
        assert value(watched, "replica_bytes") <= MEGABYTE
        assert value(watched, "replica_seconds") <= 0.5
        server.stop(tmp_path / "standby")
        until(lambda: of(watched, "replica_bytes").sample.state == "none")


def without_rights(primary: server.Address, statements: Statements) -> None:
    """Who may not see a standby does not take it for one that is up to date."""
    with standby.superuser(primary) as connection:
        connection.execute(f"revoke pg_monitor from {server.ROLE}")
        try:
            with watching(
                lambda: psycopg.connect(primary.conninfo()), statements,
                replica_bytes=Mark(10**12, 0), replica_seconds=Mark(10**6, 0),
            ) as watched:  # fmt: skip
                with pytest.raises(TrueupError, match="cannot see how far standbys are behind"):
                    watched.check()
                assert of(watched, "replica_bytes").sample.value is None
                assert watched.reason()
        finally:
            connection.execute(f"grant pg_monitor to {server.ROLE}")


# ------------------------------------------------------------------------------ silence


def test_the_connection_is_cut(
    primary: server.Address, operator: Connect, statements: Statements
) -> None:
    """The sampler comes back; nobody has to wait for it."""
    told: list[Change] = []
    with (
        watching(
            operator, statements, snapshot_seconds=Mark(900, 0), report=told.append
        ) as watched,
        standby.superuser(primary) as connection,
    ):
        watched.check()
        backends = "select pid from pg_stat_activity where application_name = %s"

        def pid() -> Any:
            return (connection.execute(backends, [brakes.APPLICATION]).fetchone() or (None,))[0]

        def has_changed(first: Any) -> bool:
            return pid() not in (None, first)

        for _ in range(3):
            first = pid()
            connection.execute("select pg_terminate_backend(%s)", [first])
            until(partial(has_changed, first))
        assert watched.reason() is None
    assert told == []


def test_a_server_that_does_not_answer(
    operator: Connect, statements: Statements, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brakes, "BLIND_SECONDS", 0.5)
    away = threading.Event()
    connections: list[psycopg.Connection[Any]] = []
    told: list[Change] = []

    def connect() -> psycopg.Connection[Any]:
        if away.is_set():
            raise TrueupError("cannot connect to host x: nobody is there", "start it")
        connections.append(operator())
        return connections[-1]

    marks = {"snapshot_seconds": Mark(900, 0)}
    with (
        watching(connect, statements, report=told.append, **marks) as watched,
        watching(connect, statements, allow_blind=True, **marks) as allowed,
    ):
        watched.check()
        allowed.check()
        away.set()
        for connection in connections:
            with standby_less(operator) as look:
                look.execute("select pg_terminate_backend(%s)", [connection.info.backend_pid])
        until(watched.reason)
        reason = watched.reason() or ""
        assert reason.endswith("s: cannot connect to host x: nobody is there"), reason
        assert {each.sample.state for each in watched.readings()} == {"blind"}
        with pytest.raises(TrueupError, match="the brakes have seen nothing for"):
            watched.check()
        time.sleep(0.6)
        assert allowed.reason() is None
        allowed.check()
        away.clear()
        until(lambda: watched.reason() is None)
    assert [(change.name, change.is_on) for change in told] == [("brakes", True), ("brakes", False)]


@contextmanager
def standby_less(operator: Connect) -> Iterator[psycopg.Connection[Any]]:
    with operator() as connection:
        connection.autocommit = True
        yield connection


def test_a_server_that_was_never_there(
    statements: Statements, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brakes, "BLIND_SECONDS", 0.3)

    def connect() -> psycopg.Connection[Any]:
        return psycopg.connect("host=127.0.0.1 port=1 dbname=x", connect_timeout=1)

    with watching(connect, statements) as watched:
        with pytest.raises(TrueupError, match="the brakes have seen nothing"):
            watched.check()
        assert watched.reason()


def test_a_stuck_statement_counts_as_blind(operator: Connect, statements: Statements) -> None:
    """No statement may take longer than its timeout, whatever it waits for."""
    stuck = Statement("brake_slot_bytes", (), "select pg_sleep(60)")
    with watching(operator, {**statements, "brake_slot_bytes": stuck},
                  slot_bytes=Mark(1, 0), blocked_ms=Mark(1, 0)) as watched:  # fmt: skip
        with pytest.raises(TrueupError, match=r"slot_bytes: .*statement timeout"):
            watched.check()
        assert of(watched, "blocked_ms").sample.state == "seen"


# ------------------------------------------------------------------------------ whole runs


@pytest.fixture
def moved(built: App, primary: server.Address, place: Path) -> App:
    """The built sample on the primary, where a standby can follow it."""
    binaries = server.binaries(server.home(place))
    dump = built.settings.state / "dump"
    target = psycopg.conninfo.make_conninfo(
        primary.conninfo("postgres"), user=server.SUPERUSER, dbname=built.database
    )
    with standby.superuser(primary, "postgres") as connection:
        connection.execute(f"create database {built.database} owner {server.ROLE}")
    for program, *arguments in (
        ["pg_dump", "-Fc", "-f", str(dump), built.url],
        ["pg_restore", "--exit-on-error", "-d", target, str(dump)],
    ):
        command = [str(binaries / program), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    environment = {**built.environment, "PGPORT": str(primary.port), "PGPASSWORD": primary.password}
    return dataclasses.replace(built, environment=environment)


def brake_of(app: App) -> str | None:
    rows = app.query("select max(brake) from trueup_ledger.stage_migration_control")
    return rows[0][0] if rows else None


def changed(app: App) -> int:
    return int(
        app.query("select sum(rows_updated) from trueup_ledger.stage_migration_batches")[0][0]
    )


def test_a_run_waits_for_its_standby(
    moved: App, primary: server.Address, place: Path, tmp_path: Path
) -> None:
    """It does not fail, stops within a sample, and goes on when the standby has caught up."""
    path = moved.project / "dbt_project.yml"
    text = path.read_text("utf-8")
    usual, small = "stop: 67108864, start: 16777216", "stop: 200000, start: 20000"
    assert usual in text
    path.write_text(text.replace(usual, small), "utf-8")
    made = migration.make_plan(moved, pace=dataclasses.replace(migration.PACE, batch_size=100))
    with (
        standby.superuser(primary) as connection,
        standby.standby(place, tmp_path / "standby") as follower,
        standby.superuser(follower, moved.database) as replay,
    ):
        standby.until_it_follows(connection)
        replay.execute("select pg_wal_replay_pause()")
        run = migration.command(moved, "apply", "--yes", "--sleep-ms", "100", "--verbose")
        try:
            until(lambda: brake_of(moved) or run.poll() is not None)
            assert "replica_bytes: standby follower is " in (brake_of(moved) or "")
            time.sleep(0.5)  # what was under way when the brake came on
            before = changed(moved)
            assert 0 < before < made.rows_planned
            time.sleep(1.5)
            assert run.poll() is None
            assert changed(moved) == before
            replay.execute("select pg_wal_replay_resume()")
            out, err = run.communicate(timeout=60)
        finally:
            run.kill()
        assert run.returncode == 0, out + err
        assert "Waiting for replica_bytes: standby follower" in out + err
        assert "Going on: replica_bytes: standby follower" in out + err
        assert changed(moved) == made.rows_planned
        assert brake_of(moved) is None
        standby.until_it_follows(connection)
        pending = "select count(*) from trueup_audit.audit_pending_changes"
        assert replay.execute(pending).fetchone() == (0,)


def test_a_run_without_sight_needs_to_be_told_so(moved: App, primary: server.Address) -> None:
    with standby.superuser(primary) as connection:
        connection.execute(f"revoke pg_monitor from {server.ROLE}")
        try:
            migration.make_plan(moved)
            code, out, err = migration.done(moved, "apply", "--yes")
            assert (code, changed(moved)) == (2, 0), out + err
            assert "role trueup cannot see for how long" in err
            assert "`grant pg_monitor to trueup`" in err and "--allow-blind-brakes" in err
            arguments = ("apply", "--yes", "--sleep-ms", "0", "--allow-blind-brakes")
            code, out, err = migration.done(moved, *arguments)
            assert code == 0, out + err
        finally:
            connection.execute(f"grant pg_monitor to {server.ROLE}")
