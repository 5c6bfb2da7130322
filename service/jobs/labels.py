"""The labels of a job: whose classes they are, what is meant where nothing is said, and how many rows each gets."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from latentmill.errors import InvalidLabels
from latentmill.problem import pointer_step
from latentmill.specs import JobRequest, LabelCounts, VaeManifest
from latentmill.specs.labels import POINTER, label_counts, named_classes
from latentmill.specs.strategies import LabelChoice
from service.datasets.tables import DatasetRow
from service.fits.tables import FitRow


@dataclass(frozen=True)
class LabelPlan:
    """What is chosen, by default where nothing was said, and the rows of each class in the order of the classes.

    Without `choice` the rows have no labels, or keep those that they are drawn around. Without `counts` beside a
    choice they depend on a fit or a dataset that is not ready yet.
    """

    choice: LabelChoice | None
    counts: list[list[str | int]] | None


def label_plan(request: JobRequest, manifest: VaeManifest, fit: FitRow | None, dataset: DatasetRow | None) -> LabelPlan:
    """The labels of a job of a ready model. InvalidLabels where they go with neither model nor fit, or do not add up.

    A fit by label follows the labels of its rows; otherwise a conditional model makes as many rows of each class, and
    posterior and interpolated rows keep the labels of the rows that they are drawn around.
    """
    by_label = fit is not None and bool(fit.request["by_label"])
    choice = request.strategy.labels
    if manifest.labels is None and not by_label:
        if choice is not None:
            raise InvalidLabels(
                "The model is not conditional: it knows no labels. Leave labels out, or draw from a fit by label.",
                pointer=POINTER,
            )
        return LabelPlan(None, None)
    if isinstance(choice, LabelCounts):
        label_counts(choice, list(choice.counts), request.rows)  # they add up, whatever the classes turn out to be
    if choice is None and dataset is None:
        choice = "as_fitted" if by_label else "balanced"
    if choice is None:
        return LabelPlan(None, None)
    fitted = _fitted(fit, dataset)
    if fitted is None and (choice == "as_fitted" or by_label):
        _refuse_without_labels(fit if fit is not None else dataset)
        return LabelPlan(choice, None)
    if manifest.labels is not None:
        counts = label_counts(choice, manifest.labels.classes, request.rows, proportions=fitted)
    else:
        counts = label_counts(choice, sorted(fitted or {}), request.rows, proportions=fitted, whose="The fit")
    if by_label and fitted is not None:
        _check_fitted(counts, choice, fitted)
    return LabelPlan(choice, [[name, rows] for name, rows in counts.items()])


def _fitted(fit: FitRow | None, dataset: DatasetRow | None) -> Mapping[str, float] | None:
    """How frequent each class is among the rows that were fitted, or in the dataset; None where that is not known."""
    if fit is not None:
        diagnostics: dict[str, Any] = fit.diagnostics or {}
        return diagnostics.get("labels")
    return dict(dataset.label_counts) if dataset is not None and dataset.label_counts is not None else None


def _refuse_without_labels(source: FitRow | DatasetRow | None) -> None:
    """Raises where there are no proportions to follow, and never will be."""
    if source is None:
        raise InvalidLabels(
            'The prior has no rows whose labels it could follow: say "balanced", or counts for each class.',
            pointer=POINTER,
        )
    if source.state == "ready":
        raise InvalidLabels(
            f"{source.id} comes from rows without labels, so there are no proportions to follow: say "
            '"balanced", or counts for each class.',
            pointer=POINTER,
        )


def _check_fitted(counts: Mapping[str, int], choice: LabelChoice, fitted: Mapping[str, float]) -> None:
    """A fit by label has a density for each class of which there are to be rows."""
    lacking = [name for name, rows in counts.items() if rows and name not in fitted]
    if lacking:
        step = f"/counts/{pointer_step(lacking[0])}" if isinstance(choice, LabelCounts) else ""
        raise InvalidLabels(
            f"The fit has no density for the label {lacking[0]!r}; it has {named_classes(sorted(fitted))}. Ask for "
            "counts of these.",
            pointer=f"{POINTER}{step}",
        )
