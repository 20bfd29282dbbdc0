"""What a rehearsal predicts is what the run costs: rows, log, HOT share, disk.

On a server of its own with default settings: the log of others would be counted with ours, and the
tests' server writes no page images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from integration.conftest import App, copy_made, copy_project
from support import migration
from support.command import remove_server
from trueup.core.settings import Settings
from trueup.local import sample, server
from trueup.migration import plan, rehearsal

COMPANIES = 60_000
TABLE = "public.portfoliocompanies"
SCOPE = plan.Scope(("portfoliocompanies",), ("stage",))


@dataclass(frozen=True)
class Layout:
    """A table: with the sample's trigger or without, with these indexes, ..."""

    name: str
    trigger: str = "drop"  # enable, disable
    indexes: tuple[str, ...] = ()
    fillfactor: int = 100
    shuffled: bool = False


LAYOUTS = [
    Layout("stripes"),
    Layout("an index on the column", indexes=("(stage)",)),
    Layout("as the sample is", trigger="enable", indexes=("(updated_at)",)),
    Layout("a trigger that is disabled", trigger="disable"),
    Layout("room on the pages", fillfactor=80),
    Layout("keys in no order", shuffled=True),
]


@pytest.fixture(scope="module")
def quiet(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[App, psycopg.Connection[Any]]]:
    """The sample and its models on a server that nobody else uses, and its superuser."""
    folder = tmp_path_factory.mktemp("quiet")
    state = folder / "server"
    address = server.start(state, options={"fsync": "off"})
    try:
        environment = {
            "PGHOST": address.host, "PGPORT": str(address.port), "PGUSER": address.user,
            "PGPASSWORD": address.password, "PGDATABASE": address.dbname, "PGSSLMODE": "disable",
        }  # fmt: skip
        app = App(
            Settings(copy_project(folder / "project"), folder / "state", "development", "", "text"),
            address.dbname,
            environment,
        )
        copy_made(folder / "state")
        with migration.connect(app) as connected:
            sample.load(connected, companies=COMPANIES, deals=10, investments=10)
        outcome = app.dbt("build", "--exclude", "resource_type:test", "resource_type:unit_test",
                          "resource_type:snapshot")  # fmt: skip
        assert not outcome.failures, outcome.failures
        with psycopg.connect(address.conninfo(), user=server.SUPERUSER, autocommit=True) as root:
            root.execute("alter table public.investments drop constraint"
                         " investments_company_id_fkey")  # fmt: skip
            root.execute(f"create table public.pristine as table {TABLE}")
            root.execute(f"alter table {TABLE} set (autovacuum_enabled = false)")
            yield app, root
    finally:
        remove_server(state)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_the_prediction_is_what_the_run_costs(
    quiet: tuple[App, psycopg.Connection[Any]], layout: Layout
) -> None:
    app, root = quiet
    lay_out(root, layout)
    with migration.connect(app) as connected:
        pace = plan.Pace(batch_size=2000, sleep_ms=0, target_ms=100_000)
        made = plan.make(app.settings, connected, SCOPE, pace)
        rehearsed = rehearsal.rehearse(app.settings, connected, made, pace)
    (column,) = rehearsed.columns
    predicted = column.prediction
    assert predicted is not None, column.reason
    root.execute("checkpoint")
    before = counters(root)
    outcome = migration.apply(app, made)
    after = counters(root)
    assert outcome.status == "completed"
    wal, updates, hot, heap, indexes = (now - was for now, was in zip(after, before, strict=True))
    assert predicted.rows == updates == made.rows_planned
    assert 0.9 <= predicted.wal_bytes / wal <= 1.1
    # a copy of one range has its rows side by side, also where they lie apart
    assert abs(predicted.hot_share - hot / updates) <= (0.2 if layout.shuffled else 0.05)
    if not layout.shuffled:
        grown, expected = heap + indexes, predicted.heap_bytes + predicted.index_bytes
        assert abs(expected - grown) <= 0.1 * grown
    low, high = 60 * predicted.minutes_low, 60 * predicted.minutes_high
    assert 0 < low <= high and low / 5 <= outcome.seconds <= 5 * high


def lay_out(root: psycopg.Connection[Any], layout: Layout) -> None:
    """The table as it was, in this layout: vacuumed and analyzed."""
    root.execute(f"truncate {TABLE}")
    for (name,) in root.execute(
        "select cast(cast(indexrelid as regclass) as text) from pg_index"
        " where indrelid = cast(%s as regclass) and not indisprimary", [TABLE],
    ).fetchall():  # fmt: skip
        root.execute(f"drop index {name}".encode())
    root.execute(f"alter table {TABLE} set (fillfactor = {layout.fillfactor})")
    root.execute(f"drop trigger if exists touch_row_version on {TABLE}")
    order = "md5(cast(id as text))" if layout.shuffled else "id"
    root.execute(f"insert into {TABLE} select * from public.pristine order by {order}".encode())
    for index in layout.indexes:
        root.execute(f"create index on {TABLE} {index}".encode())
    if layout.trigger != "drop":
        root.execute(f"create trigger touch_row_version before update on {TABLE}"
                     " for each row execute function public.touch_row_version()")  # fmt: skip
        root.execute(f"alter table {TABLE} {layout.trigger} trigger user")
    root.execute(f"vacuum (freeze, analyze) {TABLE}")


def counters(root: psycopg.Connection[Any]) -> list[float]:
    """Bytes logged, updates, HOT updates, bytes of the table and of its indexes."""
    row = root.execute(
        "select pg_current_wal_insert_lsn() - '0/0', n_tup_upd, n_tup_hot_upd,"
        " pg_relation_size(relid), pg_indexes_size(relid)"
        " from pg_stat_all_tables where relid = cast(%s as regclass)", [TABLE],
    ).fetchone()  # fmt: skip
    assert row is not None
    return [float(number) for number in row]
