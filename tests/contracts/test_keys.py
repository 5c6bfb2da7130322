"""API keys, on both databases: shown once, stored as a keyed hash, ended at once."""

import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from latentmill.errors import NotAuthenticated, NotFound, StorageFault
from service.keys.operations import authenticate, create, list_keys, revoke
from service.keys.pepper import pepper_of
from service.settings import KeySettings, Settings

PEPPER = b"pepper"


def test_a_key_speaks_for_its_tenant(any_database):
    with any_database.writing() as session:
        one = create(session, pepper=PEPPER, tenant="one", name="laptop")
        same = create(session, pepper=PEPPER, tenant="one", admin=True)
        other = create(session, pepper=PEPPER, tenant="other")
    with any_database.reading() as session:
        callers = [authenticate(session, key.text, pepper=PEPPER) for key in (one, same, other)]
    assert callers[0].tenant_id == callers[1].tenant_id != callers[2].tenant_id
    assert [caller.admin for caller in callers] == [False, True, False]
    assert [caller.key_id for caller in callers] == [key.row.id for key in (one, same, other)]


def test_the_secret_is_not_in_the_database(any_database):
    with any_database.writing() as session:
        made = create(session, pepper=PEPPER)
    secret = made.text.rpartition("_")[2]
    assert len(secret) == 43
    with any_database.reading() as session:
        ((row, _),) = list_keys(session)
    assert not any(secret in str(value) for value in vars(row).values())


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
