"""Whether statements built with SQLAlchemy are bound to a tenant, each by its own conditions."""

import ast
from collections.abc import Collection, Iterator

from saas.dev.lint_chains import JOINS, Chain, Chains
from saas.dev.lint_names import Names
from saas.dev.lint_predicates import bound_tables, gives_tenant
from saas.dev.lint_sessions import Sessions


def alchemy_faults(
    chains: Chains, names: Names, sessions: Sessions, control: Collection[str]
) -> Iterator[tuple[ast.expr, str]]:
    """Each fault with the place of its statement. `control` are the tables of no tenant."""
    for chain in chains:
        if sessions.hold(chain):
            continue
        named, compared = _tables(chain, names)
        if chain.verb == "insert":
            unbound = set() if gives_tenant(chain) else named
        else:
            bound = bound_tables(chain, names)
            # What is only compared may be a row of the statement around.
            around = {key for one in chains.around(chain) for key in bound_tables(one, names)}
            unbound = (named - bound) | (compared - bound - around)
        for key in sorted(unbound.difference(control)):
            yield chain.calls[0], _message(chain.verb, key)


def _tables(chain: Chain, names: Names) -> tuple[set[str], set[str]]:
    """The tables that the statement reads or changes by name, and those that it only compares
    with: SQLAlchemy puts them into FROM, unless the statement around has them there."""
    named: set[str] = set()
    compared: set[str] = set()
    for call in chain.calls:
        parts = [*call.args, *(keyword.value for keyword in call.keywords)]
        found = {key for part in parts for key in names.mentions(part)}
        if isinstance(call.func, ast.Attribute) and call is not chain.calls[0]:
            is_source = call.func.attr in {"select_from", "add_columns", "with_only_columns"}
            (named if is_source or call.func.attr in JOINS else compared).update(found)
        else:
            named |= found
    first = chain.calls[0]
    if isinstance(first.func, ast.Attribute) and (key := names.key(first.func.value)):
        named.add(key)
    for argument in first.args:
        is_parameter = isinstance(argument, ast.Name) and argument.id in names.parameters
        is_changed = chain.verb in {"insert", "update", "delete"}
        if not names.mentions(argument) and (is_parameter or is_changed):
            named.add(ast.unparse(argument))
    return named, compared - named


def _message(verb: str, key: str) -> str:
    if verb == "insert":
        return f"{key}: insert without tenant_id among its values"
    return f"{key}: {verb} without tenant_predicate of {key} in the same chain of calls"
