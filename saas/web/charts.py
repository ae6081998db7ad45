"""Series as pictures: SVG that runs nothing and loads nothing, for those who would rather look."""

import sys
from collections.abc import Sequence
from functools import cache
from typing import Any

import msgspec

from saas.usage.series import Value
from saas.web.accepted import VARY_ACCEPT
from saas.web.slow_answer import SlowAnswer

MEDIA_TYPE = "image/svg+xml"
MOST_BUCKETS = 400
"""More are narrower than what a screen shows."""
_MOST_LINES = 10
_MOST_DOTS = 60
_LABELS = 12


class Line(msgspec.Struct, frozen=True):
    """A dashed one is for comparison."""

    name: str
    values: Sequence[Value]
    is_dashed: bool = False


class Chart(msgspec.Struct, frozen=True):
    """One value of each line for each of `labels`. Only the ten lines with the largest sums are
    drawn."""

    title: str
    labels: Sequence[str]
    lines: Sequence[Line]
    is_stacked: bool = False

    def svg(self) -> bytes:
        """UTF-8. Names and titles are text, whatever they hold."""
        pygal = _library()
        kind = pygal.StackedBar if self.is_stacked else pygal.Line
        graph = kind(
            title=self.title,
            x_labels=self.labels,
            x_labels_major_count=min(_LABELS, len(self.labels)),
            show_minor_x_labels=False,
            x_label_rotation=30,
            legend_at_bottom=True,
            legend_at_bottom_columns=2,
            truncate_legend=60,
            show_dots=len(self.labels) <= _MOST_DOTS,
            include_x_axis=True,
            # The library leaves too little for the last rows of a long legend.
            margin_bottom=20 + 5 * min(len(self.lines), _MOST_LINES),
            min_scale=1,
            range=None if any(any(line.values) for line in self.lines) else (0, 1),
            js=(),
        )
        graph.add_xml_filter(_only_drawing)
        largest = sorted(self.lines, key=lambda line: sum(line.values), reverse=True)[:_MOST_LINES]
        for line in self.lines:
            if line in largest:
                style = {"dasharray": "6, 6"} if line.is_dashed else None
                graph.add(line.name, list(line.values), stroke_style=style)
        drawn: bytes = graph.render()
        return drawn


def chart_answer(chart: Chart) -> SlowAnswer:
    return SlowAnswer(_HEADERS, chart.svg)


_HEADERS = (
    (b"content-type", MEDIA_TYPE.encode()),
    # It is styled by what it holds itself; the API's own policy would show it black on black.
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    ),
    VARY_ACCEPT,
)


@cache
def _library() -> Any:
    # Only here: it takes a while to import.
    import pygal  # noqa: PLC0415

    # It leaves a finder for plug-ins, of which there are none, that every import that fails would
    # ask from then on, in a way that Python 3.11 warns of and 3.12 has given up.
    sys.meta_path[:] = [one for one in sys.meta_path if type(one).__module__ != "pygal"]
    return pygal


def _only_drawing(root: Any) -> Any:
    """Without scripts, for which the library leaves a place even where it has none, and comments,
    which name its address."""
    for parent in [*root.iter()]:
        for child in [*parent]:
            if not isinstance(child.tag, str) or child.tag == "script":
                parent.remove(child)
    return root
