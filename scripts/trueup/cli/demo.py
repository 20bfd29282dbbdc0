"""`trueup demo`: the main job on a sample database, from nothing to a summary."""

from __future__ import annotations

import dataclasses
import os
from datetime import datetime, timezone
from typing import Any

from trueup.cli import demo_migration
from trueup.core import config, connection, dbt
from trueup.core.settings import Settings
from trueup.local import sample
from trueup.show import page, terminal
from trueup.vocabulary import value_page, value_tables, values

# The sample and nothing else, whatever else is managed here.
VARIABLES: dict[str, Any] = {"sample": True, "managed_columns": [], "managed_documents": []}
OWN = "models/staging/app"  # the user's staging models, whose tables the demo does not have
SHOWN = 8  # unknown values in the summary
PAGE = "demo.html"  # in the state folder


def run(settings: Settings, companies: int, dirty_share: float, seed: int) -> int:
    """Load, build, show, migrate, roll back. Returns the exit code.

    0, or 1 where a model or test failed, or the migration was not as promised: a row was missed, a
    check failed, or the rollback did not bring back all but the edit of a user.

    companies: rows of the largest table; one deal to five of them, one investment to twenty.
    Always works on the embedded server: a demo never touches a configured one.
    """
    settings = dataclasses.replace(settings, conninfo=None, environment="development")
    settings = config.with_variables(settings, **VARIABLES)
    vocabulary = config.vocabulary(settings, config.managed_columns(settings)[0]["vocabulary"])
    config.check_managed(settings)  # before anything is loaded
    own = [f"path:{OWN}+"] if any((settings.project / OWN).rglob("*.sql")) else []
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
        # the newest run in the ledger may have changed a sample that is gone by now
        outcome = dbt.run(
            settings, environment, "build", "--exclude", "tag:verification", *own, progress=report
        )
    with connection.connect(settings, writes=False) as connected:
        if outcome.failures:
            show_failures(connected, outcome)
            return 1
        done = sum(outcome.counts.values())
        out.print(
            f"dbt build: {done} models, snapshots and tests passed in {outcome.seconds:.0f} s\n"
        )
        found = values.everything(connected, vocabulary)
    show(found)
    path = settings.state / PAGE
    command = f"trueup demo --companies {companies} --dirty-share {dirty_share:g} --seed {seed}"
    origin = value_page.Origin(
        name="Sample application",
        facts=[("server", server.partition(" · ")[2]), ("sample", f"made up: {counts}")],
        command=command,
        all_values="the model int_values",
        alias_seed=vocabulary.alias_path.relative_to(settings.project).as_posix(),
        documents=[
            f"{entry['table']}.{entry['column']}" for entry in config.managed_documents(settings)
        ],
    )
    page.write(path, value_page.build(found, origin, datetime.now(timezone.utc)))
    went_well, more = demo_migration.run(settings)
    for number, (about, each) in enumerate({"what the values mean": path, **more}.items()):
        head = "" if number else "Pages:"
        out.print(f"{head:6} {about:22} {os.path.relpath(each)}", soft_wrap=True)
    if own_profile:
        out.print("profiles.yml was not made by trueup and was left alone.")
    out.print(
        "The server keeps running. `dbt build` works in this folder, `trueup unmapped` lists what\n"
        "waits for a decision, `trueup alias add` decides it, `trueup down` stops the server."
    )
    return 0 if went_well else 1


def show(found: values.Found) -> None:
    """The summary: what the values mean, how clean the columns are, what is left to decide."""
    out = terminal.console()
    value_tables.show_flow(out, found)
    out.print()
    value_tables.show_coverage(out, found.coverage)
    out.print()
    value_tables.show_unmapped(out, found.unmapped, SHOWN)
    out.print()


def show_failures(connected: values.Connection, outcome: dbt.Outcome) -> None:
    """Failed models and tests on stderr, each test with a few of the rows it found."""
    stored: dict[str, list[dict[str, Any]]] = {
        failure.name: values.examples(connected, failure.relation)
        for failure in outcome.failures
        if failure.relation and failure.message.startswith("Got ")
    }
    terminal.show_failures(terminal.console(stderr=True), outcome, stored)
