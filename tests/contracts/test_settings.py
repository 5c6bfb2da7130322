"""Settings come from the environment, nested by two underscores, and cannot be changed."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from service.settings import Settings


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    for name in ("LATENTMILL_DATA_DIR", "LATENTMILL_DATABASE__URL"):
        monkeypatch.delenv(name, raising=False)


def test_defaults_keep_everything_in_the_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    settings = Settings()
    assert settings.data_dir == Path("/home/somebody/.latentmill")
    assert settings.database_url == "sqlite:////home/somebody/.latentmill/latentmill.db"
    assert settings.files_dir == Path("/home/somebody/.latentmill/files")
    assert settings.api.host == "127.0.0.1"


def test_the_environment_decides(monkeypatch):
    monkeypatch.setenv("LATENTMILL_DATA_DIR", "~/data")
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("LATENTMILL_DATABASE__URL", "postgresql://db/latentmill")
    monkeypatch.setenv("LATENTMILL_WORK__LEASE_SECONDS", "7.5")
    monkeypatch.setenv("LATENTMILL_KEYS__PEPPER", "secret")
    monkeypatch.setenv("LATENTMILL_URL", "http://elsewhere")  # the client's, not ours
    settings = Settings()
    assert settings.data_dir == Path("/home/somebody/data")
    assert settings.database_url == "postgresql://db/latentmill"
    assert (settings.work.lease_seconds, settings.work.heartbeat_seconds) == (7.5, 15.0)
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [("LATENTMILL_WORK__LEESE_SECONDS", "7"), ("LATENTMILL_WORK__LEASE_SECONDS", "-1"), ("LATENTMILL_API__PORT", "x")],
)
def test_what_is_no_setting_or_no_value_is_refused(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError):
        Settings()


def test_settings_do_not_change():
    settings = Settings()
    with pytest.raises(ValidationError):
        settings.data_dir = Path("/elsewhere")
    with pytest.raises(ValidationError):
        settings.work.lease_seconds = 1


def test_a_tenant_has_the_limits_of_all_but_for_its_own(monkeypatch):
    monkeypatch.setenv("LATENTMILL_LIMITS__ROWS_PER_JOB", "500")
    monkeypatch.setenv("LATENTMILL_LIMITS__STORED_BYTES", "1000")
    monkeypatch.setenv("LATENTMILL_LIMITS__TENANTS", '{"acme": {"rows_per_job": 7, "stored_bytes": null}}')
    limits = Settings().limits
    assert (limits.of("acme").rows_per_job, limits.of("acme").stored_bytes) == (7, None)
    assert (limits.of("other").rows_per_job, limits.of("other").stored_bytes) == (500, 1000)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ('{"acme": {"rows_per_jobs": 7}}', "acme: rows_per_jobs"),
        ('{"acme": {"json_bytes": 7}}', "acme: json_bytes"),
        ('{"acme": {"rows_per_job": 0}}', "acme: rows_per_job"),
    ],
)
def test_a_tenants_limits_are_checked_at_the_start(monkeypatch, changes, said):
    monkeypatch.setenv("LATENTMILL_LIMITS__TENANTS", changes)
    with pytest.raises(ValidationError, match=said):
        Settings()
