"""Percentiles from counts by bucket are as near to the exact ones as is promised."""

from collections import Counter
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saas.usage.latency import bucket_of, percentile

# Above the first bucket, below the last one.
DURATIONS = st.floats(min_value=0.0001, max_value=540, exclude_min=True)
SHARES = st.sampled_from([0.01, 0.5, 0.9, 0.95, 0.99, 1.0])


def exact(durations: list[float], share: float) -> float:
    """The least duration that so many do not exceed, in milliseconds."""
    return 1_000 * sorted(durations)[max(0, ceil(share * len(durations)) - 1)]


@given(durations=st.lists(DURATIONS, min_size=1, max_size=200), share=SHARES)
def test_a_percentile_is_at_most_a_tenth_off(durations: list[float], share: float) -> None:
    found = percentile(Counter(map(bucket_of, durations)), share)

    assert found == pytest.approx(exact(durations, share), rel=0.1, abs=0.001)


@given(
    middle=st.floats(min_value=0.001, max_value=10),
    share=st.sampled_from([0.2, 0.5, 0.8]),
)
def test_where_many_requests_are_it_is_near(middle: float, share: float) -> None:
    durations = [middle * (0.5 + number / 2_000) for number in range(2_000)]

    found = percentile(Counter(map(bucket_of, durations)), share)

    assert found == pytest.approx(exact(durations, share), rel=0.01)


@given(
    first=st.lists(DURATIONS, min_size=1, max_size=50),
    second=st.lists(DURATIONS, min_size=1, max_size=50),
    share=SHARES,
)
def test_counts_of_two_processes_give_what_those_of_one_would(
    first: list[float], second: list[float], share: float
) -> None:
    apart = Counter(map(bucket_of, first)) + Counter(map(bucket_of, second))

    assert percentile(apart, share) == percentile(Counter(map(bucket_of, first + second)), share)


@given(counts=st.dictionaries(st.integers(0, 180), st.integers(0, 9)))
def test_a_greater_share_is_never_faster(counts: dict[int, int]) -> None:
    found = [percentile(counts, share / 100) for share in range(0, 101, 5)]

    assert found == sorted(found)


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e-9, 0.0001])
def test_the_first_bucket_takes_all_that_is_faster(seconds: float) -> None:
    assert bucket_of(0.000101) == 1
    assert bucket_of(seconds) == 0


@pytest.mark.parametrize("seconds", [600.0, 1e9])
def test_the_last_bucket_takes_all_that_is_slower(seconds: float) -> None:
    assert bucket_of(540) < 180
    assert bucket_of(seconds) == 180


def test_without_requests_a_percentile_is_zero() -> None:
    assert percentile({}, 0.5) == percentile({3: 0}, 0.99) == 0.0
