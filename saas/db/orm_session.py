"""An ORM session of one tenant, for those who want SQLAlchemy's unit of work. Engines that bind its
connections are in `orm.py` and `sync/orm.py`; their compiler scopes all that it sends."""

from typing import Any, NoReturn

from sqlalchemy import event, func, inspect
from sqlalchemy.orm import ORMExecuteState, Session, with_loader_criteria
from sqlalchemy.orm.exc import StaleDataError

from saas import context
from saas.context import Principal
from saas.db.models import TenantModel, TenantRow
from saas.db.orm_quotas import reserve_rows
from saas.db.scoping import DELETED
from saas.errors import Conflict, Unbound, Unscoped

_TENANT, _BOUND_TO = "tenant_id", "bound_to"


class TenantSession(Session):
    """A session that belongs to the first tenant it is used under: what it has in memory must not
    meet another one. Soft-deleted rows are absent from queries unless these are run with
    `execution_options={"deleted": "include"}`; tenant, authors, times and version are filled in.

    Raises Unbound without a tenant or under another one, Unscoped for what cannot be held to it,
    and Conflict where somebody else has changed the row."""

    def require_principal(self) -> Principal:
        """The acting principal. Raises Unbound unless the session is its own."""
        principal: Principal = context.principal()
        if self.info.setdefault(_TENANT, principal.tenant_id) != principal.tenant_id:
            raise Unbound("the session belongs to another tenant: open one for this tenant")
        bound_to: Principal = self.info.get(_BOUND_TO, principal)
        if bound_to is not principal:
            raise Unbound("the transaction is bound to another principal than the context")
        return principal

    def get(self, *arguments: Any, **options: Any) -> Any:
        # It would answer from memory, without a statement on which the tenant could be checked.
        self.require_principal()
        return super().get(*arguments, **options)

    def flush(self, objects: Any = None) -> None:
        try:
            super().flush(objects)
        except StaleDataError:
            raise Conflict("The row has changed since it was read, or is gone.") from None

    def _refuse_bulk(self, *_: Any, **__: Any) -> NoReturn:
        raise Unscoped("bulk operations fill in no tenant: use add_all(...)")

    bulk_save_objects = bulk_insert_mappings = bulk_update_mappings = _refuse_bulk


@event.listens_for(TenantSession, "after_begin")
def _remember(session: TenantSession, *_: Any) -> None:
    session.info[_BOUND_TO] = session.require_principal()


@event.listens_for(TenantSession, "after_transaction_end")
def _forget(session: TenantSession, ended: Any) -> None:
    if ended.parent is None:
        session.info.pop(_BOUND_TO, None)


@event.listens_for(TenantSession, "do_orm_execute")
def _before_execution(state: ORMExecuteState) -> None:
    session = state.session
    if not isinstance(session, TenantSession):
        return
    principal = session.require_principal()
    if state.is_insert:
        raise Unscoped("an INSERT fills in no tenant: add the object to the session")
    is_restoring = state.is_update and state.execution_options.get(DELETED) == "include"
    if is_restoring and principal.limits.rows is not None:
        raise Unscoped("restored rows have to be counted: change the objects in the session")
    if state.is_update and _is_edited(state):
        # Any: only now it is known to be an Update.
        statement: Any = state.statement
        state.statement = statement.values(
            version=statement.table.c.version + 1,
            updated_at=func.now(),
            updated_by=principal.actor,
        )
    # A refresh of an object in memory finds it deleted, too.
    if not state.is_column_load and state.execution_options.get(DELETED) != "include":
        state.statement = state.statement.options(
            with_loader_criteria(
                TenantModel, lambda cls: cls.deleted_at.is_(None), include_aliases=True
            )
        )


@event.listens_for(TenantSession, "before_flush")
def _before_flush(session: TenantSession, *_: Any) -> None:
    principal = session.require_principal()
    for row in session.new:
        _refuse_stranger(row)
        if row.tenant_id is None:
            row.tenant_id = principal.tenant_id
        if isinstance(row, TenantModel):
            row.created_by = row.updated_by = principal.actor
    for row in (*session.dirty, *session.deleted):
        _refuse_stranger(row)
        if isinstance(row, TenantModel) and session.is_modified(row):
            row.updated_at = func.now()
            row.updated_by = principal.actor
            if inspect(row).attrs.deleted_at.history.has_changes():
                row.deleted_by = principal.actor if row.deleted_at is not None else None
    for row in (*session.new, *session.dirty, *session.deleted):
        # Also one whose tenant was changed after it was read.
        if row.tenant_id != principal.tenant_id:
            raise Unscoped(f"{type(row).__name__}: a row of another tenant")
    reserve_rows(session, principal)


def _is_edited(state: ORMExecuteState) -> bool:
    mapper = state.bind_mapper
    return mapper is not None and issubclass(mapper.class_, TenantModel)


def _refuse_stranger(row: Any) -> None:
    if not isinstance(row, TenantRow):
        raise Unscoped(f"{type(row).__name__} is no tenant's row")
