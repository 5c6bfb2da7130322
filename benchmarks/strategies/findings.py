"""docs/strategies.md and strategies.csv: the tables and the sentences that the numbers bear out."""

import csv
import statistics
from pathlib import Path

from benchmarks.strategies.regret import (
    ADVICE,
    CANDIDATES,
    FIXED,
    Result,
    best,
    best_gain,
    chosen,
    distance,
    is_silent,
    noise,
    over_seeds,
    regret,
)

KIND_NAMES = {
    "beta-0.01": "beta 0.01",
    "beta-0.1": "beta 0.1",
    "beta-1": "beta 1",
    "beta-4": "beta 4",
    "autoencoder": "autoencoder",
    "collapsed": "collapsed",
}
FRESH_FROM = 3  # seeds from here on were trained after the last change of what is advised
WRONG = 3.0  # standard errors of a difference of distances, from which a regret is no chance
POLICY_NAMES = {
    "auto": "auto, no reference",
    "auto with reference": "auto, reference",
    **{name: f"always {name}" for name in FIXED},
}


def write(results: list[Result], folder: Path, *, cpu_seconds: float) -> None:
    """The page and its data, from the template beside this file."""
    template = (Path(__file__).parent / "page.md").read_text()
    largest = max(cell["size"] for cell in results)
    error = noise(results)
    parts = {
        "distances": _distances([cell for cell in results if cell["size"] == largest]),
        "regrets": _regrets(results),
        "advice": _advice(results),
        "no_help": _no_help(results, WRONG * error),
        "wrong": _wrong(results, WRONG * error),
        "silent": _silent(results),
        "short": _in_short(results, error),
        "fresh": _fresh([cell for cell in results if cell["seed"] >= FRESH_FROM]),
        "largest": f"{largest:,}",
        "seeds": len({cell["seed"] for cell in results}),
        "sizes": " / ".join(f"{size:,}" for size in sorted({cell["size"] for cell in results})),
        "cells": len(results),
        "error": f"{error:.4f}",
        "threshold": f"{WRONG * error:.4f}",
        "models": len({(cell["kind"], cell["seed"]) for cell in results}),
        "minutes": f"{cpu_seconds / 60:.0f}",
    }
    (folder / "strategies.md").write_text(template.format(**parts))
    _write_csv(results, folder / "strategies.csv")


def _in_short(results: list[Result], error: float) -> str:
    """The advice beside every habit, over all cells; and the replay."""
    means = {policy: over_seeds(results, policy).mean for policy in POLICY_NAMES}
    habits = sorted(FIXED, key=lambda name: means[name])
    apart = means["auto with reference"] - means[habits[0]]
    verdict = "as good as" if abs(apart) < error else ("better than" if apart < 0 else "worse than")
    lines = [
        f"- Mean regret over all {len(results)} cells: {_exact(means['auto with reference'])} for the advice with a "
        f"reference, {_exact(means['auto'])} without one. Habits: "
        + ", ".join(f"always {name} {_exact(means[name])}" for name in habits)
        + ".",
        f"- With a reference the advice is {verdict} the best habit, always {habits[0]}, which nobody knows "
        f"beforehand. The worst, always {habits[-1]}, is the usual default.",
    ]
    replays = [
        cell["auto with reference"]["candidates"]["empirical"] for cell in results if "empirical" in cell["fits"]
    ]
    memorises = sum("memorises" in replay["marks"] for replay in replays)
    lines.append(
        f"- The empirical fit replays the posteriors of the uploaded rows: its rows lie nearest of all, and the report "
        f"marks it as memorising in {memorises} of {len(replays)} cells."
    )
    return "\n".join(lines)


def _fresh(results: list[Result]) -> str:
    """The advice on models that nobody had looked at when the rule was changed."""
    if not results:
        return ""
    means = {policy: statistics.mean(regret(cell, chosen(cell, policy)) for cell in results) for policy in ADVICE}
    return (
        f"  Seeds from {FRESH_FROM} on were trained after that, as a check: over their {len(results)} cells it is "
        f"{_exact(means['auto with reference'])} with a reference and {_exact(means['auto'])} without."
    )


def _kinds(cells: list[Result]) -> list[tuple[str, list[Result]]]:
    found = [(name, [cell for cell in cells if cell["kind"] == kind]) for kind, name in KIND_NAMES.items()]
    return [(name, own) for name, own in found if own]


def _distances(cells: list[Result]) -> str:
    """Means over training seeds, by model and strategy."""
    names = [*CANDIDATES, "empirical"]
    lines = [
        f"| model | mean KL | best gain, nats | {' | '.join(names)} | reconstructions | real digits |",
        "|---" * (len(names) + 5) + "|",
    ]
    for kind, own in _kinds(cells):
        rates = [cell["fits"]["gaussian"]["mean_kl"] for cell in own]
        rate = "-" if rates[0] is None else f"{statistics.mean(rates):.2f}"
        gain = statistics.mean(best_gain(cell) for cell in own)
        shown = [_mean([distance(cell, name) for cell in own if name in cell["distances"]]) for name in names]
        floors = [
            _mean([statistics.mean(cell["floors"][floor]) for cell in own]) for floor in ("reconstructions", "real")
        ]
        lines.append(f"| {kind} | {rate} | {gain:.2f} | {' | '.join([*shown, *floors])} |")
    return "\n".join(lines)


def _mean(values: list[float]) -> str:
    return _exact(statistics.mean(values), 4) if values else "-"


def _exact(value: float, digits: int = 5) -> str:
    """Without the sign of a zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def _regrets(results: list[Result]) -> str:
    """Mean regret by policy: over everything, and by the size of the upload and by model."""
    sizes = sorted({cell["size"] for cell in results})
    kinds = [name for name, _ in _kinds(results)]
    columns = [*(f"{size:,} rows" for size in sizes), *kinds]
    lines = [f"| | all, 95 % over seeds | worst cell | {' | '.join(columns)} |", "|---" * (len(columns) + 3) + "|"]
    for policy, name in POLICY_NAMES.items():
        if not all(chosen(cell, policy) in cell["distances"] for cell in results):
            continue
        groups = [[cell for cell in results if cell["size"] == size] for size in sizes]
        groups += [own for _, own in _kinds(results)]
        means = [statistics.mean(regret(cell, chosen(cell, policy)) for cell in group) for group in groups]
        interval = over_seeds(results, policy)
        worst = max(regret(cell, chosen(cell, policy)) for cell in results)
        all_cells = f"{_exact(interval.mean)} ({_exact(max(0.0, interval.low))} to {_exact(interval.high)})"
        lines.append(f"| {name} | {all_cells} | {worst:.4f} | {' | '.join(_exact(mean, 4) for mean in means)} |")
    return "\n".join(lines)


def _advice(results: list[Result]) -> str:
    """How often each choice was advised, and with what evidence."""
    lines = ["| advice | model | " + " | ".join(f"{size:,} rows" for size in _sizes(results)) + " |"]
    lines.append("|---" * (2 + len(_sizes(results))) + "|")
    for policy in ADVICE:
        for kind, own in _kinds(results):
            shown = [_counted([cell[policy] for cell in own if cell["size"] == size]) for size in _sizes(results)]
            lines.append(f"| {POLICY_NAMES[policy]} | {kind} | {' | '.join(shown)} |")
    return "\n".join(lines)


def _sizes(results: list[Result]) -> list[int]:
    return sorted({cell["size"] for cell in results})


def _counted(advised: list[dict]) -> str:
    said = [f"{each['choice'] or 'none'} ({each['evidence']})" for each in advised]
    return ", ".join(f"{said.count(one)} x {one}" if len(said) > 1 else one for one in dict.fromkeys(said))


def _no_help(results: list[Result], threshold: float) -> str:
    """Where no fit's rows lie nearer than the prior's by more than chance."""
    lines = []
    for kind, own in _kinds(results):
        for size in _sizes(results):
            cells = [cell for cell in own if cell["size"] == size]
            helped = [distance(cell, "prior") - distance(cell, best(cell)) for cell in cells]
            if helped and statistics.mean(helped) < threshold:
                lines.append(
                    f"- {kind}, {size:,} rows: the best fit takes {_mean(helped)} off the prior's "
                    f"distance of {_mean([distance(cell, 'prior') for cell in cells])} "
                    f"(best gain {statistics.mean(best_gain(cell) for cell in cells):.2f} nats)."
                )
    return "\n".join(lines) or "- Nowhere: in every group of cells some fit's rows lie nearer by more than chance."


def _wrong(results: list[Result], threshold: float) -> str:
    """Cells where the advice cost more than chance explains."""
    lines = []
    for policy in ADVICE:
        cells = [cell for cell in results if not is_silent(cell, policy)]
        wrong = [cell for cell in cells if regret(cell, chosen(cell, policy)) > threshold]
        lines.append(f"- {POLICY_NAMES[policy]}: {len(wrong)} of {len(cells)} cells with advice.")
        lines += [
            f"  - {KIND_NAMES[cell['kind']]}, seed {cell['seed']}, {cell['size']:,} rows: advised "
            f"{chosen(cell, policy)} ({cell[policy]['evidence']}) at {distance(cell, chosen(cell, policy)):.4f}; "
            f"{best(cell)} lies at {distance(cell, best(cell)):.4f}, prior at {distance(cell, 'prior'):.4f}."
            for cell in wrong
        ]
    return "\n".join(lines)


def _silent(results: list[Result]) -> str:
    """What it costs that the report gives no advice."""
    sentences = []
    for policy in ADVICE:
        silent = [cell for cell in results if is_silent(cell, policy)]
        rest = [cell for cell in results if not is_silent(cell, policy)]
        sizes = ", ".join(f"{size:,} rows" for size in _sizes(silent))
        if silent:
            sentences.append(
                f"{POLICY_NAMES[policy]} gave no advice in {len(silent)} of {len(results)} cells "
                f"({sizes}); counted as the prior they "
                f"have a mean regret of {statistics.mean(regret(cell, 'prior') for cell in silent):.4f}, the others "
                f"{statistics.mean(regret(cell, chosen(cell, policy)) for cell in rest):.4f}."
            )
    return " ".join(sentences) or "Both kinds of report gave advice in every cell."


def _write_csv(results: list[Result], path: Path) -> None:
    """One line for each cell."""
    names = [*CANDIDATES, "empirical"]
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["model", "seed", "rows", "best_gain", *ADVICE, *names, "reconstructions", "real"])
        for cell in results:
            distances = [f"{distance(cell, name):.5f}" if name in cell["distances"] else "" for name in names]
            floors = [f"{statistics.mean(cell['floors'][name]):.5f}" for name in ("reconstructions", "real")]
            advised = [cell[policy]["choice"] or "" for policy in ADVICE]
            gain = f"{best_gain(cell):.4f}"
            writer.writerow([KIND_NAMES[cell["kind"]], cell["seed"], cell["size"], gain, *advised, *distances, *floors])
