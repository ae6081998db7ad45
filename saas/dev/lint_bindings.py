"""What the names of a Python file are bound to, wherever in the file that is done."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_NAMED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ExceptHandler, ast.MatchAs, ast.MatchStar)


class Imported(NamedTuple):
    """`dotted` is `shop.service.Orders`; relative imports begin with the path of the file."""

    dotted: str


class Entered(NamedTuple):
    """The target of `with context as …`."""

    context: ast.expr


Binding = ast.expr | ast.ClassDef | Imported | Entered | None
"""None is what cannot be told: a parameter, the variable of a loop, part of a tuple."""


class Bindings:
    """All bindings of each name in one file. `module` is its whole path with dots; the end of it
    is the name that it is imported by."""

    def __init__(self, file: Path, tree: ast.Module) -> None:
        parts = file.resolve().with_suffix("").parts[1:]
        is_package = parts[-1] == "__init__"
        self.module = ".".join(parts[:-1] if is_package else parts)
        self._package = parts[:-1]
        self._found: defaultdict[str, list[Binding]] = defaultdict(list)
        told: set[ast.AST] = set()
        for node in ast.walk(tree):
            for target, binding in self._bindings(node):
                name = target if isinstance(target, str) else _name(target)
                if name is not None:
                    self._found[name].append(binding)
                    told.add(node if isinstance(target, str) else target)
        for node in ast.walk(tree):
            is_stored = isinstance(getattr(node, "ctx", None), ast.Store)
            if is_stored and node not in told and (name := _name(node)) is not None:
                self._found[name].append(None)

    def of(self, node: ast.expr) -> list[Binding]:
        """Those of a name, or of `self.name`, which a body of a class may bind too."""
        name = _name(node)
        if name is None or (isinstance(node, ast.Attribute) and ast.unparse(node.value) != "self"):
            return []
        found = self._found.get(name, [])
        return found + self._found.get(name[1:], []) if name.startswith(".") and found else found

    def qualified(self, node: ast.expr) -> str | None:
        """`sqlalchemy.func.count` for `func.count`, where that is imported and nothing else."""
        if isinstance(node, ast.Attribute):
            owner = self.qualified(node.value)
            return None if owner is None else f"{owner}.{node.attr}"
        bindings = self.of(node)
        dotted = {one.dotted if isinstance(one, Imported) else None for one in bindings}
        return dotted.pop() if len(dotted) == 1 else None

    def _bindings(self, node: ast.AST) -> Iterator[tuple[ast.expr | str, Binding]]:
        if isinstance(node, ast.Assign):
            yield from ((target, node.value) for target in node.targets)
        elif isinstance(node, ast.AnnAssign | ast.NamedExpr):
            yield node.target, node.value
        elif isinstance(node, ast.withitem) and node.optional_vars is not None:
            yield node.optional_vars, Entered(node.context_expr)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from self._imports(node)
        elif isinstance(node, ast.ClassDef):
            yield node.name, node
        else:
            yield from ((target, None) for target in _untold(node))

    def _imports(self, node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, Binding]]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                yield alias.asname or top, Imported(alias.name if alias.asname else top)
            return
        above = self._package[: len(self._package) + 1 - node.level] if node.level else ()
        module = (*above, *([node.module] if node.module else []))
        for alias in node.names:
            yield alias.asname or alias.name, Imported(".".join((*module, alias.name)))


def _untold(node: ast.AST) -> Iterator[ast.expr | str]:
    if isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, _NAMED) and node.name:
        yield node.name
    elif isinstance(node, ast.MatchMapping) and node.rest:
        yield node.rest
    elif isinstance(node, ast.Attribute):
        # Sessions that are given other connections: `sessions.configure(bind=…)`, `session.bind =`.
        is_stored = isinstance(node.ctx, ast.Store)
        if node.attr == "configure" or (is_stored and node.attr == "bind"):
            yield node.value


def _name(node: ast.AST) -> str | None:
    """An attribute begins with a dot; whose it is does not matter."""
    if isinstance(node, ast.Attribute):
        return f".{node.attr}"
    return node.id if isinstance(node, ast.Name) else None
