"""Whether a statement is run by an ORM session of the product, whose compiler puts the predicate of
the tenant into all that it sends. One that is also run elsewhere is not."""

import ast
from collections import defaultdict

from saas.dev.lint_bindings import Bindings
from saas.dev.lint_bound import Kind, Project
from saas.dev.lint_chains import Chain, Chains

_RUNNERS = frozenset({"execute", "scalar", "scalars", "stream", "stream_scalars"})
_OPERATORS = frozenset({"in_", "not_in", "notin_"})
# What a statement may be part of, and still be part of the statement around.
_PARTS = (
    *(ast.Attribute, ast.Subscript, ast.Starred, ast.List, ast.Tuple, ast.keyword),
    *(ast.Compare, ast.BoolOp, ast.BinOp, ast.UnaryOp, ast.IfExp),
)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class Sessions:
    """For the statements of one file."""

    def __init__(
        self, tree: ast.Module, chains: Chains, bindings: Bindings, project: Project
    ) -> None:
        self._chains = chains
        self._bindings = bindings
        self._project = project
        self._uses: defaultdict[str, list[ast.Name]] = defaultdict(list)
        self._global: set[str] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                self._uses[node.id].append(node)
            elif isinstance(node, ast.Global):
                self._global.update(node.names)

    def hold(self, chain: Chain) -> bool:
        # They refuse an insert, which has no predicate to carry.
        return chain.verb != "insert" and (self._is_query(chain) or self._holds(chain.calls[0]))

    def _holds(self, statement: ast.AST) -> bool:
        """Whether all that becomes of it, by way of variables too, is run by a bound session."""
        nodes = [statement]
        seen: set[str] = set()
        while nodes:
            names = self._variables(nodes.pop())
            if names is None or not all(self._uses[name] for name in names):
                return False
            nodes += [use for name in names - seen for use in self._uses[name]]
            seen |= names
        return True

    def _variables(self, node: ast.AST) -> set[str] | None:
        """Those that a statement is kept in. None remain where a bound session runs it; where it
        goes elsewhere the answer is None."""
        while (parent := self._chains.parent(node)) is not None:
            if isinstance(parent, ast.Assign | ast.AnnAssign):
                return self._assigned(parent)
            if isinstance(parent, ast.Call) and parent.func is not node:
                if self._runs(parent, node) or self._is_query(self._chains.of(parent)):
                    return set()
                if not self._is_building(parent):
                    return None
            elif not isinstance(parent, (ast.Call, *_PARTS)):
                return None
            node = parent
        return None

    def _runs(self, call: ast.Call, statement: ast.AST) -> bool:
        if not isinstance(call.func, ast.Attribute) or call.func.attr not in _RUNNERS:
            return False
        # Other connections may be given there.
        is_plain = not any(k.arg in {None, "bind_arguments"} for k in call.keywords)
        return call.args[:1] == [statement] and is_plain and self._is_session(call.func.value)

    def _is_query(self, chain: Chain | None) -> bool:
        """`session.query(…)`."""
        calls = () if chain is None else chain.calls
        methods = [call.func for call in calls if isinstance(call.func, ast.Attribute)]
        names = [method.attr for method in methods]
        is_query = names[:1] == ["query"] and "with_session" not in names
        return is_query and self._is_session(methods[0].value)

    def _is_session(self, node: ast.expr) -> bool:
        return self._project.kind(self._bindings, node) is Kind.SESSION

    def _is_building(self, call: ast.Call) -> bool:
        """Whether the call makes SQL of its arguments. Another function might run them."""
        if (self._bindings.qualified(call.func) or "").startswith("sqlalchemy."):
            return True
        if not isinstance(call.func, ast.Attribute) or call.func.attr in _RUNNERS:
            return False
        return self._chains.of(call) is not None or call.func.attr in _OPERATORS

    def _assigned(self, statement: ast.Assign | ast.AnnAssign) -> set[str] | None:
        """Only variables of functions: another file could run those of a module or a class."""
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        names = {target.id for target in targets if isinstance(target, ast.Name)}
        scope: ast.AST | None = statement
        while scope is not None and not isinstance(scope, _SCOPES):
            scope = self._chains.parent(scope)
        is_local = scope is not None and not isinstance(scope, ast.ClassDef)
        is_local = is_local and len(names) == len(targets) and not names & self._global
        return names if is_local else None
