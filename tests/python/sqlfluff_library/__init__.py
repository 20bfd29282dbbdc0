"""What dbt gives to Jinja, as far as this project's SQL uses it, without dbt and a database.

sqlfluff puts every name of this module into the context of the templates it lints (`library_path`
in .sqlfluff); the golden tests of the macros render with the same names. What sqlfluff's own dbt
builtins have already (ref, source, this, is_incremental, return) is not repeated here.
"""

from __future__ import annotations

import re as _re
from pathlib import Path as _Path
from types import SimpleNamespace as _SimpleNamespace
from typing import Any as _Any

import yaml as _yaml

_PROJECT = _Path(__file__).resolve().parents[3]
_VARS: dict[str, _Any] = _yaml.safe_load((_PROJECT / "dbt_project.yml").read_text())["vars"]
_REQUIRED = object()


class CompilerError(Exception):
    """What dbt raises for wrong input; its text is what the user reads."""


def var(name: str, default: _Any = _REQUIRED) -> _Any:
    """The value of a var in dbt_project.yml; CompilerError without value and default."""
    found = _VARS.get(name, default)
    if found is _REQUIRED:
        raise CompilerError(f"var {name!r} is not in dbt_project.yml and has no default")
    return found


def _raise_compiler_error(message: str) -> None:
    raise CompilerError(message)


class _Config:
    """`config(...)` prints nothing; `config.get(...)` knows nothing."""

    def __call__(self, **options: _Any) -> str:
        return ""

    def get(self, name: str, default: _Any = None) -> _Any:
        return default


config = _Config()
exceptions = _SimpleNamespace(raise_compiler_error=_raise_compiler_error)
modules = _SimpleNamespace(re=_SimpleNamespace(match=_re.match))
# As while dbt parses: the other nodes are not known yet.
execute = False
graph: dict[str, _Any] = {"nodes": {}}
