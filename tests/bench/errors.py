"""The one way in which a bench ends early."""


class BenchError(Exception):
    """The measurement would not be valid; the message is one line for the person who ran it."""
