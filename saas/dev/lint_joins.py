"""Which tables of one SELECT, UPDATE or DELETE are bound to a tenant by its conditions."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from sqlglot import exp

HOLE = "interpolated_"
"""How a name begins that stands for what an f-string puts into SQL."""


class Fact(NamedTuple):
    """Two expressions that are equal in every row that is shown of one of the `aliases`."""

    aliases: frozenset[str]
    left: exp.Expr
    right: exp.Expr


class Scope:
    """The tables and conditions of one statement, without those of its subqueries. An alias in
    `doubtful` is given twice, renames its columns or comes from outside the text."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.aliases: list[str] = []
        self.tables: list[tuple[str, exp.Table]] = []
        self.facts: list[Fact] = []
        self.doubtful: set[str] = set()
        self.has_hole = False

    def alias_of(self, node: exp.Expr) -> str | None:
        """The table of this scope whose tenant_id `node` is. A bare tenant_id has to be the only
        table's."""
        if not isinstance(node, exp.Column) or node.name.lower() != "tenant_id":
            return None
        alias = node.table.lower()
        if not alias and len(self.aliases) == 1:
            return self.aliases[0]
        return alias if alias in self.aliases else None


def scope_of(node: exp.Expr) -> Scope:
    scope = Scope(node.key.upper())
    aliases = [alias for source in sources_of(node) for alias in _collect(source, scope)]
    if isinstance(node, exp.Select):
        _join_all(node, aliases, scope)
    scope.doubtful |= {alias for alias in scope.aliases if scope.aliases.count(alias) > 1}
    where = node.args.get("where")
    if where is not None:
        _add_facts(where.this, scope, frozenset(scope.aliases))
    return scope


def sources_of(node: exp.Expr) -> Iterator[exp.Expr]:
    """The target of a change, and the items of FROM or USING; each may have joins of its own."""
    if isinstance(node, exp.Update | exp.Delete):
        yield node.this
        yield from node.args.get("using") or []
    clause = node.args.get("from_")
    if clause is not None:
        yield clause.this


def bound_aliases(scope: Scope, outer: Mapping[str, bool]) -> set[str]:
    """The aliases whose tenant_id equals a parameter, or that of another bound alias; `outer` says
    which aliases of the statements around are bound."""
    bound: set[str] = set()

    def is_bound(node: exp.Expr) -> bool:
        if is_parameter(node) or scope.alias_of(node) in bound:
            return True
        if not isinstance(node, exp.Column) or node.name.lower() != "tenant_id":
            return False
        alias = node.table.lower()
        return alias not in scope.aliases and outer.get(alias, False)

    while True:
        found = {
            alias
            for fact in scope.facts
            for one, other in ((fact.left, fact.right), (fact.right, fact.left))
            if (alias := scope.alias_of(one)) in fact.aliases and is_bound(other)
            if alias is not None and alias not in scope.doubtful
        }
        if found <= bound:
            return bound
        bound |= found


def is_parameter(node: exp.Expr) -> bool:
    """$1, %s, %(name)s, :name; with a cast or in brackets, and nothing else."""
    while isinstance(node, exp.Paren | exp.Cast) and not isinstance(node, exp.TryCast):
        node = node.this
    if isinstance(node, exp.Parameter):
        return isinstance(node.this, exp.Literal)
    return isinstance(node, exp.Placeholder)


def _collect(source: exp.Expr, scope: Scope) -> list[str]:
    """Add the tables of one item of FROM, and of the joins in it; their aliases."""
    if isinstance(source, exp.Subquery) and isinstance(source.this, exp.Table) and not source.alias:
        aliases = _collect(source.this, scope)
    else:
        alias = source.alias_or_name.lower()
        aliases = [alias]
        scope.aliases.append(alias)
        if isinstance(source, exp.Table):
            scope.tables.append((alias, source))
            if source.alias_column_names or alias.startswith(HOLE):
                scope.doubtful.add(alias)
    _join_all(source, aliases, scope)
    return aliases


def _join_all(node: exp.Expr, aliases: list[str], scope: Scope) -> None:
    for join in node.args.get("joins") or []:
        left, right = frozenset(aliases), frozenset(_collect(join.this, scope))
        aliases += right
        # An outer join shows the rows of one side even where its condition fails.
        shown = {"": left | right, "LEFT": right, "RIGHT": left}.get(join.side, frozenset())
        if join.kind in {"SEMI", "ANTI"}:
            shown = frozenset()
        condition = join.args.get("on")
        if condition is not None:
            _add_facts(condition, scope, shown)
        if "tenant_id" in {name.name.lower() for name in join.args.get("using") or []}:
            _add_using(scope, shown, left, right)


def _add_using(
    scope: Scope, shown: frozenset[str], left: frozenset[str], right: frozenset[str]
) -> None:
    # Among several tables on one side it could be any of them: then ON has to say which.
    if len(left) == len(right) == 1:
        sides = [exp.column("tenant_id", table=alias) for side in (left, right) for alias in side]
        scope.facts.append(Fact(shown, sides[0], sides[1]))


def _add_facts(condition: exp.Expr, scope: Scope, aliases: frozenset[str]) -> None:
    for part in _conjuncts(condition):
        if isinstance(part, exp.EQ):
            scope.facts += (
                Fact(aliases, *pair) for pair in _equal_pairs(part.this, part.expression)
            )
        elif isinstance(part, exp.Column) and part.name.startswith(HOLE):
            scope.has_hole = True


def _conjuncts(condition: exp.Expr) -> Iterator[exp.Expr]:
    """What holds by itself; of `a OR b` nothing does."""
    if isinstance(condition, exp.And):
        yield from _conjuncts(condition.this)
        yield from _conjuncts(condition.expression)
    elif isinstance(condition, exp.Paren) and not isinstance(condition.this, exp.Column):
        yield from _conjuncts(condition.this)
    else:
        yield condition


def _equal_pairs(left: exp.Expr, right: exp.Expr) -> Iterable[tuple[exp.Expr, exp.Expr]]:
    if isinstance(left, exp.Tuple) and isinstance(right, exp.Tuple):
        if len(left.expressions) == len(right.expressions):
            return zip(left.expressions, right.expressions, strict=True)
        return ()
    return ((left, right),)
