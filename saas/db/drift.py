"""From the security that a table has to the one it must have, as SQL that can be undone."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from saas.db.rls import (
    Grant,
    Security,
    create_grant,
    create_policy,
    create_trigger,
    drop_policy,
    drop_trigger,
    revoke_grant,
    set_row_security,
)


class Change(NamedTuple):
    """`undo` is empty where dropping the table undoes it too, `do` where only the way back needs
    a statement."""

    do: str
    undo: str


class Changes(NamedTuple):
    """`removals` belong before a change of the table's columns, `additions` behind it."""

    removals: list[Change]
    additions: list[Change]


def security_changes(actual: Security, required: Security) -> Changes:
    """Both lists are empty when nothing differs."""
    table = required.table
    grants = _grant_changes(actual, required)
    return Changes(
        removals=[
            *(
                Change(drop_trigger(table, trigger), create_trigger(table, trigger))
                for trigger in sorted(actual.triggers - required.triggers)
            ),
            *grants.removals,
            *(
                Change(drop_policy(table, policy), create_policy(table, policy))
                for policy in sorted(actual.policies - required.policies, key=str)
            ),
        ],
        additions=[
            *_row_security_changes(actual, required),
            *(
                Change(create_policy(table, policy), drop_policy(table, policy))
                for policy in sorted(required.policies - actual.policies, key=str)
            ),
            *grants.additions,
            *(
                Change(create_trigger(table, trigger), drop_trigger(table, trigger))
                for trigger in sorted(required.triggers - actual.triggers)
            ),
        ],
    )


def unguarded(table: str) -> Security:
    """What a table has when it was just created."""
    return Security(table, False, False, frozenset(), frozenset(), frozenset())


def _row_security_changes(actual: Security, required: Security) -> Iterator[Change]:
    was, must = (
        set_row_security(security.table, enabled=security.row_security, forced=security.forced)
        for security in (actual, required)
    )
    if was != must:
        yield Change(must, was)


def _grant_changes(actual: Security, required: Security) -> Changes:
    removals: list[Grant] = []
    additions: list[Grant] = []
    table = required.table
    for role, privilege in sorted({g[:2] for g in actual.grants | required.grants}):
        have_table, have = _held(actual.grants, role, privilege)
        need_table, need = _held(required.grants, role, privilege)
        lost, gained = have - need, need - have
        if have_table and not need_table:
            # A REVOKE on the whole table takes the privilege on its columns away as well.
            lost, gained = have, need
        removals += _per_grant(role, privilege, lost, whole=have_table and not need_table)
        additions += _per_grant(role, privilege, gained, whole=need_table and not have_table)
    return Changes(
        [Change(revoke_grant(table, grant), create_grant(table, grant)) for grant in removals],
        [Change(create_grant(table, grant), revoke_grant(table, grant)) for grant in additions],
    )


def _held(grants: Iterable[Grant], role: str, privilege: str) -> tuple[bool, frozenset[str]]:
    """Whether on the whole table, and on which columns besides."""
    mine = [grant.columns for grant in grants if grant[:2] == (role, privilege)]
    return () in mine, frozenset(column for columns in mine for column in columns)


def _per_grant(
    role: str, privilege: str, columns: frozenset[str], *, whole: bool
) -> Iterator[Grant]:
    if columns:
        yield Grant(role, privilege, tuple(sorted(columns)))
    if whole:
        yield Grant(role, privilege)
