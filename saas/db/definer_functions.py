"""Functions that run as the owner (SECURITY DEFINER), and the SQL that makes, closes and drops
them. What they do is in `audit_functions.py`, `platform_functions.py`, `restore_functions.py` and
`usage_functions.py`."""

from typing import NamedTuple


class DefinerFunction(NamedTuple):
    """`arguments` and `returns` are written as PostgreSQL prints them; `executors` are the roles
    that may call it, besides the owner. One that `is_stable` sees what the calling statement
    sees. `settings` hold while it runs."""

    name: str
    body: str
    arguments: str = ""
    returns: str = "trigger"
    executors: tuple[str, ...] = ()
    is_stable: bool = False
    settings: tuple[tuple[str, str], ...] = ()

    @property
    def signature(self) -> str:
        return f"{self.name}({self.arguments})"


def create_function(function: DefinerFunction) -> str:
    settings = "".join(f"SET {name} = {value} " for name, value in function.settings)
    return (
        f"CREATE OR REPLACE FUNCTION public.{function.signature} RETURNS {function.returns} "
        f"LANGUAGE plpgsql {'STABLE ' if function.is_stable else ''}"
        # A pinned path: no other schema can lend its operators to a definer function.
        f"SECURITY DEFINER SET search_path = pg_catalog, pg_temp {settings}AS "
        f"$function$\n{function.body}\n$function$"
    )


def drop_function(function: DefinerFunction) -> str:
    return f"DROP FUNCTION public.{function.signature}"


def close_function(function: DefinerFunction, roles: tuple[str, ...] = ("public",)) -> str:
    # Triggers fire without it; nobody needs to attach a definer function to a table of their own.
    return f"REVOKE ALL ON FUNCTION public.{function.signature} FROM {', '.join(roles)}"


def open_function(function: DefinerFunction, roles: tuple[str, ...]) -> str:
    return f"GRANT EXECUTE ON FUNCTION public.{function.signature} TO {', '.join(roles)}"
