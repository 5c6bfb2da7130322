"""Python indexing of a tensor, `h[:, :10]`, `h[..., 0]`, `h[-1]`, `y[:, :, None]`, as steps on single axes."""

from dataclasses import dataclass
from typing import Any

# One operation on one axis, rows on axis 0: ("Slice", {...}) or ("Select", {...}).
Cut = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Indexed:
    """The cuts that an index makes, in order; where the rows lie afterwards; whether axes of size 1 appear."""

    cuts: list[Cut]
    rows_axis: int
    has_new_axes: bool


def indexed(index: Any, dimensions: int, rows_axis: int) -> Indexed:
    """What `index` does to a value that has its rows on `rows_axis`. Raises ValueError where it picks rows."""
    entries = _entry_per_axis(index, dimensions)
    cuts: list[Cut] = []
    place, after, rows_after = 0, 0, 0  # of the next axis: before, as Python counts; after; of rows, after
    axis = 1  # the next one that is not the rows', as steps count while they cut
    for entry in entries:
        if entry is None:
            after += 1
            continue
        if place == rows_axis:
            if not _is_whole(entry):
                raise ValueError(f"it picks rows of the batch; the index of axis {rows_axis} must be `:`")
            rows_after = after
            after += 1
        elif isinstance(entry, int):
            cuts.append(("Select", {"dim": axis, "index": entry}))
        else:
            if not _is_whole(entry):
                cuts.append(("Slice", {"dim": axis, "start": entry.start, "stop": entry.stop, "step": entry.step or 1}))
            axis += 1
            after += 1
        place += 1
    return Indexed(cuts, rows_after, None in entries)


def _entry_per_axis(index: Any, dimensions: int) -> list[Any]:
    entries = list(index) if isinstance(index, tuple) else [index]
    if any(not (entry is None or entry is Ellipsis or type(entry) in (int, slice)) for entry in entries):
        raise ValueError("it picks by another tensor or a list; only numbers, ranges, `...` and None can be exported")
    taken = sum(1 for entry in entries if entry is not None and entry is not Ellipsis)
    if Ellipsis not in entries:
        entries.append(Ellipsis)
    place = entries.index(Ellipsis)
    entries[place : place + 1] = [slice(None)] * (dimensions - taken)
    return entries


def _is_whole(entry: Any) -> bool:
    return isinstance(entry, slice) and entry in (slice(None), slice(None, None, 1), slice(0, None, None))
