"""Which tables of a statement of SQLAlchemy are bound to a tenant by its conditions."""

import ast
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from saas.dev.lint_chains import JOINS, Chain
from saas.dev.lint_names import Names, column_of

_WHERE = frozenset({"where", "filter"})


class Fact(NamedTuple):
    """The tenant of `key` equals that of `other`, or a parameter where that is None. It holds for
    the rows of `shown`; of all tables where that is None."""

    key: str
    other: str | None
    shown: frozenset[str] | None


def bound_tables(chain: Chain, names: Names) -> frozenset[str]:
    """The tables whose tenant_id equals a value, or that of another bound table."""
    facts = _facts(chain, names)
    bound: set[str] = set()
    while True:
        found = {
            fact.key
            for fact in facts
            if (fact.shown is None or fact.key in fact.shown)
            and (fact.other is None or fact.other in bound)
        }
        if found <= bound:
            return frozenset(bound)
        bound |= found


def gives_tenant(chain: Chain) -> bool:
    """Whether an INSERT names tenant_id with something other than a literal."""
    for call in chain.calls[1:]:
        method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        if method == "from_select" and call.args and isinstance(call.args[0], ast.List | ast.Tuple):
            return any(
                isinstance(e, ast.Constant) and e.value == "tenant_id" for e in call.args[0].elts
            )
        if method == "values":
            rows = [r for a in call.args for r in (a.elts if isinstance(a, ast.List) else [a])]
            keyed = [k.value for k in call.keywords if k.arg == "tenant_id"]
            values = [_value_in(row) for row in rows] or (keyed or [None])
            return all(v is not None and not isinstance(v, ast.Constant) for v in values)
    return False


def _value_in(row: ast.expr) -> ast.expr | None:
    if not isinstance(row, ast.Dict):
        return None
    pairs = zip(row.keys, row.values, strict=True)
    return next(
        (v for k, v in pairs if isinstance(k, ast.Constant) and k.value == "tenant_id"), None
    )


def _facts(chain: Chain, names: Names) -> list[Fact]:
    facts: list[Fact] = []
    for call in chain.calls[1:]:
        method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        if method in _WHERE:
            facts += _equalities(call.args, names, None)
        elif method in JOINS:
            target = 1 if method.endswith("_from") else 0
            conditions = [*call.args[target + 1 :], *(k.value for k in call.keywords)]
            facts += _equalities(conditions, names, _shown(call, target, names))
        elif method == "filter_by":
            facts += _filtered_by(chain, call, names)
    return facts


def _shown(call: ast.Call, target: int, names: Names) -> frozenset[str] | None:
    """The tables whose rows a join shows only where its condition holds."""
    given = {
        k.arg: not (isinstance(k.value, ast.Constant) and not k.value.value) for k in call.keywords
    }
    if given.get("full"):
        return frozenset()
    is_outer = given.get("isouter") or "outer" in ast.unparse(call.func).rpartition(".")[2]
    if not is_outer:
        return None
    return frozenset(names.mentions(call.args[target]) if len(call.args) > target else ())


def _equalities(
    conditions: Iterable[ast.expr], names: Names, shown: frozenset[str] | None
) -> Iterator[Fact]:
    for condition in conditions:
        if isinstance(condition, ast.BinOp) and isinstance(condition.op, ast.BitAnd):
            yield from _equalities((condition.left, condition.right), names, shown)
        elif isinstance(condition, ast.Call):
            function = names.original(condition.func)
            if function == "and_":
                yield from _equalities(condition.args, names, shown)
            elif function == "tenant_predicate" and len(condition.args) == 1:
                key = names.key(condition.args[0]) or ast.unparse(condition.args[0])
                yield Fact(key, None, shown)
        elif isinstance(condition, ast.Compare) and [type(o) for o in condition.ops] == [ast.Eq]:
            left, right = condition.left, condition.comparators[0]
            yield from _equal(left, right, names, shown)
            yield from _equal(right, left, names, shown)


def _equal(
    left: ast.expr, right: ast.expr, names: Names, shown: frozenset[str] | None
) -> Iterator[Fact]:
    table, other = column_of(left), column_of(right)
    key = names.key(table) if table is not None else None
    if key is None:
        return
    if other is not None and (other_key := names.key(other)):
        yield Fact(key, other_key, shown)
    elif not names.mentions(right) and _is_value(right, names):
        yield Fact(key, None, shown)


def _is_value(node: ast.expr, names: Names) -> bool:
    """Something that the caller gives; no literal, and no SQL."""
    if isinstance(node, ast.Call):
        return names.original(node.func) == "bindparam"
    return isinstance(node, ast.Name | ast.Attribute)


def _filtered_by(chain: Chain, call: ast.Call, names: Names) -> Iterator[Fact]:
    tables = {key for argument in chain.calls[0].args for key in names.mentions(argument)}
    for keyword in call.keywords:
        if keyword.arg == "tenant_id" and len(tables) == 1 and _is_value(keyword.value, names):
            yield Fact(tables.pop(), None, None)
