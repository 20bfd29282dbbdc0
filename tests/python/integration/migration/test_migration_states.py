"""Proof 8: random interleavings of plan, apply, pause, kill, edit and rollback keep what holds.

`TRUEUP_EXAMPLES` says how long it looks, 30 examples for about a minute; `TRUEUP_SEED` repeats what
was printed.
"""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Iterator
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from integration.conftest import App, new_app
from support import PROOFS, fire, states
from support.states import COLUMNS, KINDS, OPEN, Edit, How, World
from trueup.core import runs
from trueup.migration import worker
from trueup.migration.plan import Pace
from trueup.migration.rollback import Scope

EXAMPLES = int(os.environ.get("TRUEUP_EXAMPLES", "150" if PROOFS else "3"))
STEPS = 15
ROWS = 160

numbers = st.integers(0, ROWS)
edits = st.builds(
    Edit, st.sampled_from(KINDS), numbers, st.integers(1, 7), st.integers(1, 20), st.integers(0, 8)
)
ways = st.builds(
    How,
    kind=st.sampled_from(("whole", "whole", "pause", "cancel", "interrupt", "raise", "takeover")),
    at=st.integers(1, 25),
    death=st.tuples(
        st.sampled_from(("before", "after")), st.sampled_from((0, 0)) | st.integers(1, 70)
    ),
    waits=st.sampled_from((True, True, True, False)),
    edits=st.lists(
        st.tuples(st.integers(1, 25), edits, st.sampled_from((0, 0, 2, 5, 100))), max_size=3
    ).map(tuple),
)
paces = st.builds(
    Pace,
    batch_size=st.sampled_from((20, 50)),
    sleep_ms=st.just(0),
    target_ms=st.just(1000),
    stripes=st.sampled_from((1, 4)),
    by_tenant=st.booleans(),
    workers=st.sampled_from((1, 1, 2)),
)
tenants = st.sampled_from(((), (), ("1",), ("none",), ("2", "none")))
columns = st.sampled_from(((), *((column,) for column in COLUMNS)))
nth = st.sampled_from((0, 0, 0, 1, 2, 3))  # of some runs, from the newest
scopes = st.builds(
    Scope,
    tenants=tenants,
    values_before=st.sampled_from(((), (), ("chosen",))),
    batch_id=st.sampled_from((None, None, 0)),  # one of the run's
)


class Migrations(RuleBasedStateMachine):
    """What people and the command may do, one after the other and at the same time."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world

    @initialize(step=st.sampled_from((1, 1, 8)), first=st.integers(0, 1000))
    def begin(self, step: int, first: int) -> None:
        self.world.begin(ROWS, step, first)

    @rule(columns=columns, tenants=tenants, pace=paces)
    def plan(self, columns: tuple[str, ...], tenants: tuple[str, ...], pace: Pace) -> None:
        self.world.make_plan(columns, tenants, pace)

    @rule(columns=columns, tenants=tenants, pace=paces, how=ways)
    def migrate(
        self, columns: tuple[str, ...], tenants: tuple[str, ...], pace: Pace, how: How
    ) -> None:
        run = self.world.make_plan(columns, tenants, pace)
        if run is not None and self.world.state(run)[0] in OPEN:
            self.world.work(run, how)

    @precondition(lambda self: self.open())
    @rule(number=nth, how=ways)
    def go_on(self, number: int, how: How) -> None:
        self.world.work(self.chosen(self.open(), number), how)

    @precondition(lambda self: self.world.runs)
    @rule(number=nth, scope=scopes, among=numbers, pace=paces, edit=edits, how=ways)
    def roll_back(
        self, number: int, scope: Scope, among: int, pace: Pace, edit: Edit, how: How
    ) -> None:
        """Of a run that is finished, as a rule, and of all of it.

        Somebody edits before; the leases of the dead may be over or not.
        """
        finished = self.finished() if among % 4 else []
        run = self.chosen(finished or list(self.world.runs), number)
        batches = self.world.batches(run)
        if scope.batch_id is not None:
            if not batches:
                return
            scope = dataclasses.replace(scope, batch_id=batches[among % len(batches)])
        if scope.values_before:
            scope = dataclasses.replace(scope, values_before=(str(self.world.pool[among % 4]),))
        if how.waits:
            self.world.let_time_pass()
        self.world.edit(edit)
        self.world.settle()  # what was edited is known
        back = self.world.plan_rollback(run, scope, pace)
        if back is not None:
            self.world.work(back, how)

    @precondition(lambda self: self.open())
    @rule(number=nth, waits=st.booleans())
    def cancel(self, number: int, waits: bool) -> None:
        if waits:
            self.world.let_time_pass()
        self.world.ask(self.chosen(self.open(), number), "cancelled")

    @rule(edit=edits)
    def edit(self, edit: Edit) -> None:
        self.world.edit(edit)

    @invariant()
    def everything_holds(self) -> None:
        if hasattr(self.world, "runs"):
            self.world.settle()

    def open(self) -> list[UUID]:
        return [run for run in self.world.runs if self.world.state(run)[0] in OPEN]

    def finished(self) -> list[UUID]:
        return [run for run in self.world.runs if self.world.state(run)[0] in runs.FINISHED]

    def chosen(self, found: list[UUID], number: int) -> UUID:
        return found[-1 - number % len(found)]

    def teardown(self) -> None:
        self.world.close()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[App, dict[str, str]]]:
    """One database for all examples, one after the other, and the spellings in it."""
    with new_app(tmp_path_factory.mktemp("states"), "built_template") as app:
        yield app, states.prepare(app)


def test_any_interleaving_keeps_what_holds(prepared: tuple[App, dict[str, str]]) -> None:
    """Each example has a seed of its own: of one seed hypothesis makes much the same ones."""
    tally: Counter[str] = Counter()

    class Machine(Migrations):
        def __init__(self) -> None:
            super().__init__(World(*prepared, tally))

    for number in range(fire.SEED, fire.SEED + EXAMPLES):
        print(f"TRUEUP_SEED={number} TRUEUP_EXAMPLES=1", end=" ", flush=True)
        run_state_machine_as_test(
            seed(number)(Machine),
            settings=settings(
                max_examples=2,  # the first is the empty one
                stateful_step_count=STEPS,
                deadline=None,
                database=None,
                report_multiple_bugs=False,
                phases=(Phase.generate,),
                suppress_health_check=list(HealthCheck),
            ),
        )
    print(*sorted(tally.items()), sep="\n")


SCOPES = ["all", "second", "tenant", *(["first", "third", "value"] if PROOFS else [])]


@pytest.mark.parametrize("scope", SCOPES)
def test_a_row_that_several_batches_of_a_run_have_changed(
    prepared: tuple[App, dict[str, str]], scope: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has moved to other tenants meanwhile, and comes back to its first value all the same."""
    monkeypatch.setattr(worker, "LISTED_ROWS", 1)  # each tenant's rows are listed when it is due
    monkeypatch.setattr(worker, "RANGES_OF_TENANTS", 1)
    world = World(*prepared, Counter())
    world.begin(ROWS, 1, 0)
    pace = Pace(ROWS, 0, 1000, stripes=1, by_tenant=True)
    run = world.make_plan(("stage",), (), pace)
    assert run
    # each time to the next tenant, whose batch is yet to come
    moves = tuple((4 - 2 * start, Edit("move", start, 1, ROWS, start), 0) for start in (1, 0))
    assert world.work(run, How(edits=moves)) == "completed"
    world.settle()
    batches = world.batches(run)
    cut = [{each.batch for each in cell if each.run == run} for cell in world.cells.values()]
    assert {1, 2, 3} <= {len(found) for found in cut}
    world.edit(Edit("stage", 0, 30, ROWS, 0))
    world.edit(Edit("delete", 10, 30, ROWS, 0))
    world.settle()
    wanted = {
        "all": Scope(),
        "tenant": Scope(tenants=("2",)),
        "value": Scope(values_before=(str(world.pool[0]),)),
    }
    wanted |= {
        name: Scope(batch_id=batch)
        for name, batch in zip(("first", "second", "third"), batches, strict=False)
    }
    back = world.plan_rollback(run, wanted[scope], pace)
    assert back
    assert world.work(back, How(death=("after", 9))) == "killed"
    world.settle()
    assert world.work(back, How(waits=True)) == "completed"
    world.settle()
    forth = world.plan_rollback(back, Scope(), pace)
    assert forth and world.work(forth, How()) == "completed"
    world.settle()
    world.close()


@pytest.mark.parametrize("how", ["cancel", "whole"])
def test_a_runner_may_die_after_every_commit(
    prepared: tuple[App, dict[str, str]], how: str
) -> None:
    """The last ones too, when it says how it ended; what it leaves can be gone on with.

    One in five is tried, and all where there is time.
    """
    world = World(*prepared, Counter())
    ended, number = "killed", 0
    while ended == "killed":
        number += 1 if PROOFS else 5
        world.begin(20, 1, 1)
        run = world.make_plan(("stage",), (), Pace(10, 0, 1000, stripes=1))
        assert run
        ended = world.work(run, How(how, death=("after", number)))
        world.settle()
        world.let_time_pass()
        status, _, is_cancelled = world.state(run)
        if status in OPEN:
            assert world.work(run, How()) == ("refused" if is_cancelled else "completed")
            world.settle()
    assert number > 10
    world.close()
