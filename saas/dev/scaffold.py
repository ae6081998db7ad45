"""`saas new resource`: a resource's file, and its place in `saas/app.py`; all or nothing."""

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from saas.db.models import Base, tenant_tables
from saas.dev.scaffold_app import registered
from saas.dev.scaffold_fields import (
    MOST_CHARACTERS,
    Field,
    check_natural_key,
    check_search,
    check_word,
    chosen,
    parse_fields,
)
from saas.dev.scaffold_source import IMPORTED, Wish, class_name, source_of
from saas.errors import ConfigurationError

# Heads of routes that no table or file has the name of.
_ROUTES = frozenset(
    {"admin", "api_keys", "auth", "imports", "invitations", "me", "members", "tenant", "usage"}
)
_MOST_OF_A_NAME = 50
_MODEL = re.compile(r"[A-Z][A-Za-z0-9]*", re.ASCII)


def wished(
    name: str,
    words: Sequence[str],
    *,
    model: str | None = None,
    natural_key: str = "",
    search: str | None = None,
) -> Wish:
    """The resource that the command line asks for, where the models know what is there already.
    Without `search` it is the str fields. Raises ConfigurationError."""
    _check_resource_name(name)
    fields = parse_fields(words, [t.name for t in tenant_tables() if "deleted_at" in t.c])
    if search is None:
        search = ",".join(field.name for field in fields if field.type == "str")
    searched = chosen(search, fields, "--search")
    key = chosen(natural_key, fields, "--natural-key")
    check_search(searched, fields)
    check_natural_key(key, fields)
    _check_made_names(name, fields, key)
    wish = Wish(name, model or singular(name), fields, searched, key)
    _check_model(wish.model)
    return wish


def write_resource(package: Path, wish: Wish) -> Path:
    """Write the file of the resource and register it; `package` is the folder `saas` of a
    checkout. Raises ConfigurationError, and then has written nothing."""
    app, file = package / "app.py", package / "features" / f"{wish.name}.py"
    _check_checkout(package, (app, file.parent))
    if file.exists():
        raise ConfigurationError(f"saas/features/{wish.name}.py is there already")
    try:
        after = registered(app.read_text(encoding="utf-8"), wish.name)
        file.write_text(source_of(wish), encoding="utf-8")
        _replace(app, after)
    except OSError as error:
        file.unlink(missing_ok=True)
        raise ConfigurationError(f"cannot write: {error}") from None
    return file


def singular(name: str) -> str:
    """The class of a resource: `purchase_orders` → `PurchaseOrder`. `ies` becomes `y`; `ches`,
    `shes`, `sses`, `xes` and `zes` lose `es`; the rest loses `s`. Raises ConfigurationError."""
    for ending, instead in (("ies", "y"), *((e, e[:-2]) for e in _LOSE_ES), ("s", "")):
        if name.endswith(ending) and not name.endswith("ss") and len(name) > len(ending):
            return class_name(name.removesuffix(ending) + instead)
    raise ConfigurationError(f"{name} is no plural in s; --model names the class of one")


_LOSE_ES = ("ches", "shes", "sses", "xes", "zes")


def _check_resource_name(name: str) -> None:
    check_word(name, "resource")
    if len(name) > MOST_CHARACTERS:
        raise ConfigurationError(
            f"resource {name}: at most {MOST_CHARACTERS} characters, because the names of its "
            f"indexes and constraints have at most {_MOST_OF_A_NAME}"
        )
    if name in Base.metadata.tables:
        raise ConfigurationError(f"there is a table {name} already")
    if name in _ROUTES:
        raise ConfigurationError(f"{name} is the name of routes that the product has")


def _check_made_names(name: str, fields: Iterable[Field], natural_key: Sequence[str]) -> None:
    for made in _made_names(name, fields, natural_key):
        if len(made) > _MOST_OF_A_NAME:
            raise ConfigurationError(
                f"the name {made} would have {len(made)} characters; at most {_MOST_OF_A_NAME} are "
                "possible, so give a shorter resource or field"
            )


def _made_names(name: str, fields: Iterable[Field], natural_key: Sequence[str]) -> Iterator[str]:
    for field in fields:
        if field.parent is not None:
            yield f"fk_{name}_{field.name}"
    if natural_key:
        yield f"uq_{name}_{'_'.join(natural_key)}_live"


def _check_model(model: str) -> None:
    if not _MODEL.fullmatch(model) or model in {"None", "True", "False"}:
        raise ConfigurationError(f"model {model!r}: give a class name such as Invoice")
    if len(model) > MOST_CHARACTERS:
        raise ConfigurationError(f"model {model}: at most {MOST_CHARACTERS} characters")
    made = {model, *(f"{model}{kind}" for kind in ("Create", "Update", "Read"))}
    if model in {mapper.class_.__name__ for mapper in Base.registry.mappers} or made & IMPORTED:
        raise ConfigurationError(f"there is a class {model} already; --model gives another name")


def _check_checkout(package: Path, written: Iterable[Path]) -> None:
    if not (package.parent / "alembic.ini").is_file():
        raise ConfigurationError(
            f"{package} is an installed package, not a checkout; a resource is written where "
            "alembic.ini stands beside the folder saas"
        )
    for path in (package, *written):
        if not os.access(path, os.W_OK):
            raise ConfigurationError(f"{path} cannot be written")


def _replace(file: Path, text: str) -> None:
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    fresh.write_text(text, encoding="utf-8")
    shutil.copymode(file, fresh)
    fresh.replace(file)
