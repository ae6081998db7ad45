"""A text that says something. The `description` beside a pattern is what a caller is told whose
text does not fit (`saas.db.expected_values`), and stands in the OpenAPI document."""

from typing import Annotated

from msgspec import Meta

# The blanks are spelled out: Python and ECMAScript, which reads the OpenAPI document, do not agree
# on what \s is.
NotBlank = Annotated[str, Meta(pattern=r"[^\s\x1c-\x1f\x85\ufeff]", description="Not only blanks.")]
