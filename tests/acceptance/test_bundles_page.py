"""docs/bundles.md does what it says: its blocks, run in order in an empty folder, end well."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from workers.models import open_bundle

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "bundles.md"
RUN = {"python", "sh"}
SHOWN = {"", "text"}  # the installation, and the lines that need TensorFlow
COMMAND = "from latentmill.cli import app; assert not app({arguments!r}, standalone_mode=False)"


def script_of(page: str) -> str:
    """The page as a script: what is no block becomes an empty line, so that an error names the page's own line."""
    lines, kind = [], None
    for line in page.splitlines():
        fence = re.fullmatch(r"```(\w*)", line)
        if fence:
            assert kind is None or not fence[1], line
            assert kind is not None or fence[1] in RUN | SHOWN, f"a block of {fence[1]}: is it run?"
            kind = fence[1] if kind is None else None
            lines.append("")
        elif kind == "sh":
            program, *arguments = shlex.split(line)
            assert program == "latentmill", line
            lines.append(COMMAND.format(arguments=arguments))
        else:
            lines.append(line if kind == "python" else "")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the page was run."""
    folder = tmp_path_factory.mktemp("page")
    script = folder / "bundles.py"
    script.write_text(script_of(PAGE.read_text()))
    done = subprocess.run([sys.executable, str(script)], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return folder


def test_the_blocks_make_the_bundles_that_the_page_names(folder: Path) -> None:
    named = set(re.findall(r"(\w+)\.vae\.zip", script_of(PAGE.read_text())))
    assert len(named) >= 9
    for name in named:
        assert open_bundle(folder / f"{name}.vae.zip").manifest.name


def test_the_engines_are_those_that_the_page_tells(folder: Path) -> None:
    engines = {
        path.name.removesuffix(".vae.zip"): open_bundle(path).manifest.engine for path in folder.glob("*.vae.zip")
    }
    assert {name for name, engine in engines.items() if engine == "onnx"} == {"attention", "keras"}


def test_links_on_the_page_lead_somewhere() -> None:
    page = PAGE.read_text()
    anchors = {
        "#" + re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", page, re.M)
    }
    for target in re.findall(r"\]\(([^)]+)\)", page):
        file, _, anchor = target.partition("#")
        assert not file or (PAGE.parent / file).is_file(), target
        assert file or f"#{anchor}" in anchors, target
