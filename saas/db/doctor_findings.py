"""What the doctor has found."""

import msgspec


class Findings(msgspec.Struct, frozen=True):
    """Sentences of one line. With an error the app must not serve; a warning is for the
    operator."""

    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __add__(self, other: "Findings") -> "Findings":
        return Findings(self.errors + other.errors, self.warnings + other.warnings)
