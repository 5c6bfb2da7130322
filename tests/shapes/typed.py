"""Tables as their owners have them, and the values that a model takes for them."""

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

Columns = dict[str, list[Any]]


def typed_columns(rows: dict[str, Any], number: int, seed: int) -> Columns:
    """Values of every kind, within bounds, with a None in each fourth row of a column that may miss some."""
    random = np.random.default_rng(seed)
    made: Columns = {}
    for column in rows["columns"]:
        if column["kind"] == "category":
            values: list[Any] = random.choice(column["categories"], number).tolist()
        elif column["kind"] == "boolean":
            values = (random.random(number) > 0.5).tolist()
        else:
            drawn = random.normal(column["mean"], column["std"], number)
            drawn = np.clip(drawn, column.get("minimum", -np.inf), column.get("maximum", np.inf))
            values = (np.rint(drawn).astype(int) if column["kind"] == "integer" else drawn).tolist()
        if column.get("missing"):
            values[::4] = [None] * len(values[::4])
        made[column["name"]] = values
    return made


def as_frame(columns: Columns) -> pd.DataFrame:
    """What is uploaded."""
    return pd.DataFrame(columns)


def as_values(rows: dict[str, Any], columns: Columns) -> Tensor:
    """What the model is trained on: numbers by mean and std, categories one-hot, and a mark for what is missing."""
    made = [
        [value for column in rows["columns"] for value in _of_one(column, columns[column["name"]][row])]
        for row in range(len(columns[rows["columns"][0]["name"]]))
    ]
    return torch.tensor(made, dtype=torch.float64).float()


def _of_one(column: dict[str, Any], value: Any) -> list[float]:
    names = column.get("categories")
    mark = [float(value is None)] if column.get("missing") else []
    if names is not None:
        return [float(value == name) for name in names] + mark
    if value is None:
        return [0.0, *mark]
    return [float(value) if column["kind"] == "boolean" else (value - column["mean"]) / column["std"], *mark]
