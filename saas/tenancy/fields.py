"""The types of fields that the bodies of several routes share: names, email addresses, roles."""

from string import ascii_lowercase, ascii_uppercase
from typing import Annotated, Literal

from msgspec import Meta

from saas.texts import NotBlank

Name = Annotated[NotBlank, Meta(min_length=1, max_length=120)]

_IN_EMAIL = r"[^@\s\x00-\x1f\x7f\x85\ufeff]"
# Python's $ also matches before a last newline; the look-ahead refuses that, and means nothing to
# the other readers of the pattern.
Email = Annotated[
    str,
    Meta(
        pattern=rf"^{_IN_EMAIL}{{1,64}}@{_IN_EMAIL}{{1,189}}$(?!\n)",
        description="An email address: a name, @ and a domain, without blanks.",
    ),
]

RoleName = Literal["viewer", "member", "admin", "owner"]
MemberStatus = Literal["active", "suspended"]
# Which permissions there are, the catalogue knows.
PermissionName = Annotated[
    str,
    Meta(
        max_length=60,
        pattern=r"^[a-z][a-z0-9_]*:[a-z]+$(?!\n)",
        description="A permission, like `projects:read`.",
    ),
]


# Not str.lower(): it makes a k of the Kelvin sign too, and so another's address of one that an
# issuer has rightly verified.
_SMALL = str.maketrans(ascii_uppercase, ascii_lowercase)


def canonical_email(text: str) -> str:
    """The one spelling in which an address is stored and compared."""
    return text.translate(_SMALL)
