"""`latentmill limits`."""

import typer

from latentmill.client import Client
from latentmill.columns import aligned
from latentmill.commands.console import AsJson, print_json


def limits(as_json: AsJson = False) -> None:
    """What this key's tenant may have and ask for, and what it has."""
    with Client() as client:
        shown = client.limits()
    if as_json:
        print_json(shown)
        return
    usage = shown.pop("usage", {})
    typer.echo(f"tenant {shown.pop('tenant', '')}")
    lines = [["limit", "value", "used"]]
    for name, value in shown.items():
        lines.append([name, "none" if value is None else f"{value:,}", f"{usage[name]:,}" if name in usage else ""])
    for line in aligned(lines):
        typer.echo(line)
    if usage.get("planned_bytes"):
        typer.echo(f"jobs that are not over will add about {usage['planned_bytes']:,} bytes")
