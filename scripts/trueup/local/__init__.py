"""The embedded PostgreSQL and the sample application."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

from psycopg.conninfo import make_conninfo

from trueup.core import settings
from trueup.local import server


def load_settings(
    environ: Mapping[str, str] = os.environ, cwd: Path | None = None
) -> settings.Settings:
    """The settings of the environment, with the embedded server if none is configured."""
    return with_embedded(settings.load(environ, cwd))


def with_embedded(found: settings.Settings) -> settings.Settings:
    """The same settings; connections of a project without a server start the embedded one."""

    def conninfo(dbname: str | None, superuser: bool) -> str:
        address = server.start(found.state)
        if superuser:
            return make_conninfo(address.conninfo(dbname or "postgres"), user=server.SUPERUSER)
        return address.conninfo(dbname)

    return dataclasses.replace(found, embedded=conninfo)
