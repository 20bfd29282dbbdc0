"""A batch beside what others do to its rows between the list of its keys and its commit."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest

from integration.conftest import App
from support import fire, migration
from support.fire import LEDGER
from trueup.migration import engine, plan
from trueup.migration.keys import Keys
from trueup.migration.worker import Batch

TABLE = "deal_opportunities"
SCOPE = plan.Scope((TABLE,))
CELLS = f"select id, stage, fund_id, company_name from {TABLE} order by id"


class Listed:
    """A run whose first batch is claimed and listed, but not changed."""

    def __init__(self, app: App, **pace: Any) -> None:
        self.app = app
        self.made = migration.make_plan(app, SCOPE, plan.Pace(600, 0, 1000, stripes=1, **pace))
        order = migration.order(app, self.made)
        self.runner = engine.Runner(
            lambda: migration.connect(app), order, lambda event: None, engine.Stop()
        )
        self.runner.take_lease()
        self.runner.begin()
        self.worker = self.runner.worker
        (self.batch,) = self.worker._claim()[:1]
        self.lists: list[Keys] = self.worker._lists([self.batch])[self.batch.batch_id]
        self.before = {row[0]: row for row in app.query(CELLS)}
        meaning = {each["before"]: each["after"] for each in self.made.columns[0]["values"]}
        self.meaning = {before: after for before, after in meaning.items() if after}
        fund = self.batch.fund_id
        self.dirty = [key for key, row in self.before.items() if row[1] in self.meaning
                      and (fund is None or str(row[2]) == fund)]  # fmt: skip

    def change(self) -> None:
        self.worker.batch(self.batch, self.lists)

    def now(self) -> dict[Any, tuple[Any, ...]]:
        return {row[0]: row for row in self.app.query(CELLS)}

    def changed(self) -> list[int]:
        rows = self.app.query(
            f"select unnest(row_keys) from {LEDGER}.stage_normalization_changes where run_id = %s",
            self.made.run_id,
        )
        return sorted(int(key) for (key,) in rows)


def test_what_others_do_to_a_listed_row_is_theirs(built: App) -> None:
    """The two last are open transactions that the batch waits for."""
    listed = Listed(built)
    edited, deleted, other, waited, moved = listed.dirty[:5]
    another = next(value for value in listed.meaning if value != listed.before[waited][1])
    built.query(f"update {TABLE} set stage = 'edited' where id = {edited}")
    built.query(f"delete from {TABLE} where id = {deleted}")
    built.query(f"update {TABLE} set company_name = 'renamed' where id = {other}")
    with migration.connect(built) as theirs:
        theirs.execute(f"update {TABLE} set stage = %s where id = %s", [another, waited])
        theirs.execute(f"update {TABLE} set company_name = 'renamed' where id = {moved}")
        changing = threading.Thread(target=listed.change)
        changing.start()
        fire.until(lambda: built.query("select count(*) from pg_locks where not granted")[0][0])
        theirs.commit()
        changing.join()
    now = listed.now()
    assert (now[edited][1], deleted in now, now[waited][1]) == ("edited", False, another)
    for key in (other, moved):
        assert now[key][1] == listed.meaning[listed.before[key][1]] and now[key][3] == "renamed"
    assert listed.changed() == [key for key in listed.dirty if key not in (edited, deleted, waited)]


def test_a_batch_that_was_sent_twice_changes_nothing_more(built: App) -> None:
    listed = Listed(built)
    listed.change()
    first = listed.changed()
    built.query(
        f"update {LEDGER}.stage_migration_batches set status = 'running', lease_token = %s"
        " where batch_id = %s", listed.worker.shared.token, listed.batch.batch_id,
    )  # fmt: skip
    built.query(f"update {TABLE} set stage = 'edited' where id = {first[0]}")
    listed.change()
    assert listed.changed() == first == listed.dirty
    assert listed.now()[first[0]][1] == "edited"


def test_a_row_that_moved_to_another_tenant_is_left_to_that_tenant(built: App) -> None:
    """Also if that tenant had nothing to change when the plan was made: it gets a batch."""
    listed = Listed(built, by_tenant=True)
    key, again = listed.dirty[:2]
    built.query("insert into funds (id, name) values (4711, 'of old')")
    built.query(f"update {TABLE} set fund_id = 4711 where id = {key}")
    listed.change()
    assert again in listed.changed() and key not in listed.changed()
    assert listed.now()[key][1] == listed.before[key][1]
    listed.worker.shared.held.clear()
    listed.runner.end("interrupted", "")
    assert migration.apply(built, listed.made).status == "completed"
    assert listed.now()[key][1] == listed.meaning[listed.before[key][1]]
    assert built.query(
        f"select rows_updated from {LEDGER}.stage_migration_batches where fund_id = '4711'"
    ) == [(1,)]


@pytest.mark.parametrize("moment", ["before", "after", "deferred"])
def test_success_is_what_the_row_holds_at_commit(built: App, moment: str) -> None:
    """A trigger that writes another value: that row is refused, and no other one."""
    built.query(
        """
        create function meddle() returns trigger language plpgsql as $$ begin
            if tg_when = 'BEFORE' then new.stage = 'meddled'; return new; end if;
            if new.stage <> 'meddled' then
                update deal_opportunities set stage = 'meddled' where id = new.id;
            end if;
            return new;
        end $$;
        """
    )
    listed = Listed(built)
    key = listed.dirty[1]
    kind = {"before": "trigger meddle before", "after": "trigger meddle after",
            "deferred": "constraint trigger meddle after"}[moment]  # fmt: skip
    deferred = "deferrable initially deferred" if moment == "deferred" else ""
    built.query(
        f"create {kind} update on {TABLE} {deferred} for each row when (new.id = {key})"
        " execute function meddle()"
    )
    listed.lists = listed.worker._lists([listed.batch])[listed.batch.batch_id]
    listed.change()
    assert listed.changed() == [each for each in listed.dirty if each != key]
    assert listed.now()[key][1] == listed.before[key][1]
    ((row_key, reason),) = built.query(f"select row_key, reason from {LEDGER}.migration_quarantine")
    assert row_key == str(key) and "a trigger wrote meddled" in reason


def test_a_key_that_a_trigger_changes_is_audited_as_it_is(built: App) -> None:
    listed = Listed(built)
    key = listed.dirty[1]
    built.query(
        "create function rekey() returns trigger language plpgsql as"
        " $$ begin new.id = -new.id; return new; end $$;"
        f" create trigger rekey before update on {TABLE} for each row when (old.id = {key})"
        " execute function rekey()"
    )
    listed.change()
    assert listed.changed() == sorted([-key, *(each for each in listed.dirty if each != key)])
    assert listed.now()[-key][1] == listed.meaning[listed.before[key][1]]


def test_columns_that_a_later_trigger_writes_are_no_secret(built: App) -> None:
    built.query(
        """
        create function rename() returns trigger language plpgsql as $$ begin
            if new.company_name not like 'x%' then
                update deal_opportunities set company_name = 'x' || company_name where id = new.id;
            end if;
            return new;
        end $$;
        """
    )
    made = migration.make_plan(built, SCOPE, plan.Pace(600, 0, 1000))
    built.query(
        f"create trigger rename after update of stage on {TABLE} for each row"
        " when (new.id % 5 = 0) execute function rename()"
    )
    assert migration.apply(built, made, compare_others=True).status == "completed"
    recorded = {int(key) for (key,) in built.query(
        f"select unnest(others_changed) from {LEDGER}.stage_normalization_changes"
    )}  # fmt: skip
    renamed = {
        key for (key,) in built.query(f"select id from {TABLE} where company_name like 'x%'")
    }
    assert recorded == renamed != set()


def test_a_row_that_crashes_the_server_ends_the_run(
    built: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the server itself here: the connection is lost, and the server is gone for a moment."""
    listed = Listed(built)
    key = listed.dirty[-1]
    crashes: list[Batch] = []
    piece_of = type(listed.worker).piece

    def crash(self: Any, batch: Batch, piece: Any, is_last: bool) -> Any:
        places = range(piece.first_place, piece.last_place + 1)
        if len(listed.dirty) in places:  # the last row of the list
            crashes.append(batch)
            self.session.connection.close()
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        return piece_of(self, batch, piece, is_last)

    monkeypatch.setattr(type(listed.worker), "piece", crash)
    reconnect = type(listed.worker.session).reconnect
    monkeypatch.setattr(type(listed.worker.session), "reconnect",
                        lambda self, error: reconnect(self, error) or True)  # fmt: skip
    with pytest.raises(Exception, match=f"gone 3 times while batch .* changed row {key} of"):
        listed.change()
    assert len(crashes) <= 8
    assert listed.changed() == listed.dirty[:-1]
