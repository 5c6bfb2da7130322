"""The wheel: what is in it, that its plain install is light, and that it works where a user stands."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Sequence
from email.parser import HeaderParser
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("latentmill", "service", "workers")
HEAVY = ("alembic", "celery", "fastapi", "pyarrow", "scipy", "sklearn", "sqlalchemy", "torch", "uvicorn")
SITE_PACKAGES = sysconfig.get_path("purelib")

IMPORT_THE_CLIENT = """
import sys
import latentmill, latentmill.client, latentmill.cli
from latentmill import Client, export_vae
print(latentmill.__file__)
"""
RUN_THE_COMMAND = "from latentmill.cli import main; main()"
MIGRATE = """
from pathlib import Path
from service.migrate import upgrade
from service.settings import DatabaseSettings, Settings
upgrade(Settings(data_dir=Path.cwd(), database=DatabaseSettings(url=f"sqlite:///{Path.cwd() / 'new.db'}")))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (found,) = folder.glob("latentmill-*.whl")
    return found


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A directory of a user who has packages called `service` and `workers` too."""
    for name in ("service", "workers"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('this is not the package that was meant')\n")
    return tmp_path


def run_isolated(
    script: str, unpacked: Path, cwd: Path, *, absent: Sequence[str] = (), words: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Run `script` with the unpacked wheel before the installed packages, less those that shall be `absent`."""
    start = (
        f"import sys\nsys.path.insert(0, {str(unpacked)!r})\nsys.path.append({SITE_PACKAGES!r})\n"
        f"sys.modules.update(dict.fromkeys({list(absent)!r}))\n"
    )
    command = [sys.executable, "-I", "-S", "-c", start + script, *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


def test_it_holds_every_file_and_no_other(wheel: Path) -> None:
    wanted = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    migrations = {path for path in (ROOT / "migrations").rglob("*") if path.is_file() and path.suffix != ".pyc"}
    wanted |= {str(Path("service/_migrations") / path.relative_to(ROOT / "migrations")) for path in migrations}
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == wanted
    for name in ("latentmill/demo/digits.vae.zip", "latentmill/py.typed", "service/_migrations/env.py"):
        assert name in held
    assert any(name.startswith("service/_migrations/versions/0001") for name in held)
    assert wheel.stat().st_size < 2_000_000


def test_the_plain_install_needs_nothing_heavy(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        needed = HeaderParser().parsestr(archive.read(metadata).decode()).get_all("Requires-Dist") or []
    plain = {line.split(">")[0].split("[")[0] for line in needed if "extra ==" not in line}
    assert plain == {"httpx", "numpy", "pydantic", "rich", "safetensors", "typer"}


def test_the_client_works_without_the_extras(unpacked: Path, elsewhere: Path) -> None:
    done = run_isolated(IMPORT_THE_CLIENT, unpacked, elsewhere, absent=HEAVY)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(unpacked)


@pytest.mark.parametrize("verb", ["up", "demo"])
def test_a_plain_install_says_what_a_command_needs(unpacked: Path, elsewhere: Path, verb: str) -> None:
    done = run_isolated(RUN_THE_COMMAND, unpacked, elsewhere, absent=HEAVY, words=[verb])
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        f"error: `latentmill {verb}` needs more than the plain install: pip install 'latentmill[all]'"
    )


def test_the_migrations_in_it_make_a_database(unpacked: Path, elsewhere: Path) -> None:
    done = run_isolated(MIGRATE, unpacked, elsewhere)
    assert done.returncode == 0, done.stderr
    assert (elsewhere / "new.db").stat().st_size > 0


def install(folder: Path, what: str) -> Path:
    """A new environment with `what`; its programs."""
    venv.create(folder, with_pip=True)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--constraint", ROOT / "constraints.txt", what], check=True, env=clean_environment())
    return folder / "bin"


def clean_environment() -> dict[str, str]:
    """The environment without what would lead to this checkout or to a service that runs already."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("LATENTMILL_", "PYTHON"))}


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_the_demo_runs_from_a_fresh_install(wheel: Path, elsewhere: Path, tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("everything")
    programs = install(folder, f"{wheel}[all]")
    done = subprocess.run(
        [programs / "latentmill", "demo"], cwd=elsewhere, env=clean_environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Draw from the mixture" in done.stdout
    for strategy in ("prior", "gaussian", "mixture"):
        verify = [programs / "latentmill", "verify", elsewhere / "latentmill-demo" / strategy]
        assert subprocess.run(verify, cwd=elsewhere, env=clean_environment(), check=False).returncode == 0
    assert (elsewhere / "latentmill-demo" / "picture.png").is_file()
    left = [one.info["cmdline"] for one in psutil.process_iter(["cmdline"])]
    assert not [words for words in left if any(str(folder) in word for word in words or ())]


@pytest.mark.full
@pytest.mark.timeout(900)
def test_a_fresh_plain_install_is_a_client(wheel: Path, elsewhere: Path, tmp_path_factory) -> None:
    programs = install(tmp_path_factory.mktemp("plain"), str(wheel))
    script = (
        f"from importlib.util import find_spec\nfrom latentmill import Client\nassert not any(map(find_spec, {HEAVY}))"
    )
    environment = clean_environment()
    subprocess.run([programs / "python", "-c", script], cwd=elsewhere, env=environment, check=True)
    command = [programs / "latentmill", "demo"]
    done = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'latentmill[all]'" in done.stderr
