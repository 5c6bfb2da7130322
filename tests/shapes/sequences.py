"""VAEs of time series: recurrent and convolutional, in the units of the data."""

import torch
from torch import nn
from torch.nn import functional as F

from tests.shapes.shape import Shape

SERIES = {
    "kind": "series",
    "steps": 12,
    "features": ["temperature", "pressure"],
    "mean": [20.0, 1013.0],
    "std": [5.0, 8.0],
}
STEPS, FEATURES, HIDDEN = 12, 2, 8


class LstmEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(FEATURES, HIDDEN, batch_first=True)
        self.mean, self.log_variance = nn.Linear(HIDDEN, 4), nn.Linear(HIDDEN, 4)

    def forward(self, x):
        _, (hidden, _) = self.lstm(x)
        return self.mean(hidden[-1]), self.log_variance(hidden[-1])


class LstmDecoder(nn.Module):
    """Gives the latents to every step."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, HIDDEN, num_layers=2, batch_first=True, dropout=0.1)
        self.out = nn.Linear(HIDDEN, FEATURES)

    def forward(self, z):
        steps = z.unsqueeze(1).repeat(1, STEPS, 1)
        values, _ = self.lstm(steps)
        return self.out(values)


class GruEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(FEATURES, HIDDEN, batch_first=True, bidirectional=True)
        self.heads = nn.Linear(2 * HIDDEN, 8)

    def forward(self, x):
        values, _ = self.gru(x)
        return self.heads(values[:, -1]).chunk(2, dim=-1)


class GruDecoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(4, HIDDEN, batch_first=True)
        self.out = nn.Linear(HIDDEN, FEATURES)

    def forward(self, z):
        return self.out(self.gru(z[:, None].expand(-1, STEPS, -1))[0])


class StateDecoder(nn.Module):
    """The latents become the state that a GRU begins with; its input is learned, and the same for every row."""

    def __init__(self):
        super().__init__()
        self.state = nn.Linear(4, HIDDEN)
        self.start = nn.Parameter(torch.randn(1, STEPS, 3))
        self.gru = nn.GRU(3, HIDDEN, batch_first=True)
        self.out = nn.Linear(HIDDEN, FEATURES)

    def forward(self, z):
        state = torch.tanh(self.state(z)).unsqueeze(0)
        values, _ = self.gru(self.start.expand(z.size(0), -1, -1), state)
        return self.out(values)


class TimeMajorEncoder(nn.Module):
    """Recurrent layers that have time first, as they do unless they are told otherwise."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(FEATURES, HIDDEN, bidirectional=True)
        self.mean, self.log_variance = nn.Linear(2 * HIDDEN, 4), nn.Linear(2 * HIDDEN, 4)

    def forward(self, x):
        _, (hidden, _) = self.lstm(x.permute(1, 0, 2))
        both = torch.cat([hidden[-2], hidden[-1]], dim=1)
        return self.mean(both), self.log_variance(both)


class StepwiseDecoder(nn.Module):
    """One cell, step by step: each step is given what the step before it gave."""

    def __init__(self):
        super().__init__()
        self.state = nn.Linear(4, HIDDEN)
        self.cell = nn.LSTMCell(FEATURES, HIDDEN)
        self.out = nn.Linear(HIDDEN, FEATURES)

    def forward(self, z):
        hidden = torch.tanh(self.state(z))
        memory, values = torch.zeros_like(hidden), []
        step = self.out(hidden)
        for _ in range(STEPS):
            hidden, memory = self.cell(step, (hidden, memory))
            step = self.out(hidden)
            values.append(step)
        return torch.stack(values, dim=1)


class DilatedEncoder(nn.Module):
    """Convolutions along time, each looking twice as far back; features are their channels."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv1d(FEATURES, HIDDEN, 2)
        self.second = nn.Conv1d(HIDDEN, HIDDEN, 2, dilation=2)
        self.third = nn.Conv1d(HIDDEN, HIDDEN, 2, dilation=4)
        self.heads = nn.Linear(HIDDEN, 8)

    def forward(self, x):
        h = x.transpose(1, 2)
        h = torch.relu(self.first(F.pad(h, (1, 0))))
        h = h + torch.relu(self.second(F.pad(h, (2, 0))))
        h = h + torch.relu(self.third(F.pad(h, (4, 0))))
        mean, log_variance = self.heads(h[..., -1]).chunk(2, dim=1)
        return mean, log_variance


class DilatedDecoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.project = nn.Linear(4, HIDDEN * 3)
        self.up = nn.ConvTranspose1d(HIDDEN, HIDDEN, 4, stride=4)
        self.smooth = nn.Conv1d(HIDDEN, FEATURES, 3, padding=2, dilation=2)

    def forward(self, z):
        h = F.gelu(self.up(self.project(z).view(-1, HIDDEN, 3)))
        return self.smooth(h).permute(0, 2, 1)


SHAPES = [
    Shape("LSTM", LstmEncoder, LstmDecoder, SERIES),
    Shape("GRU", GruEncoder, GruDecoder, SERIES),
    Shape("GRU with an initial state", GruEncoder, StateDecoder, SERIES),
    Shape("LSTM, time first, and a cell in a loop", TimeMajorEncoder, StepwiseDecoder, SERIES),
    Shape("dilated convolutions in time", DilatedEncoder, DilatedDecoder, SERIES),
]
