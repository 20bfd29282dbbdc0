"""Settings: what the environment may say, and that no message repeats a credential."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import data
from trueup.core import settings
from trueup.core.errors import TrueupError

SECRET = "hunter2secret"
URLS = data("database_urls.yml")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "dbt_project.yml").write_text("name: sample\n")
    return tmp_path


def test_defaults(project: Path) -> None:
    found = settings.load({}, project)
    assert found.project == project.resolve()
    assert found.state == project.resolve() / ".trueup"
    assert (found.environment, found.conninfo, found.log_format) == ("development", None, "text")


def test_the_nearest_project_at_or_above_the_working_directory(project: Path) -> None:
    inner = project / "inner"
    deep = inner / "a" / "b"
    deep.mkdir(parents=True)
    assert settings.find_project(deep) == project.resolve()
    (inner / "dbt_project.yml").touch()
    assert settings.find_project(deep) == inner.resolve()


def test_outside_of_any_project_the_package_finds_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = tmp_path / "checkout"
    (checkout / "scripts" / "trueup").mkdir(parents=True)
    monkeypatch.setattr(settings, "__file__", str(checkout / "scripts/trueup/core/settings.py"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with pytest.raises(TrueupError, match=r"no dbt_project.yml in .*elsewhere"):
        settings.find_project(elsewhere)
    (checkout / "dbt_project.yml").touch()
    assert settings.find_project(elsewhere) == checkout


@pytest.mark.parametrize("name", settings.SERVER_VARIABLES)
def test_one_libpq_variable_configures_a_server(name: str) -> None:
    assert settings.find_conninfo({name: "x"}) == ""
    assert settings.find_conninfo({name: ""}) is None


def test_variables_that_choose_no_server_leave_the_embedded_one() -> None:
    environ = {"PGPASSWORD": "x", "PGSSLMODE": "require", "PGDATA": "/x", "DATABASE_URL": " "}
    assert settings.find_conninfo(environ) is None


@pytest.mark.parametrize("url", URLS["sound"])
def test_database_url_goes_on_whole(url: str) -> None:
    assert settings.find_conninfo({"DATABASE_URL": url, "PGHOST": "other"}) == url


@pytest.mark.parametrize(("url", "fault"), URLS["malformed"].items())
def test_malformed_database_url_is_named_without_its_credential(url: str, fault: str) -> None:
    assert SECRET in url
    with pytest.raises(TrueupError) as caught:
        settings.find_conninfo({"DATABASE_URL": url})
    assert "DATABASE_URL is malformed" in caught.value.message
    assert fault in caught.value.message
    assert caught.value.remedy and "postgresql://" in caught.value.remedy
    # Neither in the text nor in what a traceback would print below it.
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("value", settings.ENVIRONMENTS)
def test_environments(project: Path, value: str) -> None:
    assert settings.load({"TRUEUP_ENV": value}, project).environment == value


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("TRUEUP_ENV", "prod", "development, staging, production"),
        ("TRUEUP_ENV", "Production", "development, staging, production"),
        ("LOG_FORMAT", "xml", "text, json"),
    ],
)
def test_a_value_that_is_not_allowed(project: Path, name: str, value: str, allowed: str) -> None:
    with pytest.raises(TrueupError) as caught:
        settings.load({name: value}, project)
    assert f"{name} is {value!r}" in caught.value.message
    assert allowed in caught.value.message
    assert caught.value.remedy


def test_the_representation_shows_no_credential(project: Path) -> None:
    found = settings.load({"DATABASE_URL": f"postgresql://u:{SECRET}@h/d"}, project)
    assert SECRET not in repr(found)
    assert found.conninfo and SECRET in found.conninfo


def test_error_text_has_message_and_remedy() -> None:
    assert str(TrueupError("what", "do this")) == "what\ndo this"
    assert str(TrueupError("what")) == "what"
