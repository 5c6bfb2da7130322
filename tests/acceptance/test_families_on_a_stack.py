"""Every family on the real stack: fitted, drawn from twice with the same bytes; deleted where it holds rows."""

import io

import httpx
import numpy as np
from sklearn.datasets import load_digits

from latentmill.stack import Stack
from tests.acceptance.conftest import DEMO_BUNDLE
from tests.acceptance.test_contract_on_a_stack import made, shard, uploaded

FAMILIES = {
    "empirical": {"family": {"kind": "empirical", "bandwidth": 1.2}},
    "flow": {"family": {"kind": "flow", "transforms": 2, "hidden": 16, "epochs": 20}},
    "gaussian by label": {"family": {"kind": "gaussian", "covariance": "diagonal"}, "by_label": True},
}


def test_every_family_serves_jobs(stack: Stack) -> None:
    headers = {"Authorization": f"Bearer {stack.api_key}"}
    with httpx.Client(base_url=stack.url, headers=headers, timeout=60, trust_env=False) as http:
        uploaded(http, "models", "digits.vae.zip", DEMO_BUNDLE.read_bytes(), name="family-digits")
        digits, buffer = load_digits(), io.BytesIO()
        np.savez(buffer, rows=(digits.images[:600] / 16 * 255).astype(np.uint8), labels=digits.target[:600])
        uploaded(http, "datasets", "digits.npz", buffer.getvalue(), name="family-rows")
        for name, asked in FAMILIES.items():
            body = {"model": "family-digits", "dataset": "family-rows", "name": name, **asked}
            created = http.post("/v1/fits", json=body)
            fit = http.get(f"{created.headers['Location']}?wait=50").json()
            assert fit["state"] == "ready", fit
            assert set(fit["diagnostics"]["labels"]) == set(map(str, range(10)))
            strategy = {"kind": "aggregate", "fit": name}
            shards = [
                shard(http, made(http, model="family-digits", strategy=strategy, rows=64, seed=3)) for _ in range(2)
            ]
            assert shards[0] == shards[1]
            rows = np.load(io.BytesIO(shards[0]))
            assert rows["rows"].shape == (64, 1, 8, 8)
            assert ("labels" in rows) is ("by label" in name)
        # An empirical fit holds rows of the dataset, and goes with it; the others stay.
        assert http.delete("/v1/datasets/family-rows").status_code in {200, 202, 204}
        states = {name: http.get(f"/v1/fits/{name}").status_code for name in FAMILIES}
        assert states == {"empirical": 404, "flow": 200, "gaussian by label": 200}
