"""Whether SQL over tenant tables is bound to a tenant: in every scope, for every alias.

Whatever is not understood is a fault, so that nothing passes unseen.
"""

import logging
import re
from collections.abc import Collection, Iterator

import sqlglot
from sqlglot import exp

from saas.dev.lint_joins import Scope, bound_aliases, is_parameter, scope_of

# It warns of statements that it only knows by their first word; here these are faults.
logging.getLogger("sqlglot").setLevel(logging.ERROR)

_NAMES = re.compile(r"[^\W\d]\w*")
# About the shape of tables, not their rows; and the bodies of functions, which the owner runs.
_DEFINING_WORDS = re.compile(
    r"\s*(?:ALTER|ANALYZE|COMMENT|CREATE\s+(?!.*\bAS\s*\(?\s*(?:SELECT|WITH|TABLE|VALUES)\b)"
    r"|DROP|GRANT|LOCK|REINDEX|REVOKE|SECURITY|VACUUM)\b",
    re.IGNORECASE | re.DOTALL,
)
_BODIES = re.compile(r"\s*(?:CREATE\s+(?:OR\s+REPLACE\s+)?(?:FUNCTION|PROCEDURE))\b", re.IGNORECASE)
# What only runs the statement behind it; sqlglot does not look into these.
_WRAPPER = re.compile(
    r"\s*(?:EXPLAIN\b\s*(?:\([^)]*\)\s*|(?:ANALYZE|VERBOSE)\b\s*)*"
    r"|PREPARE\s+\w+\s*(?:\([^)]*\))?\s*AS\s"
    r"|DECLARE\s+\w+\s+(?:\w+\s+)*?CURSOR\s+(?:WITH(?:OUT)?\s+HOLD\s+)?FOR\s)",
    re.IGNORECASE,
)
Visible = dict[str, bool]


def sql_faults(sql: str, tables: Collection[str]) -> list[str]:
    """What is wrong with `sql`, in a sentence each; nothing where it names none of `tables`."""
    if not _named(sql, tables):
        return []
    try:
        statements = list(_statements(sql))
        checks = [check for one in statements for check in _checked(one, tables)]
    except sqlglot.errors.SqlglotError as error:
        reason = str(error).splitlines()[0].rstrip(". ")
        names = ", ".join(sorted(_named(sql, tables)))
        return [f"{names}: the SQL cannot be parsed, and so not be checked ({reason})"]
    return list(dict.fromkeys(fault for check in checks for fault in check.faults))


def _statements(sql: str) -> Iterator[str]:
    """The statements of a script, as text."""
    start = 0
    for token in sqlglot.tokenize(sql, read="postgres"):
        if token.token_type.name == "SEMICOLON":
            yield sql[start : token.start]
            start = token.end + 1
    yield sql[start:]


def _checked(sql: str, tables: Collection[str]) -> Iterator["_Check"]:
    # psycopg's spelling of one percent sign.
    sql = _WRAPPER.sub("", sql.replace("%%", "%"), count=1)
    if not _named(sql, tables) or _BODIES.match(sql) or _DEFINING_WORDS.match(sql):
        return
    for statement in sqlglot.parse(sql, dialect="postgres"):
        if statement is not None:
            check = _Check(tables)
            check.statement(statement)
            yield check


def _named(sql: str, tables: Collection[str]) -> set[str]:
    return {name.lower() for name in _NAMES.findall(sql)} & set(tables)


class _Check:
    """One statement. A tenant table in it that is met in no scope is a fault."""

    def __init__(self, tables: Collection[str]) -> None:
        self._tables = tables
        self._met: set[int] = set()
        self.faults: list[str] = []

    def statement(self, statement: exp.Expr) -> None:
        if isinstance(statement, exp.Command):
            self.faults.append(f"{statement.this} over a tenant table cannot be checked")
            return
        self._query(statement, frozenset(), {})
        for table in statement.find_all(exp.Table):
            if self._is_tenant(table) and id(table) not in self._met:
                self.faults.append(
                    f"{table.name}: {statement.key.upper()} cannot carry a predicate on tenant_id "
                    "here, or is not understood"
                )

    def _query(self, node: exp.Expr, ctes: frozenset[str], outer: Visible) -> None:
        """A statement or subquery. `ctes` are names that hide tables; `outer` says which aliases
        of the statements around are bound."""
        ctes = self._with(node, ctes, outer)
        visible = outer
        if isinstance(node, exp.Select | exp.Update | exp.Delete):
            visible = self._scope(node, ctes, outer)
        elif isinstance(node, exp.Insert):
            visible = self._insert(node, outer)
        self._subqueries(node, ctes, outer, visible)

    def _subqueries(
        self, node: exp.Expr, ctes: frozenset[str], outer: Visible, visible: Visible
    ) -> None:
        for child in node.iter_expressions():
            if isinstance(child, exp.With):
                continue
            if isinstance(child, exp.Query | exp.DML):
                # A table made by a subquery does not see its neighbours in FROM.
                is_source = isinstance(node, exp.From | exp.Join) and child.arg_key == "this"
                is_source = is_source or child.arg_key == "using"
                self._query(child, ctes, outer if is_source else visible)
            else:
                self._subqueries(child, ctes, outer, visible)

    def _with(self, node: exp.Expr, ctes: frozenset[str], outer: Visible) -> frozenset[str]:
        clause = node.args.get("with_")
        if clause is None:
            return ctes
        if clause.args.get("recursive"):
            ctes |= {cte.alias.lower() for cte in clause.expressions}
        for cte in clause.expressions:
            self._query(cte.this, ctes, outer)
            ctes |= {cte.alias.lower()}
        return ctes

    def _scope(self, node: exp.Expr, ctes: frozenset[str], outer: Visible) -> Visible:
        scope = scope_of(node)
        bound = bound_aliases(scope, outer)
        for alias, table in scope.tables:
            self._met.add(id(table))
            hidden = not table.db and table is not node.this and table.name.lower() in ctes
            if hidden or not self._is_tenant(table):
                continue
            if alias in scope.doubtful:
                self.faults.append(f"{table.name}: {alias} is not the plain name of one table")
            elif alias not in bound:
                self.faults.append(_missing(table.name, alias, scope))
            elif scope.has_hole:
                self.faults.append(f"{table.name}: put brackets around the condition in {{}}")
        # FOR UPDATE OF names them once more.
        for lock in node.args.get("locks") or []:
            self._met |= {id(table) for table in lock.expressions}
        return {**outer, **{alias: alias in bound for alias in scope.aliases}}

    def _insert(self, node: exp.Insert, outer: Visible) -> Visible:
        schema = node.this
        table = schema.this if isinstance(schema, exp.Schema) else schema
        if not isinstance(table, exp.Table) or not self._is_tenant(table):
            return outer
        self._met.add(id(table))
        columns = schema.expressions if isinstance(schema, exp.Schema) else []
        names = [column.name.lower() for column in columns]
        if names.count("tenant_id") != 1:
            self.faults.append(f"{table.name}: INSERT without tenant_id among its columns")
        else:
            place = names.index("tenant_id")
            if not all(_is_bound_value(row, place, outer) for row in _rows(node.expression)):
                self.faults.append(f"{table.name}: INSERT takes tenant_id from no parameter")
        # A row in conflict shares a unique index with the new one, and so the tenant.
        alias = (table.alias or table.name).lower()
        return {**outer, alias: True, "excluded": True}

    def _is_tenant(self, table: exp.Table) -> bool:
        return table.name.lower() in self._tables


def _rows(source: exp.Expr | None) -> Iterator[exp.Expr]:
    """What an INSERT takes its rows from."""
    if isinstance(source, exp.SetOperation):
        yield from _rows(source.this)
        yield from _rows(source.expression)
    elif isinstance(source, exp.Subquery):
        yield from _rows(source.this)
    elif isinstance(source, exp.Values):
        yield from source.expressions
    else:
        yield source or exp.Tuple()


def _is_bound_value(row: exp.Expr, place: int, outer: Visible) -> bool:
    values = row.expressions
    if place >= len(values) or any(value.is_star for value in values[:place]):
        return False
    value = values[place].unalias()
    if isinstance(row, exp.Select):
        scope = scope_of(row)
        return is_parameter(value) or scope.alias_of(value) in bound_aliases(scope, outer)
    return is_parameter(value)


def _missing(table: str, alias: str, scope: Scope) -> str:
    column = "tenant_id" if len(scope.aliases) == 1 else f"{alias}.tenant_id"
    return f"{table}: no {column} = <parameter> in the conditions of its own {scope.kind}"
