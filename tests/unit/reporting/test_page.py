"""The page of a report: it stands alone, shows every number, and no text of a user breaks out of it."""

import copy
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from tests.unit.reporting import invented
from workers.reporting.exhibits import Exhibits
from workers.reporting.page import render_page

VOID = {"meta", "link", "img", "br", "hr", "input"}
HOSTILE = (
    "</style></title><script>alert('x')</script><img src=http://evil.example/x onerror=alert(1)> \"' {{ 7*19191 }}"
)


class Document(HTMLParser):
    """Reads a page as strictly as it was meant: every element is closed, in order."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.errors: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.errors.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.texts))


def names(content: dict[str, Any]) -> list[str]:
    return [candidate["name"] for candidate in content["candidates"]]


@pytest.fixture(scope="module")
def page() -> str:
    content = invented.content()
    return render_page(content, invented.exhibits(invented.IMAGES, names(content), labels=True))


def test_every_element_is_closed_and_ids_are_unique(page: str) -> None:
    document = Document(page)
    assert document.errors == []
    assert document.open == []
    ids = [attributes["id"] for _, attributes in document.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert len([tag for tag, _ in document.elements if tag == "svg"]) >= 10


def test_nothing_is_fetched_and_nothing_runs(page: str) -> None:
    assert "http://" not in page
    assert "https://" not in page
    document = Document(page)
    for tag, attributes in document.elements:
        assert tag not in ("script", "iframe", "object", "embed", "base", "form")
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "xlink:href", "srcset", "action", "data"):
            assert (attributes.get(name) or "data:").startswith("data:")
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    policy = next(a["content"] for _, a in document.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_the_answer_comes_first_with_what_to_type(page: str) -> None:
    content, text = invented.content(), Document(page).text
    reason = content["recommendation"]["reason"]
    assert reason in text
    assert "Evidence: Clear" in text
    assert "latentmill generate mdl_7Q2m --strategy aggregate --fit fit_mixture0123 --rows 10000" in text
    assert '"strategy": {"kind": "aggregate", "fit": "fit_mixture0123", "temperature": 1.0}' in text
    assert (
        text.index(reason) < text.index("The candidates") < text.index("How far the latents") < text.index("To measure")
    )


def test_every_number_of_the_candidates_is_shown(page: str) -> None:
    text = Document(page).text.replace("−", "-").replace(" %", "%").replace(",", "")
    shown = [
        float(found.rstrip("%")) / (100 if found.endswith("%") else 1) for found in re.findall(r"-?\d+\.?\d*%?", text)
    ]
    numbers = np.array(shown)
    content = invented.content()
    qualities = [candidate["quality"] for candidate in content["candidates"]]
    gains = [candidate["gain"] for candidate in content["candidates"]]
    measured = list(_numbers([qualities, gains, content["floors"]]))
    assert len(measured) > 120
    for value, error in measured:  # with the digits that its error leaves
        assert np.abs(numbers - value).min() <= max(0.3 * error, 0.0005), value


def _numbers(found: Any) -> Iterator[tuple[float, float]]:
    """Every measured value below `found`, and its standard error."""
    if isinstance(found, list):
        for value in found:
            yield from _numbers(value)
    elif isinstance(found, dict) and "value" in found:
        error = found["standard_error"] if "standard_error" in found else (found["high"] - found["low"]) / 4
        yield found["value"], error
    elif isinstance(found, dict):
        for value in found.values():
            yield from _numbers(value)


def test_the_winner_is_marked_and_floors_are_last(page: str) -> None:
    table = page[page.index("<h2>The candidates</h2>") :]
    table = table[: table.index("</table>")]
    kinds = re.findall(r"<tr(?: class=\"(\w+)\")?><th scope=\"row\">([^<]+)<", table)
    assert kinds == [
        ("", "prior"), ("", "gaussian"), ("chosen", "mixture of 32"), ("", "flow"), ("", "empirical"),
        ("floor", "Reconstructions"), ("floor", "Real rows"),
    ]  # fmt: skip
    assert "Ties, but mixture of 32 is simpler" in table
    assert re.findall(r'class="mark">([^<]+)<', table) == ["no smooth density", "memorises"]


def test_the_page_is_small_and_the_same_again(page: str) -> None:
    assert len(page.encode()) < 3_000_000
    twice = [render_page(invented.content(), Exhibits(rows=invented.IMAGES)) for _ in range(2)]
    assert twice[0] == twice[1]


def test_texts_of_users_stay_texts() -> None:
    content = invented.content()
    content["name"] = HOSTILE
    content["settings"]["model"] = {"id": HOSTILE, "name": HOSTILE, "digest": HOSTILE}
    content["settings"]["request"]["name"] = HOSTILE
    content["settings"][HOSTILE] = HOSTILE
    content["recommendation"]["reason"] = HOSTILE
    content["candidates"][1].update(name=HOSTILE, why_not=HOSTILE, marks=[HOSTILE])
    content["candidates"][3].update(error=HOSTILE)
    content["candidates"][2]["quality"]["real"]["columns"] = {
        "columns": [{"name": HOSTILE, "distance": 0.1}],
        "pairs": None,
    }
    column = invented.TABLE.columns[0].model_copy(update={"name": HOSTILE[:128]})
    table = invented.TABLE.model_copy(update={"columns": (column, *invented.TABLE.columns[1:])})
    exhibits = invented.exhibits(invented.TABLE, [HOSTILE, "prior"], count=2)
    renamed = [_renamed(gallery, invented.TABLE.columns[0].name, HOSTILE[:128]) for gallery in exhibits.galleries]
    document = Document(render_page(content, Exhibits(rows=table, galleries=tuple(renamed))))
    assert document.errors == []
    tags = {tag for tag, _ in document.elements}
    assert "script" not in tags
    assert not any(name.startswith("on") for _, attributes in document.elements for name in attributes)
    assert not any("evil" in (attributes.get("src") or "") for _, attributes in document.elements)
    assert document.text.count("{{ 7*19191 }}") >= 8
    assert not re.search("134337", document.text)


def _renamed(gallery: Any, old: str, new: str) -> Any:
    values = {new if name == old else name: column for name, column in gallery.rows.values.items()}
    rows = type(gallery.rows)(values, gallery.rows.missing)
    return type(gallery)(gallery.name, gallery.kind, rows, (HOSTILE,) * rows.rows, HOSTILE)


@pytest.mark.parametrize("kind", [kind for kind in invented.ROW_KINDS if kind != "images"])
def test_rows_of_every_kind_are_shown(kind: str) -> None:
    rows = invented.ROW_KINDS[kind]
    full = invented.exhibits(rows, ["prior"], count=8)
    shown = render_page({}, Exhibits(rows=rows, strips=full.strips, galleries=full.galleries))
    document = Document(shown)
    assert document.errors == []
    assert "Dimension 3 98 % of the data lie from −2.21 to 1.93" in document.text
    if kind in ("photos", "tensors"):
        assert sum(tag == "img" for tag, _ in document.elements) == 3 * 8 + 13
        assert shown.count('<li class="inside">') == 8  # of 13 values from -3 to 3
    elif kind == "series":
        assert sum(a.get("class") == "lines" for _, a in document.elements) == 3 * 8 + 13
        assert "price <EUR>" in document.text
    else:
        assert "−3.0 (outside)" in document.text
        assert ("engineer & architect" in document.text) == (kind == "table")


def test_the_prior_is_an_answer_too() -> None:
    content = invented.matched()
    document = Document(render_page(content, Exhibits(rows=invented.IMAGES)))
    assert "Draw the latents from the prior" in document.text
    assert "latentmill generate mdl_7Q2m --strategy prior --rows 10000" in document.text
    assert "at most 0.09 nats" in document.text
    assert "saturated" not in document.text.split("How to read")[0]


def test_a_temperature_is_part_of_the_answer() -> None:
    content = invented.matched()
    colder = {**content["candidates"][0], "name": "prior at temperature 0.8", "chosen": True, "gain": {"value": 0.2}}
    colder["strategy"] = {"kind": "prior", "temperature": 0.8}
    content["candidates"] = [colder, *({**one, "chosen": False} for one in content["candidates"])]
    content["recommendation"] |= {"candidate": colder["name"], "strategy": colder["strategy"]}
    text = Document(render_page(content, Exhibits(rows=invented.IMAGES))).text
    assert "Draw the latents from the prior at temperature 0.8" in text
    assert "--strategy prior --temperature 0.8 --rows 10000" in text
    assert "+0.2" in text.split("The candidates")[0]  # the gain is over the prior as it is


def test_what_was_not_measured_reads_well() -> None:
    for content in (invented.too_few(), invented.without_prior(), _emptied(invented.content()), {}):
        document = Document(render_page(content, Exhibits(rows=invented.IMAGES)))
        assert document.errors == []
        assert "None" not in document.text
        assert "nan" not in document.text.lower().split()
    text = Document(render_page(invented.without_prior(), Exhibits(rows=invented.IMAGES))).text
    assert "The model declares no prior" in text
    assert "over the diagonal Gaussian" in text
    assert "over the prior" not in text.split("How to read")[0]
    assert "loses as much as if" not in text
    assert "Failed: The encoder is deterministic" in text
    text = Document(render_page(invented.too_few(), Exhibits(rows=invented.IMAGES))).text
    assert "No recommendation" in text
    assert "generate" not in text.split("How to read")[0].split("The candidates")[0]


def _emptied(found: Any) -> Any:
    """The same structure with null for every number and text below the first level."""
    if isinstance(found, dict):
        return {key: value if key == "name" else _emptied(value) for key, value in copy.deepcopy(found).items()}
    if isinstance(found, list):
        return [_emptied(value) for value in found if isinstance(value, dict)]
    return None
