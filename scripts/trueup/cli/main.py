"""The command line: `trueup` and the commands of every system."""

from __future__ import annotations

import click

from trueup import __version__
from trueup.cli import (
    app_state,
    findings,
    guard,
    ledger,
    local,
    membership,
    migration,
    project,
    report,
    rollback,
    verification,
    vocabulary,
)
from trueup.cli.base import Group, examples


@click.group(
    cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="trueup")
@examples("""
trueup demo                                         see it work on a sample database
trueup try deals.csv --column Status                what would become of a file
trueup unmapped                                     what waits for a decision
trueup alias add "Serie Seed" seed --reason "..."   decide it
""")
def main() -> None:
    """Bring categorical columns of live PostgreSQL tables up to a canonical vocabulary.

    DATABASE_URL or the usual PG* variables choose the server; with none set, an embedded PostgreSQL
    below .trueup/ is used. Exit codes: 0 done, 1 a check failed, 2 wrong use or environment.
    """


for system in (
    local, project, vocabulary, migration, verification, findings, rollback, report, guard,
    app_state, membership, ledger,
):  # fmt: skip
    for command in system.COMMANDS:
        main.add_command(command)
