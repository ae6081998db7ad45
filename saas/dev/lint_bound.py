"""What of the product binds statements by itself: its repositories and its ORM sessions.

A name counts as one only where everything that it is bound to in its file is one.
"""

import ast
from collections.abc import Mapping
from enum import Enum

from saas.dev.lint_bindings import Binding, Bindings, Entered, Imported

_REPOSITORY = "TenantRepository"
_ENGINES = frozenset({"saas.db.orm.async_engine", "saas.db.sync.orm.sync_engine"})
_SESSIONS = frozenset({"saas.db.orm.async_sessions", "saas.db.sync.orm.sync_sessions"})


class Kind(Enum):
    REPOSITORY = "a subclass of TenantRepository, or itself"
    ENGINE = "an engine whose compiler scopes statements"
    SESSIONS = "what makes sessions on such an engine"
    SESSION = "such a session, or the block that gives it"


class Project:
    """The kinds of what is in all files of one run, by their modules."""

    def __init__(self, modules: Mapping[str, Bindings]) -> None:
        self._modules = modules
        self._of_import: dict[str, Kind | None] = {}
        self._unfinished: set[tuple[str, str]] = set()

    def kind(self, bindings: Bindings, node: ast.expr) -> Kind | None:
        if isinstance(node, ast.Subscript):
            # TenantRepository[Order, OrderRead]
            kind = self.kind(bindings, node.value)
            return kind if kind is Kind.REPOSITORY else None
        if isinstance(node, ast.Call):
            return self._made(bindings, node)
        if not isinstance(node, ast.Name | ast.Attribute):
            return None
        if (dotted := bindings.qualified(node)) is not None:
            return self._imported(dotted)
        found = bindings.of(node)
        if not found:
            is_repository = ast.unparse(node).rpartition(".")[2] == _REPOSITORY
            return Kind.REPOSITORY if is_repository else None
        return self._common(bindings, ast.unparse(node), found)

    def _common(self, bindings: Bindings, name: str, found: list[Binding]) -> Kind | None:
        place = bindings.module, name
        if place in self._unfinished:
            return None
        self._unfinished.add(place)
        kinds = {self._bound(bindings, one) for one in found}
        self._unfinished.remove(place)
        return kinds.pop() if len(kinds) == 1 else None

    def _bound(self, bindings: Bindings, binding: Binding) -> Kind | None:
        if isinstance(binding, Imported):
            return self._imported(binding.dotted)
        if isinstance(binding, Entered):
            kind = self.kind(bindings, binding.context)
            return kind if kind is Kind.SESSION else None
        if isinstance(binding, ast.ClassDef):
            kinds = {self.kind(bindings, base) for base in binding.bases}
            return Kind.REPOSITORY if Kind.REPOSITORY in kinds else None
        return None if binding is None else self.kind(bindings, binding)

    def _made(self, bindings: Bindings, call: ast.Call) -> Kind | None:
        maker = bindings.qualified(call.func)
        given = [*call.args, *(keyword.value for keyword in call.keywords)]
        if maker in _ENGINES:
            return Kind.ENGINE
        if maker in _SESSIONS:
            is_bound = [self.kind(bindings, one) for one in given] == [Kind.ENGINE]
            return Kind.SESSIONS if is_bound else None
        if given:
            # A session may be given another engine here.
            return None
        owner = call.func
        if isinstance(owner, ast.Attribute) and owner.attr == "begin":
            owner = owner.value
        return Kind.SESSION if self.kind(bindings, owner) is Kind.SESSIONS else None

    def _imported(self, dotted: str) -> Kind | None:
        module, _, name = dotted.rpartition(".")
        if name == _REPOSITORY:
            return Kind.REPOSITORY
        if dotted not in self._of_import:
            # Imports that go round end here.
            self._of_import[dotted] = None
            node = ast.Name(name, ast.Load())
            kinds = {
                self.kind(bindings, node)
                for path, bindings in self._modules.items()
                if f".{path}".endswith(f".{module}")
            }
            self._of_import[dotted] = kinds.pop() if len(kinds) == 1 else None
        return self._of_import[dotted]
