"""Which names of a Python file mean tables, as far as its text tells. No file is run.

Names of one file are taken together, whatever their scope: that may find too much, not too little.
"""

import ast
from collections.abc import Callable, Iterator, Mapping

VERBS = frozenset({"select", "insert", "update", "delete", "exists"})
_TABLE_TYPES = ("Table", "TenantRow", "TenantModel", "type[")
_ALIASES = frozenset({"alias", "aliased", "tablesample"})
Models = Mapping[str, str]
"""The tables of the mapped classes, by the name of the class."""


class Names:
    """What the names of one file stand for. A key is the name of a table, or the text of what
    cannot be resolved."""

    def __init__(
        self, tree: ast.Module, models: Models, is_repository: Callable[[ast.expr], bool]
    ) -> None:
        self._models = models
        self._is_repository_class = is_repository
        self._imported: dict[str, str] = {}
        self._verbs: dict[str, str] = {}
        self._modules: set[str] = set()
        self._variables: dict[str, set[str]] = {}
        self.parameters: set[str] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                self._note_import(node)
            elif isinstance(node, ast.arg):
                self._note_parameter(node)
        assigned = list(_assignments(tree))
        # Until nothing new is found: a variable may be made of one that is assigned further down.
        while sum(self._note_variable(name, value) for name, value in assigned):
            pass

    def original(self, node: ast.expr) -> str:
        """The name that a function or class has where it comes from."""
        if isinstance(node, ast.Attribute):
            return node.attr
        return self._imported.get(node.id, node.id) if isinstance(node, ast.Name) else ""

    def verb(self, call: ast.expr) -> str | None:
        """select, insert, …: the statement that a call of SQLAlchemy begins."""
        if not isinstance(call, ast.Call):
            return None
        function = call.func
        if isinstance(function, ast.Name):
            return self._verbs.get(function.id)
        if not isinstance(function, ast.Attribute):
            return None
        if function.attr == "query":
            return "select" if any(self.mentions(one) for one in call.args) else None
        if function.attr not in VERBS:
            return None
        is_module = ast.unparse(function.value).partition(".")[0] in self._modules
        is_table = self.key(function.value) is not None
        return function.attr if is_module or is_table else None

    def key(self, node: ast.expr) -> str | None:
        """The table that `node` is, if it is one."""
        if isinstance(node, ast.Name):
            found = self._models.get(self.original(node))
            keys = self._variables.get(node.id, set())
            return found or (next(iter(keys)) if len(keys) == 1 else None)
        if isinstance(node, ast.Attribute):
            if node.attr == "__table__":
                return self.key(node.value)
            if node.attr == "table":
                return self.key(node.value) or ast.unparse(node)
            return self._models.get(node.attr)
        if isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith("tables"):
            name = node.slice.value if isinstance(node.slice, ast.Constant) else None
            return str(name) if name in self._models.values() else ast.unparse(node)
        if isinstance(node, ast.Call):
            if self.original(node.func) == "table_of" and node.args:
                return self.key(node.args[0]) or ast.unparse(node)
            if self.original(node.func) in _ALIASES:
                return ast.unparse(node)
        return None

    def mentions(self, node: ast.AST) -> set[str]:
        """The tables in an expression, without those of the statements in it: these are looked at
        by themselves."""
        found: set[str] = set()
        # No recursion: sums of many terms are deep.
        open_nodes = [node]
        while open_nodes:
            one = open_nodes.pop()
            if isinstance(one, ast.expr):
                if (key := self.key(one)) is not None:
                    found.add(key)
                    continue
                if self.begins(one) is not None or self._is_repository(one):
                    continue
                if isinstance(one, ast.Name):
                    found |= self._variables.get(one.id, set())
            open_nodes += ast.iter_child_nodes(one)
        return found

    def begins(self, node: ast.expr) -> ast.expr | None:
        """The call that begins the chain which `node` is: `select(…)` of `select(…).where(…)`."""
        while isinstance(node, ast.Call):
            if self.verb(node) or self.original(node.func) == "tenant_select":
                return node
            if not isinstance(node.func, ast.Attribute):
                # A function around a statement: f(select(…)).where(…).
                return next((one for arg in node.args if (one := self.begins(arg))), None)
            node = node.func.value
        return None

    def _is_repository(self, node: ast.expr) -> bool:
        """What it does is bound by itself; its update and delete are no statements."""
        return isinstance(node, ast.Call) and self._is_repository_class(node.func)

    def _note_import(self, node: ast.Import | ast.ImportFrom) -> None:
        module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
        for alias in node.names:
            local = alias.asname or alias.name.partition(".")[0]
            self._imported[local] = alias.name
            if not f"{module}.{alias.name}".lstrip(".").startswith(("sqlalchemy", "saas.db")):
                continue
            if alias.name in VERBS:
                self._verbs[local] = alias.name
            elif alias.name == "*":
                self._verbs |= {verb: verb for verb in VERBS}
            else:
                self._modules.add(local)

    def _note_parameter(self, node: ast.arg) -> None:
        self.parameters.add(node.arg)
        if node.annotation is None or self._is_repository_class(node.annotation):
            return
        written = ast.unparse(node.annotation).strip("'\"")
        if any(word in written for word in _TABLE_TYPES):
            self._variables[node.arg] = {node.arg}

    def _note_variable(self, name: str, value: ast.expr) -> bool:
        known = self._variables.get(name, set())
        found = set(self.mentions(value))
        if isinstance(value, ast.Call) and self.original(value.func) in _ALIASES:
            # Another row of the table, with a predicate of its own.
            found = {name}
        self._variables[name] = known | found
        return not found <= known


def column_of(node: ast.expr) -> ast.expr | None:
    """The table in `table.tenant_id`, `table.c.tenant_id` or `table.c["tenant_id"]`."""
    if isinstance(node, ast.Attribute):
        name: object = node.attr
    elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        name = node.slice.value
    else:
        return None
    if name != "tenant_id":
        return None
    owner = node.value
    if isinstance(owner, ast.Attribute) and owner.attr in {"c", "columns"}:
        return owner.value
    return owner


def _assignments(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                yield from _pairs(target, node.value)
        elif isinstance(node, ast.AnnAssign | ast.AugAssign | ast.NamedExpr) and node.value:
            yield from _pairs(node.target, node.value)
        elif isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
            yield from _pairs(node.target, node.iter)


def _pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, ast.Tuple | ast.List):
        is_parallel = isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(
            target.elts
        )
        values = value.elts if is_parallel else [value] * len(target.elts)  # type: ignore[attr-defined]
        for one, other in zip(target.elts, values, strict=True):
            yield from _pairs(one, other)
