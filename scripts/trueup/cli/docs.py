"""`trueup docs`: the pages that dbt makes of the project's descriptions, as one file."""

from __future__ import annotations

import shutil
from pathlib import Path

from trueup.core import connection, dbt
from trueup.core.errors import TrueupError
from trueup.core.settings import Settings
from trueup.local import server


def write(settings: Settings, path: Path) -> None:
    """Write the pages to a file, its folder made where it is missing.

    Types and sizes of relations are asked from the server; what is not built yet has none. Raises
    TrueupError when dbt cannot make the pages.
    """
    made = settings.state / "target" / "static_index.html"
    made.unlink(missing_ok=True)
    with server.as_found(settings.state):
        environment = connection.dbt_environment(settings, writes=False)
        outcome = dbt.run(settings, environment, "docs", "generate", "--static")
    if not made.exists():
        why = "; ".join(f"{each.name}: {each.message}" for each in outcome.failures)
        raise TrueupError(
            f"dbt docs could not be made: {why or 'dbt wrote no page'}",
            f"The full log is in {settings.state / 'logs' / 'dbt.log'}",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(made, path)
