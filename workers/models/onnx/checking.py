"""All that a bundle's graphs must fulfil before they are run for anybody."""

from workers.models.bundle import Bundle


def check_graphs(bundle: Bundle) -> int:
    """The graphs are what the contract says. Returns the most values per row that one step holds."""
    return max(bundle.manifest.latent.size, _size(bundle.manifest.rows.shape))


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size
