"""Who may import whom, as the README draws it: read from the source, file by file."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PURE = (
    "columns",
    "devices",
    "diagnostics",
    "generation",
    "models",
    "posteriors",
    "randomness",
    "readers",
    "reporting",
    "rows",
    "sampling",
    "sandbox",
    "shards",
)
# A noun may use those before it, never those after.
NOUNS = ("keys", "models", "datasets", "fits", "reports", "jobs", "previews")


@dataclass(frozen=True)
class Import:
    """One imported module, and whether the import runs when the file does."""

    module: str
    at_top: bool


def imports_of(path: Path) -> Iterator[Import]:
    def visit(node: ast.AST, at_top: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from (Import(alias.name, at_top) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}: relative import"
                yield from (Import(f"{child.module}.{alias.name}", at_top) for alias in child.names)
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            else:
                inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
                yield from visit(child, at_top and not inside)

    yield from visit(ast.parse(path.read_text()), True)


def sources(pattern: str) -> list[Path]:
    return [path for path in sorted(ROOT.glob(pattern)) if path.suffix == ".py"]


def within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def offences(
    paths: list[Path], forbidden: tuple[str, ...], *, allowed: tuple[str, ...] = (), inside: bool = True
) -> list[str]:
    """Imports of `forbidden` packages in `paths`; with inside=False those in function bodies are let through."""
    return [
        f"{path.relative_to(ROOT)} imports {found.module}"
        for path in paths
        for found in imports_of(path)
        if within(found.module, forbidden) and not within(found.module, allowed) and (inside or found.at_top)
    ]


def test_specs_and_errors_need_only_pydantic() -> None:
    errors = ("errors", "client_errors", "problem")
    paths = [*sources("latentmill/specs/*"), *(ROOT / f"latentmill/{name}.py" for name in errors)]
    assert len(paths) > 5
    known = (*sys.stdlib_module_names, "pydantic", "latentmill.specs", *(f"latentmill.{name}" for name in errors))
    assert [
        f"{path.name} imports {found.module}"
        for path in paths
        for found in imports_of(path)
        if not within(found.module, known)
    ] == []


def test_the_front_door_never_imports_the_service() -> None:
    assert offences(sources("latentmill/**/*.py"), ("service", "celery", "sqlalchemy", "redis", "fastapi")) == []


def test_the_front_door_loads_heavy_libraries_only_inside_functions() -> None:
    folders = ("exporting", "converting", "demo", "tables")
    exporting = ("latentmill/export.py", *(f"latentmill/{folder}/" for folder in folders))
    light = [p for p in sources("latentmill/**/*.py") if not str(p.relative_to(ROOT)).startswith(exporting)]
    assert offences(light, ("torch", "workers", "sklearn", "PIL")) == []
    assert offences(light, ("pandas",), inside=False) == []


def test_the_service_never_imports_workers_or_torch() -> None:
    assert (
        offences(sources("service/**/*.py"), ("workers", "torch", "onnxruntime", "sklearn", "latentmill.client")) == []
    )


@pytest.mark.parametrize("folder", PURE)
def test_pure_folders_know_no_queue_and_no_records(folder: str) -> None:
    paths = sources(f"workers/{folder}/**/*.py") or sources(f"workers/{folder}.py")
    assert paths, f"workers/{folder} is gone: update this test and the README"
    assert offences(paths, ("celery", "sqlalchemy", "redis", "fastapi", "service", "latentmill.client")) == []
    assert offences(paths, ("latentmill",), allowed=("latentmill.specs", "latentmill.errors")) == []


@pytest.mark.parametrize(
    ("folder", "upward"),
    [
        ("columns", ("rows", "shards", "readers", "generation", "models", "posteriors", "sampling", "diagnostics")),
        ("randomness", ("posteriors", "sampling", "generation", "models", "rows", "shards", "readers", "diagnostics")),
        ("posteriors", ("sampling", "generation", "models", "rows", "shards", "readers", "diagnostics")),
        ("sampling", ("generation", "models", "rows", "shards", "readers", "diagnostics")),
        ("models", ("posteriors", "sampling", "generation", "rows", "shards", "readers", "diagnostics")),
        ("rows", ("posteriors", "sampling", "generation", "models", "shards", "readers", "diagnostics")),
        ("shards", ("posteriors", "sampling", "generation", "models", "readers", "diagnostics")),
        ("readers", ("posteriors", "sampling", "generation", "models", "shards", "diagnostics")),
    ],
)
def test_workers_import_downward_only(folder: str, upward: tuple[str, ...]) -> None:
    assert offences(sources(f"workers/{folder}/**/*.py"), tuple(f"workers.{name}" for name in upward)) == []


@pytest.mark.parametrize("folder", [folder for folder in PURE if folder != "reporting"])
def test_nothing_pure_imports_reporting(folder: str) -> None:
    paths = sources(f"workers/{folder}/**/*.py") or sources(f"workers/{folder}.py")
    assert offences(paths, ("workers.reporting",)) == []


@pytest.mark.parametrize("noun", [noun for noun in NOUNS if (ROOT / "service" / noun).is_dir()])
def test_nouns_look_to_the_right_only(noun: str) -> None:
    later = tuple(f"service.{other}" for other in NOUNS[NOUNS.index(noun) + 1 :])
    paths = sources(f"service/{noun}/**/*.py")
    assert offences(paths, later) == []
    assert (
        offences([p for p in paths if p.name != "routes.py"], ("fastapi", "starlette"), allowed=()) == []
        or noun in {"jobs", "previews"}  # they stream and wait outside of routes.py, too
    )


def test_work_and_storage_know_no_noun() -> None:
    nouns = tuple(f"service.{noun}" for noun in NOUNS)
    assert offences(sources("service/work/**/*.py") + sources("service/storage/**/*.py"), nouns) == []


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("service.app", ("torch", "workers", "sklearn")),
        ("latentmill.client", ("torch", "sqlalchemy", "celery", "fastapi", "service", "workers", "pandas")),
        ("latentmill.cli", ("torch", "sqlalchemy", "celery", "fastapi", "service", "workers", "pandas")),
        ("latentmill.tables.table", ("torch", "pandas", "pyarrow", "sqlalchemy", "celery", "fastapi", "service")),
        ("workers.tasks", ("torch", "sklearn")),
    ],
)
def test_importing_loads_no_heavy_library(module: str, absent: tuple[str, ...]) -> None:
    script = f"import sys, {module}; print([name for name in {absent!r} if name in sys.modules])"
    if module == "workers.tasks":
        absent = tuple(name for name in absent if name != "workers")
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert result.stdout.strip() == "[]"


def test_only_settings_read_the_environment() -> None:
    sets = {"workers/__main__.py", "workers/models/onnx/runtime.py"}  # and reads nothing
    allowed = {"service/settings.py", "latentmill/surroundings.py", *sets}
    readers = [
        str(path.relative_to(ROOT))
        for package in ("service", "workers", "latentmill")
        for path in sources(f"{package}/**/*.py")
        if "os.environ" in path.read_text() or "getenv" in path.read_text()
    ]
    assert set(readers) <= allowed


def test_onnxruntime_is_loaded_in_one_place_which_keeps_it_from_reporting() -> None:
    place = ROOT / "workers/models/onnx/runtime.py"
    others = [
        path for name in ("service", "workers", "latentmill", "benchmarks") for path in sources(f"{name}/**/*.py")
    ]
    assert offences([path for path in others if path != place], ("onnxruntime",)) == []
    assert offences([place], ("onnxruntime",)) != []
