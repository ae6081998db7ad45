"""The body of a batch: decoded at once, and where that fails, item by item, so that one bad item
does not hide the others."""

from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from saas.db.batch_items import BatchItem, OnConflict
from saas.errors import FieldError, Invalid, PreconditionRequired, SaasError
from saas.web.json_body import BodyDecoder
from saas.web.schemas import Create, Update, Version, values_of, without_field

MAX_ITEMS = 1_000
_MOST_FAULTS = 50
_ROW = [("id", UUID), ("version", Version | UnsetType, UNSET)]


def item_type(name: str, create: type[Create], update: type[Update]) -> Any:
    """The union of the five operations on one resource, told apart by `op`."""
    fields: dict[str, list[Any]] = {
        "create": [("data", create)],
        "upsert": [("data", create)],
        # `version` stands beside `op`, as for the others.
        "update": [("data", without_field(update, "version")), *_ROW],
        "delete": _ROW,
        "restore": _ROW,
    }
    union: Any = None
    for op, own in fields.items():
        item = msgspec.defstruct(
            f"{name.title()}{op.title()}Item",
            own,
            tag_field="op",
            tag=op,
            forbid_unknown_fields=True,
            kw_only=True,
        )
        union = item if union is None else union | item
    return union


def body_type(name: str, item: Any) -> type[Struct]:
    """The body around items of type `item`."""
    return msgspec.defstruct(
        f"{name.title()}Batch",
        [
            ("items", Annotated[list[item], Meta(min_length=1, max_length=MAX_ITEMS)]),
            ("mode", Literal["atomic", "partial"], "atomic"),
            ("on_conflict", OnConflict, "update"),
        ],
        forbid_unknown_fields=True,
        kw_only=True,
    )


class BatchDecoder:
    """Decodes to `body`; in partial mode an item that is refused becomes its refusal."""

    def __init__(self, body: type[Struct], item: Any) -> None:
        self._body = body
        self._whole = BodyDecoder(body)
        self._item = BodyDecoder(item)
        self._envelope = msgspec.json.Decoder(body_type("raw", Raw))

    def decode(self, text: bytes) -> Any:
        """Raises BadRequest or Invalid."""
        try:
            return self._whole.decode(text)
        except Invalid as refusal:
            return self._by_item(text, refusal)

    def _by_item(self, text: bytes, refusal: Invalid) -> Any:
        try:
            envelope: Any = self._envelope.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            # Behind its first fault there may be no JSON at all.
            raise refusal from None
        items = [self._decoded(raw, index) for index, raw in enumerate(envelope.items)]
        if envelope.mode == "partial":
            return self._body(items=items, mode="partial", on_conflict=envelope.on_conflict)
        faults = [fault for item in items if isinstance(item, Invalid) for fault in item.errors]
        raise Invalid(errors=faults[:_MOST_FAULTS])

    def _decoded(self, raw: Raw, index: int) -> Any:
        try:
            return self._item.decode(bytes(raw))
        except Invalid as refusal:
            return located(refusal, index)


def located(refusal: SaasError, index: int) -> SaasError:
    """`refusal` of an item with pointers into the body."""
    place = f"/items/{index}"
    refusal.errors = tuple(
        fault._replace(pointer=place + fault.pointer) for fault in refusal.errors
    ) or (FieldError(place, refusal.code, refusal.message),)
    return refusal


def batch_item(item: Any, index: int, *, demands_version: bool) -> BatchItem | SaasError:
    """What a decoded item asks for, or why it cannot."""
    if isinstance(item, SaasError):
        return item
    kind = item.__struct_config__.tag
    values = values_of(item.data) if hasattr(item, "data") else {}
    if kind in {"create", "upsert"}:
        return BatchItem(kind=kind, values=values)
    if item.version is UNSET and demands_version:
        return located(PreconditionRequired("Give the item the version of its row."), index)
    known = None if item.version is UNSET else item.version
    return BatchItem(kind=kind, id=item.id, version=known, values=values)
