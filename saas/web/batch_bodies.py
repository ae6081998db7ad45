"""The body of a batch: decoded at once, and where that fails, item by item, so that one bad item
does not hide the others."""

from typing import Annotated, Any, Literal, get_args
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from saas.db.batch_items import BatchItem, OnConflict
from saas.errors import FieldError, Invalid, PreconditionRequired, SaasError
from saas.web.json_body import BodyDecoder
from saas.web.schemas import Create, Update, Version, values_of, without_field

MAX_ITEMS = 1_000
_MOST_FAULTS = 50
_BLIND_UPSERT = (
    "An upsert cannot name the version of the row that it would change. Send an update, or"
    " on_conflict skip or error."
)
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
            gc=False,
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
    """Decodes to `body`, its items as BatchItems; in partial mode an item that is refused becomes
    its refusal. Where a resource `demands_version`, an item that changes a row must have one."""

    def __init__(self, body: type[Struct], item: Any, *, demands_version: bool) -> None:
        self._body = body
        self._whole = BodyDecoder(body)
        self._item = BodyDecoder(item)
        self._envelope = msgspec.json.Decoder(body_type("raw", Raw))
        self._names = msgspec.json.Decoder(_Names)
        self._demands_version = demands_version
        self._ops: dict[type, Any] = {each: each.__struct_config__.tag for each in get_args(item)}

    def decode(self, text: bytes) -> Any:
        """Raises BadRequest or Invalid."""
        body: Any
        try:
            body = self._whole.decode(text)
        except Invalid as refusal:
            body = self._by_item(text, refusal)
        can_update = body.on_conflict == "update"
        given = self._given(text, body.items) if can_update else {}
        items = [
            self._asked(item, index, given.get(index), can_update=can_update)
            for index, item in enumerate(body.items)
        ]
        return self._body(items=items, mode=body.mode, on_conflict=body.on_conflict)

    def _by_item(self, text: bytes, refusal: Invalid) -> Any:
        try:
            envelope: Any = self._envelope.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            # It is not the items that are at fault, or not they alone.
            raise refusal from None
        items = [self._decoded(raw, index) for index, raw in enumerate(envelope.items)]
        if envelope.mode == "partial":
            return self._body(items=items, mode="partial", on_conflict=envelope.on_conflict)
        faults = [fault for item in items if isinstance(item, Invalid) for fault in item.errors]
        more = f"{Invalid.detail} They are the first {_MOST_FAULTS} of {len(faults)}."
        raise Invalid(more if len(faults) > _MOST_FAULTS else None, errors=faults[:_MOST_FAULTS])

    def _decoded(self, raw: Raw, index: int) -> Any:
        try:
            return self._item.decode(bytes(raw))
        except Invalid as refusal:
            return located(refusal, index)

    def _given(self, text: bytes, items: list[Any]) -> dict[int, tuple[str, ...]]:
        """The fields that each upsert names, which the decoded one no longer tells from those that
        it has by default."""
        upserts = [n for n, item in enumerate(items) if self._ops.get(type(item)) == "upsert"]
        if not upserts:
            return {}
        raw: Any = self._envelope.decode(text)
        given: dict[int, tuple[str, ...]] = {}
        for index in upserts:
            names = self._names.decode(raw.items[index]).data
            data = items[index].data
            fields = zip(data.__struct_fields__, data.__struct_encode_fields__, strict=True)
            given[index] = tuple(field for field, name in fields if name in names)
        return given

    def _asked(
        self, item: Any, index: int, given: tuple[str, ...] | None, *, can_update: bool
    ) -> BatchItem | SaasError:
        """What a decoded item asks for, or why it cannot."""
        kind = self._ops.get(type(item))
        if kind == "create":
            return BatchItem(kind=kind, values=values_of(item.data))
        if kind is None:
            refusal: SaasError = item
            return refusal
        if kind == "upsert":
            if can_update and self._demands_version:
                return located(PreconditionRequired(_BLIND_UPSERT), index)
            return BatchItem(kind=kind, values=values_of(item.data), given=given)
        if item.version is UNSET and self._demands_version:
            return located(PreconditionRequired("Give the item the version of its row."), index)
        known = None if item.version is UNSET else item.version
        values = values_of(item.data) if kind == "update" else {}
        return BatchItem(kind=kind, id=item.id, version=known, values=values)


class _Names(Struct):
    data: dict[str, Raw]


def located(refusal: SaasError, index: int) -> SaasError:
    """`refusal` of an item with pointers into the body."""
    place = f"/items/{index}"
    refusal.errors = tuple(
        fault._replace(pointer=place + fault.pointer) for fault in refusal.errors
    ) or (FieldError(place, refusal.code, refusal.message),)
    return refusal
