"""`trueup demo`: the main job on a sample database, from nothing to a summary."""

from __future__ import annotations

import dataclasses
import os
from datetime import datetime, timezone
from typing import Any

from trueup import (
    aliases,
    connection,
    dbt,
    findings,
    findings_page,
    ledger,
    migration,
    page,
    plan,
    run_terminal,
    runs,
    sample,
    terminal,
    verify,
)
from trueup.settings import Settings

SHOWN = 8  # unknown values in the summary
PAGE = "demo.html"  # in the state folder


def run(settings: Settings, companies: int, dirty_share: float, seed: int) -> int:
    """Load, build, show. Returns the exit code: 0, or 1 where a model or test failed.

    companies: rows of the largest table; one deal to five of them, one investment to twenty.
    Always works on the embedded server: a demo never touches a configured one.
    """
    settings = dataclasses.replace(settings, conninfo=None, environment="development")
    out = terminal.console()
    with connection.connect(settings) as connected:
        server = connection.describe(connected, settings)
        out.print(server)
        with terminal.progress("sample") as report:
            rows = sample.load(
                connected,
                companies=companies,
                deals=companies // 5,
                investments=companies // 20,
                dirty_share=dirty_share,
                seed=seed,
                cascade=True,  # what hangs on it are dbt's views, made again right away
                progress=report,
            )
    counts = ", ".join(f"{count:,} {name}" for name, count in rows.items())
    out.print(f"sample: {counts}", soft_wrap=True)
    environment = connection.dbt_environment(settings)
    own_profile = dbt.write_profile(settings, environment) is None
    with terminal.progress("build") as report:
        outcome = dbt.run(settings, environment, "build", progress=report)
    with connection.connect(settings, writes=False) as connected:
        if outcome.failures:
            show_failures(connected, outcome)
            return 1
        done = sum(outcome.counts.values())
        out.print(
            f"dbt build: {done} models, snapshots and tests passed in {outcome.seconds:.0f} s\n"
        )
        found = findings.everything(connected, findings.VOCABULARY)
    show(found)
    path = settings.state / PAGE
    command = f"trueup demo --companies {companies} --dirty-share {dirty_share:g} --seed {seed}"
    origin = findings_page.Origin(
        name="Sample application",
        facts=[("server", server.partition(" · ")[2]), ("sample", f"made up: {counts}")],
        command=command,
        all_values="the model int_values",
        alias_seed=aliases.seed_name(settings, findings.VOCABULARY),
        documents=[
            f"{entry['table']}.{entry['column']}"
            for entry in dbt.project_variables(settings).get("managed_documents") or []
        ],
    )
    page.write(path, findings_page.build(found, origin, datetime.now(timezone.utc)))
    verified = migrate(settings)
    out.print(f"The same as a page, with more of it: {os.path.relpath(path)}", soft_wrap=True)
    if own_profile:
        out.print("profiles.yml was not made by trueup and was left alone.")
    out.print(
        "The server keeps running. `dbt build` works in this folder, `trueup unmapped` lists what\n"
        "waits for a decision, `trueup alias add` decides it, `trueup down` stops the server."
    )
    return 0 if verified else 1


def migrate(settings: Settings) -> bool:
    """The columns themselves: plan, apply, status, verify. Returns whether every check passed."""
    out = terminal.console()
    pace = plan.defaults(settings)
    schema = ledger.schema(settings)
    with connection.connect(settings) as connected:
        for old in runs.unfinished(connected, schema):  # of a sample that is gone
            migration.close(connected, schema, old, "cancelled")
        connected.commit()
        with terminal.progress("plan") as progress:
            made = plan.make(
                settings,
                connected,
                plan.Scope(),
                plan.Pace(pace["batch_size"], sleep_ms=0, target_ms=pace["target_ms"]),
                progress,
            )
        run = runs.find(connected, schema, str(made.run_id), runs.PLANNED)
        places = migration.columns(connected, schema, run)
    out.print("In place, in short transactions: plan, apply, status, verify\n")
    run_terminal.show_plan_summary(out, made)
    with run_terminal.bars(places) as report:
        outcome = migration.work(settings, run, report)
    out.print()
    with connection.connect(settings, writes=False) as connected:
        found = migration.status(connected, schema)
        if found is not None:
            run_terminal.show_status(out, *found)
        connected.rollback()
        verification = verify.run(settings, connected, str(made.run_id))
    out.print()
    run_terminal.show_verification(out, verification, 3)
    out.print()
    return outcome.status == "completed" and not verification.failed()


def show(found: findings.Found) -> None:
    """The summary: what the values mean, how clean the columns are, what is left to decide."""
    out = terminal.console()
    terminal.show_flow(out, found.values, found.stages)
    out.print()
    terminal.show_coverage(out, found.coverage)
    out.print()
    terminal.show_unmapped(out, found.unmapped, SHOWN)
    out.print()


def show_failures(connected: findings.Connection, outcome: dbt.Outcome) -> None:
    """Failed models and tests on stderr, each test with a few of the rows it found."""
    stored: dict[str, list[dict[str, Any]]] = {
        failure.name: findings.examples(connected, failure.relation)
        for failure in outcome.failures
        if failure.relation and failure.message.startswith("Got ")
    }
    terminal.show_failures(terminal.console(stderr=True), outcome, stored)
