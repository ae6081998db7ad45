"""Roles inside a tenant and the permissions that each of them carries."""

import re
from collections.abc import Iterable
from enum import Enum

from saas.errors import PermissionDenied

# Of a route that every principal of the tenant may call. No role has it, no key can be given it.
EVERYONE = "everyone"


class Role(Enum):
    """From the strongest to the weakest. Not a StrEnum: `<` would compare the spelling."""

    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"
    VIEWER = "viewer"


class PermissionCatalogue:
    """All permissions of an installation, built once from the names of its resources."""

    def __init__(self, resources: Iterable[str]) -> None:
        """Raises ValueError for a name that is not snake_case, or that a fixed permission has: a
        resource `audit` would hand `audit:read` to every viewer."""
        names = frozenset(resources)
        for name in sorted(names):
            if _NAME.fullmatch(name) is None or name in _FIXED_NAMES:
                raise ValueError(f"{name!r} cannot name a resource")
        viewer = _VIEWER | {f"{name}:read" for name in names}
        member = viewer | _MEMBER | {f"{name}:write" for name in names}
        admin = member | _ADMIN | {f"{name}:purge" for name in names}
        self.all: frozenset[str] = admin | _OWNER
        self._of_role = {
            Role.VIEWER.value: viewer,
            Role.MEMBER.value: member,
            Role.ADMIN.value: admin,
            Role.OWNER.value: self.all,
        }

    def of_role(self, role: str) -> frozenset[str]:
        """The permissions of a role; an unknown role has none."""
        return self._of_role.get(role, frozenset())

    def narrowed(self, role: str, permissions: Iterable[str] | None) -> frozenset[str]:
        """The permissions of a role that are listed too, so a list never adds any. None lists
        them all; an empty list leaves none."""
        of_role = self.of_role(role)
        return of_role if permissions is None else of_role.intersection(permissions)


def require(permission: str, held: frozenset[str]) -> None:
    """Raises PermissionDenied for a route whose permission is not among those held."""
    if permission != EVERYONE and permission not in held:
        raise PermissionDenied(permission)


_VIEWER = frozenset({"stats:read", "members:read", "tenant:read"})
_MEMBER = frozenset({"usage:write"})
_ADMIN = frozenset({"audit:read", "members:write", "api_keys:read", "api_keys:write"})
_OWNER = frozenset({"tenant:write"})
_FIXED = _VIEWER | _MEMBER | _ADMIN | _OWNER
_FIXED_NAMES = frozenset(permission.partition(":")[0] for permission in _FIXED)
_NAME = re.compile(r"[a-z][a-z0-9_]*")
