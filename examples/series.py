"""Time series: an LSTM VAE over 24 hours of electricity load and temperature, and made-up days beside real ones.

    .venv/bin/python examples/series.py        picture.png, report.html and the datasets: in example-series/

A row is a window of N_PAST hours. Six years are made here: weather with seasons, and a load that follows the hour, the
weekday, heating and cooling. Five are for training; the sixth, a contiguous tail, is seen by neither VAE nor fits. A
running `latentmill up` is used; where there is none, one is started for the time.
"""

import argparse
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

import altair as alt
import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from latentmill import Client, export_vae, series_windows
from latentmill.errors import Unreachable
from latentmill.stack import Stack

N_PAST = 24
FEATURES = ["load", "temperature"]  # GW, degrees Celsius
LATENT_SIZE, HIDDEN = 12, 64
KL_WEIGHT = 0.1
ROWS = 20_000

parser = argparse.ArgumentParser(description="train, export, measure and generate windows of time series")
parser.add_argument("--out", type=Path, default=Path("example-series"))
parser.add_argument("--quick", action="store_true", help="every step in seconds, with rows that convince nobody")
options = parser.parse_args()
out: Path = options.out
out.mkdir(parents=True, exist_ok=True)

# ---- Your own code: data, modules, training -------------------------------------------------------------------------


def electricity(years: int) -> pd.DataFrame:
    """A line per hour."""
    random = np.random.default_rng(0)
    hour, day = np.arange(years * 365 * 24) % 24, np.arange(years * 365 * 24) // 24
    weather, demand = np.zeros(len(hour)), np.zeros(len(hour))
    for now in range(1, len(hour)):
        weather[now] = 0.99 * weather[now - 1] + random.normal(0, 0.3)
        demand[now] = 0.95 * demand[now - 1] + random.normal(0, 0.15)
    season = np.cos(2 * np.pi * (day % 365 - 200) / 365)  # warmest in late July
    temperature = 11 + 9 * season + (3 + 1.5 * season) * np.cos(2 * np.pi * (hour - 15) / 24) + weather
    morning, evening = np.exp(-(((hour - 9) / 3) ** 2)), np.exp(-(((hour - 19) / 2.5) ** 2))
    working = np.where(day % 7 < 5, 1.0, 0.45)
    heating, cooling = np.maximum(15 - temperature, 0), np.maximum(temperature - 21, 0)
    load = 42 + 9 * working * morning + (5 + 3 * working) * evening + 0.7 * heating + 1.1 * cooling + demand
    return pd.DataFrame({"load": load, "temperature": temperature})


hours = electricity(years=6)
tail = 365 * 24
seen = series_windows(hours[:-tail], steps=N_PAST, stride=24)  # a window a day, none of which overlap
unseen = series_windows(hours[-tail:], steps=N_PAST, stride=24)


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(len(FEATURES), HIDDEN, batch_first=True)
        self.heads = nn.Linear(HIDDEN, 2 * LATENT_SIZE)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        _, (hidden, _) = self.lstm(x)
        mean, log_variance = self.heads(hidden[-1]).chunk(2, dim=1)
        return mean, log_variance


class Decoder(nn.Module):
    """The mean of each value, and the spread of the values around it, which is learned too."""

    def __init__(self) -> None:
        super().__init__()
        self.start = nn.Linear(LATENT_SIZE, HIDDEN)
        self.lstm = nn.LSTM(HIDDEN, HIDDEN, batch_first=True)
        self.values = nn.Linear(HIDDEN, len(FEATURES))
        self.log_std = nn.Parameter(torch.zeros(len(FEATURES)))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.tanh(self.start(z)).unsqueeze(1).repeat(1, N_PAST, 1)
        h, _ = self.lstm(h)
        x = self.values(h)
        return x, self.log_std.exp().expand(x.shape)


def train(encoder: Encoder, decoder: Decoder, windows: Tensor, epochs: int) -> None:
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimiser = torch.optim.Adam(parameters)
    steps = len(windows) // 64
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=1.5e-2, total_steps=epochs * steps)
    for epoch in range(1, epochs + 1):
        for batch in torch.randperm(len(windows)).tensor_split(steps):
            x = windows[batch]
            mean, log_variance = encoder(x)
            decoded, std = decoder(mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean))
            reconstruction = -torch.distributions.Normal(decoded, std).log_prob(x).sum(dim=(1, 2)).mean()
            kl = 0.5 * (mean**2 + log_variance.exp() - log_variance - 1).sum(dim=1).mean()
            optimiser.zero_grad()
            (reconstruction + KL_WEIGHT * kl).backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            schedule.step()
        if epoch % 15 == 0:
            print(f"  epoch {epoch}: reconstruction {reconstruction:.1f}, KL {kl:.1f} nats")


print(f"Training on {seen}; the {len(unseen.windows)} days after them are kept aside.")
torch.manual_seed(0)
torch.set_num_threads(1)  # so small a network gains little from more
encoder, decoder = Encoder(), Decoder()
train(encoder, decoder, torch.from_numpy(seen.encoded), epochs=2 if options.quick else 60)

# ---- From the modules to a bundle -----------------------------------------------------------------------------------

bundle = export_vae(
    out / "electricity.vae.zip",
    name="electricity",
    encoder=encoder,
    decoder=decoder,
    rows=seen.rows,
    latent_shape=[LATENT_SIZE],
    scale="log_variance",
    head="pair",
    likelihood={"kind": "gaussian", "std": "learned"},
    examples=seen.windows,
)
print(f"{bundle.path} differs from the modules by at most {bundle.largest_difference:.1g}.", *bundle.notes, sep="\n  ")

# ---- Measure, and generate ------------------------------------------------------------------------------------------


def service(ending: ExitStack) -> Client:
    """The running `latentmill up`; where there is none, one in a temporary directory that ends with the script."""
    try:
        return Client()
    except Unreachable:
        print("Starting broker, API and workers ...")
        folder = ending.enter_context(tempfile.TemporaryDirectory())
        stack = ending.enter_context(Stack(data_dir=folder, port=0))
        return Client(stack.url, stack.api_key)


def generate(client: Client, strategy: dict[str, str]) -> np.ndarray:
    # "sample" draws from the likelihood: the mean of each hour alone would be smoother than any real day.
    job = client.jobs.create(model, strategy=strategy, rows=ROWS, seed=7, output="sample").wait()
    shutil.rmtree(out / strategy["kind"], ignore_errors=True)  # that of the last time
    folder = job.download(out / strategy["kind"])
    print(f"{strategy['kind']}: {ROWS:,} days in {folder}, every checksum verified.")
    return np.concatenate([np.load(path)["rows"] for path in sorted(folder.glob("*.npz"))])


with ExitStack() as ending:
    client = service(ending)
    model = client.models.add(bundle.path).wait()
    dataset = client.datasets.add(seen.windows).wait()
    reference = client.datasets.add(unseen.windows).wait()
    print("Fitting the latents of the days, and comparing the densities on the year kept aside ...")
    less = {"candidates": [{"kind": "gaussian"}], "rows": 200} if options.quick else {}
    report = client.reports.create(model, dataset, reference=reference, **less).wait()
    report.save(out / "report.html")
    print(report)
    from_prior = generate(client, {"kind": "prior"})
    recommended = generate(client, {"kind": "auto", "dataset": dataset.id})

# ---- Look -----------------------------------------------------------------------------------------------------------


def figures(days: np.ndarray) -> dict[str, float]:
    """What a forecaster would look at."""
    load, temperature = days[..., 0], days[..., 1]
    around = load - load.mean(axis=0)
    autocorrelation = {lag: (around[:, lag:] * around[:, :-lag]).mean() / (around**2).mean() for lag in (1, 6, 12)}
    return {
        "load, 1 % quantile": np.quantile(load, 0.01),
        "load, median": np.median(load),
        "load, 99 % quantile": np.quantile(load, 0.99),
        "peak of a day, mean": load.max(axis=1).mean(),
        "temperature, mean": temperature.mean(),
        "temperature, sd": temperature.std(),
        **{f"autocorrelation of load, {lag} h": value for lag, value in autocorrelation.items()},
        "correlation of load and temperature": np.corrcoef(load.ravel(), temperature.ravel())[0, 1],
    }


days = {"the last year": unseen.windows, "prior": from_prior, "recommended": recommended}
print(pd.DataFrame({kind: figures(rows) for kind, rows in days.items()}).round(2).to_string())
lines = pd.concat(
    pd.DataFrame({"rows": kind, "day": day, "hour": range(N_PAST), FEATURES[0]: row[:, 0], FEATURES[1]: row[:, 1]})
    for kind, rows in days.items()
    for day, row in enumerate(rows[:: len(rows) // 60])
)
panels = [
    alt.Chart(lines, width=260, height=170)
    .mark_line(opacity=0.35, strokeWidth=1)
    .encode(
        x="hour",
        y=alt.Y(feature).scale(zero=False),
        detail="day",
        column=alt.Column("rows", sort=list(days), title=None),
    )
    for feature in FEATURES
]
alt.vconcat(*panels).save(out / "picture.png", scale_factor=2)
print(f"{out / 'picture.png'}: sixty days of each, over the year.")
