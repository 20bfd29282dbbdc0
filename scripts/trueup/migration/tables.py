"""What endangers a run: findings about the server, the managed columns and their tables.

analyses/migration/server.sql and tables.sql look at the catalogs, judge and word; no row of the
application is read. `trueup doctor` asks with writes=False: what only an in-place migration needs
is a warning then. `trueup plan`, `apply` and `rollback` ask with writes=True: it forbids them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from trueup.core import config, ledger, records
from trueup.core.connection import Connection
from trueup.core.errors import TrueupError
from trueup.core.settings import Settings
from trueup.core.statements import Statement
from trueup.findings import Finding, runner
from trueup.migration import brakes

UPDATED_LEDGER = ("migration_runs", "stage_migration_batches", "stage_migration_control")
BUILT = "server__models"

Named = Mapping[str, Statement]
Entry = Mapping[str, Any]


def look(
    settings: Settings,
    connected: Connection,
    named: Named,
    entries: Iterable[Entry],
    documents: Iterable[Entry] = (),
    *,
    writes: bool,
    builds: bool = False,
) -> Iterator[Finding]:
    """What is found about the server, then about each managed column and document.

    named:  the statements of the project, or those of a run
    builds: also what `dbt build` needs
    Takes no lock for longer than a statement, but waits for one that an `alter table` holds.
    """
    told = server(settings, connected, named, writes=writes, builds=builds)
    yield from told
    built = any(each.code == BUILT for each in told)
    for entry, is_document in [(e, False) for e in entries] + [(e, True) for e in documents]:
        values = {"writes": writes, "is_document": is_document, "is_built": built}
        for finding in column(settings, connected, named, entry, **values):
            if finding not in told:  # what concerns a table is the same for each of its columns
                told.append(finding)
                yield finding


def server(
    settings: Settings, connected: Connection, named: Named, *, writes: bool, builds: bool = False
) -> list[Finding]:
    """What concerns every table: the server, what goes on there, the ledger."""
    marks = brakes.marks(config.project_variables(settings))
    values: dict[str, Any] = {
        name: marks[name].stop if name in marks else None
        for name in ("replica_bytes", "replica_seconds", "slot_bytes", "snapshot_seconds")
    }
    values |= {
        "client_pid": connected.info.backend_pid,
        "ledger_schema": ledger.schema(settings),
        "ledger_names": list(ledger.relations(settings)),
        "updated_names": list(UPDATED_LEDGER),
        "writes": writes,
        "builds": builds,
    }
    step = runner.Step("the server", "server", named.get("server__findings"), (), values)
    return runner.read(connected, [step])


def column(
    settings: Settings, connected: Connection, named: Named, entry: Entry, **values: bool
) -> list[Finding]:
    """What concerns one entry of managed_columns or managed_documents, and its table.

    values: writes, is_document, is_built of the statement tables__findings
    """
    key: Mapping[str, str] = entry["key"]
    names = [entry["column"], *key, entry.get("tenant"), entry.get("updated_at")]
    asked = {
        **_place(settings, entry),
        "key_names": list(key),
        "key_types": list(key.values()),
        "needed_names": [name for name in dict.fromkeys(names) if name],
        "is_production": settings.environment == "production",
        **values,
    }
    what = f"{entry['table']}.{entry['column']}"
    step = runner.Step(what, "table", named.get("tables__findings"), (), asked)
    return runner.read(connected, [step])


def facts(settings: Settings, connected: Connection, named: Named, entry: Entry) -> dict[str, Any]:
    """The row of tables__of_plan: what a plan needs to know of a column that can be changed."""
    left_out = [entry.get("updated_at"), *(entry.get("kept_by_triggers") or [])]
    (row,) = records.rows(
        connected, named["tables__of_plan"], **_place(settings, entry),
        left_out=[name for name in left_out if name],
    )  # fmt: skip
    return row


def _place(settings: Settings, entry: Entry) -> dict[str, Any]:
    try:
        values = list(config.vocabulary(settings, entry["vocabulary"]).values)
    except (TrueupError, OSError):
        values = None  # the vocabulary is no seed file: what will be written is not known
    return {
        "schema_name": config.app_schema(settings),
        "table_name": str(entry["table"]),
        "column_name": str(entry["column"]),
        "canonical_values": values,
    }
