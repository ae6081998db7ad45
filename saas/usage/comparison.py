"""The statements that compare a tenant's figures with the truth, and set them right.

Each is one statement, so it sees one moment: a change and what it counts are committed together,
and the fold moves figures in one statement too. What is set right is added, not overwritten: what
others add meanwhile stays.
"""

# Its SQL is made of literals of this package alone.
# ruff: noqa: S608

from collections.abc import Iterable, Sequence

from saas.usage.figures import FIGURE_KINDS, FigureKind
from saas.usage.kept import KEPT

_KEPT = f"""kept AS (
  SELECT coalesce(days_since + interval '1 day', '-infinity') AS since,
    coalesce((days_since AT TIME ZONE 'UTC')::date + 1, '-infinity') AS since_day
  FROM ({KEPT}) AS k WHERE tenant = $1
)"""


def comparison(chosen: Sequence[FigureKind] = FIGURE_KINDS) -> str:
    """SQL for how many figures of the tenant $1 there are, and `drift`: those that differ, as
    JSON."""
    return f"WITH {', '.join((_KEPT, *map(_compared, chosen)))}\n{_report(chosen)}"


def correction(chosen: Sequence[FigureKind] = FIGURE_KINDS) -> str:
    """SQL that reports as `comparison` does, and adds what is missing."""
    steps = (_KEPT, *map(_compared, chosen), *map(_mended, chosen))
    return f"WITH {', '.join(steps)}\n{_report(chosen)}"


def _compared(of: FigureKind) -> str:
    columns = ", ".join((*of.keys, *of.measures))
    sums = (
        f"coalesce(sum({name}) FILTER (WHERE is_true), 0)::bigint AS true_{name}, "
        f"coalesce(sum({name}) FILTER (WHERE NOT is_true), 0)::bigint AS counted_{name}"
        for name in of.measures
    )
    return f"""{of.name} AS (
  SELECT {", ".join((*of.keys, *sums))}
  FROM (
    SELECT false AS is_true, c.* FROM ({of.counted}) AS c ({columns})
    UNION ALL
    SELECT true, t.* FROM ({of.true}) AS t ({columns})
  ) AS figures
  GROUP BY {", ".join(of.keys)}
)"""


def _mended(of: FigureKind) -> str:
    columns = (*of.keys, *of.measures, *(name for name, _ in of.others))
    values = (
        *of.keys,
        *(f"true_{name} - counted_{name}" for name in of.measures),
        *(value for _, value in of.others),
    )
    differs = " OR ".join(f"true_{name} <> counted_{name}" for name in of.measures)
    return f"""mended_{of.name} AS (
  INSERT INTO {of.table} AS f (tenant, {", ".join(columns)})
  SELECT $1, {", ".join(values)} FROM {of.name} WHERE {differs} ORDER BY {", ".join(of.keys)}
  ON CONFLICT (tenant, {", ".join(of.keys)}) DO UPDATE SET
    {", ".join(f"{name} = f.{name} + excluded.{name}" for name in of.measures)}
)"""


def _report(chosen: Iterable[FigureKind]) -> str:
    counts = (f"(SELECT count(*) FROM {of.name}) * {len(of.measures)}" for of in chosen)
    drift = "\n    UNION ALL ".join(map(_differing, chosen))
    return f"""SELECT {" + ".join(counts)} AS figures,
  (SELECT coalesce(json_agg(d ORDER BY d.figure), '[]') FROM (
    {drift}) AS d)::text AS drift"""


def _differing(of: FigureKind) -> str:
    name = ", ".join(_shown(key) for key in of.keys)
    values = (f"('{name}', counted_{name}, true_{name})" for name in of.measures)
    return f"""SELECT concat_ws(' ', '{of.name}', {name}, v.measure) AS figure, v.counted, v.true
      FROM {of.name}
      CROSS JOIN LATERAL (VALUES {", ".join(values)}) AS v (measure, counted, "true")
      WHERE v.counted <> v.true"""


def _shown(key: str) -> str:
    if key == "at":
        return """to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI"Z"')"""
    return key
