"""The figure: what the gain says of rows (left), and what the advice costs beside fixed habits (right)."""

from pathlib import Path

import altair as alt
import numpy as np

from benchmarks.strategies.regret import (
    FIXED,
    Interval,
    Result,
    best_gain,
    chosen,
    distance,
    is_silent,
    over_seeds,
    regret,
)

DASH = "M-1.4,-0.16H1.4V0.16H-1.4Z"
LOOKS = {  # what is drawn in the left panel: colour and shape
    "prior": ("#d1495b", "triangle-up"),
    "gaussian": ("#3d7ea6", "circle"),
    "mixture": ("#2a9d5c", "square"),
    "flow": ("#8a5fb3", "diamond"),
    "reconstructions of other digits": ("#222222", DASH),
    "real digits": ("#b8860b", DASH),
}
FLOORS = {"reconstructions of other digits": "reconstructions", "real digits": "real"}
KINDS = {
    "beta-0.01": ("β 0.01", "#08306b"),
    "beta-0.1": ("β 0.1", "#2b7bba"),
    "beta-1": ("β 1", "#6aaed6"),
    "beta-4": ("β 4", "#a9cfe5"),
    "autoencoder": ("autoencoder", "#e07b39"),
    "collapsed": ("collapsed", "#8c8c8c"),
}
POLICIES = {
    "auto": "auto, no reference",
    "auto with reference": "auto, reference",
    **{name: f"always {name}" for name in FIXED},
}
INK, GRID = "#333333", "#e8e8e8"
HEIGHT, LEFT, RIGHT = 330, 380, 330
DISTANCES = [0, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10]


def draw(results: list[Result], folder: Path) -> None:
    """strategies.png in `folder`."""
    both = alt.hconcat(_gain_and_distance(results), _regrets(results), spacing=30)
    styled = (
        both.resolve_scale(color="independent", shape="independent", size="independent")
        .configure(font="DejaVu Sans", background="white", padding=10)
        .configure_axis(
            gridColor=GRID, domainColor=INK, tickColor=INK, labelColor=INK, titleColor=INK, labelFontSize=11,
            titleFontSize=11.5, titleFontWeight="normal",
        )
        .configure_title(anchor="start", frame="group", fontSize=13, color=INK)
        .configure_legend(
            orient="bottom", labelFontSize=11, titleFontSize=11, titleFontWeight="normal", labelColor=INK,
            titleColor=INK, symbolSize=70, columnPadding=8, labelLimit=220, titleLimit=330,
        )
        .configure_view(stroke=None)
    )  # fmt: skip
    styled.save(folder / "strategies.png", scale_factor=2)


def _gain_and_distance(results: list[Result]) -> alt.LayerChart:
    """A column for each model at the largest size: the distances of its strategies above the best gain of its fits."""
    largest = max(cell["size"] for cell in results)
    cells = [cell for cell in results if cell["size"] == largest]
    points = [
        {"gain": best_gain(cell), "distance": _shown_distance(cell, name), "rows": name}
        for cell in cells
        for name in LOOKS
        if name in cell["distances"] or name in FLOORS
    ]
    x = (
        alt.X("gain:Q", title="best held-out gain over N(0, I), nats per row")
        .scale(type="symlog", constant=0.1, domain=[-0.05, 400])
        .axis(values=[0, 0.1, 1, 10, 100], format="~r")
    )
    y = (
        alt.Y("distance:Q", title="kernel distance to decoded posteriors of test digits")
        .scale(type="symlog", constant=0.003, domain=_domain(points, "distance"), nice=False, clamp=True)
        .axis(values=DISTANCES, format="~r")
    )
    colours, shapes = zip(*LOOKS.values(), strict=True)
    dots = (
        alt.Chart(alt.Data(values=points))
        .mark_point(size=60, filled=True, opacity=0.85)
        .encode(
            x=x,
            y=y,
            color=alt.Color("rows:N", title=None).scale(domain=list(LOOKS), range=colours).legend(columns=4),
            shape=alt.Shape("rows:N", title=None).scale(domain=list(LOOKS), range=shapes),
        )
    )
    layers = alt.layer(dots, _kind_labels(cells, x))
    return layers.properties(
        width=LEFT, height=HEIGHT, title=alt.Title(f"Rows of each strategy, {largest:,} rows uploaded", offset=8)
    )


def _kind_labels(cells: list[Result], x: alt.X) -> alt.Chart:
    labels = [
        {"gain": float(np.mean([best_gain(cell) for cell in cells if cell["kind"] == kind])), "kind": name}
        for kind, (name, _) in KINDS.items()
        if any(cell["kind"] == kind for cell in cells)
    ]
    return (
        alt.Chart(alt.Data(values=labels))
        .mark_text(dy=-9, fontSize=11, color=INK)
        .encode(x=x, y=alt.value(0), text="kind:N")
    )


def _regrets(results: list[Result]) -> alt.LayerChart:
    """A band of dots for each policy, one dot per cell, and its mean with the interval over training seeds."""
    policies = [policy for policy in POLICIES if policy in results[0]["distances"] or policy in results[0]]
    points = [
        {
            "policy": POLICIES[policy],
            "regret": regret(cell, chosen(cell, policy)),
            "model": KINDS[cell["kind"]][0],
            "rows": f"{cell['size']:,}",
            "place": list(KINDS).index(cell["kind"]),
            "filling": 0.0 if is_silent(cell, policy) else 0.75,
        }
        for policy in policies
        for cell in results
    ]
    means = [{"policy": POLICIES[policy], **_named(over_seeds(results, policy))} for policy in policies]
    sizes = [f"{size:,}" for size in sorted({cell["size"] for cell in results})]
    y = alt.Y("policy:N", title=None, sort=[POLICIES[policy] for policy in policies]).axis(
        labelFontSize=11.5, ticks=False, domain=False, grid=False, labelPadding=8
    )
    x = (
        alt.X("regret:Q", title="regret: distance above the best candidate's")
        .scale(type="symlog", constant=0.003, domain=_domain(points, "regret"), nice=False)
        .axis(values=DISTANCES, format="~r")
    )
    names, colours = zip(*KINDS.values(), strict=True)
    dots = (
        alt.Chart(alt.Data(values=points))
        .mark_point(opacity=0.75, filled=True, strokeWidth=1.4)
        .encode(
            x=x,
            y=y,
            yOffset=alt.YOffset("place:Q").scale(domain=[-1.5, 6.5]),
            fillOpacity=alt.FillOpacity("filling:Q", scale=None),
            stroke=alt.Stroke("model:N", legend=None).scale(domain=names, range=colours),
            color=alt.Color("model:N", title="model (hollow: no advice, counted as the prior)")
            .scale(domain=names, range=colours)
            .legend(columns=3),
            size=alt.Size("rows:N", title="rows uploaded")
            .scale(domain=sizes, range=[14, 36, 72][: len(sizes)])
            .legend(columns=1),
        )
    )
    interval = alt.Chart(alt.Data(values=means)).encode(y=y)
    bars = interval.mark_rule(strokeWidth=2, color="black").encode(x="low:Q", x2="high:Q")
    marks = interval.mark_tick(thickness=3, size=40, color="black").encode(x="mean:Q")
    return alt.layer(dots, bars, marks).properties(
        width=RIGHT, height=HEIGHT, title=alt.Title("What advice and habits cost (bars: means)", offset=24)
    )


def _domain(points: list[dict], name: str) -> list[float]:
    """From 0, where estimates below it are drawn too, to a little above the largest."""
    return [0.0, 1.15 * max(point[name] for point in points)]


def _named(interval: Interval) -> dict[str, float]:
    return {"mean": interval.mean, "low": max(0.0, interval.low), "high": interval.high}


def _shown_distance(cell: Result, name: str) -> float:
    return float(np.mean(cell["floors"][FLOORS[name]])) if name in FLOORS else distance(cell, name)
