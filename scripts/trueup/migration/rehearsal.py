"""`trueup plan --rehearse` and `apply --dry-run`: try one batch, and estimate the whole run.

`tried_batch` runs the batch with the most rows as `trueup apply` would, and rolls it back. The
statement `rehearsal__predict` estimates the run from the cost of that batch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from psycopg.types.json import Jsonb

from trueup.core import records, statements
from trueup.core.connection import Connection
from trueup.core.settings import Settings
from trueup.migration import plan
from trueup.migration.tried_batch import Trial


def rehearse(
    settings: Settings,
    connected: Connection,
    made: plan.Plan,
    pace: plan.Pace,
    progress: plan.Progress = lambda what, done, total: None,
    is_kept: bool = True,
) -> dict[str, Any]:
    """Try one batch of each column that has rows to change, and estimate the cost of the run.

    is_kept: the plan is in the ledger, and the rehearsal is stored with it
    The connection must not be in autocommit mode.

    Returns the document of migration_runs.rehearsal and of `--format json`:
    {rehearsed_at, columns: [{table_name, column_name, tryout, prediction}]}. tryout: see
    Trial.run; prediction: the row of rehearsal__predict; None if no row could be changed.
    """
    found = statements.statements(settings)
    limit = plan.defaults(settings)["lock_timeout_ms"]
    columns: list[dict[str, Any]] = []
    for number, batch in enumerate(made.batches_to_try):
        place = (batch["table_name"], batch["column_name"])
        progress(".".join(place), number, len(made.batches_to_try))
        facts = made.facts[place]
        tried = Trial(connected, found, batch, facts, made.options, limit).run()
        predicted = None
        if tried["rows_changed"]:
            of_run = {name: batch[name] for name in ("rows_to_change", "rows_read", "batch_total")}
            figures = {**vars(pace), **tried, **of_run, "is_hot_possible": facts["is_hot_possible"]}
            values = {"relation": facts["qualified"], "tried": Jsonb(figures)}
            (predicted,) = records.rows(connected, found["rehearsal__predict"], **values)
            connected.rollback()
        columns.append({"table_name": place[0], "column_name": place[1], "tryout": tried,
                        "prediction": predicted})  # fmt: skip
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    rehearsed = {"rehearsed_at": now, "columns": columns}
    if is_kept:
        text = json.dumps(rehearsed, ensure_ascii=False)
        found["rehearsal__store"].run(connected, run_id=made.run_id, rehearsal=text)
        connected.commit()
    return rehearsed


def refusals(rehearsed: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Errors that would keep the run from changing every planned row."""
    return [each for column in rehearsed["columns"] for each in column["tryout"]["refusals"]]
