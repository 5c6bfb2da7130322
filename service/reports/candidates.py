"""The candidates of a report: which they are by default, what they are called, and whether they can be compared."""

from pydantic import BaseModel, ConfigDict

from latentmill.errors import InvalidLabels, ModelMismatch
from latentmill.specs import (
    Aggregate,
    Candidate,
    Empirical,
    Family,
    FittedCandidate,
    Flow,
    Gaussian,
    Mixture,
    Posterior,
    Prior,
    ReportRequest,
    Strategy,
    VaeManifest,
)
from latentmill.specs.candidates import fitted_of
from service.datasets.tables import DatasetRow
from service.fits.tables import FitRow

FULL_GAUSSIAN_SIZE = 1024  # latents up to which a covariance is full by default
FULL_MIXTURE_SIZE = 256  # one covariance for each component
FLOW_SIZES = range(2, 257)  # a coupling needs two dimensions; wide ones take hours
FEWEST_ROWS_BY_LABEL = 50
SHOWN_LABELS = 10
TUNE_SHARE = 0.1  # of the rows that are not held out


class PlannedCandidate(BaseModel):
    """A candidate as the report's row keeps it: what it is, and the fit that is made for it."""

    model_config = ConfigDict(frozen=True)

    name: str
    strategy: Strategy | None  # how a job would draw from it; none where its fit was refused
    family: Family | None = None
    by_label: bool = False
    fit: str | None = None
    error: str | None = None


def candidates_of(
    request: ReportRequest, manifest: VaeManifest, dataset: DatasetRow
) -> list[tuple[Candidate, str | None]]:
    """The candidates, and where the request names each: None where it does not. The baseline is always among them."""
    if request.candidates == "default":
        return [(candidate, None) for candidate in default_candidates(manifest, dataset, request.holdout)]
    named: list[tuple[Candidate, str | None]] = [
        (candidate, f"/candidates/{place}") for place, candidate in enumerate(request.candidates)
    ]
    baseline = baseline_of(manifest)
    if any((fitted_of(candidate) or candidate) == (fitted_of(baseline) or baseline) for candidate, _ in named):
        return named
    return [(baseline, None), *named]


def default_candidates(manifest: VaeManifest, dataset: DatasetRow, holdout: float) -> list[Candidate]:
    """What a report compares unless told otherwise: every family that the latents and the rows allow."""
    size = manifest.latent.size
    found: list[Candidate] = [baseline_of(manifest)]
    gaussian = Gaussian(covariance="full" if size <= FULL_GAUSSIAN_SIZE else "diagonal")
    if gaussian not in found:
        found.append(gaussian)
    found.append(Mixture(covariance="full" if size <= FULL_MIXTURE_SIZE else "diagonal"))
    if size in FLOW_SIZES:
        found.append(Flow())
    if not manifest.deterministic:
        found.append(Empirical())
    if manifest.labels is not None:
        many = _rows_of_rarest_label(dataset, holdout) >= max(FEWEST_ROWS_BY_LABEL, 2 * size)
        full_gaussian, full_mixture = many and size <= FULL_GAUSSIAN_SIZE, many and size <= FULL_MIXTURE_SIZE
        for family in (
            Gaussian(covariance="full" if full_gaussian else "diagonal"),
            Mixture(covariance="full" if full_mixture else "diagonal"),
        ):
            found.append(FittedCandidate(family=family, by_label=True))
    return found


def baseline_of(manifest: VaeManifest) -> Candidate:
    """What gains are measured against: the declared prior, or the diagonal gaussian where there is none."""
    return Gaussian(covariance="diagonal") if manifest.prior.kind == "none" else Prior()


def name_of(candidate: Candidate, fit: FitRow | None, taken: list[str]) -> str:
    """What the candidate is called in tables; different from the names that are taken."""
    fitted = fitted_of(candidate)
    if fitted is not None:
        name = _family_name(fitted.family) + (" by label" if fitted.by_label else "")
    elif isinstance(candidate, Aggregate):
        name = f"fit {(fit.name or fit.id) if fit is not None else candidate.fit}"
    else:
        name = "prior" if isinstance(candidate, Prior) else "posterior"
    if isinstance(candidate, Prior | Aggregate | Posterior) and candidate.temperature != 1:
        name += f" at temperature {candidate.temperature:g}"
    places = [name, *(f"{name} ({number})" for number in range(2, len(taken) + 2))]
    return next(each for each in places if each not in taken)


def check_prior(manifest: VaeManifest, model_id: str, pointer: str) -> None:
    """Raises ModelMismatch when the model declares no prior to draw from."""
    if manifest.prior.kind == "none":
        raise ModelMismatch(
            f"{model_id} declares no prior, so it is no candidate; the diagonal gaussian takes its place",
            pointer=pointer,
        )


def check_labels(dataset: DatasetRow, pointer: str) -> None:
    """Raises InvalidLabels when the dataset has no labels to fit by."""
    if dataset.label_counts is None:
        raise InvalidLabels(
            f"{dataset.id} has no labels to fit by: leave by_label out, or upload the dataset with labels",
            pointer=pointer,
        )


def check_reference(manifest: VaeManifest, dataset: DatasetRow, reference: DatasetRow | None) -> None:
    """Raises InvalidLabels when a conditional model would be judged by a label that no row of the dataset has."""
    if manifest.labels is None or reference is None or reference.label_counts is None:
        return
    known = {name for name, count in dataset.label_counts or [] if count}
    unknown = [name for name, count in reference.label_counts if count and name not in known]
    if unknown:
        label = "the label" if len(unknown) == 1 else "the labels"
        more = ", ..." if len(unknown) > SHOWN_LABELS else ""
        raise InvalidLabels(
            f"{reference.id} has {label} {', '.join(map(repr, unknown[:SHOWN_LABELS]))}{more}, which no row of "
            f"{dataset.id} has, so nothing can be fitted that could be judged by them: leave these rows out of the "
            "reference, or upload a dataset that has such rows too",
            pointer="/reference",
        )


def check_fit(fit: FitRow, request: ReportRequest, pointer: str) -> None:
    """Raises ModelMismatch when the rows that the report holds out were not held out from this fit."""
    asked = fit.request
    for field, own, wanted in (
        ("model", fit.model_id, request.model),
        ("dataset", fit.dataset_id, request.dataset),
        ("seed", asked["seed"], request.seed),
        ("holdout", asked["holdout"], request.holdout),
    ):
        if own != wanted:
            raise ModelMismatch(
                f"{fit.id} was fitted with {field} {own}, the report has {field} {wanted}, so its held-out rows are "
                f"not those of the fit: ask for the report with the fit's {field}, or name the family instead",
                pointer=pointer,
            )


def _rows_of_rarest_label(dataset: DatasetRow, holdout: float) -> float:
    counts = [count for _, count in dataset.label_counts or [] if count]
    return min(counts, default=0) * (1 - holdout) * (1 - TUNE_SHARE)


def _family_name(family: Family) -> str:
    name: str = family.kind
    if isinstance(family, Gaussian | Mixture) and family.covariance == "diagonal":
        name = f"diagonal {name}"
    if isinstance(family, Mixture) and family.components != "auto":
        name += f" of {family.components}"
    if isinstance(family, Empirical) and family.components != "all":
        name += f" of {family.components}"
    if isinstance(family, Empirical) and family.bandwidth != 1:
        name += f", bandwidth {family.bandwidth:g}"
    return name
