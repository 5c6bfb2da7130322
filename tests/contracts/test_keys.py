"""API keys, on both databases: shown once, stored as a keyed hash, ended at once."""

import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from latentmill.errors import Conflict, NotAuthenticated, NotFound, StorageFault
from service.database import database_now
from service.keys.operations import authenticate, create, list_keys, revoke, rotate
from service.keys.pepper import pepper_of
from service.keys.tables import KeyRow
from service.settings import KeySettings, Settings

PEPPER = b"pepper"


def test_a_key_speaks_for_its_tenant(any_database):
    with any_database.writing() as session:
        one = create(session, pepper=PEPPER, tenant="one", name="laptop")
        same = create(session, pepper=PEPPER, tenant="one", scopes=["admin"])
        other = create(session, pepper=PEPPER, tenant="other")
    with any_database.reading() as session:
        callers = [authenticate(session, key.text, pepper=PEPPER) for key in (one, same, other)]
    assert callers[0].tenant_id == callers[1].tenant_id != callers[2].tenant_id
    assert [caller.tenant for caller in callers] == ["one", "one", "other"]
    assert [sorted(caller.scopes) for caller in callers] == [
        ["read", "write"],
        ["admin", "read", "write"],
        ["read", "write"],
    ]
    assert [caller.key_id for caller in callers] == [key.row.id for key in (one, same, other)]


def test_the_secret_is_not_in_the_database(any_database):
    with any_database.writing() as session:
        made = create(session, pepper=PEPPER)
    secret = made.text.rpartition("_")[2]
    assert len(secret) == 43
    with any_database.reading() as session:
        (listed,) = list_keys(session)
    assert not any(secret in str(value) for value in vars(listed.row).values())


def test_everything_that_is_not_a_live_key_is_refused(any_database):
    with any_database.writing() as session:
        made = create(session, pepper=PEPPER)
        ended = create(session, pepper=PEPPER)
        revoke(session, ended.row.id)
    prefix, number, secret = made.text.split("_")
    other = "A" if secret[0] != "A" else "B"
    wrong = [
        "",
        "lm",
        "lm__",
        made.text[:-1],
        made.text + "x",
        f"{prefix}_{number}_{other}{secret[1:]}",
        f"{prefix}_{number[:-1]}_{secret}",
        f"xx_{number}_{secret}",
        f"{prefix}_{number}\0_{secret}",
        f"{prefix}_{number}_{secret}é",
        f"{prefix}_{number}_" + "0" * 64,
        ended.text,
    ]
    with any_database.reading() as session:
        for text in wrong:
            with pytest.raises(NotAuthenticated):
                authenticate(session, text, pepper=PEPPER)
        with pytest.raises(NotAuthenticated):
            authenticate(session, made.text, pepper=b"another pepper")
        assert authenticate(session, made.text, pepper=PEPPER).key_id == made.row.id


def test_a_key_ends_when_its_time_is_over(any_database):
    with any_database.writing() as session:
        short = create(session, pepper=PEPPER, lifetime=timedelta(hours=1))
        long = create(session, pepper=PEPPER, lifetime=timedelta(days=90))
    assert short.row.expires_at == short.row.created_at + timedelta(hours=1)
    with any_database.reading() as session:
        assert authenticate(session, short.text, pepper=PEPPER).key_id == short.row.id
    assert states(any_database)[short.row.id] == "live"
    with any_database.writing() as session:
        session.get_one(KeyRow, short.row.id).expires_at = database_now(session)
    assert states(any_database)[short.row.id] == "expired"
    with any_database.reading() as session:
        with pytest.raises(NotAuthenticated, match=f"{short.row.id}.* expired at .* UTC"):
            authenticate(session, short.text, pepper=PEPPER)
        with pytest.raises(NotAuthenticated, match="not valid") as refused:
            authenticate(session, short.text + "x", pepper=PEPPER)
        assert "expired" not in refused.value.detail, "which only its holder is told"
        assert authenticate(session, long.text, pepper=PEPPER).key_id == long.row.id


def test_a_rotated_key_hands_over(any_database):
    with any_database.writing() as session:
        old = create(session, pepper=PEPPER, tenant="lab", name="ci", scopes=["read"], lifetime=timedelta(days=90))
    with any_database.writing() as session:
        new = rotate(session, old.row.id, pepper=PEPPER, overlap=timedelta(hours=24))
    with any_database.reading() as session:
        callers = [authenticate(session, key.text, pepper=PEPPER) for key in (old, new)]
        ends = {key.row.id: key.row.expires_at - database_now(session) for key in list_keys(session)}
    assert callers[0] == replace(callers[1], key_id=old.row.id)
    assert (callers[1].tenant, callers[1].scopes, new.row.name) == ("lab", {"read"}, "ci")
    assert timedelta(hours=23) < ends[old.row.id] <= timedelta(hours=24)
    assert timedelta(days=89) < ends[new.row.id] <= timedelta(days=90), "as long as the old one had"


def test_a_key_that_is_rotated_without_an_overlap_ends_at_once(any_database):
    with any_database.writing() as session:
        old = create(session, pepper=PEPPER)
        new = rotate(session, old.row.id, pepper=PEPPER)
        assert new.row.expires_at is None
    assert states(any_database) == {old.row.id: "revoked", new.row.id: "live"}
    with any_database.writing() as session, pytest.raises(Conflict, match="is revoked"):
        rotate(session, old.row.id, pepper=PEPPER)
    with any_database.writing() as session, pytest.raises(NotFound, match="keys list"):
        rotate(session, "key_unknown", pepper=PEPPER)


def test_an_overlap_never_lengthens_a_keys_life(any_database):
    with any_database.writing() as session:
        old = create(session, pepper=PEPPER, lifetime=timedelta(hours=1))
        ends = old.row.expires_at
        rotate(session, old.row.id, pepper=PEPPER, overlap=timedelta(hours=24))
        assert old.row.expires_at == ends


def test_one_of_two_who_rotate_a_key_at_once_is_told(any_database):
    with any_database.writing() as session:
        old = create(session, pepper=PEPPER)

    def attempt(_: int) -> str:
        try:
            with any_database.writing() as session:
                return rotate(session, old.row.id, pepper=PEPPER).row.id
        except Conflict:
            return "told"

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(attempt, range(4)))[1:] == ["told"] * 3


def states(database):
    with database.reading() as session:
        return {key.row.id: key.state for key in list_keys(session)}


def test_revoking_again_changes_nothing_and_an_unknown_key_is_said(any_database):
    with any_database.writing() as session:
        made = create(session, pepper=PEPPER)
    with any_database.writing() as session:
        first = revoke(session, made.row.id).revoked_at
        assert first is not None
    with any_database.writing() as session:
        assert revoke(session, made.row.id).revoked_at == first
        with pytest.raises(NotFound):
            revoke(session, "key_unknown")


def test_the_same_new_tenant_from_several_places_is_one(any_database):
    def make(_: int) -> str:
        with any_database.writing() as session:
            return create(session, pepper=PEPPER, tenant="new").row.tenant_id

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(make, range(4)))) == 1


def test_the_pepper_is_made_once_and_private(tmp_path):
    settings = Settings(data_dir=tmp_path / "data", keys=KeySettings())
    with ThreadPoolExecutor(4) as pool:
        peppers = set(pool.map(lambda _: pepper_of(settings), range(8)))
    assert len(peppers) == 1
    assert len(peppers.pop()) == 64
    (file,) = (tmp_path / "data").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_pepper_in_the_settings_needs_no_file(tmp_path):
    settings = Settings(data_dir=tmp_path, keys=KeySettings.model_validate({"pepper": "from outside"}))
    assert pepper_of(settings) == b"from outside"
    assert list(tmp_path.iterdir()) == []


def test_a_pepper_that_cannot_be_kept_is_a_storage_fault(tmp_path):
    (tmp_path / "data").write_text("a file where the folder should be")
    with pytest.raises(StorageFault):
        pepper_of(Settings(data_dir=tmp_path / "data"))
