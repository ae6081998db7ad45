"""What the steps of a map make of a value, and which values they refuse."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from saas.errors import ConfigurationError
from saas.legacy.map import ColumnMap
from saas.legacy.transforms import BadValue, maker_of


def made(given: dict[str, Any], *values: Any) -> Any:
    return maker_of(msgspec.convert({"from": "a"} | given, ColumnMap))(values)


NOON = datetime(2024, 3, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "value", "expected"),
    [
        ({}, 5, 5),
        ({"text": True}, 5, "5"),
        ({"strip": True, "lower": True}, "  Ada\t", "ada"),
        ({"trim": 3}, "abcdef", "abc"),
        ({"null": ["", "N/A"]}, "N/A", None),
        ({"strip": True, "null": [""]}, "  ", None),
        ({"null": ["0"], "default": 7}, 0, 7),
        ({"default": "none"}, None, "none"),
        ({"default": "none"}, "", ""),
        ({"values": {"A": "active", "I": "idle"}}, "I", "idle"),
        ({"values": {"1": True, "0": False}}, 1, True),
        ({"values": {"1": True}, "otherwise": False}, "x", False),
        ({"date": "%d.%m.%Y"}, "31.01.2024", date(2024, 1, 31)),
        ({"date": "iso"}, "2024-01-31 10:00:00", date(2024, 1, 31)),
        ({"date": "iso"}, date(2024, 1, 31), date(2024, 1, 31)),
        ({"date": "iso"}, datetime(2024, 1, 31, 10), date(2024, 1, 31)),  # noqa: DTZ001
        ({"time": "iso"}, "2024-03-31 12:00:00", NOON),
        ({"time": "iso"}, "2024-03-31T14:00:00+02:00", NOON),
        ({"time": "%Y%m%d%H%M", "zone": "Europe/Berlin"}, "202403311400", NOON),
        ({"time": "iso", "zone": "Europe/Berlin"}, datetime(2024, 3, 31, 14), NOON),  # noqa: DTZ001
        ({"time": "unix"}, 1711886400, NOON),
        ({"time": "unix"}, "1711886400.0", NOON),
        ({"cents": True}, 12.34, 1234),
        ({"cents": True}, 1.15, 115),
        ({"cents": True}, "0.1", 10),
        ({"cents": True}, Decimal("-7"), -700),
        ({"cents": True, "null": [""]}, "", None),
        ({"call": "legacy_rules:shout", "from": ["a", "b"]}, "ada", "ADA!"),
        ({"call": "legacy_rules:shout", "from": ["a", "b"], "default": "?"}, None, "?"),
    ],
)
def test_value_becomes_what_the_map_says(given: dict[str, Any], value: Any, expected: Any) -> None:
    assert made(given, value, "!") == expected


def test_steps_pass_null_on() -> None:
    for step in ("text", "strip", "lower", "cents"):
        assert made({step: True}, None) is None
    for step in ({"trim": 3}, {"date": "iso"}, {"time": "iso"}, {"values": {}}):
        assert made(step, None) is None


def test_several_columns_are_joined_without_gaps() -> None:
    given = {"from": ["a", "b", "c"], "join": " "}

    assert made(given, "Ada", None, "Lovelace") == "Ada Lovelace"
    assert made(given, "Ada", "", 7) == "Ada 7"
    assert made(given, None, "", None) is None


def test_constant_needs_no_column() -> None:
    assert maker_of(ColumnMap(const="todo"))(()) == "todo"
    assert maker_of(ColumnMap(const=None))(()) is None


@pytest.mark.parametrize(
    ("given", "value", "code"),
    [
        ({"strip": True}, 5, "wrong_type"),
        ({"lower": True}, b"x", "wrong_type"),
        ({"values": {"A": 1}}, "B", "unknown_value"),
        ({"date": "%d.%m.%Y"}, "31.02.2024", "invalid_format"),
        ({"date": "iso"}, 20240131, "invalid_format"),
        ({"time": "iso"}, "soon", "invalid_format"),
        ({"time": "unix"}, "1e400", "invalid_format"),
        ({"time": "iso"}, "0001-01-01T00:00:00+14:00", "out_of_range"),
        ({"cents": True}, "1,234.50", "invalid_format"),
        ({"cents": True}, float("nan"), "invalid_format"),
        ({"cents": True}, float("inf"), "invalid_format"),
        ({"cents": True}, "0.125", "out_of_range"),
        ({"call": "legacy_rules:shout", "from": ["a", "b"]}, "refuse me", "refused"),
    ],
)
def test_value_that_cannot_be_read_is_refused(given: dict[str, Any], value: Any, code: str) -> None:
    with pytest.raises(BadValue) as refused:
        made(given, value, "!")

    assert refused.value.code == code
    assert refused.value.reason.endswith(".")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"const": 5}, "either from or const"),
        ({"from": []}, "either from or const"),
        ({"from": ["a", "b"]}, "need join or call"),
        ({"otherwise": 1}, "otherwise is for values"),
        ({"date": "iso", "cents": True}, "one of date, time and cents"),
        ({"time": "iso", "zone": "Mars/Olympus"}, "no time zone 'Mars/Olympus'"),
        ({"call": "legacy_rules:nothing"}, "module:function"),
        ({"call": "no_such_module:f"}, "module:function"),
        ({"call": "legacy_rules"}, "module:function"),
    ],
)
def test_steps_that_make_no_sense_are_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        made(given, "x")
