"""Which of the values that a module returns are the mean, the scale, the row: by place, by name, or as it was said."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from latentmill.exporting.refusal import refusal
from latentmill.exporting.unfit import refuse_spherical

Key = int | str | None  # of one value among those that are returned; None where one tensor is all that is returned

_MEANS = {"mean", "mu", "loc", "embedding", "means"}
_SCALES = {
    "logvar": "log_variance",
    "logvariance": "log_variance",
    "logcovariance": "log_variance",
    "logsigma2": "log_variance",
    "logstd": "log_std",
    "logsigma": "log_std",
    "logscale": "log_std",
    "std": "std",
    "stddev": "std",
    "sigma": "std",
    "var": "variance",
    "variance": "variance",
    "sigma2": "variance",
    "scale": None,  # the contract's own word for whatever was declared
}
_ROWS = {
    "x", "xhat", "recon", "reconx", "xrecon", "reconstruction", "rec", "sample", "mean", "mu", "loc", "output", "out",
    "logits", "xlogits", "decoded", "prediction",
}  # fmt: skip
_STDS = {"std", "stddev", "sigma", "scale"}
_PREFIX = re.compile(r"^(latent|posterior|encoder|decoder|enc|dec|z|q|p|x)(?=.)")


def wanted_outputs(part: str, head: str, scale: str, learned_std: bool) -> tuple[str, ...]:
    """Names of the values that a part must give."""
    if part == "decoder":
        return ("x", "std") if learned_std else ("x",)
    return ("mean", "scale") if head == "pair" and scale != "none" else ("mean",)


def keys_of(returned: Any, wanted: tuple[str, ...], said: Mapping[str, Key], *, part: str, scale: str) -> list[Key]:
    """Where in what the module returned each of `wanted` stands. Raises InvalidBundle where that cannot be told."""
    if isinstance(returned, Distribution):
        return _of_distribution(returned, wanted, part, scale)
    if isinstance(returned, Tensor):
        if len(wanted) == 1:
            return [None]
        raise _unclear(returned, wanted, part, f"it returns one tensor of shape {list(returned.shape)}")
    if any(name in said for name in wanted):
        return [_said(returned, name, said, part) for name in wanted]
    tensors = [key for key, value in _entries(returned) if isinstance(value, Tensor)]
    named = [by_name(tensors, name, scale, part) for name in wanted]
    if all(key is not None for key in named):
        return named
    if isinstance(returned, tuple | list) and len(returned) == len(wanted) == len(tensors):
        return list(range(len(wanted)))
    if len(tensors) == len(wanted) == 1:
        return list(tensors)
    raise _unclear(returned, wanted, part, f"it returns {shown(returned)}")


def chosen(returned: Any, keys: Iterable[Key]) -> tuple[Any, ...]:
    """The values that `keys` name, in their order."""
    return tuple(returned if key is None else _entry(returned, key) for key in keys)


def shown(returned: Any) -> str:
    """What a module returned, in a line."""
    entries = list(_entries(returned))
    if not entries:
        return type(returned).__name__
    count = sum(isinstance(value, Tensor) for _, value in entries)
    parts = ", ".join(
        f"{key if isinstance(key, int) else repr(key)}: "
        + (str(list(value.shape)) if isinstance(value, Tensor) else type(value).__name__)
        for key, value in entries[:8]
    )
    return f"{count} tensors in a {type(returned).__name__} ({parts}{', ...' if len(entries) > 8 else ''})"


def _of_distribution(returned: Distribution, wanted: tuple[str, ...], part: str, scale: str) -> list[Key]:
    """A Normal is its mean and its std."""
    inner = returned.base_dist if isinstance(returned, Independent) else returned
    refuse_spherical(inner, part)
    if not isinstance(inner, Normal) or part == "decoder":
        raise _unclear(returned, wanted, part, f"it returns a distribution, {type(inner).__name__}")
    if wanted != ("mean", "scale") or scale != "std":
        raise refusal(part, "it returns a Normal, whose scale is a std", way_out='Say so: scale="std", head="pair".')
    return ["mean", "stddev"]


def _entries(returned: Any) -> Iterator[tuple[int | str, Any]]:
    """Every value with its key: of a mapping, of a named tuple or a dataclass by its field, of a tuple by its place."""
    if isinstance(returned, Mapping):
        yield from ((str(key), value) for key, value in returned.items())
    elif isinstance(returned, tuple | list):
        fields: tuple[str, ...] = getattr(returned, "_fields", ())
        yield from zip(fields or range(len(returned)), returned, strict=True)
    elif hasattr(returned, "__dict__"):
        yield from ((key, value) for key, value in vars(returned).items() if not key.startswith("_"))


def _entry(returned: Any, key: int | str) -> Any:
    return returned[key] if isinstance(key, int) or isinstance(returned, Mapping) else getattr(returned, key)


def _said(returned: Any, name: str, said: Mapping[str, Key], part: str) -> Key:
    """The key that the user gave for `name`."""
    key = said.get(name)
    known = [key for key, _ in _entries(returned)]
    places = range(len(returned)) if isinstance(returned, tuple | list) else ()
    if key is None or (key not in known and key not in places):
        what = f"outputs has no {name!r}" if key is None else f"outputs says {key!r} for {name!r}"
        raise refusal(part, f"{what}, and it returns {shown(returned)}", way_out="Name one of these keys or places.")
    return key


def by_name(keys: Iterable[int | str], name: str, scale: str, part: str) -> Key:
    """The one key that means `name`; None where none does. Refused where a name contradicts the declared scale."""
    meant = {key: _plain(key) for key in keys if isinstance(key, str)}
    if name == "scale":
        found = [key for key, plain in meant.items() if plain in _SCALES]
        if len(found) == 1 and (kind := _SCALES[meant[found[0]]]) not in (scale, None):
            raise refusal(
                part,
                f"it returns {found[0]!r}, but scale says {scale!r}",
                way_out=f'Say scale="{kind}", or outputs={{"mean": ..., "scale": "{found[0]}"}} if the name is wrong.',
            )
    else:
        names = {"mean": _MEANS, "x": _ROWS, "std": _STDS}[name]
        found = [key for key, plain in meant.items() if plain in names]
        if name == "x" and len(found) > 1:
            found = [key for key in found if meant[key] in ("x", "reconstruction")] or found
    return found[0] if len(found) == 1 else None


def _plain(key: str) -> str:
    """`z_log_var`, `model/z_log_var/BiasAdd:0` as `logvar`: what stands around the words says nothing."""
    words = [re.sub(r"[^a-z0-9]", "", word) for word in key.lower().partition(":")[0].split("/")]
    plain = [_without_prefix(word) for word in words]
    return next((word for word in reversed(plain) if word in _MEANS | set(_SCALES) | _ROWS), plain[-1])


def _without_prefix(text: str) -> str:
    while text not in _MEANS | set(_SCALES) | _ROWS and (shorter := _PREFIX.sub("", text)) != text:
        text = shorter
    return text


def _unclear(returned: Any, wanted: tuple[str, ...], part: str, what: str) -> Exception:
    example = ", ".join(f'"{name}": {place}' for place, name in enumerate(wanted))
    if part == "decoder":
        way_out = (
            'Return x alone, or (x, std) with likelihood {"kind": "gaussian", "std": "learned"}; or say which one it '
            f"is: outputs={{{example}}}, by place or by name."
        )
    else:
        way_out = (
            'head="pair" means (mean, scale); head="chunked" or "interleaved" one tensor with both; scale="none" the '
            f"mean alone. Or say which ones they are: outputs={{{example}}}, by place or by name."
        )
    return refusal(
        part, f"{what}, where {' and '.join(wanted)} {'are' if len(wanted) > 1 else 'is'} wanted", way_out=way_out
    )
