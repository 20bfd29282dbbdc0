"""What dbt gives to Jinja, as far as this project's SQL uses it, without dbt and a database.

sqlfluff puts every name of this module into the context of the templates it lints (`library_path`
in .sqlfluff); the golden tests of the macros render with the same names. What sqlfluff's own dbt
builtins have already (ref, source, this, is_incremental, return) is not repeated here.
"""

from __future__ import annotations

import json as _json
import re as _re
from hashlib import md5 as _md5
from pathlib import Path as _Path
from types import SimpleNamespace as _SimpleNamespace
from typing import Any as _Any

import yaml as _yaml
from jinja2 import pass_context as _pass_context
from jinja2.runtime import Context as _Context

_PROJECT = _Path(__file__).resolve().parents[3]
_VARS: dict[str, _Any] = _yaml.safe_load((_PROJECT / "dbt_project.yml").read_text())["vars"]
_REQUIRED = object()


class CompilerError(Exception):
    """What dbt raises for wrong input; its text is what the user reads."""


@_pass_context
def var(context: _Context, name: str, default: _Any = _REQUIRED) -> _Any:
    """The value of a var in dbt_project.yml; CompilerError without value and default."""
    found = _VARS.get(name, default)
    if found is _REQUIRED:
        raise CompilerError(f"var {name!r} is not in dbt_project.yml and has no default")
    if name == "sample_columns" and context.get("one_column_per_shape"):  # analyses/.sqlfluff
        found = list({_shape(entry): entry for entry in reversed(found)}.values())
    return found


def _shape(entry: dict[str, _Any]) -> tuple[_Any, ...]:
    """What statements depend on beside names: test_compiled_sql.py compares them."""
    settings = ("tenant", "updated_at", "mart")
    return *entry["key"].values(), *(bool(entry.get(name)) for name in settings)


def _raise_compiler_error(message: str) -> None:
    raise CompilerError(message)


class _Config:
    """`config(...)` prints nothing; `config.get(...)` knows nothing."""

    def __call__(self, **options: _Any) -> str:
        return ""

    def get(self, name: str, default: _Any = None) -> _Any:
        return default


class _Relation(str):
    """A relation is its name."""

    def include(self, **parts: bool) -> _Relation:
        return self

    def render(self) -> str:
        return self


class _Package(dict[str, _Any]):
    """`trueup.macro(...)` is that macro, as the template that calls it knows it.

    A dict, because Jinja's sandbox gives items whose names begin with an underscore, but not
    attributes.
    """

    def __missing__(self, name: str) -> _Any:
        @_pass_context
        def macro(context: _Context, *arguments: _Any, **options: _Any) -> _Any:
            return context.resolve(name)(*arguments, **options)

        return macro


config = _Config()
trueup = _Package()
builtins = _SimpleNamespace(
    ref=lambda *names: _Relation(names[-1]),
    source=lambda *names: _Relation("_".join(names)),
)
this = _Relation("this")
model = _SimpleNamespace(columns={"updated_at": {"name": "updated_at", "data_type": "timestamptz"}})
exceptions = _SimpleNamespace(raise_compiler_error=_raise_compiler_error)
tojson = _json.dumps
modules = _SimpleNamespace(re=_SimpleNamespace(match=_re.match, sub=_re.sub))


def local_md5(text: str) -> str:
    """MD5 as hexadecimal digits."""
    return _md5(text.encode(), usedforsecurity=False).hexdigest()


# As while dbt parses: the other nodes are not known yet.
execute = False
graph: dict[str, _Any] = {"nodes": {}}
