"""The service's processes by name: `python -m service api | beat | migrate | keys`."""

import argparse
import sys
from pathlib import Path

from pydantic import ValidationError

from latentmill.errors import LatentmillError
from service import logs
from service.database import open_database
from service.keys import operations as keys
from service.keys.pepper import pepper_of
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
    api.add_argument("--port", type=int, help="0 takes any free port (default: the setting api.port)")
    api.set_defaults(run=_api)
    beat = commands.add_parser("beat", help="sweep and publish every few seconds")
    beat.set_defaults(run=_beat)
    migrate = commands.add_parser("migrate", help="bring the database to the newest revision")
    migrate.add_argument("--revision", metavar="MESSAGE", help="write a new revision instead (for developers)")
    migrate.set_defaults(run=_migrate)
    _add_keys(commands.add_parser("keys", help="make, list and revoke API keys"))
    return parser


def _add_keys(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    create = actions.add_parser("create", help="make a key; it is shown once")
    create.add_argument("--admin", action="store_true", help="may do what only admins may")
    create.add_argument("--tenant", default=keys.DEFAULT_TENANT, help="whose key it is; made when unknown")
    create.add_argument("--name", default="", help="a note to know it by")
    create.set_defaults(run=_create_key)
    actions.add_parser("list", help="all keys, newest first").set_defaults(run=_list_keys)
    revoke = actions.add_parser("revoke", help="end a key at once")
    revoke.add_argument("key_id", metavar="KEY_ID")
    revoke.set_defaults(run=_revoke_key)


def _api(asked: argparse.Namespace, settings: Settings) -> None:
    import uvicorn  # the other commands start without the web framework

    from service.app import create_app

    uvicorn.run(
        create_app(settings),
        host=asked.host or settings.api.host,
        port=settings.api.port if asked.port is None else asked.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=10,
    )


def _beat(asked: argparse.Namespace, settings: Settings) -> None:
    from service import beat

    beat.run(settings)


def _migrate(asked: argparse.Namespace, settings: Settings) -> None:
    from service import migrate

    if asked.revision:
        sys.stdout.write(f"{migrate.make_revision(settings, asked.revision).relative_to(Path.cwd())}\n")
    else:
        migrate.upgrade(settings)


def _create_key(asked: argparse.Namespace, settings: Settings) -> None:
    pepper = pepper_of(settings)
    with open_database(settings) as database, database.writing() as session:
        made = keys.create(session, pepper=pepper, tenant=asked.tenant, name=asked.name, admin=asked.admin)
    sys.stdout.write(f"{made.text}\n")


def _list_keys(asked: argparse.Namespace, settings: Settings) -> None:
    with open_database(settings) as database, database.reading() as session:
        for key, tenant in keys.list_keys(session):
            state = "revoked" if key.revoked_at else "admin" if "admin" in key.scopes else "live"
            sys.stdout.write(f"{key.id}  {key.created_at:%Y-%m-%d %H:%M}  {state:8} {tenant.name}  {key.name}\n")


def _revoke_key(asked: argparse.Namespace, settings: Settings) -> None:
    with open_database(settings) as database, database.writing() as session:
        keys.revoke(session, asked.key_id)


if __name__ == "__main__":
    sys.exit(main())
