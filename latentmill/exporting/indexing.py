"""Python indexing of a tensor, `h[:, :10]`, `h[..., 0]`, `y[:, :, None]`, as steps on single axes."""

from typing import Any

# One operation on one axis: ("Slice", {...}), ("Select", {...}), or ("Reshape", None) where axes of size 1 appear.
Cut = tuple[str, dict[str, Any]]


def cuts(index: Any, dimensions: int) -> tuple[list[Cut], bool]:
    """The cuts that `index` makes, in order, and whether new axes appear. Raises ValueError where it cuts rows."""
    entries = list(index) if isinstance(index, tuple) else [index]
    if any(not (entry is None or entry is Ellipsis or type(entry) in (int, slice)) for entry in entries):
        raise ValueError("it picks by another tensor or a list; only numbers, ranges, `...` and None can be exported")
    taken = sum(1 for entry in entries if entry is not None and entry is not Ellipsis)
    if Ellipsis not in entries:
        entries.append(Ellipsis)
    place = entries.index(Ellipsis)
    entries[place : place + 1] = [slice(None)] * (dimensions - taken)
    if not entries or not _is_whole(entries[0]):
        raise ValueError("it picks rows of the batch; the first index must be `:` or `...`")
    found: list[Cut] = []
    axis = 0
    for entry in entries:
        if entry is None:
            continue
        if isinstance(entry, int):
            found.append(("Select", {"dim": axis, "index": entry}))
            continue
        if not _is_whole(entry):
            found.append(("Slice", {"dim": axis, "start": entry.start, "stop": entry.stop, "step": entry.step or 1}))
        axis += 1
    return found, None in entries


def _is_whole(entry: Any) -> bool:
    return isinstance(entry, slice) and entry in (slice(None), slice(None, None, 1), slice(0, None, None))
