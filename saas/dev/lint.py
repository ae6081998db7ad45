"""`saas lint`: statements over tenant tables in Python source that are bound to no tenant.

What is looked at, and what is not, is said in docs/lint.md.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from saas.db.models import Base, tenant_tables
from saas.dev.lint_alchemy import alchemy_faults
from saas.dev.lint_bindings import Bindings
from saas.dev.lint_bound import Kind, Project
from saas.dev.lint_chains import Chains
from saas.dev.lint_files import Fault, Source, sources_in, too_deep
from saas.dev.lint_names import Names
from saas.dev.lint_sessions import Sessions
from saas.dev.lint_sql import sql_faults
from saas.dev.lint_strings import sql_texts

_ESCAPE = re.compile(r"#\s*unscoped\b:?\s*(.*)")
_BASES = ("TenantRow", "TenantModel")
Found = tuple[ast.expr, str]
"""The place of a statement, and what is wrong with it."""


class Known(NamedTuple):
    """The tables of tenants and of none, and the tables of mapped classes by the class' name."""

    tenant: frozenset[str]
    control: frozenset[str]
    models: dict[str, str]


def faults_in(paths: Iterable[Path]) -> list[Fault]:
    """The faults in Python files and in those below folders. Tables are those of the app's models
    and those of models in the files. Raises ConfigurationError for a path that is not there."""
    import_module("saas.schema")
    sources, faults = sources_in(paths)
    known = _known(source.tree for source in sources.values())
    bindings = {file: Bindings(file, source.tree) for file, source in sources.items()}
    project = Project({one.module: one for one in bindings.values()})
    for file, source in sources.items():
        try:
            found = [
                *_in_strings(source.tree, known),
                *_in_statements(file, source.tree, known, bindings[file], project),
            ]
            faults += _unexcused(file, source, found)
        except RecursionError:
            faults.append(too_deep(file))
    return sorted(set(faults))


def _known(trees: Iterable[ast.Module]) -> Known:
    tenant = {table.name for table in tenant_tables()}
    models = {
        mapper.class_.__name__: mapper.class_.__tablename__ for mapper in Base.registry.mappers
    }
    classes = [c for tree in trees for c in ast.walk(tree) if isinstance(c, ast.ClassDef)]
    of_tenants = {*_BASES, *(name for name, table in models.items() if table in tenant)}
    # A child may stand before its parent.
    while found := [c for c in classes if c.name not in of_tenants and _bases(c) & of_tenants]:
        for one in found:
            of_tenants.add(one.name)
            if (table := _table_name(one)) is not None:
                tenant.add(table)
                models[one.name] = table
    return Known(frozenset(tenant), frozenset(models.values()) - tenant, models)


def _bases(node: ast.ClassDef) -> set[str]:
    return {ast.unparse(base).rpartition(".")[2] for base in node.bases}


def _table_name(node: ast.ClassDef) -> str | None:
    for statement in node.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            names = [ast.unparse(target) for target in targets]
            if names == ["__tablename__"] and isinstance(statement.value, ast.Constant):
                return str(statement.value.value)
    return None


def _in_strings(tree: ast.Module, known: Known) -> Iterator[Found]:
    for node, text in sql_texts(tree, known.tenant):
        yield from ((node, fault) for fault in sql_faults(text, known.tenant))


def _in_statements(
    file: Path, tree: ast.Module, known: Known, bindings: Bindings, project: Project
) -> Iterator[Found]:
    # There statements are made, from tables that only their callers know.
    if "saas/db/" in file.resolve().as_posix():
        return
    names = Names(tree, known.models, lambda one: project.kind(bindings, one) is Kind.REPOSITORY)
    chains = Chains(tree, names)
    sessions = Sessions(tree, chains, bindings, project)
    yield from alchemy_faults(chains, names, sessions, known.control)


def _unexcused(file: Path, source: Source, found: Iterable[Found]) -> Iterator[Fault]:
    escapes = _escapes(source.text)
    lines = _statement_lines(source.tree)
    for node, message in found:
        reasons = [escapes[line] for line in lines.get(node, _lines(node)) if line in escapes]
        if not any(reasons):
            unexplained = ", and `# unscoped:` gives no reason" if reasons else ""
            yield Fault(file, node.lineno, f"{message}{unexplained}")


def _escapes(source: str) -> dict[int, str]:
    """The reasons of the comments `# unscoped: <reason>`, by line; one that has its line for
    itself counts for the next line too."""
    escapes = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and (found := _ESCAPE.match(token.string)):
            escapes[token.start[0]] = found[1].strip()
            if token.line.lstrip().startswith("#"):
                escapes.setdefault(token.start[0] + 1, found[1].strip())
    return escapes


def _statement_lines(tree: ast.Module) -> dict[ast.AST, range]:
    """The lines of the simple statement around each expression. One with a body has no lines to
    give: an escape would excuse all that is in it."""
    lines: dict[ast.AST, range] = {}
    for statement in ast.walk(tree):
        has_body = hasattr(statement, "body") or isinstance(statement, ast.Match)
        if isinstance(statement, ast.stmt) and not has_body:
            lines |= dict.fromkeys(ast.walk(statement), _lines(statement))
    return lines


def _lines(node: ast.expr | ast.stmt) -> range:
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)
