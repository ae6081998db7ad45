"""A resource's two lines in the source of `saas/app.py`."""

import ast
import re

from saas.dev.scaffold_source import LINE_LENGTH
from saas.errors import ConfigurationError

_FEATURES = "saas.features."


def registered(source: str, name: str) -> str:
    """`source` with the resource imported, in its sorted place, and last in RESOURCES. Raises
    ConfigurationError where that cannot be done without guessing, or where the name is taken."""
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise _unexpected(name, f"it is no Python ({error.msg})") from None
    if name in _names_in(tree):
        raise ConfigurationError(f"{name} has a meaning in saas/app.py already")
    lines = source.splitlines(keepends=True)
    start, end, replacement = _with_name(tree, lines, name)
    place = _import_place(tree, name)
    if place > start:
        raise _unexpected(name, "an import stands behind RESOURCES")
    lines[start:end] = [replacement]
    lines.insert(place, f"from {_FEATURES}{name} import {name}\n")
    return "".join(lines)


def _with_name(tree: ast.Module, lines: list[str], name: str) -> tuple[int, int, str]:
    """The lines of RESOURCES, from and to, and what to put in their place."""
    found = [s for s in tree.body if isinstance(s, ast.AnnAssign) and _assigns_resources(s)]
    if len(found) != 1 or not isinstance(found[0].value, ast.Tuple):
        raise _unexpected(name, "RESOURCES: tuple[AnyResource, ...] is not assigned a tuple once")
    statement, values = found[0], found[0].value.elts
    start, end = statement.lineno - 1, statement.end_lineno or statement.lineno
    names = [value.id for value in values if isinstance(value, ast.Name)]
    text = "".join(lines[start:end])
    if len(names) < len(values) or "#" in text or ";" in text:
        raise _unexpected(name, "RESOURCES holds more than names")
    head = f"RESOURCES: {ast.unparse(statement.annotation)} = ("
    names.append(name)
    line = f"{head}{', '.join(names)}{',' if len(names) == 1 else ''})\n"
    if len(line) > LINE_LENGTH + 1 or text.rstrip().endswith(",\n)"):
        line = "".join([f"{head}\n", *(f"    {one},\n" for one in names), ")\n"])
    return start, end, line


def _assigns_resources(statement: ast.AnnAssign) -> bool:
    return isinstance(statement.target, ast.Name) and statement.target.id == "RESOURCES"


def _import_place(tree: ast.Module, name: str) -> int:
    """The line before which the import belongs."""
    imports = [s for s in tree.body if isinstance(s, ast.ImportFrom) and s.level == 0]
    features = [s for s in imports if (s.module or "").startswith(_FEATURES)]
    if not features:
        raise _unexpected(name, f"it imports nothing from {_FEATURES}*")
    for statement in features:
        if _order(statement.module or "") > _order(f"{_FEATURES}{name}"):
            return statement.lineno - 1
    return features[-1].end_lineno or features[-1].lineno


def _order(module: str) -> list[str | int]:
    """Ruff's order of modules: as people count, 9 before 10."""
    parts = re.split(r"(\d+)", module)
    return [int(part) if part.isdigit() else part for part in parts]


def _names_in(tree: ast.Module) -> set[str]:
    """Whatever has this name anywhere: an import must neither hide it nor be hidden."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.alias):
            names.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
    return names


def _unexpected(name: str, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"saas/app.py is not as this command knows it: {why}. Nothing was written; mend that, or "
        f"follow docs/adding-a-resource.md by hand and add to it: `from {_FEATURES}{name} import "
        f"{name}`, and {name} at the end of RESOURCES"
    )
