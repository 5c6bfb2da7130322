"""How much a node computes, by the shapes that go in and come out: multiplications and additions, about."""

from collections.abc import Mapping
from math import prod
from typing import Any

Shape = tuple[int, ...]

_SIMPLE = {"Resize": 16, "Upsample": 16, "GridSample": 16, "TopK": 32}  # a bicubic value is made of sixteen


def operations(operator: str, attributes: Mapping[str, Any], given: list[Shape | None], made: list[Shape]) -> int:
    """Operations of a node with inputs of these shapes (None: left out) and outputs of these."""
    values_in, values_out = sum(prod(shape) for shape in given if shape is not None), sum(map(prod, made))
    least = values_in + values_out
    first, second = (*given, None, None)[:2]
    if operator in _SIMPLE:
        return _SIMPLE[operator] * least
    first, second = (*given, None, None)[:2]
    weights = prod((second or ())[1:])
    match operator:
        case "MatMul":
            return least + prod(made[0]) * (first[-1] if first else 1)
        case "Gemm":
            return least + prod(made[0]) * (prod(first or ()) // max(1, _rows_of_gemm(attributes, first)))
        case "Conv":
            return least + prod(made[0]) * weights
        case "ConvTranspose":
            return least + prod(first or ()) * weights
        case "LSTM" | "GRU" | "RNN":
            return least + _recurrent(given)
        case "Einsum":
            return least + _einsum(str(attributes.get("equation", "")), given, values_in * max(1, values_out))
        case "Attention":
            return least + _attention(given, made)
        case _:
            return least + values_out * _window(attributes)


def set_aside(operator: str, attributes: Mapping[str, Any], given: list[Shape | None]) -> int:
    """Values that a kernel holds beside its inputs and outputs, where those tell little of them.

    Attention: the scores of all pairs of places. ConvTranspose: the columns of a picture, before they are added up. An
    Einsum of three and more goes by way of two of them, whose letters may be all.
    """
    first, second = (*given, None, None)[:2]
    match operator:
        case "ConvTranspose":
            return prod((first or ())[2:]) * prod((second or ())[1:])
        case "Attention":
            return _scores(attributes, given)
        case "Einsum" if len(given) > 2:
            return _einsum(str(attributes.get("equation", "")), given, prod(prod(shape or ()) for shape in given))
        case _:
            return 0


def _window(attributes: Mapping[str, Any]) -> int:
    """Values that a pooled one is made of, and that an LRN looks at."""
    return int(prod(attributes.get("kernel_shape", ()))) + int(attributes.get("size", 0))


def _rows_of_gemm(attributes: Mapping[str, Any], shape: Shape | None) -> int:
    return (shape[1] if attributes.get("transA") else shape[0]) if shape and len(shape) == 2 else 1


def _recurrent(given: list[Shape | None]) -> int:
    """X (steps, N, inputs), or (N, steps, inputs); W (directions, gates x hidden, inputs), R (.., .., hidden)."""
    values, weights, recurrence = (shape or () for shape in (*given, None, None, None)[:3])
    return prod(values[:2]) * (prod(weights) + prod(recurrence))


def _attention(given: list[Shape | None], made: list[Shape]) -> int:
    """Q (N, .., L, D) against K of S places: each of L values is made of S products of D, twice."""
    return 2 * (prod(given[0] or ()) + prod(made[0])) * _places(given)


def _scores(attributes: Mapping[str, Any], given: list[Shape | None]) -> int:
    """(N, heads, L, S), of Q (N, heads, L, D) or (N, L, heads x D)."""
    query = given[0] or ()
    heads = query[1] if len(query) == 4 else int(attributes.get("q_num_heads", 1))
    return prod(query[:1]) * heads * prod(query[-2:-1]) * _places(given)


def _places(given: list[Shape | None]) -> int:
    """S: what is attended to, and what is remembered of before."""
    key, past = given[1] or (), (given[4] if len(given) > 4 else None) or ()
    return prod(key[-2:-1]) + prod(past[2:3])


def _einsum(equation: str, given: list[Shape | None], unknown: int) -> int:
    """The product of all lengths that have a letter of their own; an ellipsis counts with the longest input's."""
    terms = equation.replace(" ", "").split("->")[0].split(",")
    if len(terms) != len(given):
        return unknown
    lengths: dict[str, int] = {}
    beside = 1
    for term, shape in zip(terms, given, strict=True):
        letters = term.replace("...", "")
        if shape is None or len(letters) > len(shape):
            return unknown
        before = len(term.split("...")[0]) if "..." in term else len(letters)
        hidden = len(shape) - len(letters)
        own = [*shape[:before], *shape[before + hidden :]]
        beside = max(beside, prod(shape[before : before + hidden]))
        for letter, length in zip(letters, own, strict=True):
            lengths[letter] = max(lengths.get(letter, 1), length)
    return prod(lengths.values()) * beside
