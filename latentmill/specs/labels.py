"""How the rows of a job are shared out among classes: counts that add up exactly, whatever was chosen."""

from collections.abc import Mapping, Sequence
from fractions import Fraction

from latentmill.errors import InvalidLabels
from latentmill.problem import pointer_step
from latentmill.specs.strategies import LabelChoice, LabelCounts

POINTER = "/strategy/labels"
SHOWN_CLASSES = 20


def label_counts(
    choice: LabelChoice | None,
    classes: Sequence[str],
    rows: int,
    *,
    proportions: Mapping[str, float] | None = None,
    whose: str = "The model",
) -> dict[str, int]:
    """Rows of each class, in the order of `classes`, together `rows`.

    Counts are taken as they are, classes left out as 0. "as_fitted" follows `proportions`. Balanced, also where nothing
    is chosen: equal counts, the first classes taking what is left over. `whose` classes these are is said in errors.
    """
    if isinstance(choice, LabelCounts):
        return _checked(choice.counts, classes, rows, whose)
    if choice == "as_fitted":
        if proportions is None:
            raise InvalidLabels(
                'There are no proportions of labels to go by here; say "balanced", or counts for each class.',
                pointer=POINTER,
            )
        known = set(classes)
        if unknown := [name for name, weight in proportions.items() if weight > 0 and name not in known]:
            raise InvalidLabels(f"{whose} does not know the label {unknown[0]!r}.", pointer=POINTER)
        return dict(zip(classes, shared_out([proportions.get(name, 0.0) for name in classes], rows), strict=True))
    share, left = divmod(rows, len(classes))
    return {name: share + (number < left) for number, name in enumerate(classes)}


def shared_out(weights: Sequence[float], rows: int) -> list[int]:
    """`rows` in proportion to `weights` by the largest remainder (Hare quota): each within 1 of its exact share.

    Whole shares first; the rows left over go to the largest fractions, the earlier of equal ones first. In exact
    arithmetic, so that every machine gives the same.
    """
    exact = [Fraction(weight) for weight in weights]
    total = sum(exact)
    if total <= 0 or min(exact) < 0:
        raise InvalidLabels("The proportions of labels must be at least 0, and not all 0.", pointer=POINTER)
    shares = [weight * rows / total for weight in exact]
    counts = [int(share) for share in shares]
    by_remainder = sorted(range(len(counts)), key=lambda number: counts[number] - shares[number])
    for number in by_remainder[: rows - sum(counts)]:
        counts[number] += 1
    return counts


def named_classes(classes: Sequence[str]) -> str:
    """The classes in words, the first of many."""
    return ", ".join(classes[:SHOWN_CLASSES]) + (", ..." if len(classes) > SHOWN_CLASSES else "")


def _checked(counts: Mapping[str, int], classes: Sequence[str], rows: int, whose: str) -> dict[str, int]:
    known = set(classes)
    if unknown := [name for name in counts if name not in known]:
        raise InvalidLabels(
            f"{whose} does not know the label {unknown[0]!r}; it knows {named_classes(classes)}.",
            pointer=f"{POINTER}/counts/{pointer_step(unknown[0])}",
        )
    if (total := sum(counts.values())) != rows:
        raise InvalidLabels(
            f"The counts add up to {total:,}, but rows is {rows:,}; both must be the same.", pointer=f"{POINTER}/counts"
        )
    return {name: counts.get(name, 0) for name in classes}
