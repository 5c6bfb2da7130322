"""Which of two densities is simpler: what decides between candidates that the held-out rows cannot tell apart."""

from latentmill.specs import Empirical, Family, Flow, Gaussian, Mixture

UNCHOSEN_COMPONENTS = 1_025  # a number still open counts as more than any that can be asked for

Simplicity = tuple[int, int, int, int]


def simplicity(family: Family | None, by_label: bool) -> Simplicity:
    """A rank to sort by, simplest first; `family` None is the prior.

    prior < gaussian diagonal < gaussian full < mixture, fewer components first < flow < empirical; diagonal before
    full; without a density per label before with. A mixture's components must be the number that its fit has.
    """
    match family:
        case None:
            kind = (0, 0, 0)
        case Gaussian():
            kind = (1, 0, _covariance(family.covariance))
        case Mixture():
            components = UNCHOSEN_COMPONENTS if family.components == "auto" else family.components
            kind = (2, components, _covariance(family.covariance))
        case Flow():
            kind = (3, 0, 0)
        case Empirical():
            kind = (4, 0, 0)
    return (*kind, int(by_label))


def _covariance(covariance: str) -> int:
    return int(covariance == "full")
