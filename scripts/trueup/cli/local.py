"""The commands of the embedded server and its sample: demo, up, down."""

from __future__ import annotations

import dataclasses
import sys

import click

from trueup.cli.base import examples
from trueup.cli.base import settings as read_settings


@click.command()
@click.option("--companies", type=click.IntRange(min=1), default=100_000, show_default=True,
              help="Rows of the largest sample table.")  # fmt: skip
@click.option("--dirty-share", type=click.FloatRange(0, 1), default=0.56, show_default=True,
              help="Share of values that are not canonical.")  # fmt: skip
@click.option(
    "--seed", type=int, default=1, show_default=True, help="Another seed, another sample."
)
@examples("""
trueup demo
trueup demo --companies 1000000 --dirty-share 0.2
""")
def demo(companies: int, dirty_share: float, seed: int) -> None:
    """Load a sample database, build the models on it, migrate it in place, and take that back.

    Plan, rehearsal, apply, verification, a user's edit, a rollback that spares it, as pages too.

    Works on the embedded PostgreSQL only, whatever server is configured. Running it again creates a
    new sample.
    """
    from trueup.cli import demo as job

    sys.exit(job.run(read_settings(), companies, dirty_share, seed))


@click.command()
@click.option(
    "--port", type=click.IntRange(1024, 65535), help="Port to listen on; without it, a free one."
)
@examples("""
trueup up
trueup up --port 54321
""")
def up(port: int | None) -> None:
    """Start the embedded PostgreSQL and write profiles.yml for it.

    Says its address; a server that runs already is left running.
    """
    from trueup.core import connection, dbt
    from trueup.local import server

    settings = dataclasses.replace(read_settings(), conninfo=None, environment="development")
    server.start(settings.state, port)
    with connection.connect(settings, writes=False) as connected:
        click.echo(connection.describe(connected, settings))
    if dbt.write_profile(settings, connection.dbt_environment(settings)) is None:
        click.echo("profiles.yml was not made by trueup and was left alone.")


@click.command()
@click.option("--remove-data", is_flag=True, help="Remove its databases, too.")
@examples("""
trueup down
trueup down --remove-data
""")
def down(remove_data: bool) -> None:
    """Stop the embedded PostgreSQL of this checkout; its data stays without --remove-data."""
    from trueup.local import server

    state = read_settings().state
    stopped = server.remove(state) if remove_data else server.stop(state)
    click.echo("stopped" if stopped else "was not running")


COMMANDS: tuple[click.Command, ...] = (demo, up, down)
