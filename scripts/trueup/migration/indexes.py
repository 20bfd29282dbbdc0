"""`trueup index`: the partial index of rows that still need work, made and dropped CONCURRENTLY.

It holds the keys of the rows whose value is not canonical, so that batches over a large table that
is nearly clean read these rows only. As long as it is there no update of the column is HOT.

Building and dropping never hold up a writer. They wait for older transactions; a second connection
says for whom, and gives way where somebody wants a lock behind which writers would queue.
"""

from __future__ import annotations

import functools
import hashlib
import json
import shlex
import threading
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from trueup import findings
from trueup.core import config, statements
from trueup.core.connection import Connection
from trueup.core.errors import TrueupError
from trueup.core.settings import Settings
from trueup.migration import tables

MARK = "made by trueup, `trueup index drop` removes it: "  # begins the comment on the index
NAME_BYTES = 63  # of a name in PostgreSQL
LARGE_ROWS = 100_000  # a smaller table is read in no time
POLL_SECONDS = 0.2
GIVE_WAY = 2  # looks in a row at which somebody is held up by us
WAIT_SECONDS = 60.0  # for older transactions, where nobody says otherwise
CLEAN_SECONDS = 10.0  # for dropping what a build has left
ENTRY_BYTES = 12  # of an index entry beside the key: header and pointer
FILL = 0.9  # of a page of a fresh index
LEAST_BYTES = 16_384  # an empty index has two pages

Connect = Callable[[str], Connection]  # by application name, in autocommit mode
Say = Callable[[str], None]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Index:
    """An index that has our name.

    is_ours: and our shape; comment: of ours and complete, MARK and JSON. bytes: its size
    """

    name: str
    table_name: str
    table_qualified: str
    qualified: str
    is_valid: bool
    is_ours: bool
    bytes: int
    comment: str | None
    owner: str
    is_owner: bool

    @property
    def values(self) -> list[str] | None:
        """The canonical values it leaves out; None where it is not complete."""
        if not (self.is_valid and self.is_ours and (self.comment or "").startswith(MARK)):
            return None
        try:
            found = json.loads(str(self.comment)[len(MARK) :])["values"]
        except (ValueError, KeyError, TypeError):
            return None
        return found if isinstance(found, list) else None


@dataclass(frozen=True)
class Candidate:
    """A managed column that may get an index.

    share:   of its rows that need work, None where nobody has analyzed the table
    bytes:   about the size it would have
    refusal: why it cannot have one, with what to do; doubt: why it should not, None where it should
    existing: what stands under its name already
    """

    entry: Mapping[str, Any]
    facts: tables.TableFacts
    values: list[str]
    share: float | None
    bytes: int | None
    refusal: tuple[str, str] | None = None
    doubt: tuple[str, str] | None = None
    existing: Index | None = None

    @property
    def subject(self) -> str:
        """table.column"""
        return f"{self.entry['table']}.{self.entry['column']}"

    @property
    def is_there(self) -> bool:
        """The very index is there and complete."""
        return self.existing is not None and self.existing.values == self.values


def index_name(table: str, column: str) -> str:
    """trueup_pending__deals__stage; odd names carry a digest, long ones are cut with one."""
    name = statements.column_statement(tables.PENDING_INDEX, table, column)
    if len(name) <= NAME_BYTES:
        return name
    digest = hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()[:8]
    return f"{name[: NAME_BYTES - 9]}_{digest}"


def most_share(settings: Settings) -> float:
    """The var migration.index_share: at which share of rows an index does not pay any more."""
    found = (config.project_variables(settings).get("migration") or {}).get("index_share")
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 < found <= 1:
        raise TrueupError(
            f"vars.migration.index_share of dbt_project.yml is {found!r}; "
            "allowed: a share of the rows, above 0 and up to 1",
            "docs/configuration.md explains every entry.",
        )
    return float(found)


def in_scope(
    found: Collection[Index], table_names: Collection[str], column_names: Collection[str]
) -> list[Index]:
    """Those of ours on these tables and columns; of all where none are named."""
    return [
        index
        for index in found
        if index.is_ours
        and (not table_names or index.table_name in table_names)
        and (
            not column_names
            or index.name in {index_name(index.table_name, column) for column in column_names}
        )
    ]


def own(connected: Connection, app_schema: str) -> list[Index]:
    """The indexes of ours in the application's schema, half-made ones too."""
    statement = _statements()["own_indexes"]
    values = {"schema_name": app_schema, "prefix": f"{tables.PENDING_INDEX}__"}
    with psycopg.RawCursor(connected, row_factory=class_row(Index)) as cursor:
        cursor.execute(statement.sql, [values[name] for name in statement.parameters])
        return cursor.fetchall()


def pending_values(
    connected: Connection,
    app_schema: str,
    entry: Mapping[str, Any],
    planned: Collection[str] = (),
) -> list[str] | None:
    """The canonical values that our index on a managed column leaves out; None where it is of no
    use: there is none, it is not complete, or a planned value is among them.

    planned: values that rows are to be changed from. A vocabulary may have lost a value since the
             index was made, and a rollback begins at canonical values: passed to a batch, the
             index's values would hide these rows from it.
    """
    name = index_name(entry["table"], entry["column"])
    for index in own(connected, app_schema):
        if index.name == name and index.table_name == entry["table"]:
            values = index.values
            return None if values is None or set(values) & set(planned) else values
    return None


def examine(
    settings: Settings,
    connected: Connection,
    app_schema: str,
    entry: Mapping[str, Any],
    most_share: float,
) -> Candidate:
    """Whether a column can have the index, and whether it should: reads catalogs only.

    Raises TrueupError where the vocabulary has no seed file.
    """
    facts = tables.facts(statements.statements(settings), connected, app_schema, entry)
    values = list(config.vocabulary(settings, entry["vocabulary"]).values)
    known: dict[str, Any] = {"entry": entry, "facts": facts, "values": values,
                             "share": None, "bytes": None}  # fmt: skip
    if refusal := _refusal(connected, facts):
        return Candidate(**known, refusal=refusal)
    name = index_name(entry["table"], entry["column"])
    known["existing"] = next((each for each in own(connected, app_schema) if each.name == name),
                             None)  # fmt: skip
    if known["existing"] and not (
        known["existing"].is_ours and known["existing"].table_name == facts.table
    ):
        taken = f"there is another index of the name {name}, on {known['existing'].table_name}"
        return Candidate(**known, refusal=(taken, f"alter index {name} rename to ..."))
    found = _statements()["pending_share"].run(
        connected, schema_name=app_schema, table_name=facts.table, column_name=facts.column_name,
        key_columns=[name for name, _ in facts.key], canonical_values=values,
    ).fetchone()  # fmt: skip
    if found is None or facts.estimated_rows is None:
        analyze = f"`analyze {facts.qualified}` first, or --force"
        return Candidate(
            **known, doubt=("nobody knows how many rows need work: it was never analyzed", analyze)
        )
    known["share"], key_bytes = found
    known["bytes"] = _size(facts.estimated_rows * known["share"], key_bytes)
    if known["share"] > most_share:
        return Candidate(**known, doubt=(
            f"about {known['share']:.1%} of its rows need work, more than {most_share:.1%}:"
            " a batch finds enough of them without an index",
            "--force makes it all the same",
        ))  # fmt: skip
    return Candidate(**known)


def proposal(
    facts: tables.TableFacts, rows: int, rows_pending: int, most_share: float
) -> findings.Finding | None:
    """What `trueup plan` says of a large table with little work: an index would be of use.

    rows, rows_pending: of the column, all and those with a value that is not canonical, counted.
    """
    subject = f"{facts.table}.{facts.column_name}"
    if (
        rows <= LARGE_ROWS
        or not 0 < rows_pending <= rows * most_share
        or facts.kind != "table"
        or any(index.is_pending(facts.column_name) for index in facts.indexes)
    ):
        return None
    return findings.Finding(
        subject,
        findings.OK,
        f"only {rows_pending:,} of {rows:,} rows ({rows_pending / rows:.1%}) are not canonical: an"
        " index of them would spare batches the others, and cost the HOT updates",
        f"trueup index create --table {shlex.quote(facts.table)}"
        f" --column {shlex.quote(facts.column_name)}, if you want it",
    )


def create(
    connect: Connect,
    candidate: Candidate,
    statement: statements.Statement,
    say: Say,
    progress: Progress = lambda what, done, total: None,
    wait_seconds: float = WAIT_SECONDS,
) -> None:
    """Make the index; what an earlier attempt has left is dropped before.

    statement: the column's pending_index, which writes the text of `create index`
    Raises TrueupError where older transactions do not end in time, or where somebody else wants to
    lock the table. Nothing is left behind then, nor by Ctrl-C, unless the error says so.
    """
    entry, facts = candidate.entry, candidate.facts
    if candidate.is_there:
        return
    name = index_name(entry["table"], entry["column"])
    if candidate.existing:
        say(f"{candidate.existing.qualified} is incomplete or of another vocabulary; made anew")
        drop(connect, candidate.existing, say, wait_seconds)
    with connect("trueup") as connected:
        # Before, not during: waiting for these leaves nothing to be tidied up.
        _wait_for_writers(connected, facts.qualified, say, wait_seconds)
        ((text,),) = statement.run(
            connected, index_name=name, canonical_values=candidate.values
        ).fetchall()
        index = sql.Identifier(facts.schema, name)
        comment = MARK + json.dumps(
            {"table": facts.table, "column": facts.column_name, "values": candidate.values},
            ensure_ascii=False,
        )
        try:
            _watched(connect, facts.qualified, sql.SQL(text), say, progress, wait_seconds)
            connected.execute(
                sql.SQL("comment on index {} is {}").format(index, sql.Literal(comment))
            )
        except BaseException:
            _tidy(connect, facts.qualified, index, say)
            raise


def drop(connect: Connect, index: Index, say: Say, wait_seconds: float = WAIT_SECONDS) -> None:
    """Drop an index of ours; TrueupError where older transactions do not end in time.

    It is of no more use then, and the next attempt ends it.
    """
    if not index.is_owner:
        raise TrueupError(
            f"{index.qualified} belongs to the owner of table {index.table_name}, {index.owner}",
            f"`trueup index drop`, run as {index.owner}, drops it.",
        )
    _watched(
        connect, index.table_qualified, sql.SQL("drop index concurrently if exists {}").format(
            sql.SQL(index.qualified)
        ), say, lambda what, done, total: None, wait_seconds,
    )  # fmt: skip


def _refusal(connected: Connection, facts: tables.TableFacts) -> tuple[str, str] | None:
    """Why a table can have no such index, and what to do."""
    if not facts.exists or facts.column is None:
        return (f"there is no {facts.schema}.{facts.table} with such a column",
                "correct managed_columns in dbt_project.yml")  # fmt: skip
    if facts.kind == "partitioned table":
        return (
            "it is partitioned, and PostgreSQL makes no index concurrently there; any other way"
            " would hold up its writers",
            "leave it out: batches walk the key, and only read more without it",
        )
    if facts.kind != "table":
        return f"it is a {facts.kind}", "name its table"
    if not facts.is_owner:
        ((owner,),) = _statements()["owner"].run(connected, qualified=facts.qualified).fetchall()
        return (
            f"role {connected.info.user} is not the owner of {facts.qualified}, and only its owner"
            " makes an index",
            f"run it as {owner}, or have its owner run it",
        )
    return None


def _size(rows: float, key_bytes: int) -> int:
    """Bytes of a B-tree of so many keys."""
    aligned = -(-(8 + key_bytes) // 8) * 8 + 4
    return max(int(rows * aligned / FILL), LEAST_BYTES)


@dataclass
class _Watch:
    """What the watcher has seen.

    waiting: whom the work waits for, in words; verdict: why it was cancelled, message and remedy
    """

    waiting: str = ""
    since: float = 0.0
    held_up: int = 0
    verdict: tuple[str, str] | None = None
    is_over: threading.Event = field(default_factory=threading.Event)


def _watched(
    connect: Connect,
    table: str,
    statement: sql.SQL | sql.Composed,
    say: Say,
    progress: Progress,
    wait_seconds: float,
) -> None:
    """Run a statement that waits for others, under the eyes of a second connection."""
    name = f"trueup index {uuid.uuid4().hex[:12]}"
    watch = _Watch()
    with connect(name) as connected:
        _limit(connected, wait_seconds)
        watcher = threading.Thread(
            target=_keep_watch, args=(connect, name, table, watch, say, progress, wait_seconds),
            daemon=True,
        )  # fmt: skip
        watcher.start()
        try:
            connected.execute(statement)
        except (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable) as error:
            message, remedy = watch.verdict or (
                f"{error.diag.message_primary}: {watch.waiting or 'others use the table'}",
                "Run it again when they have ended.",
            )
            raise TrueupError(message, remedy) from None
        finally:
            watch.is_over.set()
            watcher.join(timeout=5)


def _limit(connected: Connection, wait_seconds: float) -> None:
    """For a runner that is killed: the server ends the work by itself.

    Not through a pooler, whose next client would get the settings; the watcher is enough there.
    """
    ((pid,),) = connected.execute("select pg_backend_pid()").fetchall()
    if pid != connected.info.backend_pid:
        return
    for setting, value in (
        ("lock_timeout", f"{wait_seconds + 5:.0f}s"),
        ("statement_timeout", "0"),
        ("client_connection_check_interval", "2s"),
    ):
        with suppress(psycopg.Error):  # not every platform can tell that a client is gone
            connected.execute("select set_config(%s, %s, false)", (setting, value))


def _keep_watch(
    connect: Connect,
    name: str,
    table: str,
    watch: _Watch,
    say: Say,
    progress: Progress,
    wait_seconds: float,
) -> None:
    # a watcher that fails is no reason to end the work: the timeouts are still there
    with suppress(psycopg.Error, TrueupError), connect("trueup") as looking:
        found = _statements()
        while not watch.is_over.wait(POLL_SECONDS):
            row = found["working"].run(
                looking, application_name=name, qualified=table
            ).fetchone()  # fmt: skip
            if row is None:
                continue
            pid, phase, done, total = row
            if phase:
                progress(phase, done, total)
            _note_waiting(looking, pid, watch, say)
            _judge(looking, pid, table, watch, wait_seconds)
            if watch.verdict:
                found["cancel"].run(looking, pid=pid)
                return


def _note_waiting(looking: Connection, pid: int, watch: _Watch, say: Say) -> None:
    others = _statements()["waited_for"].run(looking, pid=pid).fetchall()
    words = _sessions(others)
    if words and not watch.waiting:
        watch.since = time.monotonic()
    if words and words.partition(",")[0] != watch.waiting.partition(",")[0]:
        say(f"waits for {words}")
    watch.waiting = words


def _judge(looking: Connection, pid: int, table: str, watch: _Watch, wait_seconds: float) -> None:
    """Decide whether to go on: not where writers are about to be held up, and not for ever."""
    rows = _statements()["held_up"].run(looking, pid=pid, qualified=table).fetchall()
    watch.held_up = watch.held_up + 1 if rows else 0
    if watch.held_up >= GIVE_WAY:
        other, name, mode = rows[0]
        watch.verdict = (
            f"gave way to {name} (process {other}), which wants {mode} on {table}:"
            " every writer would have waited behind it",
            "Run it again when that is done.",
        )
    elif watch.waiting and time.monotonic() - watch.since > wait_seconds:
        watch.verdict = _too_long(watch.waiting, wait_seconds)


def _wait_for_writers(connected: Connection, table: str, say: Say, wait_seconds: float) -> None:
    """Until those who have written to the table by now have ended."""
    statement = _statements()["writers"]
    asked = time.monotonic()
    first = {row[0] for row in statement.run(connected, qualified=table)}
    said = False
    while first:
        rows = [row for row in statement.run(connected, qualified=table) if row[0] in first]
        first = {row[0] for row in rows}
        if rows and time.monotonic() - asked > wait_seconds:
            raise TrueupError(*_too_long(_sessions([row[1:] for row in rows]), wait_seconds))
        if rows and not said and time.monotonic() - asked > 2 * POLL_SECONDS:
            say(f"waits for {_sessions([row[1:] for row in rows])}")
            said = True
        time.sleep(POLL_SECONDS)


def _too_long(whom: str, wait_seconds: float) -> tuple[str, str]:
    return (
        f"waited {wait_seconds:.0f} s in vain for {whom}",
        "Run it again when that has ended, or wait longer with --wait.",
    )


def _sessions(rows: Sequence[tuple[Any, ...]]) -> str:
    """Sessions in words, the oldest first: session psql (process 71, idle, open for 93 s)."""
    found = []
    for pid, name, state, age in rows[: tables.SHOWN]:
        if not pid:
            found.append("a prepared transaction")
            continue
        details = [f"process {pid}", *([state] if state else []),
                   *([f"open for {age:.0f} s"] if age is not None else [])]  # fmt: skip
        found.append(f"session {name or 'of another role'} ({', '.join(details)})")
    more = len(rows) - tables.SHOWN
    return "; ".join(found) + (f"; and {more} more" if more > 0 else "")


def _tidy(connect: Connect, table: str, index: sql.Identifier, say: Say) -> None:
    """Drop what a build has left, in any case within seconds; says so where it cannot."""
    statement = sql.SQL("drop index concurrently if exists {}").format(index)
    try:
        _watched(connect, table, statement, say, lambda what, done, total: None, CLEAN_SECONDS)
    except (psycopg.Error, TrueupError, KeyboardInterrupt) as reason:
        left = {
            TrueupError: "an index that is not valid is left behind: the table is still in use",
            KeyboardInterrupt: "an index that is not valid may be left behind: stopped once more",
        }.get(type(reason), "an index that is not valid may be left behind: the server is gone")
        say(f"{left}. `trueup index drop` removes it, `trueup index create` makes it anew.")


@functools.cache
def _statements() -> dict[str, statements.Statement]:
    return statements.read(Path(__file__).with_name("indexes.sql"))
