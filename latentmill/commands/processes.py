"""`latentmill up`, `demo`, and the single processes of the scaled mode."""

import os
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

from latentmill.commands.console import say
from latentmill.processes import SERVICE_NEEDS, WORKERS_NEED, require, service_command, worker_command
from latentmill.surroundings import child_environment

DATA_DIR_HELP = "Where everything is kept; default: LATENTMILL_DATA_DIR, else ~/.latentmill."
Host = Annotated[str, typer.Option(help="The address to listen on.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on; 0 takes a free one.")]
AllowRemote = Annotated[
    bool,
    typer.Option(
        "--allow-remote",
        envvar="LATENTMILL_API__ALLOW_REMOTE",
        help="Listen also where the network reaches it, although the local key may do everything.",
    ),
]
DeviceName = Annotated[Literal["auto", "cpu", "cuda"] | None, typer.Option(help="Where models run; default: auto.")]

Lifetime = Annotated[
    str | None, typer.Option(metavar="90d", help="When it ends by itself: 12h, 90d; default: never, or as before.")
]

keys = typer.Typer(help="API keys, made and revoked on the database.", no_args_is_help=True)


def up(
    data_dir: Annotated[Path | None, typer.Option(file_okay=False, help=DATA_DIR_HELP)] = None,
    host: Host = "127.0.0.1",
    port: Port = 8321,
    allow_remote: AllowRemote = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that generate; default: 1.")] = None,
    device: DeviceName = None,
) -> None:
    """Run everything on this machine until Ctrl-C. Prints URL and key; clients on this machine find both."""
    from latentmill.stack import Stack
    from latentmill.stack import up as run_until_stopped

    require("up", (*SERVICE_NEEDS, *WORKERS_NEED))
    stack = Stack(
        data_dir=data_dir,
        host=host,
        port=port,
        allow_remote=allow_remote,
        workers=workers,
        device=device,
        say=typer.echo,
    )
    say(f"Starting broker, API and workers; everything is kept in {stack.data_dir} ...")
    run_until_stopped(stack)


def demo(
    out: Annotated[Path, typer.Option(file_okay=False, help="Where datasets and picture go.")] = Path(
        "latentmill-demo"
    ),
) -> None:
    """The main job on real data, end to end: register, fit, generate, compare."""
    require("demo", (*SERVICE_NEEDS, *WORKERS_NEED, "PIL"))
    from latentmill.demo import run

    raise typer.Exit(run(out))


def api(
    host: Annotated[str | None, typer.Option(help="The address to listen on; default: LATENTMILL_API__HOST.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Default: LATENTMILL_API__PORT.")] = None,
    allow_remote: AllowRemote = False,
) -> None:
    """The HTTP service alone."""
    require("api", SERVICE_NEEDS, "service")
    arguments = [] if host is None else ["--host", host]
    arguments += [] if port is None else ["--port", str(port)]
    arguments += ["--allow-remote"] if allow_remote else []
    _become(service_command("api", *arguments))


def worker(
    queue: Annotated[
        Literal["compute", "prompt"], typer.Argument(help="compute: shards, fits; prompt: inspections, previews.")
    ] = "compute",
    device: DeviceName = None,
    slots: Annotated[int | None, typer.Option(min=1, help="Processes that work at once.")] = None,
) -> None:
    """One worker."""
    require("worker", WORKERS_NEED, "worker")
    changes: dict[str, str | None] = {}
    if device is not None:
        changes["LATENTMILL_WORKER__DEVICE"] = device
    if slots is not None:
        changes["LATENTMILL_WORKER__SLOTS"] = str(slots)
    _become(worker_command(queue), changes)


def beat() -> None:
    """The loop that finds lost work; one is enough, several do no harm."""
    require("beat", SERVICE_NEEDS, "service")
    _become(service_command("beat"))


def migrate() -> None:
    """Bring the database to the newest schema."""
    require("migrate", SERVICE_NEEDS, "service")
    _become(service_command("migrate"))


@keys.command()
def create(
    scope: Annotated[
        list[str] | None, typer.Option(help="read, write or admin; more than once for several. Default: read, write.")
    ] = None,
    admin: Annotated[bool, typer.Option("--admin", help="A key that may do everything: --scope admin.")] = False,
    expires_in: Lifetime = None,
    tenant: Annotated[str | None, typer.Option(help="Whose key it is; made when it is new.")] = None,
    name: Annotated[str | None, typer.Option(help="What the key is for.")] = None,
) -> None:
    """Make a key. It is printed once and stored as a hash."""
    scopes = [argument for asked in scope or () for argument in ("--scope", asked)]
    admins = ["--admin"] if admin else []
    _keys("create", *scopes, *admins, *_given(expires_in=expires_in, tenant=tenant, name=name))


@keys.command("list")
def list_keys() -> None:
    """List the keys, without their secrets: when made, whether they live and until when, scopes, tenant, name."""
    _keys("list")


@keys.command()
def rotate(
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID")],
    overlap: Annotated[
        str | None, typer.Option(metavar="24h", help="How long the old key still works; default: it ends now.")
    ] = None,
    expires_in: Lifetime = None,
) -> None:
    """Make a key in the place of another one: same tenant, name and scopes. It is printed once."""
    _keys("rotate", key_id, *_given(overlap=overlap, expires_in=expires_in))


@keys.command()
def revoke(key_id: Annotated[str, typer.Argument(metavar="KEY_ID")]) -> None:
    """End a key."""
    _keys("revoke", key_id)


def _given(**options: str | None) -> list[str]:
    """The options that were given, as the service's own command takes them; a value may begin with a dash."""
    return [f"--{name.replace('_', '-')}={value}" for name, value in options.items() if value is not None]


def _keys(*arguments: str) -> NoReturn:
    require("keys", SERVICE_NEEDS, "service")
    _become(service_command("keys", *arguments))


def _become(command: list[str], changes: dict[str, str | None] | None = None) -> NoReturn:
    """Replace this process, so that signals and the exit status are the command's own."""
    os.execvpe(command[0], command, child_environment(changes or {}))
