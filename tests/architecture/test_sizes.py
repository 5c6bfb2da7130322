"""A file is read in one sitting, and its name says what is inside."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = [path for package in ("latentmill", "service", "workers") for path in sorted((ROOT / package).rglob("*.py"))]
HIDING = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "base"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_file_is_short_and_says_what_it_is(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 300
    assert path.stem not in HIDING
    assert text.startswith('"""') or not text.strip(), "a file begins with a sentence that says why it exists"


def test_tests_shadow_no_package() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py"))
