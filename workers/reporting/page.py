"""A report as one HTML page that stands alone: no script, nothing fetched, readable in ten years."""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from workers.reporting.answer import answer
from workers.reporting.charts import histogram_chart, projection_chart
from workers.reporting.comparison import baseline_text, full_grid, main_grid, prior_of
from workers.reporting.differences import difference_grids
from workers.reporting.exhibits import Exhibits
from workers.reporting.figures import count, lookup, number
from workers.reporting.gallery import wall
from workers.reporting.memory import memory_grid
from workers.reporting.mismatch import bracket, bracket_says, label_grid, quantities
from workers.reporting.scatter import points_of, scatter
from workers.reporting.settings import request_text, settings_lines, subject, version_lines

WIDE, NARROW = (640, 380), (290, 330)  # pixels of the chart that decides, on a desk and on a phone


def render_page(content: Mapping[str, Any], exhibits: Exhibits) -> str:
    """The page of a report: `content` as GET /v1/reports/{id} shows it, and the rows and latents in `exhibits`.

    Whatever is missing or null is left out or shown as a dash; every text of a user is escaped.
    """
    found = answer(content)
    mismatch = lookup(content, "mismatch") or {}
    return (
        _environment()
        .get_template("page.html")
        .render(
            style=Markup(_shipped("page.css")),
            model=subject(content, "model"),
            dataset=subject(content, "dataset"),
            compared_rows=lookup(content, "settings", "rows"),
            reference=lookup(content, "settings", "reference"),
            created_at=content.get("created_at"),
            name=content.get("name"),
            warnings=content.get("warnings") or [],
            answer=found,
            baseline=baseline_text(content),
            main=main_grid(content),
            full=[(title, grid) for title, key in _REFERENCES if (grid := full_grid(content, key)) is not None],
            charts=[chart for chart in _charts(content) if chart is not None],
            left_out=points_of(content)[1],
            bracket=bracket(mismatch),
            bracket_says=bracket_says(mismatch),
            quantities=quantities(mismatch),
            labels=label_grid(mismatch),
            histograms=[(one, histogram_chart(one)) for one in exhibits.histograms],
            projection=None if exhibits.projection is None else projection_chart(exhibits.projection),
            has_prior=exhibits.projection is None or exhibits.projection.prior is not None,
            wall=wall(exhibits, found.chosen),
            memory=memory_grid(content),
            differences=difference_grids(content),
            has_declared_prior=prior_of(content) is not None,
            settings_lines=settings_lines(content),
            versions=version_lines(content),
            request=request_text(content),
        )
    )


_REFERENCES = (("To decoded held-out rows (decides)", "decoded"), ("To real held-out rows", "real"))


def _charts(content: Mapping[str, Any]) -> list[tuple[str, Markup] | None]:
    """The chart that decides, once for a desk and once for a phone: a shrunk one could not be read."""
    drawn = [
        (name, scatter(content, width=size[0], height=size[1])) for name, size in (("wide", WIDE), ("narrow", NARROW))
    ]
    return [None if chart is None else (name, chart) for name, chart in drawn]


def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_shipped),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"count": count, "number": number}
    return environment


def _shipped(name: str) -> str:
    return files("workers.reporting").joinpath(name).read_text("utf-8")
