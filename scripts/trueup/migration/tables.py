"""Examines a managed table and its server, and reports what endangers a run.

`facts` and `server_facts` ask the catalogs by analyses/migration/tables.sql (no row of the
application is read), `judge` and `judge_server` turn the answers into findings. `trueup doctor`
uses writes=False: faults that only concern an in-place migration are warnings. `trueup plan` and
`trueup apply` use writes=True: then they are failures.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import psycopg
from psycopg import sql

from trueup.core import ledger, records
from trueup.core.statements import Statement
from trueup.findings import FAIL, OK, WARN, Finding
from trueup.migration.brakes import Mark
from trueup.show.terminal import bytes_text, duration

OLDEST, NEWEST = 15, 18  # PostgreSQL, supported

TEXT_TYPES = ("text", "varchar", "citext")  # a batch can compare and write them as they are
OLD_SECONDS = 60  # a transaction open for longer holds back pruning during a run
OLD_TRANSACTIONS = 10_000  # the same for standbys and slots, which have no start time
LEAST_DEADLOCK_MS = 250  # a batch waits up to 200 ms for a lock: at most 0.8 of it
SHORT_STATEMENT_MS = 600_000  # models and verification read whole tables
UPDATED_LEDGER = ("migration_runs", "stage_migration_batches", "stage_migration_control")
SHOWN = 3  # names in a list before it says how many more there are

Record = TypeVar("Record")
Named = Mapping[str, Statement]
Part = tuple[str, str, str]  # status, found, remedy


@dataclass(frozen=True)
class Column:
    """A column. base: the type below its domains, 'enum' for any enum; max_length: characters."""

    name: str
    quoted: str
    type: str
    base: str
    max_length: int | None
    is_domain: bool
    domain_checks: tuple[str, ...]
    collation: str | None
    is_deterministic: bool
    is_not_null: bool
    generated: str | None  # stored, virtual


@dataclass(frozen=True)
class Index:
    """An index and the columns it contains in each way; bytes: its size.

    remedy: what to do if an update of one of these columns has to write to it
    """

    qualified: str
    method: str
    bytes: int
    remedy: str
    key_columns: tuple[str, ...]
    included_columns: tuple[str, ...]
    expression_columns: tuple[str, ...]
    predicate_columns: tuple[str, ...]

    def role(self, column: str) -> str | None:
        """How it contains the column: key, include, expression or predicate; None: not at all."""
        roles = {
            "key": self.key_columns,
            "include": self.included_columns,
            "expression": self.expression_columns,
            "predicate": self.predicate_columns,
        }
        return next((role for role, columns in roles.items() if column in columns), None)


@dataclass(frozen=True)
class Trigger:
    """A trigger. fires: an update of the managed column starts it; sets_columns: see tables.sql."""

    name: str
    function: str
    timing: str  # before, after, instead of
    events: str  # insert or update or ...
    is_row: bool
    is_enabled: bool
    fires: bool
    sets_columns: tuple[str, ...]


@dataclass(frozen=True)
class Constraint:
    """A constraint on the managed column; relation: the table that has it."""

    name: str
    kind: str
    relation: str


@dataclass(frozen=True)
class TableFacts:
    """The catalogs' facts of a managed column and its table; empty if there is no table.

    estimated_rows: the planner's estimate; None if never analyzed. bytes: with indexes.
    kind: table, partitioned table, view, materialized view, foreign table, ...
    children, parents: of inheritance, not partitions. never_analyzed: relations with rows.
    """

    schema: str
    table: str
    column_name: str
    key: tuple[tuple[str, str], ...]
    needed: tuple[str, ...]
    exists: bool = False
    qualified: str = ""
    schema_quoted: str = ""
    kind: str = ""
    partitions: int = 0
    children: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    primary_key: tuple[str, ...] = ()
    estimated_rows: int | None = None
    bytes: int = 0
    last_analyze: datetime | None = None
    never_analyzed: tuple[str, ...] = ()
    replica_identities: tuple[str, ...] = ()  # default, nothing, full, index
    fillfactor: int = 100
    indexes: tuple[Index, ...] = ()
    triggers: tuple[Trigger, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    computed_columns: tuple[str, ...] = ()  # generated from the managed column
    views: tuple[str, ...] = ()
    publications: tuple[str, ...] = ()  # that publish updates
    update_rules: tuple[str, ...] = ()
    is_partition_key: bool = False
    may_use_schema: bool = False
    missing_select: tuple[str, ...] = ()
    may_update: bool = False
    more_rights: tuple[str, ...] = ()  # than select and update of the column
    is_owner: bool = False
    row_security_active: bool = False  # for the current role

    @property
    def column(self) -> Column | None:
        """The managed column; None if the table has none of that name."""
        return next((each for each in self.columns if each.name == self.column_name), None)


@dataclass(frozen=True)
class Blocker:
    """An index that costs HOT updates, and why in words; by_trigger: whatever column we change."""

    index: Index
    words: str
    by_trigger: bool


@dataclass(frozen=True)
class Snapshot:
    """Who keeps old row versions from being pruned.

    kind: session, prepared transaction, replication slot. age_seconds: None if it has no start
    time (is_remote) or where we may not see it. age_transactions: begun since, on this server.
    """

    kind: str
    name: str
    pid: int | None
    state: str | None
    age_seconds: float | None
    age_transactions: int
    is_active: bool
    is_remote: bool

    @property
    def is_old(self) -> bool:
        """Whether it would pin the horizon of a run; what cannot be seen counts as old."""
        if self.is_remote:
            return not self.is_active or self.age_transactions > OLD_TRANSACTIONS
        return self.age_seconds is None or self.age_seconds > OLD_SECONDS

    @property
    def label(self) -> str:
        """The snapshot in words: session psql (process 71, idle in transaction, open for 93 s)."""
        if self.age_seconds is not None:
            age = f"open for {duration(self.age_seconds)}"
        elif self.is_remote:
            age = f"{self.age_transactions:,} transactions old"
        else:
            age = "of an age that this role cannot see"
        process = f"process {self.pid}" if self.pid and str(self.pid) not in self.name else None
        more = [part for part in (process, self.state, age) if part]
        return f"{self.kind} {self.name} ({', '.join(more)})"


@dataclass(frozen=True)
class Replica:
    """A receiver of the log; None if this role cannot see it."""

    name: str
    state: str | None
    lag_bytes: int | None
    lag_seconds: float | None


@dataclass(frozen=True)
class Slot:
    """A replication slot and the bytes of log that it keeps."""

    name: str
    kind: str
    is_active: bool
    wal_status: str | None
    kept_bytes: int | None


@dataclass(frozen=True)
class LedgerFacts:
    """The ledger's missing relations, and the role's missing rights on the existing ones."""

    schema: str
    missing: tuple[str, ...]
    missing_rights: tuple[str, ...]
    is_absent: bool


@dataclass(frozen=True)
class ServerFacts:
    """Facts for all tables. Timeouts: those of this role, 0 = none; version: 15 to 18."""

    version: int
    role: str
    database: str
    deadlock_timeout_ms: int
    lock_timeout_ms: int
    statement_timeout_ms: int
    is_standby: bool
    sees_activity: bool
    behind_pooler: bool
    wal_level: str
    full_page_writes: bool
    snapshots: tuple[Snapshot, ...]  # the oldest first
    replicas: tuple[Replica, ...]
    slots: tuple[Slot, ...]
    ledger: LedgerFacts


# ------------------------------------------------------------------------------ looking


def facts(
    named: Named, connected: psycopg.Connection[Any], schema: str, entry: Mapping[str, Any]
) -> TableFacts:
    """Examine one entry of managed_columns; exists is False if there is no such table.

    named: the statements of the project, see statements.statements.

    Takes no lock for longer than a statement, but waits for one that an `alter table` holds.
    """
    column = str(entry["column"])
    columns = [column, *entry["key"], entry.get("tenant"), entry.get("updated_at")]
    needed = tuple(dict.fromkeys(str(name) for name in columns if name))
    known: dict[str, Any] = {
        "schema": schema,
        "table": str(entry["table"]),
        "column_name": column,
        "key": tuple((str(name), str(kind)) for name, kind in entry["key"].items()),
        "needed": needed,
    }
    found = _rows(
        named, connected, "table__relation", schema_name=schema, table_name=known["table"]
    )
    if not found:
        return TableFacts(**known)
    (relation,) = found
    oid, members = relation.pop("oid"), list(relation.pop("members"))
    return TableFacts(
        **known,
        exists=True,
        **relation,
        columns=_records(Column, named, connected, "table__columns", oid=oid),
        primary_key=tuple(
            row["name"] for row in _rows(named, connected, "table__primary_key", oid=oid)
        ),
        **_rows(named, connected, "table__storage", members=members, column_name=column)[0],
        indexes=_records(Index, named, connected, "table__indexes", members=members),
        triggers=_records(
            Trigger,
            named,
            connected,
            "table__triggers",
            oid=oid,
            members=members,
            column_name=column,
        ),
        constraints=_records(
            Constraint, named, connected, "table__constraints", oid=oid, column_name=column
        ),
        **_rows(
            named, connected, "table__surroundings", oid=oid, members=members, column_name=column
        )[0],
        **_rows(
            named,
            connected,
            "table__rights",
            oid=oid,
            column_name=column,
            needed_columns=list(needed),
        )[0],
    )


def server_facts(
    named: Named,
    connected: psycopg.Connection[Any],
    ledger_schema: str = ledger.DEFAULT_SCHEMA,
) -> ServerFacts:
    """Look at the server, at what goes on there, and at the ledger."""
    (server,) = _rows(named, connected, "server__settings")
    # A pooler invents the process id that it sends to the client.
    behind_pooler = server.pop("backend_pid") != connected.info.backend_pid
    (tables,) = _rows(
        named,
        connected,
        "server__ledger",
        schema_name=ledger_schema,
        relation_names=list(ledger.RELATIONS),
        updated_names=list(UPDATED_LEDGER),
    )
    return ServerFacts(
        **server,
        behind_pooler=behind_pooler,
        snapshots=_records(Snapshot, named, connected, "server__snapshots"),
        replicas=_records(Replica, named, connected, "server__replicas"),
        slots=_records(Slot, named, connected, "server__slots"),
        ledger=LedgerFacts(**tables, is_absent=len(tables["missing"]) == len(ledger.RELATIONS)),
    )


def _rows(
    named: Named, connected: psycopg.Connection[Any], statement: str, **values: object
) -> list[dict[str, Any]]:
    """The rows of a statement by column name, arrays as tuples."""
    return [
        {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
        for row in records.rows(connected, named[statement], **values)
    ]


def _records(
    kind: type[Record],
    named: Named,
    connected: psycopg.Connection[Any],
    statement: str,
    **values: object,
) -> tuple[Record, ...]:
    return tuple(kind(**row) for row in _rows(named, connected, statement, **values))


# ------------------------------------------------------------------------------ judging a table


def judge(
    facts: TableFacts,
    server: ServerFacts,
    canonical_max_length: int | None,
    *,
    writes: bool,
    document: bool = False,
    built: bool = False,
    production: bool = False,
) -> list[Finding]:
    """Findings on one managed column: what is fine, what endangers a run, what rules it out.

    canonical_max_length: characters of the longest value to be written; None = not known.
    writes:     rows will be changed in place; False: only models read the table, and what
                only writing needs is a warning.
    document:   a jsonb column, which is never changed in place.
    built:      the models exist; what only building them needs is a warning.
    production: more rights than needed are worth a warning.

    Findings on the table (subject `table`) are the same for each of its columns (subject
    `table.column`). A column without a failure has exactly one ok finding, the table another.
    """
    subject = f"{facts.table}.{facts.column_name}"
    wrong = [*_shape(facts, server, document)]
    if not facts.exists or facts.column is None or wrong:
        return [Finding(subject, *part) for part in wrong]
    blocked = FAIL if writes else WARN
    parts = [*_readable(facts, server, document, built, blocked)]
    if not document:
        parts += _type(facts, facts.column, canonical_max_length, blocked)
        parts += _writable(facts, server, facts.column, blocked)
        parts += _slow(facts, server, by_trigger=False)
        parts += _refusing(facts, facts.column)
    if not any(status == FAIL for status, _, _ in parts):
        key = ", ".join(f"{name} {kind}" for name, kind in facts.key)
        parts.insert(0, (OK, f"{facts.column.type}, key {key}", ""))
    findings = [Finding(subject, *part) for part in parts]
    if not document:
        table_parts = [*_table(facts, server, blocked, production)]
        if not any(status == FAIL for status, _, _ in table_parts):
            table_parts.insert(0, (OK, _size_of(facts), ""))
        findings += [Finding(facts.table, *part) for part in table_parts]
    return findings


def hot_blockers(facts: TableFacts, server: ServerFacts) -> list[Blocker]:
    """Indexes that a change of the column must write to: each costs the HOT updates.

    They contain the column, a column generated from it, or one that a BEFORE trigger visibly sets.
    """
    touched = [
        (facts.column_name, "the column", False),
        *((name, f"{name}, which is generated from it", False) for name in facts.computed_columns),
        *(
            (name, f"{name}, which trigger {trigger.name} sets", True)
            for trigger in facts.triggers
            if trigger.fires
            for name in trigger.sets_columns
        ),
    ]
    found = []
    for index in facts.indexes:
        if index.method == "brin" and server.version >= 16:
            continue  # summarizing indexes no longer stand in the way
        for name, words, by_trigger in touched:
            if role := index.role(name):
                words = f"{index.method} index {index.qualified} has {words}, in its {role}"
                found.append(Blocker(index, words, by_trigger))
                break
    return found


def stripes_possible(facts: TableFacts, server: ServerFacts) -> tuple[bool, str]:
    """Whether striping pays for this column, and why (not), in one sentence.

    It pays if the next stripe can reuse the space that the last one freed: if updates are HOT and
    no session holds back pruning.
    """
    if blockers := hot_blockers(facts, server):
        return False, f"{blockers[0].words}, which rules out HOT updates"
    if old := [snapshot for snapshot in server.snapshots if snapshot.is_old]:
        return False, f"{old[0].label} keeps old row versions from being pruned"
    return True, (
        f"no index contains {facts.column_name}, and no snapshot is older than {OLD_SECONDS} s"
    )


def _shape(facts: TableFacts, server: ServerFacts, document: bool) -> Iterator[Part]:
    """Structural errors; if there is one, the other checks are skipped."""
    where = f"{facts.schema}.{facts.table}"
    configured = "correct managed_columns in dbt_project.yml"
    if not facts.exists:
        yield (
            FAIL,
            f"there is no table {where} in database {server.database}",
            "correct dbt_project.yml; `trueup demo` makes a sample",
        )
        return
    columns = {column.name: column for column in facts.columns}
    for name in facts.needed:
        if name not in columns:
            yield FAIL, f"{where} has no column {name}; it has {', '.join(columns)}", configured
            return
    names = [name for name, _ in facts.key]
    if facts.kind in ("table", "partitioned table") and list(facts.primary_key) != names:
        yield (
            FAIL,
            f"the primary key of {where} is ({', '.join(facts.primary_key) or 'missing'}), "
            f"not ({', '.join(names)})",
            "correct key in managed_columns, or "
            f"alter table {facts.qualified} add primary key ({_quoted(facts, names)})",
        )
        return
    for name, kind in facts.key:
        if columns[name].type != kind:
            yield FAIL, f"key {name} is {columns[name].type}, not {kind}", "correct its type"
            return
    column = columns[facts.column_name]
    if document and column.type != "jsonb":
        yield FAIL, f"is {column.type}; a document is jsonb", "name a jsonb column"
    elif not document and column.base not in (*TEXT_TYPES, "bpchar", "enum"):
        yield FAIL, f"is {column.type}; only text can be managed", "name a text column"


def _readable(
    facts: TableFacts, server: ServerFacts, document: bool, built: bool, blocked: str
) -> Iterator[Part]:
    """Needs of models and migrations; documents are only read by models."""
    unread = WARN if document and built else FAIL
    if not facts.may_use_schema:
        yield (
            unread,
            f"role {server.role} may not use schema {facts.schema}",
            f"grant usage on schema {facts.schema_quoted} to {server.role}",
        )
    if facts.missing_select:
        missing = ", ".join(facts.missing_select)
        yield (
            unread,
            f"role {server.role} may not read {missing}",
            f"grant select ({missing}) on {facts.qualified} to {server.role}",
        )
    if facts.row_security_active:
        yield (
            WARN if document else blocked,
            f"row-level security may hide rows of {facts.qualified} from role {server.role}",
            f"alter role {server.role} bypassrls",
        )


def _type(facts: TableFacts, column: Column, longest: int | None, blocked: str) -> Iterator[Part]:
    change = f"alter table {facts.qualified} alter column {column.quoted} type text"
    if column.base == "bpchar":
        yield blocked, f"is {column.type}, which pads every value with spaces", change
    elif column.base == "enum":
        yield blocked, f"is the enum {column.type}, which only accepts its own values", change
    if column.max_length is not None and longest is not None and column.max_length < longest:
        yield (
            blocked,
            f"is {column.type}, at most {column.max_length} characters; "
            f"the longest value to write has {longest}",
            change if column.is_domain else change.replace("text", f"varchar({longest})"),
        )
    if column.base == "citext":
        yield WARN, "is citext, which ignores case; trueup compares byte by byte", ""
    if not column.is_deterministic:
        yield (
            WARN,
            f"{column.type} in the non-deterministic collation {column.collation}; "
            "trueup compares byte by byte",
            "",
        )


def _writable(
    facts: TableFacts, server: ServerFacts, column: Column, blocked: str
) -> Iterator[Part]:
    """Needs of an in-place migration only."""
    if not facts.may_update:
        yield (
            blocked,
            f"role {server.role} may not update it",
            f"grant update ({column.quoted}) on {facts.qualified} to {server.role}",
        )
    if column.generated:
        yield (
            blocked,
            f"is a {column.generated} generated column, which cannot be written",
            "manage the column it is computed from",
        )
    if facts.is_partition_key or column.name in facts.primary_key:
        what = "the partition key" if facts.is_partition_key else "the primary key"
        yield blocked, f"is part of {what}; a change would move the row", "leave it to the models"


def _slow(facts: TableFacts, server: ServerFacts, *, by_trigger: bool) -> Iterator[Part]:
    """Indexes that rule out HOT updates; those due to triggers are the same for each column."""
    for blocker in hot_blockers(facts, server):
        index = blocker.index
        if blocker.by_trigger != by_trigger:
            continue
        yield (
            WARN,
            f"{blocker.words} ({bytes_text(index.bytes)}): no HOT update",
            index.remedy if index.role(facts.column_name) else "expect more WAL and growth",
        )


def _refusing(facts: TableFacts, column: Column) -> Iterator[Part]:
    """Whatever may refuse a value that trueup writes, or change with it.

    check_others() recognizes the stored findings on generated columns and triggers by their first
    word.
    """
    if column.domain_checks:
        yield (
            WARN,
            f"domain {column.type} has checks ({_listed(column.domain_checks)}) that may refuse "
            "values",
            "try it on one tenant first: trueup plan --tenant ID",
        )
    for each in facts.constraints:
        if each.kind in ("check", "foreign key", "referenced by"):
            yield (
                WARN,
                f"{each.kind} {each.name} of {each.relation} may refuse values",
                "try it on one tenant first: trueup plan --tenant ID",
            )
    if facts.computed_columns:
        yield WARN, f"generated columns change with it: {_listed(facts.computed_columns)}", ""


def _table(
    facts: TableFacts, server: ServerFacts, blocked: str, production: bool
) -> Iterator[Part]:
    if facts.kind not in ("table", "partitioned table"):
        yield blocked, f"is a {facts.kind}; only a table can be changed in place", "name its table"
    if facts.children:
        yield (
            blocked,
            f"tables inherit from it: {_listed(facts.children)}; its key does not cover them",
            f"alter table {facts.children[0]} no inherit {facts.qualified}",
        )
    if facts.parents:
        yield WARN, f"inherits from {_listed(facts.parents)}, which shows its rows too", ""
    if facts.update_rules:
        yield (
            blocked,
            f"rules rewrite updates: {_listed(facts.update_rules)}",
            f"drop rule {facts.update_rules[0]} on {facts.qualified}",
        )
    yield from _triggers(facts)
    yield from _slow(facts, server, by_trigger=True)
    if facts.never_analyzed:
        yield (
            WARN,
            f"never analyzed: {_listed(facts.never_analyzed)}",
            f"analyze {facts.qualified}",
        )
    yield from _replicated(facts, blocked)
    if production and facts.may_update and facts.more_rights:
        rights = "as its owner " if facts.is_owner else ""
        yield (
            WARN,
            f"role {server.role} may {rights}do more than a migration needs: "
            f"{', '.join(facts.more_rights)}",
            "run as a role with no more than select and update of the managed columns",
        )


def _triggers(facts: TableFacts) -> Iterator[Part]:
    for trigger in facts.triggers:
        if not trigger.fires:
            continue
        name = f"trigger {trigger.name} ({trigger.function})"
        if trigger.timing == "before" and trigger.is_row:
            sets = f"; it sets {_listed(trigger.sets_columns)}" if trigger.sets_columns else ""
            yield (
                WARN,
                f"{name} fires before update and may change other columns{sets}",
                "try it on one tenant first: trueup plan --tenant ID",
            )
        else:
            level = "row" if trigger.is_row else "batch"
            yield WARN, f"{name} fires {trigger.timing} update, once per {level}", ""


def _replicated(facts: TableFacts, blocked: str) -> Iterator[Part]:
    """Publications, and the replica identity they need; without it updates are refused."""
    if not facts.publications:
        return
    published = f"published by {_listed(facts.publications)}"
    remedy = f"alter table {facts.qualified} replica identity default"
    if "nothing" in facts.replica_identities:
        yield blocked, f"{published} without a replica identity: updates are refused", remedy
    elif "full" in facts.replica_identities:
        yield WARN, f"{published} with replica identity full: whole rows go to the log", remedy


# ------------------------------------------------------------------------------ judging a server


def judge_server(server: ServerFacts, *, writes: bool, marks: Mapping[str, Mark]) -> list[Finding]:
    """The same for the server; one line per subject, and per old snapshot.

    marks: of the brakes that are not switched off (brakes.marks), at which a run would wait.
    """
    return [
        Finding(subject, *part)
        for subject, parts in (
            ("version", _version(server)),
            ("standby", _standby(server)),
            ("pooler", _pooler(server)),
            ("pg_monitor", _monitor(server)),
            ("timeouts", _timeouts(server)),
            ("snapshots", _snapshots(server, marks.get("snapshot_seconds"))),
            ("replicas", _replicas(server, marks)),
            ("slots", _slots(server, marks.get("slot_bytes"))),
            ("ledger", _ledger(server, FAIL if writes else WARN)),
        )
        for part in parts
    ]


def _version(server: ServerFacts) -> Iterator[Part]:
    supported = OLDEST <= server.version <= NEWEST
    yield (
        OK if supported else FAIL,
        f"PostgreSQL {server.version}",
        "" if supported else f"use PostgreSQL {OLDEST} to {NEWEST}",
    )


def _standby(server: ServerFacts) -> Iterator[Part]:
    if server.is_standby:
        yield FAIL, "a read-only standby", "connect to the primary"
    else:
        yield OK, "no standby, writable", ""


def _pooler(server: ServerFacts) -> Iterator[Part]:
    if server.behind_pooler:
        yield OK, "a pooler is in between; transaction pooling is enough", ""
    else:
        yield OK, "none: connected to the server itself", ""


def _monitor(server: ServerFacts) -> Iterator[Part]:
    if server.sees_activity:
        yield OK, f"role {server.role} sees other sessions and how far standbys are", ""
    else:
        yield (
            WARN,
            f"role {server.role} cannot see other sessions nor how far standbys are behind; "
            "without --allow-blind-brakes no run starts",
            f"grant pg_monitor to {server.role}",
        )


def _timeouts(server: ServerFacts) -> Iterator[Part]:
    deadlock = f"deadlock_timeout {server.deadlock_timeout_ms} ms"
    if server.deadlock_timeout_ms < LEAST_DEADLOCK_MS:
        yield (
            WARN,
            f"{deadlock} is shorter than {LEAST_DEADLOCK_MS} ms: a batch that waits may make the "
            "application the victim of a deadlock",
            f"alter database {server.database} set deadlock_timeout = '1s'",
        )
    elif 0 < server.statement_timeout_ms < SHORT_STATEMENT_MS:
        yield (
            WARN,
            f"statement_timeout {server.statement_timeout_ms} ms may end models and verification, "
            "which read whole tables",
            f"alter role {server.role} set statement_timeout = 0",
        )
    else:
        yield OK, deadlock, ""


def _snapshots(server: ServerFacts, mark: Mark | None) -> Iterator[Part]:
    old = [snapshot for snapshot in server.snapshots if snapshot.is_old]
    for snapshot in old[:SHOWN]:
        remedy = ""
        if snapshot.kind == "prepared transaction":
            remedy = f"commit or roll back prepared {sql.quote(snapshot.name)}"
        elif snapshot.kind == "replication slot" and not snapshot.is_active:
            remedy = f"select pg_drop_replication_slot({sql.quote(snapshot.name)})"
        elif snapshot.is_remote:
            remedy = "end the oldest query of that standby"
        elif snapshot.age_seconds is None:
            remedy = f"grant pg_monitor to {server.role}"
        elif snapshot.pid:
            remedy = f"select pg_terminate_backend({snapshot.pid}), if it is not needed"
        found = f"{snapshot.label} keeps old row versions from being pruned"
        if mark and not snapshot.is_remote and (snapshot.age_seconds or 0) > mark.stop:
            found += "; a run waits until it ends"
        yield WARN, found, remedy
    if len(old) > SHOWN:
        yield WARN, f"and {len(old) - SHOWN} more", ""
    if not old:
        yield OK, f"none older than {OLD_SECONDS} s", ""


def _replicas(server: ServerFacts, marks: Mapping[str, Mark]) -> Iterator[Part]:
    most_bytes = marks["replica_bytes"].stop if "replica_bytes" in marks else math.inf
    most_seconds = marks["replica_seconds"].stop if "replica_seconds" in marks else math.inf
    for replica in server.replicas:
        if replica.state is None:
            yield (
                WARN,
                f"{replica.name}: its lag cannot be seen",
                f"grant pg_monitor to {server.role}",
            )
            continue
        if replica.lag_bytes is None or replica.lag_seconds is None:
            yield OK, f"{replica.name} is no standby yet ({replica.state})", ""
            continue
        lag = (
            f"{replica.name} is {bytes_text(replica.lag_bytes)}, {duration(replica.lag_seconds)}"
            " behind"
        )
        lags = replica.lag_bytes > most_bytes or replica.lag_seconds > most_seconds
        yield WARN if lags else OK, lag, "wait until it has caught up" if lags else ""
    if not server.replicas:
        yield OK, "no standby is connected", ""


def _slots(server: ServerFacts, mark: Mark | None) -> Iterator[Part]:
    keeping = [slot for slot in server.slots if mark and (slot.kept_bytes or 0) > mark.stop]
    for slot in keeping:
        yield (
            WARN,
            f"slot {slot.name} ({'active' if slot.is_active else 'inactive'}) keeps "
            f"{bytes_text(slot.kept_bytes or 0)} of log",
            "wait until its reader has caught up"
            if slot.is_active
            else f"select pg_drop_replication_slot({sql.quote(slot.name)})",
        )
    if not keeping:
        most = f" keeps more than {bytes_text(int(mark.stop))} of log" if mark else " is checked"
        yield OK, f"none of {len(server.slots)}{most}", ""


def _ledger(server: ServerFacts, blocked: str) -> Iterator[Part]:
    found = server.ledger
    if found.is_absent:
        yield blocked, f"no ledger in schema {found.schema}", "run `trueup ledger init`"
    elif found.missing:
        yield (
            blocked,
            f"schema {found.schema} lacks {_listed(found.missing)}",
            "run `trueup ledger init`",
        )
    if found.missing_rights:
        rights = ", ".join(found.missing_rights)
        yield (
            blocked,
            f"role {server.role} lacks in schema {found.schema}: {_listed(found.missing_rights)}",
            f"grant usage on schema {found.schema} to {server.role}; grant {rights}",
        )
    if not found.missing and not found.missing_rights:
        yield OK, f"schema {found.schema}", ""


# ------------------------------------------------------------------------------ words


def _size_of(facts: TableFacts) -> str:
    rows = (
        "unknown rows" if facts.estimated_rows is None else f"about {facts.estimated_rows:,} rows"
    )
    parts = [f"{facts.kind}, {rows}, {bytes_text(facts.bytes)}"]
    if facts.partitions:
        parts.append(f"{facts.partitions} partitions")
    if facts.views:
        parts.append(f"read by {_listed(facts.views)}")
    return "; ".join(parts)


def _listed(names: Sequence[str]) -> str:
    """a, b, c and 2 more"""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _quoted(facts: TableFacts, names: Iterable[str]) -> str:
    quoted = {column.name: column.quoted for column in facts.columns}
    return ", ".join(quoted[name] for name in names)
