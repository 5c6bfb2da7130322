"""Which of the media types that an address offers a client wants (RFC 9110, section 12.5.1)."""

from collections.abc import Sequence

from latentmill.errors import NotAcceptable


def preferred(accept: str | None, offered: Sequence[str]) -> str:
    """The one of `offered` that the `Accept` header likes best; the first of them where it likes several alike.

    Raises NotAcceptable where it likes none. A media type that is named goes before one that a wildcard lets through.
    """
    if accept is None or not accept.strip():
        return offered[0]
    ranges = [_media_range(part) for part in accept.split(",")]
    liked = [max((_match(kind, name), quality) for name, quality in ranges) for kind in offered]
    ranked = [(quality, match) if match else (0.0, 0) for match, quality in liked]
    best = max(ranked)
    if best[0] <= 0:
        raise NotAcceptable(f"This address answers {' or '.join(offered)}; Accept says {accept[:100]!r}.")
    return offered[ranked.index(best)]


def _media_range(part: str) -> tuple[str, float]:
    """`image/*;q=0.5` as its name and its weight; a weight that is no number counts as 1."""
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                return name, min(max(float(value), 0.0), 1.0)
            except ValueError:
                break
    return name, 1.0


def _match(kind: str, name: str) -> int:
    """How exactly a media range names a media type: 3 itself, 2 its family, 1 anything, 0 not at all."""
    if name == kind:
        return 3
    if name == f"{kind.partition('/')[0]}/*":
        return 2
    return 1 if name == "*/*" else 0
