"""The service's processes by name: `python -m service api | beat | migrate | keys`."""

import argparse
import sys
from pathlib import Path

from pydantic import ValidationError

from latentmill.errors import LatentmillError
from latentmill.listening import KEY_FILE, refuse_remote
from service import logs
from service.keys.commands import add_commands as add_key_commands
from service.keys.commands import create_admin_key
from service.settings import Settings


def main(arguments: list[str] | None = None) -> int:
    """Run the named process; the exit status."""
    asked = _parser().parse_args(arguments)
    try:
        settings = Settings()
    except ValidationError as error:
        for wrong in error.errors():
            name = "__".join(str(part) for part in wrong["loc"]).upper()
            sys.stderr.write(f"LATENTMILL_{name}: {wrong['msg']}\n")
        return 2
    logs.configure(settings, process=asked.run.__name__.strip("_"))
    try:
        asked.run(asked, settings)
    except LatentmillError as error:
        sys.stderr.write(f"{logs.redacted(error.detail, logs.secrets_in(settings))}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m service", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    api = commands.add_parser("api", help="serve HTTP")
    api.add_argument("--host", help="where to listen (default: the setting api.host)")
    api.add_argument("--allow-remote", action="store_true", help="even with the key of `latentmill up` beside it")
    api.add_argument("--port", type=int, help="0 takes any free port (default: the setting api.port)")
    api.set_defaults(run=_api)
    beat = commands.add_parser("beat", help="sweep and publish every few seconds")
    beat.set_defaults(run=_beat)
    migrate = commands.add_parser("migrate", help="bring the database to the newest revision")
    migrate.add_argument("--with-key", metavar="NAME", help="and print a new admin key: Python starts once for both")
    migrate.add_argument("--revision", metavar="MESSAGE", help="write a new revision instead (for developers)")
    migrate.set_defaults(run=_migrate)
    add_key_commands(commands.add_parser("keys", help="make, list, rotate and revoke API keys"))
    return parser


def _api(asked: argparse.Namespace, settings: Settings) -> None:
    host = listening_host(asked, settings)
    import uvicorn  # the other commands start without the web framework

    from service.app import create_app

    uvicorn.run(
        create_app(settings),
        host=host,
        port=settings.api.port if asked.port is None else asked.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=10,
    )


def listening_host(asked: argparse.Namespace, settings: Settings) -> str:
    """Where to listen; StartFailed where the network would reach the key of `latentmill up`."""
    host: str = asked.host if asked.host is not None else settings.api.host
    if (settings.data_dir / KEY_FILE).exists() and not (asked.allow_remote or settings.api.allow_remote):
        refuse_remote(host, settings.data_dir)
    return host


def _beat(asked: argparse.Namespace, settings: Settings) -> None:
    from service import beat

    beat.run(settings)


def _migrate(asked: argparse.Namespace, settings: Settings) -> None:
    from service import migrate

    if asked.revision:
        sys.stdout.write(f"{migrate.make_revision(settings, asked.revision).relative_to(Path.cwd())}\n")
    else:
        migrate.upgrade(settings)
        if asked.with_key:
            create_admin_key(settings, asked.with_key)


if __name__ == "__main__":
    sys.exit(main())
