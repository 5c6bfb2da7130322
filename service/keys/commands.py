"""The commands on keys: on the database, never over HTTP, so that no key can make another."""

import argparse
import sys
from collections.abc import Sequence
from datetime import timedelta

from latentmill.durations import seconds_of
from latentmill.errors import InvalidRequest
from service.database import open_database
from service.keys import operations as keys
from service.keys.pepper import pepper_of
from service.settings import Settings

LONGEST = timedelta(days=36_500)


def add_commands(parser: argparse.ArgumentParser) -> None:
    """create, list, rotate and revoke."""
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    create = actions.add_parser("create", help="make a key; it is shown once")
    create.add_argument("--scope", action="append", choices=keys.SCOPES, help="what it may do; default: read and write")
    create.add_argument("--admin", action="store_true", help="the same as --scope admin: everything")
    create.add_argument("--expires-in", type=_duration, metavar="90d", help="when it ends by itself; default: never")
    create.add_argument("--tenant", default=keys.DEFAULT_TENANT, help="whose key it is; made when unknown")
    create.add_argument("--name", default="", help="a note to know it by")
    create.set_defaults(run=_create)
    actions.add_parser("list", help="all keys, newest first").set_defaults(run=_list)
    rotate = actions.add_parser("rotate", help="make a key in the place of another")
    rotate.add_argument("key_id", metavar="KEY_ID")
    rotate.add_argument("--overlap", type=_duration, default=timedelta(), metavar="24h", help="the old one works on")
    rotate.add_argument("--expires-in", type=_duration, metavar="90d", help="default: as long as the old one had")
    rotate.set_defaults(run=_rotate)
    revoke = actions.add_parser("revoke", help="end a key at once")
    revoke.add_argument("key_id", metavar="KEY_ID")
    revoke.set_defaults(run=_revoke)


def _duration(text: str) -> timedelta:
    try:
        seconds = seconds_of(text)
    except InvalidRequest as error:
        raise argparse.ArgumentTypeError(error.detail) from error
    if seconds > LONGEST.total_seconds():
        raise argparse.ArgumentTypeError(f"{text!r} is more than {LONGEST.days} days")
    return timedelta(seconds=seconds)


def _create(asked: argparse.Namespace, settings: Settings) -> None:
    scopes = asked.scope or keys.DEFAULT_SCOPES
    scopes = [*scopes, "admin"] if asked.admin else scopes
    _print_new(settings, tenant=asked.tenant, name=asked.name, scopes=scopes, lifetime=asked.expires_in)


def create_admin_key(settings: Settings, name: str) -> None:
    """As `create --admin --name NAME`."""
    _print_new(settings, tenant=keys.DEFAULT_TENANT, name=name, scopes=[*keys.DEFAULT_SCOPES, "admin"], lifetime=None)


def _print_new(
    settings: Settings, *, tenant: str, name: str, scopes: Sequence[str], lifetime: timedelta | None
) -> None:
    pepper = pepper_of(settings)
    with open_database(settings) as database, database.writing() as session:
        made = keys.create(session, pepper=pepper, tenant=tenant, name=name, scopes=scopes, lifetime=lifetime)
    sys.stdout.write(f"{made.text}\n")


def _list(asked: argparse.Namespace, settings: Settings) -> None:
    with open_database(settings) as database, database.reading() as session:
        for key in keys.list_keys(session):
            row, state = key.row, key.state
            if row.revoked_at is not None:
                state = f"revoked {row.revoked_at:%Y-%m-%d %H:%M}"
            elif row.expires_at is not None:
                state = f"{'until' if state == 'live' else state} {row.expires_at:%Y-%m-%d %H:%M}"
            scopes = ",".join(row.scopes)
            sys.stdout.write(
                f"{row.id}  {row.created_at:%Y-%m-%d %H:%M}  {state:24}  {scopes:16}  {key.tenant}  {row.name}\n"
            )


def _rotate(asked: argparse.Namespace, settings: Settings) -> None:
    pepper = pepper_of(settings)
    with open_database(settings) as database, database.writing() as session:
        made = keys.rotate(session, asked.key_id, pepper=pepper, overlap=asked.overlap, lifetime=asked.expires_in)
    sys.stdout.write(f"{made.text}\n")


def _revoke(asked: argparse.Namespace, settings: Settings) -> None:
    with open_database(settings) as database, database.writing() as session:
        keys.revoke(session, asked.key_id)
