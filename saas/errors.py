"""Every refusal of the product, named for the fact. `web/problems.py` turns them into answers.

An error carries its status, a stable machine word (`code`) and a constant `title`, so the same
fact reads the same wherever it is raised. `detail` helps the caller act and must reveal nothing
of another tenant.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple


class FieldError(NamedTuple):
    """One fault of one field; `pointer` is an RFC 6901 JSON pointer into the body."""

    pointer: str
    code: str
    message: str


class SaasError(Exception):
    """The base of all refusals. `extra` holds further members of the problem document."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Internal error"
    detail: ClassVar[str] = "The server could not complete the request. Quote the instance."

    def __init__(
        self,
        detail: str | None = None,
        *,
        errors: Sequence[FieldError] = (),
        headers: dict[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(detail or self.detail)
        self.message = detail or self.detail
        self.errors = tuple(errors)
        self.headers = headers or {}
        self.extra = extra


class BadRequest(SaasError):
    """Malformed JSON, query or header."""

    status, code, title = 400, "bad_request", "Bad request"
    detail = "The request is malformed."


class Unauthenticated(SaasError):
    """No credential, or one that is not valid here; the reason is never told (RFC 6750)."""

    status, code, title = 401, "unauthenticated", "Authentication required"
    detail = "Send a valid credential: Authorization: Bearer <token or API key>."

    def __init__(self) -> None:
        super().__init__(headers={"WWW-Authenticate": "Bearer"})


class PermissionDenied(SaasError):
    """The credential is good, but lacks a permission inside its own tenant."""

    status, code, title = 403, "permission_denied", "Permission denied"

    def __init__(self, permission: str) -> None:
        super().__init__(f"This needs the permission {permission}.", permission=permission)


class ApiKeyRequired(SaasError):
    """The credential is good, but a token: one that made tokens would never end."""

    status, code, title = 403, "api_key_required", "API key required"
    detail = "Send an API key. A token cannot be exchanged for another."


class ReadOnly(SaasError):
    """A write with a credential that may only read, or on a route that only reads."""

    status, code, title = 403, "read_only", "Read only"
    detail = "This may only read."


class OutlivesCreator(SaasError):
    """A key that expires would make, or learn the secret of, one that lives longer."""

    status, code, title = 403, "outlives_creator", "Outlives its creator"
    detail = "A key that expires can neither make nor rotate a key that lives longer than itself."


class NoMemberCredential(SaasError):
    """A key is no person, and a narrowed token must not become a whole one."""

    status, code, title = 403, "no_member_credential", "No member's credential"
    detail = (
        "Only a member's own access token that is not narrowed shows that the same person joins. "
        "Send that, or no credential."
    )


class TenantSuspended(SaasError):
    """Told only to the suspended tenant's own members; strangers get NotFound."""

    status, code, title = 403, "tenant_suspended", "Tenant suspended"
    detail = "This tenant is suspended. Ask the operator to resume it."


class NotFound(SaasError):
    """Absent, deleted, malformed or another tenant's: one answer for all four."""

    status, code, title = 404, "not_found", "Not found"
    detail = "There is no such resource."


class MethodNotAllowed(SaasError):
    status, code, title = 405, "method_not_allowed", "Method not allowed"
    detail = "The resource does not support this method. See the Allow header."


class Conflict(SaasError):
    """The request is fine, but the present state refuses it."""

    status, code, title = 409, "conflict", "Conflict"
    detail = "The present state refuses this change."


class AlreadyExists(Conflict):
    """A natural key or slug is taken within its scope."""

    code, title = "already_exists", "Already exists"


class Duplicate(Conflict):
    """Two items of one request want to be the same row."""

    code, title = "duplicate", "Duplicate"
    detail = "Another item of this request has the same natural key."


class VersionConflict(Conflict):
    """The `version` in the body is stale."""

    code, title = "version_conflict", "Version conflict"

    def __init__(self, current_version: int) -> None:
        super().__init__(
            "The row has changed since you read it. Read it again and repeat.",
            current_version=current_version,
        )
        self.current_version = current_version


class NotDeleted(Conflict):
    code, title = "not_deleted", "Not deleted"
    detail = "The row is not deleted, so it cannot be restored."


class ParentGone(Conflict):
    code, title = "parent_gone", "Parent gone"
    detail = "A row that this one refers to is gone. Restore it first."


class StillReferenced(Conflict):
    code, title = "still_referenced", "Still referenced"
    detail = "Other rows refer to this one. Change or delete them first."


class LastOwner(Conflict):
    """Somebody has to be able to manage the tenant and its owners."""

    code, title = "last_owner", "Last owner"
    detail = "This is the tenant's last active owner. Make somebody else an owner first."


class AlreadyMember(Conflict):
    """The address, or the person, is a member of this tenant already."""

    code, title = "already_member", "Already a member"
    detail = "This person is a member of the tenant already."


class AlreadyAccepted(Conflict):
    """Told only to who holds a valid invitation: it works once."""

    code, title = "already_accepted", "Already accepted"
    detail = "This invitation has been accepted already."


class WrongTenantStatus(Conflict):
    """The tenant is not, or no longer, in a state that allows this; `tenant_status` is its own."""

    code, title = "wrong_tenant_status", "Wrong tenant status"

    def __init__(self, detail: str, tenant_status: str) -> None:
        super().__init__(detail, tenant_status=tenant_status)


class PurgeRunning(Conflict):
    code, title = "purge_running", "Purge running"
    detail = "Another process is purging this tenant."


class PurgeIncomplete(Conflict):
    """Rows of a tenant are left that no model here declares, or that cannot be counted."""

    code, title = "purge_incomplete", "Purge incomplete"


class IdempotencyKeyInUse(Conflict):
    """The first request with this Idempotency-Key has not been answered yet."""

    code, title = "idempotency_key_in_use", "Idempotency key in use"
    detail = "A request with this Idempotency-Key is still running. Repeat this one for its answer."

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": "1"})


class PreconditionFailed(SaasError):
    """`If-Match` does not match the present ETag of the row, or `If-None-Match` does (RFC 9110)."""

    status, code, title = 412, "precondition_failed", "Precondition failed"

    def __init__(self, current_version: int) -> None:
        super().__init__(
            "If-Match or If-None-Match does not hold for the present version. Read the row again.",
            current_version=current_version,
        )


class TooLarge(SaasError):
    status, code, title = 413, "content_too_large", "Content too large"
    detail = "The body is larger than this route takes."


class AnswerTooLarge(TooLarge):
    """The answer cannot be kept for a repeat, so the work was undone."""

    code, title = "answer_too_large", "Answer too large"
    detail = (
        "Nothing was done: the answer is too large to be kept for a repeat. "
        "Send fewer rows at once, or no Idempotency-Key."
    )


class UnsupportedMediaType(SaasError):
    status, code, title = 415, "unsupported_media_type", "Unsupported media type"
    detail = "Send the body as application/json."


class Invalid(SaasError):
    """A well-formed body whose content is refused; `errors` says which fields and why."""

    status, code, title = 422, "invalid", "Invalid body"
    detail = "The body is well-formed, but its content is refused. See errors."


class InvalidArchive(Invalid):
    """A whole archive whose content cannot become a tenant here; nothing of it was stored."""

    code, title = "invalid_archive", "Invalid archive"


class IdempotencyKeyReused(SaasError):
    """The Idempotency-Key came with another body or query before (draft-ietf-httpapi-idempotency-
    key-header-07, 2.7)."""

    status, code, title = 422, "idempotency_key_reused", "Idempotency key reused"
    detail = "This Idempotency-Key was sent with another body or query before. Use a new one."


class PreconditionRequired(SaasError):
    status, code, title = 428, "precondition_required", "Precondition required"
    detail = "This resource demands an If-Match header. Read the row for its ETag."


class RateLimited(SaasError):
    """More requests than the tenant's plan allows in the time."""

    status, code, title = 429, "rate_limited", "Too many requests"

    def __init__(self, per_second: int, *, retry_after_seconds: int) -> None:
        super().__init__(
            f"This tenant may send {per_second} requests a second. Retry after the given seconds.",
            headers={"Retry-After": str(retry_after_seconds)},
        )


class QuotaExceeded(SaasError):
    """A limit of the tenant's plan on what it has; `limit` is its name and `value` what it is.
    Waiting does not help, so there is no Retry-After."""

    status, code, title = 429, "quota_exceeded", "Quota exceeded"

    def __init__(self, limit: str, value: int, *, of: str) -> None:
        super().__init__(
            f"This tenant may have {value} {of} and no more. Delete some, or ask for a higher "
            f"limit of {limit}.",
            limit=limit,
            value=value,
        )


class MeterQuotaExceeded(QuotaExceeded):
    """A limit of the plan on what a meter counts in a calendar month, in UTC."""

    def __init__(self, meter: str, value: int) -> None:
        SaasError.__init__(
            self,
            f"This tenant may use {value} of {meter} in a month and no more. Wait for the next "
            "month, in UTC, or ask for a higher limit.",
            limit=f"meters.{meter}",
            value=value,
        )


class TooManyAtOnce(SaasError):
    """The tenant's own requests hold all that one tenant may have at once, as of connections."""

    status, code, title = 429, "too_many_at_once", "Too many requests at once"
    detail = "Too many requests of this tenant run at the same time. Send fewer at once."

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": "1"})


class Unavailable(SaasError):
    """The database is away or every connection is busy; the caller may retry."""

    status, code, title = 503, "unavailable", "Temporarily unavailable"
    detail = "The service cannot serve this now. Retry after the given seconds."

    def __init__(self, detail: str | None = None, *, retry_after_seconds: int = 1) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after_seconds)})


class Deadlock(Unavailable):
    """This transaction and others waited for each other, and the database has ended this one. To
    begin again from a savepoint gives the locks back that the others need."""

    detail = "Another change came first. Repeat the request."


class Unbound(RuntimeError):
    """Tenant data was touched with no tenant in the context. A bug in the caller, never a user's
    fault: it is raised before any SQL is sent."""


class TransactionFailed(RuntimeError):
    """A statement after one that was refused: PostgreSQL takes none any more until the rollback. A
    bug in the caller, who caught the refusal and went on inside the same transaction."""

    def __init__(self) -> None:
        super().__init__(
            "an earlier statement of this transaction was refused, so it can only be rolled back: "
            "catch the refusal outside of it, or put what may be refused into a partial batch"
        )


class Unscoped(RuntimeError):
    """A statement touches a table in a way that cannot be held to the bound tenant. A bug in the
    caller, never a user's fault: it is raised before any SQL is sent."""


class ConfigurationError(Exception):
    """The installation cannot start as it is set up. The message is one line for the operator."""
