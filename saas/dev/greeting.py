"""What a newcomer is told once all of it runs: addresses, keys, lines to copy."""

from rich.console import Console

from saas.dev.demo import DemoTenant
from saas.settings import Settings


def greet(settings: Settings, demo: list[DemoTenant], console: Console) -> None:
    """Print it, and write the keys to `demo.env` in the data folder."""
    _write_shell_variables(settings, demo)
    url = base_url(settings)
    lines = [f"Serving on {url} (API docs: {url}/docs). Ctrl-C stops everything.", ""]
    for tenant in demo:
        lines += [f"Tenant {tenant.slug} ({tenant.id})", f"  key {tenant.key}"]
    lines += ["", f"Platform key {settings.platform_key}", ""]
    if demo:
        key, other = demo[0].key, demo[-1].key
        lines += [
            "Try:",
            f"curl -s {url}/v1/projects -H 'Authorization: Bearer {key}'",
            f"curl -s {url}/v1/projects -H 'Authorization: Bearer {other}'",
            f"curl -s {url}/v1/projects -H 'Authorization: Bearer {key}' "
            "-H 'Content-Type: application/json' -d '{\"name\": \"Magnet\"}'",
            f"curl -s {url}/v1/stats -H 'Authorization: Bearer {key}'",
        ]
    # Plain text, unwrapped: these lines are made to be copied.
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def base_url(settings: Settings) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{settings.port}"


def _write_shell_variables(settings: Settings, demo: list[DemoTenant]) -> None:
    """`. .saas/demo.env` makes the README's curl lines work as they stand."""
    if demo:
        lines = [f"URL={base_url(settings)}", f"PLATFORM_KEY={settings.platform_key}"]
        lines += [f"{tenant.slug.upper()}_KEY={tenant.key}" for tenant in demo]
        path = settings.data_path / "demo.env"
        path.touch(mode=0o600)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
