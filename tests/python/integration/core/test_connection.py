"""Connections: which server is meant, what is said about it, and that no password is shown."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import psycopg
import pytest

from integration.conftest import ADDRESS
from trueup import local
from trueup.core import connection
from trueup.core.errors import TrueupError
from trueup.core.settings import Settings
from trueup.local import server

SECRET = "hunter2secret"


@pytest.fixture(scope="module")
def address() -> server.Address:
    found = server.running(Path(json.loads(os.environ[ADDRESS])["state"]))
    assert found
    return found


def settings_of(conninfo: str | None, environment: str = "development") -> Settings:
    state = Path(json.loads(os.environ[ADDRESS])["state"])
    return local.with_embedded(Settings(state.parent, state, environment, conninfo, "text"))


def test_the_embedded_server(address: server.Address) -> None:
    found = settings_of(None)
    with connection.connect(found) as session:
        assert session.prepare_threshold is None
        assert session.info.parameter_status("application_name") == "trueup"
        version = session.execute("show server_version").fetchall()[0][0].split()[0]
        assert connection.describe(session, found) == (
            f"trueup · embedded PostgreSQL {version} · 127.0.0.1:{address.port} · "
            "database trueup · role trueup · development"
        )
    with connection.connect(found, "postgres", superuser=True, autocommit=True) as session:
        assert session.autocommit
        names = session.execute("select current_user, current_database()").fetchone()
        assert names == ("postgres", "postgres")


def test_several_hosts_lead_dbt_to_the_one_that_answered(address: server.Address) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        closed_port = taken.getsockname()[1]
    url = (
        f"postgresql://trueup:{address.password}@127.0.0.1:{closed_port},localhost:{address.port}"
        "/trueup?sslmode=prefer&options=-c%20statement_timeout%3D7s"
    )
    found = settings_of(url, "staging")
    variables = connection.dbt_environment(found)
    variables.pop("PGSSLCERTMODE", None)  # libpq fills it in by itself
    assert variables == {
        "PGHOST": "localhost", "PGPORT": str(address.port), "PGUSER": "trueup",
        "PGPASSWORD": address.password, "PGDATABASE": "trueup", "PGSSLMODE": "prefer",
        "PGOPTIONS": "-c statement_timeout=7s",
    }  # fmt: skip
    with connection.connect(found, "postgres") as session:
        line = connection.describe(session, found)
    assert " · PostgreSQL 18" in line and "embedded" not in line
    assert f" · localhost:{address.port} · database postgres · role trueup · staging" in line
    assert address.password not in line


def test_a_service_and_libpq_variables(
    address: server.Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = tmp_path / "services"
    service.write_text(
        f"[sample]\nhost=127.0.0.1\nport={address.port}\nuser=trueup\ndbname=trueup\n"
    )
    monkeypatch.setenv("PGSERVICEFILE", str(service))
    monkeypatch.setenv("PGSERVICE", "sample")
    monkeypatch.setenv("PGPASSWORD", address.password)
    variables = connection.dbt_environment(settings_of(""))
    assert (variables["PGPORT"], variables["PGUSER"]) == (str(address.port), "trueup")
    assert variables["PGPASSWORD"] == address.password


@pytest.mark.parametrize(
    ("tail", "reason"),
    [
        ("@127.0.0.1:1/d", "Connection refused"),
        ("@127.0.0.1:1/d?sslmode=nonsense", "invalid sslmode value"),
        ("@no.such.host.invalid:5432/d", "no.such.host.invalid"),
        ("@127.0.0.1:{port}/d", "password authentication failed"),
    ],
)
def test_a_failure_to_connect(address: server.Address, tail: str, reason: str) -> None:
    tail = tail.format(port=address.port)
    found = settings_of(f"postgresql://someone:{SECRET}{tail}")
    with pytest.raises(TrueupError) as caught:
        connection.connect(found)
    message = caught.value.message
    assert "database d, user someone" in message and "host" in message and "port" in message
    assert reason in message and "\n" not in message
    assert SECRET not in str(caught.value) and caught.value.__suppress_context__
    assert caught.value.remedy and "trueup doctor" in caught.value.remedy


def test_a_reason_never_holds_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "other-secret")
    error = psycopg.OperationalError(f'odd "{SECRET}" and "other-secret" for user "u"\nmore')
    parts = {"password": SECRET, "user": "u"}
    assert connection._reason(error, parts) == 'odd "***" and "***" for user "u"'


def test_production_writes_to_no_embedded_server() -> None:
    found = settings_of(None, environment="production")
    for connect in (connection.connect, connection.dbt_environment):
        with pytest.raises(TrueupError, match="no server is configured") as caught:
            connect(found)
        assert caught.value.remedy and "DATABASE_URL" in caught.value.remedy
    with connection.connect(found, writes=False) as session:
        assert connection.describe(session, found).endswith(" · production")


def test_a_configured_server_has_no_superuser_for_us() -> None:
    with pytest.raises(TrueupError, match="only the embedded PostgreSQL"):
        connection.connect(settings_of("postgresql://h/d"), superuser=True)
