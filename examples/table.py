"""A table: customers with numbers, integers, categories, booleans and missing values, and made-up ones beside them.

    .venv/bin/python examples/table.py        report.html, differences.csv and the datasets: in example-table/

The table is made here, by a rule with real dependence between the columns (see `customers`). `table_rows` says how each
column becomes values of the network, and the bundle carries it: what is generated comes back as typed columns. A
running `latentmill up` is used; where there is none, one is started for the time.
"""

import argparse
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentmill import Client, export_vae, table_rows
from latentmill.errors import Unreachable
from latentmill.stack import Stack

LATENT_SIZE, HIDDEN = 12, 128
KL_WEIGHT = 0.02
ROWS = 20_000

parser = argparse.ArgumentParser(description="train, export, measure and generate rows of a table")
parser.add_argument("--out", type=Path, default=Path("example-table"))
parser.add_argument("--quick", action="store_true", help="every step in seconds, with rows that convince nobody")
options = parser.parse_args()
out: Path = options.out
out.mkdir(parents=True, exist_ok=True)

# ---- Your own code: data, modules, training -------------------------------------------------------------------------


def customers(count: int) -> pd.DataFrame:
    """Customers of a phone company. Older and urban people earn more, families have the family plan, data use falls
    with age and rises with the plan, cars are for the country and the wealthy, and short contracts on the basic plan
    end. The income is missing for a tenth, more often for the young."""
    random = np.random.default_rng(0)
    age = np.clip(random.gamma(4, 8, count) + 16, 18, 90).astype(int)
    region = random.choice(["city", "suburb", "country"], count, p=[0.45, 0.35, 0.2])
    household = np.where((age > 28) & (age < 60), random.binomial(4, 0.45, count), random.binomial(2, 0.35, count)) + 1
    earned = np.exp(7.6 + 0.25 * (region == "city") + 0.5 * np.sin((age - 18) / 25) + random.normal(0, 0.25, count))
    wants = random.normal(0, 0.5, count)
    plan = np.where(household + wants > 3, "family", np.where(earned / 2500 + wants > 1.1, "plus", "basic"))
    gigabytes = np.exp(3.4 - 0.03 * age + 0.5 * (plan != "basic") + random.normal(0, 0.3, count))
    car = earned / 3000 + 1.2 * (region == "country") + 0.3 * household + random.normal(0, 0.4, count) > 2.0
    months = random.geometric(1 / (10 + 0.5 * age))
    left = 1.5 * (plan == "basic") - months / 24 + random.normal(0, 0.5, count) > 0.6
    income = np.where(random.random(count) < np.where(age < 30, 0.2, 0.07), np.nan, np.round(earned, 2))
    return pd.DataFrame(
        {"age": age, "region": region, "household": household, "income": income, "plan": plan,
         "gigabytes": gigabytes.round(2), "car": car, "months": np.minimum(months, 120), "left": left}
    )  # fmt: skip


people = customers(6_000)
table = table_rows(people)  # of all rows: bounds and categories are those that occur
print(table)
seen, unseen = people[:5000], people[5000:]
encoded = torch.from_numpy(table.encode(seen))
numeric = torch.from_numpy(table.numeric)  # the other values are 0 or 1


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(table.width, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, HIDDEN), nn.SiLU())
        self.mean, self.log_variance = nn.Linear(HIDDEN, LATENT_SIZE), nn.Linear(HIDDEN, LATENT_SIZE)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.layers(x)
        return self.mean(h), self.log_variance(h)


class Decoder(nn.Module):
    """Numbers as they are, the others (categories, booleans, what is missing) as probabilities."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(LATENT_SIZE, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, HIDDEN), nn.SiLU())
        self.values = nn.Linear(HIDDEN, table.width)
        self.register_buffer("numeric", numeric.float())

    def forward(self, z: Tensor) -> Tensor:
        h = self.values(self.layers(z))
        return self.numeric * h + (1 - self.numeric) * torch.sigmoid(h)


def train(encoder: Encoder, decoder: Decoder, rows: Tensor, epochs: int) -> None:
    optimiser = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()])
    steps = len(rows) // 128
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=5e-3, total_steps=epochs * steps)
    for epoch in range(1, epochs + 1):
        for batch in torch.randperm(len(rows)).tensor_split(steps):
            x = rows[batch]
            mean, log_variance = encoder(x)
            decoded = decoder(mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean))
            numbers = 10 * (decoded - x)[:, numeric].square().sum() / len(x)
            choices = F.binary_cross_entropy(decoded[:, ~numeric], x[:, ~numeric], reduction="sum") / len(x)
            kl = 0.5 * (mean**2 + log_variance.exp() - log_variance - 1).sum(dim=1).mean()
            optimiser.zero_grad()
            (numbers + choices + KL_WEIGHT * kl).backward()
            optimiser.step()
            schedule.step()
        if epoch % 20 == 0:
            print(f"  epoch {epoch}: numbers {numbers / 10:.2f}, choices {choices:.2f}, KL {kl:.1f} nats")


print(f"Training on {len(seen):,} customers; {len(unseen):,} others are kept aside.")
torch.manual_seed(0)
torch.set_num_threads(1)  # so small a network gains little from more
encoder, decoder = Encoder(), Decoder()
train(encoder, decoder, encoded, epochs=2 if options.quick else 80)

# ---- From the modules to a bundle -----------------------------------------------------------------------------------

bundle = export_vae(
    out / "customers.vae.zip",
    name="customers",
    encoder=encoder,
    decoder=decoder,
    rows=table.rows,
    latent_shape=[LATENT_SIZE],
    scale="log_variance",
    head="pair",
    examples=table.encode(seen),
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


def generate(client: Client, strategy: dict[str, str]) -> pd.DataFrame:
    job = client.jobs.create(model, strategy=strategy, rows=ROWS, seed=7).wait()
    shutil.rmtree(out / strategy["kind"], ignore_errors=True)  # that of the last time
    folder = job.download(out / strategy["kind"])
    print(f"{strategy['kind']}: {ROWS:,} customers in {folder}, every checksum verified.")
    return pd.concat(map(pd.read_parquet, sorted(folder.glob("*.parquet"))), ignore_index=True)


with ExitStack() as ending:
    client = service(ending)
    model = client.models.add(bundle.path).wait()
    dataset = client.datasets.add(seen, model=model).wait()
    reference = client.datasets.add(unseen, model=model).wait()
    print("Fitting the latents of the customers, and comparing the densities on those kept aside ...")
    less = {"candidates": [{"kind": "gaussian"}], "rows": 200} if options.quick else {}
    report = client.reports.create(model, dataset, reference=reference, **less).wait()
    report.save(out / "report.html")
    print(report)
    from_prior = generate(client, {"kind": "prior"})
    recommended = generate(client, {"kind": "auto", "dataset": dataset.id})

# ---- Look -----------------------------------------------------------------------------------------------------------

# The report's own differences to the customers kept aside; floor: those of other real customers.
advised = report.recommendation.get("candidate", "prior")
measured = {found["name"]: found["quality"]["real"]["columns"] for found in report.data["candidates"]}
differences = pd.DataFrame(
    {
        "measure": [column["measure"] for column in measured["prior"]["columns"]],
        "prior": [column["distance"] for column in measured["prior"]["columns"]],
        "recommended": [column["distance"] for column in measured[advised]["columns"]],
        "floor": [column["floor"] for column in measured["prior"]["columns"]],
    },
    index=list(people.columns),
)
pairs = {kind: measured[name]["pairs"] for kind, name in {"prior": "prior", "recommended": advised}.items()}
for which in ("mean", "largest"):
    found = {kind: pair[f"{which}_difference"] for kind, pair in pairs.items()}
    floor = pairs["prior"][f"floor_{which}_difference"]
    differences.loc[f"pairs of columns, {which}"] = {"measure": "association", **found, "floor": floor}
differences.to_csv(out / "differences.csv")
print(differences.round(3).to_string())


def rules(rows: pd.DataFrame) -> dict[str, float]:
    """Does the rule by which the table was made still hold?"""
    return {
        "on the basic plan": (rows.plan == "basic").mean(),
        "left, of the basic plan": rows.left[rows.plan == "basic"].mean(),
        "left, of the others": rows.left[rows.plan != "basic"].mean(),
        "with a car, in the country": rows.car[rows.region == "country"].mean(),
        "with a car, in the suburb": rows.car[rows.region == "suburb"].mean(),
        "income is missing, under 30": rows.income.isna()[rows.age < 30].mean(),
        "income is missing, from 30 on": rows.income.isna()[rows.age >= 30].mean(),
        "correlation of age and gigabytes": np.corrcoef(rows.age, rows.gigabytes)[0, 1],
    }


kinds = {"kept aside": unseen, "prior": from_prior, "recommended": recommended}
print(pd.DataFrame({kind: rules(rows) for kind, rows in kinds.items()}).round(2).to_string())
print("Rows as recommended, of types", ", ".join(map(str, recommended.dtypes)))
print(recommended.head(5).to_string(index=False))
