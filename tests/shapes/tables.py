"""VAEs of tables: columns side by side, categories as one value each."""

import torch
from torch import nn
from torch.nn import functional as F

from tests.shapes.shape import Shape

PEOPLE = {
    "kind": "table",
    "columns": [
        {"name": "income", "kind": "number", "mean": 2500.0, "std": 900.0, "minimum": 0.0, "missing": True},
        {"name": "age", "kind": "integer", "mean": 41.0, "std": 15.0, "minimum": 18, "maximum": 99},
        {"name": "job", "kind": "category", "categories": ["baker", "judge", "nurse", "pilot"]},
        {"name": "city", "kind": "category", "categories": ["Bern", "Graz"], "missing": True},
        {"name": "member", "kind": "boolean"},
    ],
}
WIDTH = 2 + 1 + 4 + 3 + 1


class TableEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(WIDTH, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.1))
        self.mean, self.log_variance = nn.Linear(32, 4), nn.Linear(32, 4)

    def forward(self, x):
        h = self.body(x)
        return self.mean(h), self.log_variance(h)


class TableDecoder(nn.Module):
    """Each column ends as its kind wants: numbers plain, categories by softmax, booleans and missing by sigmoid."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 32), nn.LayerNorm(32), nn.SiLU(), nn.Linear(32, WIDTH))

    def forward(self, z):
        income, no_income, age, job, city, member = self.body(z).split([1, 1, 1, 4, 3, 1], dim=1)
        job, city = F.softmax(job, dim=1), F.softmax(city, dim=1)
        return torch.cat([income, torch.sigmoid(no_income), age, job, city, torch.sigmoid(member)], dim=1)


SHAPES = [Shape("table", TableEncoder, TableDecoder, PEOPLE)]
