"""Macros and files of SQL rendered by plain Jinja: no dbt, no database, milliseconds."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any

from jinja2 import Environment, StrictUndefined, Template

import sqlfluff_library

PROJECT = Path(__file__).resolve().parents[3]
ENVIRONMENT = Environment(extensions=["jinja2.ext.do"], undefined=StrictUndefined)
MACRO = re.compile(r"\{%-? macro (\w+)")
MATERIALIZATION = re.compile(r"\{%-? materialization ")  # a tag of dbt's own; needs a database


class _Returned(Exception):
    """How `return(value)` leaves a macro."""


def _return(value: Any) -> None:
    raise _Returned(value)


def call(macro: str, *arguments: Any, **context: Any) -> Any:
    """What a macro of macros/ writes, or returns, for these arguments.

    context: names that dbt would give, in place of those of sqlfluff_library (var, execute, graph).
    Raises sqlfluff_library.CompilerError for wrong input.
    """
    return _macros(context)[macro](*arguments)


def render_file(path: Path, variables: dict[str, Any]) -> str:
    """What a model, an analysis or a data test is in a first run with these vars.

    Relations have their names only, without a schema.
    """
    context = {"var": lambda name, *default: variables.get(name, *default),
               "is_incremental": lambda: False}  # fmt: skip
    known = {k: v for k, v in vars(sqlfluff_library).items() if not k.startswith("_")}
    names = known | context | _macros(context)
    return ENVIRONMENT.from_string(path.read_text(), globals=names).render()


@cache
def _compiled(text: str) -> CodeType:
    return ENVIRONMENT.compile(text)


def _macros(context: dict[str, Any]) -> dict[str, Callable[..., Any]]:
    """Every macro by name; they see each other, whatever file they are in, as in dbt."""
    texts = [path.read_text() for path in sorted((PROJECT / "macros").rglob("*.sql"))]
    texts = [text for text in texts if not MATERIALIZATION.search(text)]
    found: dict[str, Callable[..., Any]] = {}
    names: dict[str, Any] = {"return": _return}
    names |= {k: v for k, v in vars(sqlfluff_library).items() if not k.startswith("_")}
    # A template keeps the names it was made with: each macro is known before the first is made.
    names |= {name: _late(found, name) for text in texts for name in MACRO.findall(text)}
    names |= context
    for text in texts:
        module = Template.from_code(
            ENVIRONMENT, _compiled(text), ENVIRONMENT.make_globals(names)
        ).make_module()
        found |= {name: getattr(module, name) for name in MACRO.findall(text) if name[0] != "_"}
    return {name: _late(found, name) for name in found}


def _late(found: dict[str, Callable[..., Any]], name: str) -> Callable[..., Any]:
    def macro(*arguments: Any, **options: Any) -> Any:
        try:
            return found[name](*arguments, **options)
        except _Returned as returned:
            return returned.args[0]

    return macro
