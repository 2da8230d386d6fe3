"""``isthmus lab``: up, probe, exec, down, list."""

import typer

app = typer.Typer(no_args_is_help=True, help="A real gateway with real packets on this machine.")


@app.command("list")
def list_() -> None:
    """The labs of this machine."""
    raise SystemExit("not built yet")


@app.command()
def down() -> None:
    """Remove all that ``up`` made."""
    raise SystemExit("not built yet")
