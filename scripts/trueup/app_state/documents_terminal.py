"""A plan about documents on the terminal. Sentences and sums come from analyses/app_state/."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from trueup.app_state.documents import Plan
from trueup.show import terminal

COLUMNS = ("inserts", "updates", "deletes", "unchanged", "refusals")


def show(out: Console, made: Plan, listed: Sequence[Mapping[str, Any]], limit: int | None) -> None:
    """What becomes of each user, with their refused parts; old and new ids of the first user.

    listed: rows of app_state__ids. limit: users and ids to show; None = all
    """
    rows = [
        [_name(user["user_id"]), *(user[name] for name in COLUMNS)] for user in made.users[:limit]
    ]
    if made.users:
        terminal.show_table(out, ("user", "insert", "update", "delete", "unchanged", "refused"),
                            [*rows, ["all users", *map(made.total, COLUMNS)]])  # fmt: skip
    if (more := len(made.users) - len(rows)) > 0:
        out.print(f"and {terminal.counted(more, 'more user')}; --all shows them")
    reasons = [f"{_name(user['user_id'])}: {reason}" for user in made.users
               for reason in user["reasons"]]  # fmt: skip
    for reason in reasons[:limit]:
        out.print(f"  refused: {escape(terminal.visible(reason, 200))}", soft_wrap=True)
    first = next((row["user_id"] for row in listed), None)
    for row in [each for each in listed if limit is None or each["user_id"] == first][:limit]:
        what = escape(terminal.visible(f"{row['user_id']} {row['entity']} {row['source_id']}", 120))
        out.print(f"  {what} → {row['target_id']}", soft_wrap=True)
    for finding in made.findings:
        terminal.show_finding(out, dataclasses.asdict(finding))
    if made.refused is not None:
        out.print(
            "Rehearsal: every document was written, and rolled back."
            if not made.refused
            else f"Rehearsal: the database refused {terminal.counted(len(made.refused), 'user')}:"
        )
        for user, reason in made.refused.items():
            out.print(f"  {escape(_name(user))}: {escape(reason)}", soft_wrap=True)


def _name(user: str) -> str:
    return terminal.visible(user) if user else "no user"
