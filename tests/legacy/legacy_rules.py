"""Functions that maps of these tests name."""


def shout(value: str | None, end: str) -> str | None:
    if value == "refuse me":
        raise ValueError("no shouting")
    return None if value is None else value.upper() + end
