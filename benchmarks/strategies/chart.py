"""The figure: what the gain says of rows (left), and what the advice costs beside fixed habits (right)."""

from pathlib import Path

import altair as alt

from benchmarks.strategies.regret import FIXED, Interval, Result, chosen, distance, over_seeds, regret

LARGEST_SIZE_ONLY = 10_000
COLOURS = {"prior": "#d1495b", "gaussian": "#3d7ea6", "mixture": "#2a9d5c", "flow": "#8a5fb3"}
FLOORS = {"reconstructions": "#555555", "real digits": "#b0a48a"}
SHAPES = {"prior": "triangle-up", "gaussian": "circle", "mixture": "square", "flow": "diamond"}
KINDS = {
    "beta-0.01": "#08306b",
    "beta-0.1": "#2b7bba",
    "beta-1": "#6aaed6",
    "beta-4": "#b5d4e9",
    "autoencoder": "#e07b39",
    "collapsed": "#888888",
}
POLICIES = {"auto": "the report's advice", **{name: f"always {name}" for name in FIXED}}
INK, GRID = "#333333", "#e8e8e8"
HEIGHT, LEFT, RIGHT = 340, 430, 400


def draw(results: list[Result], folder: Path) -> None:
    """strategies.png and strategies.svg in `folder`."""
    both = alt.hconcat(_gain_and_distance(results), _regrets(results), spacing=28).resolve_scale(
        color="independent", shape="independent"
    )
    styled = (
        both.configure(font="DejaVu Sans", background="white", padding=10)
        .configure_axis(
            gridColor=GRID, domainColor=INK, tickColor=INK, labelColor=INK, titleColor=INK, labelFontSize=11
        )
        .configure_axis(titleFontSize=12, titleFontWeight="normal")
        .configure_title(anchor="start", fontSize=13, color=INK, subtitleColor="#666666", subtitleFontSize=11)
        .configure_legend(labelFontSize=11, titleFontSize=11, labelColor=INK, titleColor=INK, symbolSize=70)
        .configure_view(stroke=None)
    )
    styled.save(folder / "strategies.png", scale_factor=2)
    styled.save(folder / "strategies.svg")


def _gain_and_distance(results: list[Result]) -> alt.LayerChart:
    """A column for each model: the distances of its strategies above the best gain of its fits."""
    large = [result for result in results if result["size"] == max(cell["size"] for cell in results)]
    points = [
        {"gain": best_gain(cell), "distance": distance(cell, name), "rows by": name, "kind": cell["kind"]}
        for cell in large
        for name in COLOURS
        if name in cell["distances"]
    ]
    for cell in large:
        for name, key in (("reconstructions", "reconstructions"), ("real digits", "real")):
            floor = sum(cell["floors"][key]) / len(cell["floors"][key])
            points.append({"gain": best_gain(cell), "distance": floor, "rows by": name, "kind": cell["kind"]})
    names = {**COLOURS, **FLOORS}
    shapes = {**SHAPES, "reconstructions": "stroke", "real digits": "stroke"}
    shown = alt.Chart(alt.Data(values=points)).encode(
        x=alt.X("gain:Q", title="best held-out gain over N(0, I), nats per row")
        .scale(type="symlog", constant=0.1)
        .axis(values=[0, 0.1, 1, 10, 100, 1000], format="~g"),
        y=alt.Y("distance:Q", title="kernel distance of rows to the decoded reference")
        .scale(type="symlog", constant=0.003)
        .axis(values=[0, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30], format="~g"),
        color=alt.Color("rows by:N", title=None).scale(domain=list(names), range=list(names.values())),
    )
    dots = shown.mark_point(size=55, filled=True, opacity=0.85).encode(
        shape=alt.Shape("rows by:N", title=None).scale(domain=list(shapes), range=list(shapes.values()))
    )
    labels = [
        {"gain": sum(best_gain(cell) for cell in own) / len(own), "kind": kind.replace("beta-", "β ")}
        for kind in KINDS
        if (own := [cell for cell in large if cell["kind"] == kind])
    ]
    text = (
        alt.Chart(alt.Data(values=labels))
        .mark_text(dy=-8, fontSize=11, color=INK)
        .encode(x="gain:Q", y=alt.value(0), text="kind:N")
    )
    return (
        alt.layer(dots, text)
        .properties(width=LEFT, height=HEIGHT)
        .properties(title=alt.Title("Does the gain say what becomes of the rows?", offset=24))
    )


def _regrets(results: list[Result]) -> alt.LayerChart:
    """A line of dots for each policy, one dot per cell, and its mean with the interval over training seeds."""
    policies = [policy for policy in POLICIES if policy != "auto" or "advice" in results[0]]
    policies = [policy for policy in policies if policy == "auto" or policy in results[0]["distances"]]
    points = [
        {
            "policy": POLICIES[policy],
            "regret": regret(cell, chosen(cell, policy)),
            "model": cell["kind"].replace("beta-", "β "),
            "offset": list(KINDS).index(cell["kind"]) + (cell["seed"] - 1.5) / 8,
        }
        for policy in policies
        for cell in results
    ]
    means = [{"policy": POLICIES[policy], **_named(over_seeds(results, policy))} for policy in policies]
    y = alt.Y("policy:N", title=None, sort=[POLICIES[policy] for policy in policies])
    x = (
        alt.X("regret:Q", title="regret: distance above that of the best candidate, on test digits")
        .scale(type="symlog", constant=0.003)
        .axis(values=[0, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10], format="~g")
    )
    kinds = {kind.replace("beta-", "β "): colour for kind, colour in KINDS.items()}
    dots = (
        alt.Chart(alt.Data(values=points))
        .mark_circle(size=36, opacity=0.75)
        .encode(
            x=x,
            y=y.axis(labelFontSize=12, ticks=False, domain=False, grid=False, labelPadding=8),
            yOffset=alt.YOffset("offset:Q").scale(domain=[-1, 7]),
            color=alt.Color("model:N", title="model").scale(domain=list(kinds), range=list(kinds.values())),
        )
    )
    interval = alt.Chart(alt.Data(values=means)).encode(y=y)
    bars = interval.mark_rule(strokeWidth=2, color="black").encode(x=alt.X("low:Q"), x2="high:Q")
    marks = interval.mark_tick(thickness=3, size=34, color="black").encode(x="mean:Q")
    return (
        alt.layer(dots, bars, marks)
        .properties(width=RIGHT, height=HEIGHT)
        .properties(title=alt.Title("What does each habit cost?", offset=24))
    )


def _named(interval: Interval) -> dict[str, float]:
    return {"mean": interval.mean, "low": max(0.0, interval.low), "high": interval.high}


def best_gain(result: Result) -> float:
    """Nats per row that the best fit gains over the prior, on rows held out from the fits."""
    return max(fit["diagnostics"]["gain"]["value"] for fit in result["fits"].values())
