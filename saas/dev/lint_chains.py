"""Statements of SQLAlchemy in Python source: chains of calls, `select(…).join(…).where(…)`."""

import ast
from collections.abc import Iterator
from typing import NamedTuple

from saas.dev.lint_names import Names

JOINS = frozenset({"join", "outerjoin", "join_from", "outerjoin_from"})
# Their parts are statements by themselves.
_SETS = frozenset({"union", "union_all", "intersect", "intersect_all", "except_", "except_all"})


class Chain(NamedTuple):
    """One statement: the calls in their order; `last` is the whole expression."""

    verb: str
    calls: tuple[ast.Call, ...]
    last: ast.expr


class Chains:
    """All statements of one file."""

    def __init__(self, tree: ast.Module, names: Names) -> None:
        self._names = names
        self._parents = {c: node for node in ast.walk(tree) for c in ast.iter_child_nodes(node)}
        self._of_call: dict[ast.AST, Chain] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and (verb := names.verb(node)):
                chain = self._chain(node, verb)
                self._of_call |= dict.fromkeys(chain.calls, chain)

    def __iter__(self) -> Iterator[Chain]:
        return iter(dict.fromkeys(self._of_call.values()))

    def parent(self, node: ast.AST) -> ast.AST | None:
        return self._parents.get(node)

    def of(self, call: ast.Call) -> Chain | None:
        """The statement that `call` is one of the calls of."""
        return self._of_call.get(call)

    def around(self, chain: Chain) -> Iterator[Chain]:
        """The statements that `chain` is a subquery of."""
        node = self._parents.get(chain.last)
        while node is not None and not isinstance(node, ast.stmt):
            if node in self._of_call:
                yield self._of_call[node]
            node = self._parents.get(node)

    def _chain(self, first: ast.Call, verb: str) -> Chain:
        calls, node = [first], first
        while (above := self._call_upon(node)) is not None:
            node = above
            calls.append(node)
        return Chain(verb, tuple(calls), node)

    def _call_upon(self, node: ast.Call) -> ast.Call | None:
        parent = self._parents[node]
        above = self._parents.get(parent)
        if isinstance(parent, ast.Attribute) and isinstance(above, ast.Call):
            return above if above.func is parent else None
        if not isinstance(parent, ast.Call) or node not in parent.args:
            return None
        function = parent.func
        is_plain = isinstance(function, ast.Name) and self._names.original(function) not in _SETS
        # A function that is given the statement; what it returns goes on as the statement.
        return parent if is_plain and self._names.verb(parent) is None else None
