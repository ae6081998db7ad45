"""Roles and permissions: the table of the API contract, written out."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saas.auth.permissions import PermissionCatalogue, Role

CATALOGUE = PermissionCatalogue(["projects", "tasks"])

VIEWER = {"projects:read", "tasks:read", "stats:read", "members:read", "tenant:read"}
MEMBER = VIEWER | {"projects:write", "tasks:write", "usage:write"}
ADMIN = MEMBER | {"projects:purge", "tasks:purge", "members:write", "audit:read"}
ADMIN |= {"api_keys:read", "api_keys:write"}
OWNER = ADMIN | {"tenant:write"}
ROLES = {"viewer": VIEWER, "member": MEMBER, "admin": ADMIN, "owner": OWNER}


@pytest.mark.parametrize("role", ROLES)
def test_role_has_the_permissions_of_the_contract(role: str) -> None:
    assert CATALOGUE.of_role(role) == ROLES[role]


def test_roles_are_closed_and_ordered_from_the_strongest() -> None:
    assert [role.value for role in Role] == ["owner", "admin", "member", "viewer"]

    sets = [CATALOGUE.of_role(role.value) for role in Role]
    assert all(stronger > weaker for stronger, weaker in pairwise(sets))
    with pytest.raises(TypeError):
        assert Role.OWNER > Role.ADMIN  # type: ignore[operator]


def test_owner_has_all_there_are() -> None:
    assert CATALOGUE.all == OWNER == CATALOGUE.of_role("owner")


@pytest.mark.parametrize("role", ["", "Owner", "OWNER", " owner", "root", "platform", "owner\n"])
def test_unknown_role_has_none(role: str) -> None:
    assert CATALOGUE.of_role("owner")

    assert CATALOGUE.of_role(role) == frozenset()
    assert CATALOGUE.narrowed(role, None) == frozenset()
    assert CATALOGUE.narrowed(role, CATALOGUE.all) == frozenset()


def test_no_list_leaves_the_role_as_it_is_and_an_empty_one_leaves_nothing() -> None:
    assert CATALOGUE.narrowed("member", None) == MEMBER
    assert CATALOGUE.narrowed("member", []) == frozenset()


def test_list_keeps_what_the_role_has_and_adds_nothing() -> None:
    asked = iter(["projects:read", "projects:purge", "tenant:write", "unknown:read", "*"])

    assert CATALOGUE.narrowed("member", asked) == {"projects:read"}


@given(
    role=st.sampled_from([*ROLES, "unknown"]),
    asked=st.frozensets(st.sampled_from([*sorted(OWNER), "", "*", "projects", "owner", "a:read"])),
)
def test_narrowing_never_widens(role: str, asked: frozenset[str]) -> None:
    narrowed = CATALOGUE.narrowed(role, asked)

    assert narrowed == CATALOGUE.of_role(role) & asked


@pytest.mark.parametrize("name", ["audit", "stats", "usage", "members", "api_keys", "tenant"])
def test_resource_cannot_take_the_name_of_a_fixed_permission(name: str) -> None:
    assert PermissionCatalogue(["projects"]).all

    with pytest.raises(ValueError, match=name):
        PermissionCatalogue(["projects", name])


@pytest.mark.parametrize("name", ["", "Projects", "pro jects", "projects:read", "9lives", "a\n"])
def test_resource_has_a_plain_name(name: str) -> None:
    assert PermissionCatalogue(["line_items2"]).all

    with pytest.raises(ValueError, match="cannot name a resource"):
        PermissionCatalogue([name])


def test_installation_without_resources_keeps_the_fixed_permissions() -> None:
    catalogue = PermissionCatalogue([])

    assert catalogue.of_role("viewer") == {"stats:read", "members:read", "tenant:read"}
    assert catalogue.of_role("member") == catalogue.of_role("viewer") | {"usage:write"}
