"""`trueup bundle plan` and `apply`: files of a membership system become rows, in one transaction.

What becomes of a row is decided by analyses/membership/import_decide.sql, in temporary tables; the
same statements make a plan and its import.
"""

from __future__ import annotations

import csv
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psycopg

from trueup.core import connection, files, ledger, records, runs
from trueup.core.connection import Connection
from trueup.core.errors import TrueupError, first_line
from trueup.core.settings import Settings
from trueup.core.statements import Rows, Statement
from trueup.membership.bundle import FILES, REPORT, as_jsonb
from trueup.migration import engine, plan

ENTITIES = ("member", "event", "registration")


@dataclass(frozen=True)
class Source:
    """What an import reads. seeds_tiers: insert the tiers of the vocabulary that are missing."""

    folder: Path
    config: Path
    seeds_tiers: bool = False


@dataclass(frozen=True)
class Plan:
    """What an import does: rows of membership__summary and of membership__refused, the first 1,000.

    digest: SHA-256 of all decisions; rows: to be written, with those of the id mapping
    """

    run_id: uuid.UUID
    summary: list[dict[str, Any]]
    refused: list[dict[str, Any]]
    digest: str
    rows: int

    @property
    def refusals(self) -> int:
        """Rows of the files that are not imported."""
        return sum(int(row["refusals"]) for row in self.summary)


def make(
    settings: Settings,
    connected: Connection,
    found: Mapping[str, Statement],
    source: Source,
    rehearses: bool = False,
    progress: plan.Progress = lambda what, done, total: None,
) -> Plan:
    """Decide about every row of the files and store a plan, in the open snapshot.

    rehearses: also write everything, and roll it back
    Raises TrueupError if a file cannot be read, if it lacks a column, or if a tier does not exist.
    """
    record = plan.kind(connected, found, "import")
    ((table, column),) = found["membership__place"].run(connected)
    own = plan.own_statements(found, record, [(table, column)])
    wanted = {"table_names": [table], "column_names": [column], "tenants": None}
    options = {
        "tables": [table],
        "columns": [column],
        "tenants": None,
        "batch_size": 1,
        "by_tenant": False,
        "seeds_tiers": source.seeds_tiers,
        "folder": str(source.folder.resolve()),
        "config": str(source.config.resolve()),
    }
    run_id = plan.store_run(settings, connected, found, "import", record, own, options)
    made = _decide(connected, found, source, run_id, progress)
    found["run__store_control"].run(connected, run_id=run_id, table_name=table,
                                    column_name=column, range_end=["all"], sleep_ms=0, workers=1,
                                    target_ms=plan.defaults(settings)["target_ms"])  # fmt: skip
    plan.seal(connected, found, run_id)
    plan.supersede(settings, connected, found, run_id, wanted)
    if rehearses:
        progress("rehearsal", 5, 6)
        with connected.transaction(force_rollback=True):
            _write(connected, own, run_id, made.rows)
            connected.execute("set constraints all immediate")
    return made


def apply(
    settings: Settings,
    planned: Plan,
    source: Source,
    out: Path,
    progress: plan.Progress = lambda what, done, total: None,
) -> None:
    """Carry out a stored plan and write its bundle to the folder out.

    Raises TrueupError if the files or the rows are no longer those of the plan, or if the database
    refuses; nothing was written then, and the run has the status failed.
    """
    schema, wanted = ledger.schema(settings), str(planned.run_id)
    try:
        with connection.connect(settings, application_name="trueup bundle apply") as connected:
            run = runs.find(connected, schema, wanted, runs.PLANNED)
            _apply(connected, schema, run, planned, source, out, progress)
    except (psycopg.Error, TrueupError, OSError) as error:
        why = first_line(error) if isinstance(error, psycopg.Error) else str(error)
        with suppress(psycopg.Error), connection.connect(settings) as again:
            run = runs.find(again, schema, wanted, runs.BEGUN + runs.PLANNED)
            if run.status == "completed":  # but the answer was lost
                raise TrueupError(
                    f"everything was imported, but there is no bundle: {why}",
                    "Import again: it only writes one.",
                ) from None
            plan.close(settings, again, run, "failed", notes=f"failed: {why}")
            again.commit()
        raise TrueupError(
            f"nothing was imported: {why}",
            "Import again if somebody has changed files or rows meanwhile. If the database refuses"
            " a row, `trueup bundle plan --rehearse` says so before.",
        ) from None


def _apply(
    connected: Connection,
    schema: str,
    run: runs.Run,
    planned: Plan,
    source: Source,
    out: Path,
    progress: plan.Progress,
) -> None:
    own = runs.statements(run)
    started = datetime.now(timezone.utc)
    out.mkdir(parents=True, exist_ok=True)
    with connection.snapshot(connected):
        runs.lock(connected, schema, run, runs.PLANNED)
        now = _decide(connected, own, source, run.run_id, progress)
        if now.digest != planned.digest:
            raise TrueupError("the files or the rows have changed since the plan")
        progress("writing", 5, 6)
        hold = _write(connected, own, run.run_id, planned.rows)
        own["run__set_status"].run(connected, **hold, status="completed", finished=True, notes=None,
                                   statuses=list(runs.PLANNED))  # fmt: skip
        own["run__note_image_digest"].run(connected, run_id=run.run_id)
        made = own["membership__report"].run(connected, run_id=str(run.run_id), started_at=started)
        own["run__release"].run(connected, **hold, status="completed")
        files.write(out / FILES["config"], source.config.read_text("utf-8"))
        with files.whole(out / REPORT) as file:
            file.write(made.fetchall()[0][0])
            file.flush()
            connected.commit()


def _write(
    connected: Connection, own: Mapping[str, Statement], run_id: uuid.UUID, rows: int
) -> dict[str, Any]:
    """Take the run and write its only batch, so many rows; run_id and lease_token."""
    engine.raise_if_held(own["run__other_runners"].run(connected, run_id=run_id))
    own["run__lock_columns"].run(connected, run_id=run_id)
    hold = {"run_id": run_id, "lease_token": uuid.uuid4()}
    long = {**hold, "lease_seconds": 86_400}  # nobody sees it before the commit
    own["run__take_lease"].run(connected, **long, lease_owner=engine.owner(),
                               statuses=list(runs.PLANNED))  # fmt: skip
    claimed = own["run__claim_ranges"].run(connected, **long, held_batches=[], ranges=1).fetchall()
    written, token = 0, hold["lease_token"]
    for batch_id, *_ in claimed:
        answer = own["membership__write"].run(connected, batch_id=batch_id, lease_token=token)
        written += sum(changed for (changed,) in answer)
        own["run__finish_piece"].run(connected, batch_ids=[batch_id], lease_token=token,
                                     is_last=True, error_message=None)  # fmt: skip
    if written != rows:
        raise TrueupError(f"{written:,} rows were written instead of {rows:,}: is it a trigger?")
    return hold


def _decide(
    connected: Connection,
    found: Mapping[str, Statement],
    source: Source,
    run_id: uuid.UUID,
    progress: plan.Progress,
) -> Plan:
    """Read the files into temporary tables, and decide about each row."""
    config = as_jsonb(source.config, source.config.read_bytes())
    for name in ("run__begin_images", "run__begin_reading"):
        found[name].run(connected)
    connected.execute(found["membership__begin"].sql)
    table = "copy membership_rows (entity, source_row, cell_texts) from stdin"
    with connected.cursor().copy(table) as copy:
        for number, entity in enumerate(ENTITIES):
            progress(f"{entity}s.csv", number, 6)
            for row, fields in _rows(source.folder / f"{entity}s.csv"):
                copy.write_row((entity, row, fields))
    _raise_messages(found["membership__lacking_columns"].run(connected, config=config))
    connected.execute(found["membership__analyze"].sql)
    progress("what becomes of each row", 3, 6)
    if source.seeds_tiers:
        found["membership__decide_tiers"].run(connected)
    for entity in ENTITIES:
        found[f"membership__decide_{entity}s"].run(connected, config=config)
        connected.execute(found["membership__analyze"].sql)
    _raise_messages(found["membership__unknown_tiers"].run(connected))
    found["membership__decide_mappings"].run(connected, run_id=str(run_id))
    connected.execute(found["membership__analyze"].sql)
    ((digest, rows),) = found["membership__store_batch"].run(connected, run_id=run_id)
    return Plan(
        run_id,
        records.rows(connected, found["membership__summary"]),
        records.rows(connected, found["membership__refused"], most=1000),
        digest,
        rows,
    )


def _raise_messages(found: Rows) -> None:
    """TrueupError if a statement has found reasons to stop; its columns are remedy and message."""
    if listed := found.fetchall():
        raise TrueupError("\n".join(message for _, message in listed), listed[0][0])


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV file, from 1, the header; TrueupError if it cannot be read."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            yield from ((row, fields) for row, fields in enumerate(reader, start=1) if fields)
    except FileNotFoundError:
        pack = "A pack is members.csv, events.csv and registrations.csv."
        raise TrueupError(f"{path}: there is no such file", pack) from None
    except UnicodeDecodeError as error:
        raise TrueupError(f"{path}: is not UTF-8: {error.reason}") from None
    except csv.Error as error:
        raise TrueupError(f"{path}: line {reader.line_num}: {error}") from None
