"""Uploads: what arrives is the file, the array, the labels, to the last byte."""

import io
import zipfile
from email import message_from_bytes

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from latentmill.errors import InvalidDataset, Unavailable

DATASET = {"object": "dataset", "id": "dat_1", "name": None, "state": "reading", "error": None, "warnings": []}


@pytest.fixture
def datasets(peer, client):
    peer.documents["/v1/datasets"] = DATASET
    peer.documents["/v1/models"] = {**DATASET, "object": "model", "id": "mdl_1"}
    return client.datasets


def parts_of(request) -> dict[str, tuple[str | None, bytes]]:
    """Filename and bytes by field of a multipart body."""
    head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
    return {
        part.get_param("name", header="content-disposition"): (part.get_filename(), part.get_payload(decode=True))
        for part in message_from_bytes(head + request.body).get_payload()
    }


def test_a_file_is_sent_as_it_is_with_its_length(peer, client, datasets, tmp_path) -> None:
    content = np.random.default_rng(1).bytes(3_000_000)
    bundle = tmp_path / "mnist.vae.zip"
    bundle.write_bytes(content)
    assert client.models.add(bundle, name="mnist").id == "mdl_1"
    request = peer.requests[0]
    assert parts_of(request) == {"name": (None, b"mnist"), "file": ("mnist.vae.zip", content)}
    assert int(request.headers["Content-Length"]) == len(request.body)
    assert request.headers["Transfer-Encoding"] is None
    assert request.headers["Idempotency-Key"]


def test_a_repeated_upload_sends_the_whole_file_again(peer, client, datasets, replies, tmp_path) -> None:
    bundle = tmp_path / "m.vae.zip"
    bundle.write_bytes(b"z" * 100_000)
    peer.first("POST /v1/models", replies.problem(Unavailable(), **{"Retry-After": "0"}), replies.DROP)
    client.models.add(bundle)
    assert [parts_of(request)["file"][1] for request in peer.requests] == [b"z" * 100_000] * 3
    assert len({request.headers["Idempotency-Key"] for request in peer.requests}) == 1


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_an_array_arrives_as_npy(peer, datasets, dtype) -> None:
    images = np.random.default_rng(1).integers(0, 255, (10, 28, 28)).astype(dtype)
    datasets.add(images, labels=np.arange(10), name="train")
    parts = parts_of(peer.requests[0])
    assert parts["file"][0] == "rows.npy"
    assert parts["name"] == (None, b"train")
    arrived = np.load(io.BytesIO(parts["file"][1]))
    assert arrived.dtype == dtype
    assert np.array_equal(arrived, images)
    assert np.array_equal(np.load(io.BytesIO(parts["labels"][1])), np.arange(10))


@pytest.mark.parametrize("labels", [["a", "b"], np.array(["a", "b"], dtype=object), pd.Series(["a", "b"])])
def test_labels_may_be_words(peer, datasets, labels) -> None:
    datasets.add(np.zeros((2, 3), np.float32), labels=labels)
    arrived = np.load(io.BytesIO(parts_of(peer.requests[0])["labels"][1]), allow_pickle=False)
    assert arrived.tolist() == ["a", "b"]


@pytest.mark.parametrize("label", [None, float("nan"), pd.NA, pd.NaT])
def test_a_missing_label_is_no_class(peer, datasets, label) -> None:
    with pytest.raises(InvalidDataset, match=r"labels\[1\] is missing"):
        datasets.add(np.zeros((2, 3), np.float32), labels=pd.Series(["a", label], dtype=object))
    assert peer.requests == []


def test_a_mapping_of_arrays_arrives_as_npz(peer, datasets) -> None:
    datasets.add({"mean": np.zeros((4, 2)), "std": np.ones((4, 2))}, kind="latents", model="m")
    parts = parts_of(peer.requests[0])
    assert parts["kind"] == (None, b"latents")
    assert parts["model"] == (None, b"m")
    with np.load(io.BytesIO(parts["file"][1])) as arrived:
        assert sorted(arrived.files) == ["mean", "std"]


def test_a_frame_keeps_its_types(peer, datasets) -> None:
    frame = pd.DataFrame({"age": [30, 40], "city": ["Oslo", "Rome"], "rich": [True, False]})
    datasets.add(frame, label_column="city")
    parts = parts_of(peer.requests[0])
    assert parts["file"][0] == "rows.parquet"
    pd.testing.assert_frame_equal(pd.read_parquet(io.BytesIO(parts["file"][1])), frame)


def test_a_folder_of_images_arrives_as_a_zip(peer, datasets, tmp_path) -> None:
    files = {"cat/2.png": b"2", "cat/10.png": b"10", "dog/1.JPG": b"1"}
    junk = {"cat/.DS_Store": b"?", ".git/a.png": b"?", "__MACOSX/cat/._2.png": b"?", "Thumbs.db": b"?"}
    bodies = []
    for copy in ("one/pets", "two/pets"):
        for name, data in {**files, **junk}.items():
            path = tmp_path / copy / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        datasets.add(tmp_path / copy)
        filename, body = parts_of(peer.requests[-1])["file"]
        assert filename == "pets.zip"
        bodies.append(body)
    assert bodies[0] == bodies[1]  # the same dataset, wherever it lies and whenever it was saved
    with zipfile.ZipFile(io.BytesIO(bodies[0])) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == files
        assert {member.compress_type for member in archive.infolist()} == {zipfile.ZIP_STORED}


def test_a_folder_of_other_files_is_refused_before_it_is_sent(peer, datasets, tmp_path) -> None:
    (tmp_path / "sub").mkdir()
    with pytest.raises(InvalidDataset, match=r"holds no image \(PNG, JPEG, WebP, BMP, GIF\)"):
        datasets.add(tmp_path)
    (tmp_path / "sub" / "notes.txt").write_text("x")
    with pytest.raises(InvalidDataset, match=r"'sub/notes.txt' in .* is no image"):
        datasets.add(str(tmp_path))
    assert peer.requests == []


def test_what_cannot_be_rows_is_refused_before_it_is_sent(peer, datasets, tmp_path) -> None:
    with pytest.raises(InvalidDataset, match="holds object"):
        datasets.add(np.array([{}, {}]))
    with pytest.raises(InvalidDataset, match="one per row"):
        datasets.add(np.zeros((2, 3)), labels=np.zeros((2, 2)))
    with pytest.raises(InvalidDataset, match="is not a file"):
        datasets.add(tmp_path / "nothing.npy")
    assert peer.requests == []


def test_parameters_are_arrays(peer, client) -> None:
    from safetensors.numpy import save

    peer.documents["/v1/fits/fit_1"] = {**DATASET, "id": "fit_1", "state": "ready", "diagnostics": {"gain": {}}}
    peer.files["/v1/fits/fit_1/parameters"] = save({"mean": np.arange(3.0)})
    fit = client.fits.get("fit_1")
    assert fit.diagnostics == {"gain": {}}
    assert fit.parameters()["mean"].tolist() == [0.0, 1.0, 2.0]


def test_typed_tables_arrive_as_parquet_with_the_model_named(peer, datasets) -> None:
    frame = pd.DataFrame({"n": pd.array([1, None], dtype="Int64"), "t": ["a", None], "b": [True, False]})
    for table in (frame, pa.Table.from_pandas(frame, preserve_index=False)):
        datasets.add(table, model="people")
    for request in peer.requests:
        parts = parts_of(request)
        assert (parts["file"][0], parts["model"]) == ("rows.parquet", (None, b"people"))
        arrived = pq.read_table(io.BytesIO(parts["file"][1]))
        assert arrived.to_pydict() == {"n": [1, None], "t": ["a", None], "b": [True, False]}
        assert str(arrived.schema.field("n").type) == "int64"


def test_a_column_of_two_kinds_of_objects_is_refused_by_its_name(peer, datasets) -> None:
    with pytest.raises(InvalidDataset, match=r"column mixed.*values of one kind: numbers, booleans or text"):
        datasets.add(pd.DataFrame({"mixed": [1, "a"]}))
    assert peer.requests == []
