"""Charts as SVG, made here and inlined: nothing is drawn in the browser and nothing is fetched."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any

import numpy as np
import vl_convert
from markupsafe import Markup
from numpy.typing import NDArray

from workers.reporting.exhibits import Histogram, Projection

DATA_COLOUR = "#0072b2"  # Okabe and Ito's blue and vermilion: told apart by everyone, and in print by fill and dash
PRIOR_COLOUR = "#d55e00"
INK, MUTED, RULE = "#1b1f24", "#57606a", "#e4e7eb"
DRAWN_POINTS = 700
FONT_SIZE = 13

_AXIS = {
    "labelFontSize": FONT_SIZE - 1,
    "titleFontSize": FONT_SIZE,
    "titleFontWeight": "normal",
    "labelColor": MUTED,
    "titleColor": INK,
    "gridColor": RULE,
    "domainColor": "#aeb4bb",
    "tickColor": "#aeb4bb",
    "labelFlush": False,
}
_CONFIG = {
    "aria": False,
    "font": "sans-serif",
    "view": {"stroke": None},
    "axis": _AXIS,
    "text": {"fontSize": FONT_SIZE},
}

Spec = dict[str, Any]


def histogram_chart(histogram: Histogram) -> Markup:
    """q(z_j) filled and the prior as a dashed line, each with its own height: one narrow peak would flatten all."""
    edges, densities = histogram.edges, [histogram.aggregate]
    if histogram.prior is not None:
        densities.append(histogram.prior)
    top = 1.05 * max(float(density.max(initial=0.0)) for density in densities) or 1.0
    ticks = {"grid": False, "tickCount": 5, "labelFontSize": FONT_SIZE}
    along = quantitative("x", [float(edges[0]), float(edges[-1])], axis=ticks)
    height = quantitative("y", [0.0, top], axis=None)
    bars = [
        {"x": float(low), "to": float(high), "y": float(density)}
        for low, high, density in zip(edges[:-1], edges[1:], histogram.aggregate, strict=True)
    ]
    filled = {"type": "rect", "color": DATA_COLOUR, "opacity": 0.55}
    layers = [layer(bars, filled, x=along, y=height, x2={"field": "to"}, y2={"datum": 0.0})]
    if histogram.prior is not None:
        centres = (edges[:-1] + edges[1:]) / 2
        line = [{"x": float(x), "y": float(y)} for x, y in zip(centres, histogram.prior, strict=True)]
        dashed = {"type": "line", "color": PRIOR_COLOUR, "strokeWidth": 2.5, "strokeDash": [6, 3]}
        layers.append(layer(line, dashed, x=along, y=height))
    return svg(layers, width=200, height=100)


def projection_chart(projection: Projection) -> Markup:
    """Dots of q(z), filled, over rings of the prior, on axes of one scale; a few far points may lie outside."""
    clouds = [(projection.aggregate, {"filled": True, "color": DATA_COLOUR, "opacity": 0.55, "size": 14})]
    if projection.prior is not None:
        rings = {"filled": False, "color": PRIOR_COLOUR, "opacity": 0.75, "size": 26, "strokeWidth": 1.2}
        clouds.insert(0, (projection.prior, rings))
    points = np.concatenate([cloud for cloud, _ in clouds])
    centre = np.median(points, axis=0)
    reach = 1.08 * float(np.percentile(np.abs(points - centre), 99.8)) or 1.0
    x, y = (
        quantitative(field, [float(at - reach), float(at + reach)], axis={"title": shortened(name, 60), "tickCount": 6})
        for field, name, at in zip("xy", projection.axes, centre, strict=True)
    )
    layers = [
        layer(_near(_thinned(cloud), centre, reach), {"type": "point", **look}, x=x, y=y) for cloud, look in clouds
    ]
    return svg(layers, width=400, height=400)


def quantitative(
    field: str, domain: Sequence[float], *, axis: Spec | None, scale: Mapping[str, Any] | None = None
) -> Spec:
    """A channel that shows the numbers in `field` over exactly `domain`."""
    shown = None if axis is None else {"title": None, **axis}
    limits = {"domain": list(domain), "nice": False, "zero": False, **(scale or {})}
    return {"field": field, "type": "quantitative", "axis": shown, "title": None, "scale": limits}


def layer(values: list[Spec], mark: Spec, **encoding: Spec) -> Spec:
    """One layer of a chart."""
    return {"data": {"values": values}, "mark": mark, "encoding": encoding}


def svg(layers: Iterable[Spec], *, width: int, height: int) -> Markup:
    """Layers as inline SVG: without addresses of namespaces, and with ids that no other chart of the page has."""
    spec = {"width": width, "height": height, "background": "transparent", "config": _CONFIG, "layer": list(layers)}
    drawn: str = vl_convert.vegalite_to_svg(json.dumps(spec), allowed_base_urls=[])
    drawn = re.sub(r' (?:xmlns(?::xlink)?|pointer-events|aria-[a-z]+|role|version)="[^"]*"', "", drawn)
    drawn = re.sub(r'<path class="(?:background|foreground)"[^>]*display="none"[^>]*/>', "", drawn)
    mark = f"c{sha256(drawn.encode()).hexdigest()[:10]}-"
    drawn = re.sub(r'\bid="', f'id="{mark}', drawn)
    drawn = drawn.replace("url(#", f"url(#{mark}")
    return Markup(drawn)


def shortened(text: str, most: int) -> str:
    """`text`, cut with an ellipsis where it is longer than `most` letters."""
    return text if len(text) <= most else f"{text[: max(1, most - 1)]}…"


def _thinned(cloud: NDArray[np.float64]) -> NDArray[np.float64]:
    return cloud[:: max(1, -(-len(cloud) // DRAWN_POINTS))]


def _near(cloud: NDArray[np.float64], centre: NDArray[np.float64], reach: float) -> list[Spec]:
    near = cloud[np.all(np.abs(cloud - centre) <= reach, axis=1)]
    return [{"x": float(x), "y": float(y)} for x, y in np.round(near, 3)]
