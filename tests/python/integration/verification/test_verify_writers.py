"""`trueup verify` beside an application that goes on writing: it warns, and it never alarms."""

from __future__ import annotations

import time

from integration.conftest import App
from support import PROOFS, migration
from support.fire import SEED, enlarge, slow_down
from support.writers import WRITERS, Writer
from trueup.findings import FAILED, WARN
from trueup.migration import plan
from trueup.verification import verify

SECONDS = 60 if PROOFS else 3
PATIENCE = 300  # seconds until all that the test needs must have been seen
STAGE = plan.Scope(("portfoliocompanies",), ("stage",))


def test_no_false_alarm_under_four_writers(built: App) -> None:
    """They edit, insert, delete, hold locks and write old spellings; runs and checks go on."""
    print(f"seed {SEED}")
    enlarge(built, 5000)
    slow_down(built, 0.0002)
    spellings = dict(built.query(
        "select raw_value, canonical_value from trueup_sample.spellings"
        " where raw_value <> '' and canonical_value is not null"
    ))  # fmt: skip
    rows = built.query("select id, stage, name, fund_id, website from portfoliocompanies"
                       " where stage = any(%s)", list(spellings))  # fmt: skip
    started = time.monotonic()
    writers = [
        Writer(built, number, [row for row in rows if row[0] % WRITERS == number],
               spellings, started + PATIENCE)
        for number in range(WRITERS)
    ]  # fmt: skip
    for writer in writers:
        writer.start()
    alarms: list[tuple[str, str]] = []
    warned: set[str] = set()
    count = edited = 0
    while time.monotonic() < started + SECONDS or (
        # something to alarm about must have been there, however slow the machine is
        not (edited and {"canonical_values", "row_counts", "audit_consistency"} <= warned)
        and time.monotonic() < started + PATIENCE
    ):
        made = migration.make_plan(built, STAGE, plan.Pace(1000, 0, 200))
        outcome = migration.apply(built, made, compare_others=count % 2 == 0)
        if outcome.status != "completed":  # a writer held a row for longer than a run tries
            continue
        for _ in range(2):
            with migration.connect(built) as connected:
                found = verify.run(built.settings, connected, str(made.run_id))
            count += 1
            alarms += [(check["code"], check["message"]) for check in found["checks"]
                       if check["status"] in FAILED]  # fmt: skip
            warned |= {check["code"] for check in found["checks"] if check["status"] == WARN}
            edited += sum(len(check["sample"]) for check in found["checks"]
                          if check["code"] == "audit_consistency")  # fmt: skip
    for writer in writers:
        writer.deadline = 0
        writer.join()
    print(f"{count} verifications, {edited} edits seen, warnings of {sorted(warned)}")
    assert [writer.error for writer in writers] == [None] * WRITERS
    assert alarms == []
    assert edited > 0 and {"canonical_values", "row_counts", "audit_consistency"} <= warned
