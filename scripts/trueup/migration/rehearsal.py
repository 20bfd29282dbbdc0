"""`trueup plan --rehearse`: one batch for real and rolled back, and what the whole run would cost.

`rehearsal_batch` runs the batch with the most rows as `trueup apply` would, and rolls it back.
`rehearsal_scratch` predicts from a copy of one range. The application is left as it was;
`migration_runs.rehearsal` keeps what was seen, see `as_dict`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from trueup.core import connection, ledger, runs, statements
from trueup.core.connection import Connection
from trueup.core.errors import TrueupError
from trueup.core.settings import Settings
from trueup.core.statements import Statement
from trueup.migration import plan, rehearsal_scratch, tried_batch
from trueup.migration.rehearsal_scratch import Prediction
from trueup.migration.tried_batch import Job, Refusal, Tryout
from trueup.migration.worker import array_text


@dataclass(frozen=True)
class ColumnRehearsal:
    """One column. reason: why there is no prediction; tryout is None where no batch was open."""

    table_name: str
    column_name: str
    tryout: Tryout | None
    prediction: Prediction | None
    reason: str | None = None


@dataclass(frozen=True)
class Rehearsal:
    """Every column that has something to change."""

    rehearsed_at: datetime
    columns: list[ColumnRehearsal]

    @property
    def refusals(self) -> list[tuple[ColumnRehearsal, Refusal]]:
        """What would keep the run from doing all that the plan promises."""
        return [
            (column, refusal)
            for column in self.columns
            if column.tryout
            for refusal in column.tryout.refusals
        ]


@contextmanager
def alone(settings: Settings, managed: Iterable[Mapping[str, Any]]) -> Iterator[None]:
    """Nobody else rehearses these columns meanwhile; TrueupError where somebody does.

    The locks belong to a transaction that does nothing else, on a connection of its own: it holds
    back neither vacuum nor pruning, it is over when we are killed, and poolers can carry it.
    """
    with connection.connect(settings, application_name="trueup rehearsal") as connected:
        connected.execute(
            "select set_config(name, '0', true) from pg_settings"
            " where name in ('idle_in_transaction_session_timeout', 'transaction_timeout')"
        )
        for name in sorted({f"{entry['table']}.{entry['column']}" for entry in managed}):
            query = "select pg_try_advisory_xact_lock(hashtextextended(%s, 0))"
            row = connected.execute(query, [f"trueup rehearsal {name}"]).fetchone()
            if not (row and row[0]):
                raise TrueupError(
                    f"another rehearsal of {name} is under way",
                    "Wait for its end. Nothing has been planned.",
                )
        connected.execute("select")  # a query with parameters keeps its snapshot until the next one
        try:
            yield
        finally:
            connected.rollback()


def rehearse(
    settings: Settings,
    connected: Connection,
    made: plan.Plan,
    pace: plan.Pace,
    progress: plan.Progress = lambda what, done, total: None,
) -> Rehearsal:
    """Try the plan out, predict what it costs, and store that with the plan.

    Columns with nothing to change are left out. The connection must not be in autocommit mode, and
    the caller must be `alone`.
    """
    schema = ledger.schema(settings)
    run = runs.find(connected, schema, str(made.run_id), runs.PLANNED)
    scope = plan.Scope(tuple(run.options["tables"]), tuple(run.options["columns"]))
    server, facts, _ = plan.examine(settings, connected, plan.entries(settings, scope))
    found, own = statements.statements(settings), runs.statements(run)
    connected.rollback()
    columns: list[ColumnRehearsal] = []
    dirty = [column for column in made.columns if column.batches]
    for number, column in enumerate(dirty):
        progress(f"{column.table_name}.{column.column_name}", number, len(dirty))
        place = (column.table_name, column.column_name)
        job = Job(
            connected=connected,
            run=run,
            own=own,
            found=found,
            column=column,
            facts=facts[place],
            server=server,
            schema=schema,
            lock_timeout_ms=plan.defaults(settings)["lock_timeout_ms"],
            sleep_ms=pace.sleep_ms,
            workers=pace.workers,
            values=_values(connected, own, run.run_id, place),
            images=server.full_page_writes
            and column.table_name not in [each.table_name for each in columns],
        )
        tried = tried_batch.try_out(job)
        predicted, reason = rehearsal_scratch.predict(job, tried)
        columns.append(ColumnRehearsal(*place, tried, predicted, reason))
    rehearsed = Rehearsal(datetime.now(timezone.utc), columns)
    text = json.dumps(as_dict(rehearsed), ensure_ascii=False)
    found["rehearsal__store"].run(connected, run_id=run.run_id, rehearsal=text)
    connected.commit()
    return rehearsed


def as_dict(rehearsed: Rehearsal) -> dict[str, Any]:
    """What migration_runs.rehearsal holds, and `--format json` shows.

    {rehearsed_at, assumes, columns: [{table_name, column_name, tryout, prediction, reason}]}, with
    the fields of Tryout (without new_values) and of Prediction; either may be null, and reason says
    why there is no prediction. Bytes, milliseconds and minutes as there.
    """
    columns = []
    for column in rehearsed.columns:
        shown = dataclasses.asdict(column)
        if shown["tryout"]:
            del shown["tryout"]["new_values"]
        columns.append(shown)
    return {
        "rehearsed_at": rehearsed.rehearsed_at.isoformat(timespec="seconds"),
        "assumes": "a checkpoint just before the run",
        "columns": columns,
    }


def _values(
    connected: Connection, own: Mapping[str, Statement], run_id: Any, place: tuple[str, str]
) -> dict[str, str]:
    """The planned changes of a column."""
    rows = own["value_map"].run(
        connected, run_id=run_id, table_name=place[0], column_name=place[1]
    ).fetchall()  # fmt: skip
    before, after, map_ids = zip(*rows, strict=True)
    return {
        "values_before": array_text(before),
        "values_after": array_text(after),
        "map_ids": array_text(map_ids),
    }
