"""The SQL in a Python file, as text: its string literals, with what an f-string, a plus, a percent
sign or `format` puts into them."""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping

from saas.dev.lint_joins import HOLE

# Whose argument is SQL, whatever it looks like.
_RUNNERS = frozenset(
    {"execute", "executemany", "exec_driver_sql", "fetch", "fetchmany", "fetchrow", "fetchval"}
    | {
        "copy_from_query",
        "cursor",
        "iterate",
        "prepare",
        "scalar",
        "scalars",
        "stream",
        "table",
        "text",
    }
)
_COMMENTS = r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/|\()*"
_SQL = re.compile(
    rf"(?:^|;){_COMMENTS}(?:SELECT\b.*\b(?:FROM|TABLE)|WITH\b.*\bAS\b|INSERT\s+INTO|DELETE\s+FROM"
    r"|UPDATE\b.*\bSET|MERGE\s+INTO|TRUNCATE|TABLE|COPY|VALUES|EXPLAIN|PREPARE|DECLARE|DO\s+\$"
    r"|CREATE\b.*\bAS)\b",
    re.IGNORECASE | re.DOTALL,
)
# Part of a statement that is put together elsewhere. In capitals: else it is a sentence.
_PART = r"\b(?:FROM|JOIN|INTO|UPDATE|USING|TABLE)\s+(?:ONLY\s+)?(?:\w+\.)?\"?(?:{})\b"
_FORMAT_FIELD = re.compile(r"\{\w*(?:![rsa])?(?::[^{}]*)?\}")
_PERCENT_FIELD = re.compile(r"%(?:\(\w+\))?[sdr]")
# Where a hole is part of a parameter's name, not SQL of its own.
_IN_A_PARAMETER = re.compile(r"(?:\$|%\(|(?<!:):)\w*$")


def sql_texts(tree: ast.Module, tables: frozenset[str]) -> Iterator[tuple[ast.expr, str]]:
    """Every piece of SQL with its place. A text that is no SQL may be among them, if it is given
    to something that runs SQL."""
    constants = _constants(tree)
    part = re.compile(_PART.format("|".join(map(re.escape, sorted(tables)))))
    given = {
        argument
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and _called(node) in _RUNNERS
        for argument in (*node.args, *(keyword.value for keyword in node.keywords))
    }
    for node, text in _whole_texts(tree, constants):
        if node in given and text.strip(' "').lower() in tables:
            # text("projects"): a table that stands in the place of a column or in select_from.
            yield node, f"TABLE {text}"
        elif node in given or _SQL.search(text) or part.search(text):
            yield node, text


def _constants(tree: ast.Module) -> dict[str, str]:
    """Names of the module that are one text for good."""
    stores = [
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    ]
    found = {}
    for statement in tree.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
            value = statement.value
            is_text = isinstance(value, ast.Constant) and isinstance(value.value, str)
            if is_text and isinstance(target, ast.Name) and stores.count(target.id) == 1:
                found[target.id] = ast.literal_eval(value) if value else ""
    return found


def _called(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else ast.unparse(function)


def _whole_texts(node: ast.AST, constants: Mapping[str, str]) -> Iterator[tuple[ast.expr, str]]:
    """The texts in `node`, each as a whole; docstrings are none."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    text = _literal_text(node, constants)
    if text is not None and isinstance(node, ast.expr):
        yield node, text
        rest = _inserted_expressions(node, constants)
    else:
        rest = _parts(node)
    for child in rest:
        yield from _whole_texts(child, constants)


def _inserted_expressions(node: ast.AST, constants: Mapping[str, str]) -> Iterator[ast.AST]:
    """The expressions in a text that are none themselves."""
    if isinstance(node, ast.Call):
        yield from (*node.args, *node.keywords)
        return
    for child in _parts(node):
        if isinstance(child, ast.FormattedValue):
            yield child.value
        elif _literal_text(child, constants) is None:
            yield child
        else:
            yield from _inserted_expressions(child, constants)


def _parts(node: ast.AST) -> Iterator[ast.AST]:
    return _terms(node) if _is_sum(node) else ast.iter_child_nodes(node)


def _terms(node: ast.AST) -> Iterator[ast.AST]:
    """All terms of a sum from left to right: it may be hundreds deep, and is one text."""
    remaining = [node]
    while remaining:
        one = remaining.pop()
        if isinstance(one, ast.BinOp) and _is_sum(one):
            remaining += one.right, one.left
        else:
            yield one


def _is_sum(node: ast.AST) -> bool:
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add)


def _literal_text(node: ast.AST, constants: Mapping[str, str]) -> str | None:
    """The text that is written at `node`, with holes; None for names, also for those of texts."""
    if isinstance(node, ast.Constant):
        if isinstance(node.value, bytes):
            return node.value.decode("latin-1")
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return _text_with_holes(_known_text(value, constants) for value in node.values)
    if _is_sum(node):
        terms = [(term, _known_text(term, constants)) for term in _terms(node)]
        # One made of names alone may be a sum of numbers.
        is_text = any(text is not None and not isinstance(term, ast.Name) for term, text in terms)
        return _text_with_holes(text for _, text in terms) if is_text else None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        text = _known_text(node.left, constants)
        return None if text is None else _fields_as_holes(_PERCENT_FIELD, text)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        text = _known_text(node.func.value, constants) if node.func.attr == "format" else None
        return None if text is None else _fields_as_holes(_FORMAT_FIELD, text)
    return None


def _known_text(node: ast.AST, constants: Mapping[str, str]) -> str | None:
    """The text of a literal, or of the constant that `node` names."""
    if isinstance(node, ast.FormattedValue):
        return _known_text(node.value, constants)
    return constants.get(node.id) if isinstance(node, ast.Name) else _literal_text(node, constants)


def _text_with_holes(pieces: Iterable[str | None]) -> str:
    text = ""
    for number, piece in enumerate(pieces):
        if piece is not None:
            text += piece
        elif _IN_A_PARAMETER.search(text):
            text += "1"
        else:
            # Apart from its neighbours, whose names it must not hide.
            text += f" {HOLE}{number} "
    return text


def _fields_as_holes(field: re.Pattern[str], text: str) -> str:
    return field.sub(f" {HOLE}0 ", text)
