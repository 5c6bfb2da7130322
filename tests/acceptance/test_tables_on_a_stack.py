"""A real table through a real stack: a VAE trained on what `table_rows` proposes, typed rows in, typed rows out."""

import doctest
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor, nn

from latentmill import Client, export_vae, table_rows
from latentmill.errors import InvalidDataset, ModelMismatch
from latentmill.resources.resource import Resource
from latentmill.stack import Stack
from latentmill.tables.table import ProposedTable

PAGE = Path(__file__).parents[2] / "docs" / "tables.md"
WEATHER = Path(__file__).parents[1] / "data" / "weather.csv.gz"
LEARNED, LATENTS, WIDE, STD = 3_000, 6, 64, 0.3
ROWS = 2_000


class Encoder(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(width, WIDE), nn.ReLU())
        self.mean, self.log_variance = nn.Linear(WIDE, LATENTS), nn.Linear(WIDE, LATENTS)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.inner(x)
        return self.mean(h), self.log_variance(h)


@pytest.fixture(scope="module")
def weather() -> pd.DataFrame:
    return pd.read_csv(WEATHER).astype({"gust_knots": "Int64"})


@pytest.fixture(scope="module")
def table(weather: pd.DataFrame) -> ProposedTable:
    return table_rows(weather)


@pytest.fixture(scope="module")
def bundle(table: ProposedTable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small VAE of the first 3,000 hours, trained for some seconds."""
    torch.manual_seed(0)
    rows = torch.from_numpy(table.encoded[:LEARNED])
    encoder = Encoder(table.width)
    decoder = nn.Sequential(nn.Linear(LATENTS, WIDE), nn.ReLU(), nn.Linear(WIDE, table.width))
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], 5e-3)
    for _ in range(20):
        for batch in rows[torch.randperm(LEARNED)].split(100):
            mean, log_variance = encoder(batch)
            z = mean + torch.randn_like(mean) * (log_variance / 2).exp()
            error = ((decoder(z) - batch) ** 2).sum(1) / (2 * STD**2)
            divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1)
            optimizer.zero_grad()
            (error + divergence).mean().backward()
            optimizer.step()
    path = tmp_path_factory.mktemp("weather") / "weather.vae.zip"
    export_vae(
        path, name="weather", encoder=encoder, decoder=decoder, rows=table.rows, latent_shape=LATENTS,
        likelihood={"kind": "gaussian", "std": STD},
    )  # fmt: skip
    return path


@pytest.fixture
def model(client: Client, bundle: Path) -> Resource:
    return client.models.add(bundle)


@pytest.fixture
def dataset(client: Client, model: Resource, weather: pd.DataFrame) -> Resource:
    """The hours that the VAE learned from, uploaded while the model may still be inspected."""
    return client.datasets.add(weather.iloc[:LEARNED], model=model)


def test_typed_rows_go_in_and_typed_rows_come_out(
    client: Client, model: Resource, dataset: Resource, weather: pd.DataFrame, table: ProposedTable, tmp_path: Path
) -> None:
    dataset.wait()
    assert [(c["name"], c["kind"], c["missing"]) for c in dataset.columns] == [
        (c["name"], c["kind"], c["missing"]) for c in table.rows["columns"]
    ]
    fit = client.fits.create(model, dataset, family={"kind": "mixture", "components": 10}).wait()
    job = client.jobs.create(
        model, strategy={"kind": "aggregate", "fit": fit.id}, rows=ROWS, seed=5, format="parquet", output="sample"
    ).wait()
    folder = job.download(tmp_path / "out")
    generated = pq.read_table(sorted(folder.glob("*.parquet")))
    assert {field.name: field.type for field in generated.schema} == {
        "origin": pa.string(), "month": pa.int64(), "hour": pa.int64(), "temperature": pa.float64(),
        "humidity": pa.float64(), "wind_from": pa.string(), "wind_knots": pa.int64(), "gust_knots": pa.int64(),
        "pressure": pa.float64(), "visibility": pa.float64(), "wet": pa.bool_(),
    }  # fmt: skip
    frame = generated.to_pandas(integer_object_nulls=False)
    assert len(frame) == ROWS
    assert_as_declared(frame, weather, table)
    # What is generated can be uploaded again as it is.
    client.datasets.add(generated, model=model).wait()
    assert np.isfinite(table.encode(generated)).all()
    assert_plausible(frame, weather)

    plain = client.jobs.create(model, strategy={"kind": "aggregate", "fit": fit.id}, rows=300, seed=5, format="npz")
    plain.wait()
    with np.load(next(plain.download(tmp_path / "npz").glob("*.npz"))) as shard:
        rows, missing = shard["rows"], shard["missing"]
    from_npz = pd.DataFrame({name: rows[name] for name in rows.dtype.names})
    for name in missing.dtype.names:
        from_npz[name] = from_npz[name].astype(object).where(~missing[name], None)
    assert {rows[name].dtype.kind for name in ("month", "gust_knots")} == {"i"}
    assert_as_declared(from_npz, weather, table)
    shown = plain.rows(0, 300)["rows"]
    assert [row["gust_knots"] for row in shown] == [None if pd.isna(v) else v for v in from_npz["gust_knots"]]
    assert [row["wind_from"] for row in shown] == [None if pd.isna(v) else v for v in from_npz["wind_from"]]
    assert {type(row["wet"]) for row in shown} == {bool}


def assert_as_declared(frame: pd.DataFrame, weather: pd.DataFrame, table: ProposedTable) -> None:
    """Categories and bounds are the table's, and nothing is missing where nothing may be."""
    for column in table.rows["columns"]:
        values = frame[column["name"]]
        assert column["missing"] or not values.isna().any(), column["name"]
        if "categories" in column:
            assert set(values.dropna()) <= set(column["categories"])
        elif column["kind"] != "boolean":
            there = values.dropna().astype(float)
            assert there.between(weather[column["name"]].min(), weather[column["name"]].max()).all(), column["name"]


def assert_plausible(frame: pd.DataFrame, weather: pd.DataFrame) -> None:
    """Not a good VAE, but one of this weather."""
    for name, within in (("gust_knots", 0.1), ("pressure", 0.1), ("wind_from", 0.08)):
        assert abs(frame[name].isna().mean() - weather[name].isna().mean()) < within, name
    for name in ("origin", "wind_from", "wet"):
        shares = (each[name].value_counts(normalize=True) for each in (frame, weather))
        assert next(shares).sub(next(shares), fill_value=0).abs().sum() / 2 < 0.15, name
    assert frame["temperature"].std() == pytest.approx(weather["temperature"].std(), rel=0.2)
    gusts = frame.dropna(subset="gust_knots").astype({"gust_knots": float})
    assert gusts["wind_knots"].mean() > frame["wind_knots"].mean() + 3, "gusts come with wind"


def test_the_report_holds_columns_and_pairs_against_rows_that_were_never_seen(
    client: Client, model: Resource, dataset: Resource, weather: pd.DataFrame, tmp_path: Path
) -> None:
    unseen = tmp_path / "unseen.csv"
    weather.iloc[LEARNED:, ::-1].to_csv(unseen, index=False)
    reference = client.datasets.add(unseen, model=model)
    report = client.reports.create(
        model, dataset, reference=reference, candidates=[{"kind": "gaussian"}], rows=300
    ).wait()
    measured = next(one for one in report.data["candidates"] if (one["family"] or {}).get("kind") == "gaussian")
    found: dict[str, Any] = measured["quality"]["real"]["columns"]
    columns = {one["name"]: one for one in found["columns"]}
    assert list(columns) == list(weather.columns)
    held_out = weather.iloc[LEARNED:]
    for name, one in columns.items():
        assert one["missing_reference"] == pytest.approx(held_out[name].isna().mean(), abs=0.1)
        assert one["standard_error"] > 0
        assert one["distance"] < 1.0
    assert columns["wind_from"]["measure"] == columns["wet"]["measure"] == "total variation"
    assert columns["gust_knots"]["measure"] == "wasserstein / sd"
    assert columns["gust_knots"]["missing_difference"]["standard_error"] < 0.06
    assert found["pairs"]["columns"] == len(columns)
    assert {pair["measure"] for pair in found["pairs"]["largest"]} <= {"correlation", "correlation ratio", "cramers v"}
    assert all(pair["difference"]["standard_error"] > 0 for pair in found["pairs"]["largest"])
    page = report.save(tmp_path / "report.html").read_text()
    assert "wind_from" in page
    assert "Pairs of columns: difference of their association" in page
    assert "Shares of missing values" in page


def test_rows_that_the_model_cannot_encode_are_refused_at_the_upload(
    client: Client, model: Resource, weather: pd.DataFrame
) -> None:
    some = weather.iloc[:50].reset_index(drop=True)
    unknown = some.assign(wind_from=some["wind_from"].where(some.index != 7, "NNW"))
    with pytest.raises(
        InvalidDataset, match=r"Row 7, column 'wind_from': 'NNW' is no category of the column; it knows"
    ):
        client.datasets.add(unknown, model=model).wait()
    with pytest.raises(InvalidDataset, match="The model's column 'wet' is not in the file"):
        client.datasets.add(some.drop(columns="wet"), model=model).wait()
    model.wait()
    typed = client.datasets.add(some.drop(columns="wet")).wait()
    with pytest.raises(ModelMismatch, match="the model's column 'wet' is not among the dataset's"):
        client.fits.create(model, typed, family={"kind": "gaussian"})


def test_the_page_on_tables_shows_what_happens(
    stack: Stack, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LATENTMILL_URL", stack.url)
    monkeypatch.setenv("LATENTMILL_API_KEY", stack.api_key)
    monkeypatch.chdir(tmp_path)
    for path in (WEATHER, bundle):
        shutil.copy(path, tmp_path)
    page = doctest.DocTestParser().get_doctest(PAGE.read_text(), {}, PAGE.name, str(PAGE), 0)
    assert len(page.examples) > 15
    said: list[str] = []
    runner = doctest.DocTestRunner(verbose=False)
    assert runner.run(page, out=said.append).failed == 0, "".join(said)
