"""How long requests take, as counts by bucket: counts add up over minutes, processes and nodes, and
percentiles come from the sums. A bucket is an eighth of a doubling wide, so a percentile is at most
a tenth off, and nearer where many requests are; of a tenth of a millisecond and less it only says
that it is."""

import math
from collections.abc import Mapping

_LEAST_SECONDS = 0.0001
_PER_DOUBLING = 8
_LAST = 180
"""The bucket of all that takes longer than nine minutes."""


def bucket_of(seconds: float) -> int:
    """The bucket of a duration: from 0 for a tenth of a millisecond and less."""
    if seconds <= _LEAST_SECONDS:
        return 0
    return min(_LAST, math.ceil(_PER_DOUBLING * math.log2(seconds / _LEAST_SECONDS)))


def percentile(counts: Mapping[int, int], share: float) -> float:
    """The duration in milliseconds that this share of all requests does not exceed; 0 without any.
    Inside its bucket they are taken to be spread evenly."""
    wanted = share * sum(counts.values())
    seen = 0
    for bucket in sorted(counts):
        if counts[bucket] and seen + counts[bucket] >= wanted:
            low, high = (_upper_ms(bucket - 1) if bucket else 0.0), _upper_ms(bucket)
            return round(low + (high - low) * (wanted - seen) / counts[bucket], 3)
        seen += counts[bucket]
    return 0.0


def _upper_ms(bucket: int) -> float:
    return 1000 * _LEAST_SECONDS * math.exp2(bucket / _PER_DOUBLING)
