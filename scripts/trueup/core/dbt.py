"""The one place that runs dbt, and that writes its profile."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trueup.core import config, files
from trueup.core.errors import TrueupError
from trueup.core.settings import Settings

# (node that finished, nodes finished, nodes in all)
Progress = Callable[[str, int, int], None]

PROFILE_MARK = "# Made by trueup from profiles.yml.example"


@dataclass(frozen=True)
class Failure:
    """A node of a dbt run that failed.

    name:     the test's or model's name
    message:  dbt's message, shortened to what a person needs
    relation: where the failing rows are stored, or None
    """

    name: str
    message: str
    relation: str | None


@dataclass
class Outcome:
    """The result of a dbt run: nodes by status, failures, seconds in total and by node."""

    counts: dict[str, int] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    seconds: float = 0.0
    timings: dict[str, float] = field(default_factory=dict)


def run(
    settings: Settings,
    environment: Mapping[str, str],
    *arguments: str,
    target: str = "target",
    progress: Progress | None = None,
) -> Outcome:
    """Run one dbt command in this process, silently, on the server that `environment` names.

    environment: PG* variables, as `connection.dbt_environment` gives them.
    arguments:   the command and its options: "build", "--select", "int_values+".
    target:      folder below the state folder for compiled SQL and artifacts; runs with other
                 vars or another dbt need another one, so that each keeps its partial parse.

    Raises TrueupError when dbt could not run at all: a mistake in the project's files, an option
    it does not know. Nodes that failed are in the outcome.
    """
    config.check_managed(settings)
    from dbt.cli.main import dbtRunner  # dbt costs 1.3 s and 133 MB; most commands need none

    folder = settings.state / target
    profiles = settings.state / "profiles"
    profiles.mkdir(parents=True, exist_ok=True)
    example = (settings.project / "profiles.yml.example").read_text()
    (profiles / "profiles.yml").write_text(example)
    callbacks = [_progress_callback(progress)] if progress else []
    complete = [
        *arguments,
        "--project-dir", str(settings.project),
        "--profiles-dir", str(profiles),
        "--target-path", str(folder),
        "--log-path", str(settings.state / "logs"),
        "--log-level", "none",
        "--no-print",
        "--no-use-colors",
    ]  # fmt: skip
    if settings.variables:
        complete += ["--vars", json.dumps(dict(settings.variables))]
    with _environment(environment):
        result = dbtRunner(callbacks=callbacks).invoke(complete)
    if result.exception is not None:
        raise TrueupError(
            f"dbt {arguments[0]} could not run: {shorten(str(result.exception))}",
            f"The full log is in {settings.state / 'logs' / 'dbt.log'}",
        )
    outcome = Outcome(seconds=float(getattr(result.result, "elapsed_time", 0.0) or 0.0))
    for entry in getattr(result.result, "results", None) or []:
        status = str(getattr(entry.status, "value", entry.status))
        outcome.counts[status] = outcome.counts.get(status, 0) + 1
        outcome.timings[entry.node.name] = entry.execution_time
        if status in ("error", "fail", "runtime error"):
            outcome.failures.append(
                Failure(
                    name=entry.node.name,
                    message=shorten(entry.message or ""),
                    relation=getattr(entry.node, "relation_name", None),
                )
            )
    return outcome


def shorten(message: str) -> str:
    """dbt's message without the stack of macros below it, its kind and its file paths."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    kept = [
        line
        for line in lines
        if not line.startswith(("> in macro", "> called by", "compiled code at", "LINE "))
        and not set(line) <= {"^"}
    ]
    text = re.sub(r"\s+", " ", " ".join(kept))
    return re.sub(
        r"^(Compilation|Parsing|Runtime|Database) Error( in [^()]+ \([^()]+\))? ", "", text
    )


def write_profile(settings: Settings, environment: Mapping[str, str]) -> Path | None:
    """Write profiles.yml for people who call dbt themselves; None if their own was left alone.

    It is profiles.yml.example with the server's address as defaults, so PG* variables still win.
    Readable by its owner only: it holds the password of the embedded server.
    """
    path = settings.project / "profiles.yml"
    if path.exists() and not path.read_text().startswith(PROFILE_MARK):
        return None
    text = (settings.project / "profiles.yml.example").read_text()
    for name, value in environment.items():
        if "'" in value or "\\" in value or "{" in value:
            continue  # such a value cannot stand in the template; the variable itself still works
        text = re.sub(
            rf"env_var\('{name}', '[^']*'\)",
            lambda _, name=name, value=value: f"env_var('{name}', '{value}')",  # type: ignore[misc]
            text,
        )
    files.write(path, f"{PROFILE_MARK}; made again at every start.\n{text}", mode=0o600)
    return path


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """While dbt runs: exactly these PG* variables, none of the caller's."""
    before = dict(os.environ)
    for name in list(os.environ):
        if name.startswith("PG") or name in ("DBT_PROFILES_DIR", "DBT_TARGET", "DBT_ENGINE_TARGET"):
            del os.environ[name]
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _progress_callback(progress: Progress) -> Callable[[Any], None]:
    total = 0
    finished = 0

    def callback(event: Any) -> None:
        nonlocal total, finished
        if event.info.name == "LogStartLine":
            total = event.data.total
        elif event.info.name == "NodeFinished":
            finished += 1
            progress(event.data.node_info.node_name, finished, max(total, finished))

    return callback
