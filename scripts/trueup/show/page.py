"""The one place that renders pages: HTML files that need nothing but themselves."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from trueup.core import files
from trueup.core.errors import TrueupError
from trueup.show import terminal
from trueup.show.terminal import visible

SHOWN = 48  # letters of a value, as terminal.visible cuts it
TYPED = 4000  # of a line that cannot be printed as it is


def render(template: str, **data: Any) -> str:
    """A page from trueup/show/templates. Every value is escaped; one the template misses raises."""
    return _environment().get_template(template).render(**data)


def write(path: Path, text: str) -> None:
    """Write a report with files.write; TrueupError if the file cannot be written."""
    try:
        files.write(path, text)
    except OSError as error:
        raise _unwritable(path, error.strerror or str(error)) from None


def check_writable(path: Path) -> None:
    """Raise TrueupError if `write` would, before the work whose result is to be written."""
    if path.is_dir():
        raise _unwritable(path, "is a folder")
    folder = path.resolve().parent
    if not folder.is_dir():
        raise _unwritable(path, f"there is no folder {folder}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _unwritable(path, f"the folder {folder} is read-only")


def number(value: int) -> str:
    """1415 → 1,415, as on the terminal."""
    return f"{value:,}"


def percent(part: int, whole: int) -> str:
    """terminal.percent with a narrow space that does not break."""
    return terminal.percent(part, whole).replace(" %", "\u202f%")


def cut(text: str | None, columns: int = 200) -> str:
    """A sentence as terminal.visible shows it; what is not there stays empty."""
    return visible(text, columns) if text else ""


def printable(text: str) -> str:
    """A text to be copied: its lines stay lines, and nothing in them is invisible."""
    return "\n".join(
        line if line.isprintable() else visible(line, TYPED) for line in text.split("\n")
    )


def markdown(value: str) -> str:
    """One line that Markdown and HTML read as what it says; not for the beginning of a line."""
    shown = visible(value, TYPED).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~])", r"\\\1", shown)


def when(time: datetime | str | None) -> str:
    """2026-11-20T20:00:00.123456+00:00 → 2026-11-20 20:00:00 UTC."""
    if time is None:
        return "not yet"
    time = datetime.fromisoformat(time) if isinstance(time, str) else time
    return f"{time:%Y-%m-%d %H:%M:%S %Z}"


def examples(values: Iterable[str | None]) -> list[str]:
    """The first four different values, short."""
    return list(dict.fromkeys(visible(value, 24) for value in values))[:4]


def _or_dash(words: Callable[[float], str]) -> Callable[[float | None], str]:
    """A dash for what was not measured."""
    return lambda value: "–" if value is None else words(value)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("trueup.show", "templates"),
        autoescape=lambda name: name is not None and name.endswith(".html.j2"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        bytes=_or_dash(terminal.bytes_text),
        counted=terminal.counted,
        cut=cut,
        duration=_or_dash(terminal.duration),
        examples=examples,
        md=markdown,
        ms=_or_dash(lambda value: terminal.duration(value / 1000)),
        number=number,
        printable=printable,
        visible=visible,
        when=when,
    )
    environment.globals.update(percent=percent, SHOWN=SHOWN)
    return environment


def _unwritable(path: Path, reason: str) -> TrueupError:
    return TrueupError(
        f"{path} cannot be written: {reason}", "Name a file in a folder that you may write to."
    )
