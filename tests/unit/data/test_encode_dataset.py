"""A dataset through an encoder, batch by batch, into the file of its posteriors."""

import hashlib
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from latentmill.errors import DataError, InvalidDataset, InvalidLabels, ModelMismatch, StorageFault
from workers.diagnostics.heads import head_warnings
from workers.generation import copy_latents, encode_dataset
from workers.posteriors.encoding import open_encoding


@pytest.fixture
def encoded(tmp_path: Path):
    """Encodes rows; the summary and the encoding."""

    def encode(vae, rows, labels=None, classes=None, **choices):
        told = {"batch_rows": 64, "head_test": head_warnings, "check": lambda: None, "progress": lambda _: None}
        path = tmp_path / "encoding.safetensors"
        summary = encode_dataset(vae, rows, labels, path, classes=classes, **{**told, **choices})
        return summary, open_encoding(path)

    return encode


def test_posteriors_are_those_of_the_model(make_vae, planted_rows, encoded) -> None:
    vae = make_vae()
    summary, encoding = encoded(vae, planted_rows)
    mean, std = vae.encode(torch.from_numpy(planted_rows))
    assert (summary.rows, summary.deterministic, summary.warnings) == (500, False, [])
    np.testing.assert_allclose(encoding.mean, mean.numpy(), atol=1e-6)
    np.testing.assert_allclose(encoding.std, std.numpy(), atol=1e-6)
    assert encoding.labels is None
    first = hashlib.sha256(planted_rows[3].tobytes()).digest()[:16]
    assert encoding.row_digests[3].tobytes() == first


def test_digests_are_of_the_rows_as_uploaded(make_vae, encoded) -> None:
    vae = make_vae(rows={"kind": "image", "shape": [1, 4, 4]})
    pixels = np.random.default_rng(0).integers(0, 255, (70, 4, 4), dtype=np.uint8)
    pixels[69] = pixels[0]
    _, encoding = encoded(vae, pixels)
    assert encoding.row_digests[1].tobytes() == hashlib.sha256(pixels[1].tobytes()).digest()[:16]
    assert np.array_equal(encoding.row_digests[0], encoding.row_digests[69])
    assert len(np.unique(encoding.row_digests, axis=0)) == 69


def test_progress_and_check_are_told_of_every_batch(make_vae, planted_rows, encoded) -> None:
    checks, fractions = [], []
    encoded(make_vae(), planted_rows, check=lambda: checks.append(1), progress=fractions.append)
    assert len(checks) == len(fractions) == 8
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


def test_the_head_test_sees_rows_from_the_whole_file(make_vae, encoded) -> None:
    """2,000 of 5,000 rows, from the first to the last: a file may be sorted."""
    rows = np.repeat(np.arange(5_000, dtype=np.float32)[:, None] / 5_000, 16, axis=1)
    seen = []

    def head_test(vae, some, labels) -> list[str]:
        seen.append(some[:, 0] * 5_000)
        return ["told"]

    summary, _ = encoded(make_vae(), rows, batch_rows=1024, head_test=head_test)
    assert summary.warnings == ["told"]
    assert len(seen[0]) == len(np.unique(seen[0])) == 2_000
    assert np.diff(seen[0]).max() < 4
    assert (seen[0][0], round(float(seen[0][-1]))) == (0, 4_999)


class Stop(Exception):
    pass


def test_check_stops_and_leaves_nothing(make_vae, planted_rows, encoded, tmp_path: Path) -> None:
    before = threading.active_count()

    def check() -> None:
        raise Stop

    with pytest.raises(Stop):
        encoded(make_vae(), planted_rows, check=check)
    assert not (tmp_path / "encoding.safetensors").exists()
    assert threading.active_count() == before


def test_a_row_that_does_not_fit_is_named_from_the_reading_thread(make_vae, encoded) -> None:
    rows = np.zeros((300, 4, 4), np.float32)
    rows[257, 1, 1] = 3.0
    with pytest.raises(InvalidDataset, match="Row 257 has the value 3"):
        encoded(make_vae(rows={"kind": "image", "shape": [1, 4, 4]}), rows)


def test_posteriors_that_cannot_be_used_are_named(make_vae, planted_rows, encoded) -> None:
    huge = {"encoder.scale.bias": np.full(4, 40.0, np.float32)}
    with pytest.raises(DataError, match="row 0 encodes"):
        encoded(make_vae(weights=huge), planted_rows)


def test_an_encoder_without_scale_is_deterministic(make_vae, planted_rows, encoded) -> None:
    summary, encoding = encoded(make_vae(true=("pair", "none")), planted_rows)
    assert summary.deterministic
    assert not encoding.std.any()


def test_a_head_that_decoding_contradicts_is_a_warning(make_vae, planted_rows, encoded) -> None:
    summary, encoding = encoded(make_vae(true=("pair", "std"), declared=("pair", "log_variance")), planted_rows)
    assert "scale 'std'" in summary.warnings[0]
    assert encoding.rows == 500


def test_classes_meet_those_of_a_conditional_model_by_their_text(make_vae, planted_rows, encoded) -> None:
    seen = []

    def head_test(vae, rows, labels):
        seen.append(labels)
        return []

    vae = make_vae(classes=["ant", "bee", "owl"])
    labels = (np.arange(500) % 2).astype(np.int32)
    _, encoding = encoded(vae, planted_rows, labels, ("owl", "bee"), head_test=head_test)
    assert encoding.classes == ("owl", "bee")
    assert np.array_equal(encoding.labels, labels)
    assert np.array_equal(seen[0], np.where(labels == 0, 2, 1))


def test_labels_that_a_conditional_model_cannot_use_are_refused(make_vae, planted_rows, encoded) -> None:
    vae = make_vae(classes=["ant", "bee"])
    with pytest.raises(InvalidLabels, match="has no labels"):
        encoded(vae, planted_rows)
    with pytest.raises(InvalidLabels, match=r"does not know the class 'owl'.*ant, bee"):
        encoded(vae, planted_rows, np.zeros(500, np.int32), ("owl",))


def test_labels_of_an_unconditional_model_stay_with_the_rows(make_vae, planted_rows, encoded) -> None:
    labels = (np.arange(500) % 3).astype(np.int32)
    _, encoding = encoded(make_vae(), planted_rows, labels, ("a", "b", "c"))
    assert np.array_equal(encoding.labels, labels)
    assert encoding.classes == ("a", "b", "c")


def test_a_disk_that_fails_is_named(make_vae, planted_rows, tmp_path: Path) -> None:
    told = {"batch_rows": 64, "head_test": head_warnings, "check": lambda: None, "progress": lambda _: None}
    with pytest.raises(StorageFault, match="an encoding was written"):
        encode_dataset(make_vae(), planted_rows, None, tmp_path / "absent" / "encoding", classes=None, **told)


def test_a_dataset_of_latents_is_an_encoding(tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    rows = np.stack([random.standard_normal((50, 2, 2)), random.random((50, 2, 2))], axis=1).astype(np.float32)
    path = tmp_path / "latents.safetensors"
    summary = copy_latents(rows, None, path, classes=None, latent_size=4, check=lambda: None)
    encoding = open_encoding(path)
    assert (summary.rows, summary.deterministic) == (50, False)
    assert np.array_equal(encoding.mean, rows[:, 0].reshape(50, 4))
    assert np.array_equal(encoding.std, rows[:, 1].reshape(50, 4))
    with pytest.raises(ModelMismatch, match="4 values, the model's 10"):
        copy_latents(rows, None, path, classes=None, latent_size=10, check=lambda: None)
