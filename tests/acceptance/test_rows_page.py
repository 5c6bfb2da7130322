"""docs/rows.md, run line by line against the real stack: what it shows is what happens."""

import doctest
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentmill.stack import Stack

PAGE = Path(__file__).resolve().parents[2] / "docs" / "rows.md"


def test_the_page_shows_what_happens(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTMILL_URL", stack.url)
    monkeypatch.setenv("LATENTMILL_API_KEY", stack.api_key)
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("cat/1.png", "cat/2.png", "dog/1.png")):
        path = tmp_path / "pets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((16, 12, 3), number, np.uint8)).save(path)
    page = doctest.DocTestParser().get_doctest(PAGE.read_text(), {}, PAGE.name, str(PAGE), 0)
    assert len(page.examples) > 20
    said: list[str] = []
    assert doctest.DocTestRunner(verbose=False).run(page, out=said.append).failed == 0, "".join(said)
