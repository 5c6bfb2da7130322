"""Bundles that strangers could upload: each is refused with a sentence that helps, and before it does harm."""

import contextlib
import hashlib
import json
import pickle
import stat
import struct
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from latentmill.errors import DataError, InvalidBundle
from workers.models import BundleLimits, load_vae, open_bundle
from workers.models.inspection import inspect_bundle

LINEAR = {"layer": "Linear", "in_features": 2, "out_features": 3, "id": "out"}
MANIFEST = {
    "schema": 1,
    "name": "small",
    "engine": "torch",
    "latent": {"shape": [2]},
    "rows": {"kind": "tensor", "shape": [3]},
    "architecture": {"name": "sequential", "decoder": [LINEAR]},
}
WEIGHTS = {"decoder.out.weight": torch.ones(3, 2), "decoder.out.bias": torch.zeros(3)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "small.vae.zip"


def write(path: Path, manifest=MANIFEST, weights=None, **members) -> Path:
    """A bundle; `members` replaces or adds files by name (with __ for a dot)."""
    content = {"vae.json": json.dumps(manifest), "weights.safetensors": save(weights or WEIGHTS)}
    content |= {name.replace("__", "."): value for name, value in members.items()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in content.items():
            if value is not None:
                archive.writestr(name, value)
    return path


def with_steps(*steps, **changes) -> dict:
    return {**MANIFEST, "architecture": {"name": "sequential", "decoder": list(steps)}, **changes}


def refused(path: Path, **options) -> InvalidBundle:
    with pytest.raises(InvalidBundle) as caught:
        load_vae(open_bundle(path, **options))
    caught.value.problem().model_dump_json()  # it can be stored and sent
    return caught.value


def test_the_bundle_that_the_others_vary_opens(path):
    vae = load_vae(open_bundle(write(path)))
    assert vae.decode(torch.ones(5, 2)).tolist() == [[2.0, 2.0, 2.0]] * 5
    assert vae.size_bytes == 9 * 4


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no zip file"),
        (b"no zip at all" * 100, "no zip file"),
        (pickle.dumps({"weights": [1.0]}), "pickle"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 100, "Keras"),
        (b"PK\x03\x04" + b"\0" * 100, "damaged"),
    ],
)
def test_what_is_no_zip_is_named(path, content, says):
    path.write_bytes(content)
    error = refused(path)
    assert says in error.detail


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["archive/data.pkl", "archive/version"], "pickles"),
        (["model/code/__torch__.py", "model/constants.pkl"], "TorchScript"),
        (["archive/archive_format", "archive/models/model.json"], r".pt2"),
        (["vae.json", "weights.safetensors", "decoder.onnx"], "both weights.safetensors and decoder.onnx"),
        (["vae.json", "weights.safetensors", "weights.pkl"], "pickles"),
        (["vae.json", "weights.safetensors", "../../etc/passwd"], "no folder"),
        (["vae.json", "weights.safetensors", "small/vae.json"], "no folder"),
        (["vae.json", "weights.safetensors", "notes.txt"], "not part of a bundle"),
        (["vae.json"], "no weights.safetensors"),
        (["weights.safetensors"], "no vae.json"),
        ([f"{number}.txt" for number in range(40)], "40 members"),
    ],
)
def test_members_are_an_allow_list(path, names, says):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "{}")
    assert says in refused(path).detail


def test_torch_checkpoints_are_refused_with_the_way_out(path):
    torch.save({"weight": torch.ones(2)}, path)
    assert "export_vae" in refused(path).detail


def test_a_zip_bomb_is_refused_by_its_directory(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("vae.json", json.dumps(MANIFEST))
        archive.writestr("weights.safetensors", bytes(64 * 2**20))
    assert path.stat().st_size < 100_000
    assert "bomb" in refused(path).detail


def test_a_directory_that_lies_about_sizes_is_caught_while_reading(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("vae.json", json.dumps(MANIFEST))
        archive.writestr("weights.safetensors", bytes(8 * 2**20))
    content = bytearray(path.read_bytes())
    place = content.rfind(b"PK\x01\x02")  # the last entry of the central directory: its size lies 24 bytes in
    content[place + 24 : place + 28] = struct.pack("<I", 1000)
    path.write_bytes(content)
    assert "weights.safetensors" in refused(path).detail or "damaged" in refused(path).detail


def test_members_that_share_their_bytes_or_begin_before_the_file_are_refused(path):
    content = bytearray(write(path).read_bytes())
    place = content.rfind(b"PK\x01\x02")
    content[place + 42 : place + 46] = struct.pack("<I", 0)  # where the member begins: where the other one does
    path.write_bytes(content)
    assert "damaged" in refused(path).detail
    path.write_bytes(b"PK\x03\x04" + write(path).read_bytes()[-200:])
    assert "damaged" in refused(path).detail


def test_a_bundle_within_a_bundle_is_refused(path, tmp_path):
    inner = write(tmp_path / "inner.zip").read_bytes()
    assert "is a zip file" in refused(write(path, weights__safetensors=inner)).detail
    assert "is not JSON" in refused(write(path, vae__json=inner)).detail


def test_a_member_beyond_its_bound_is_refused(path):
    error = refused(write(path), limits=BundleLimits(weights_bytes=100))
    assert "at most 100" in error.detail


def test_a_directory_without_end_is_not_read(path):
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(40_000):
            archive.writestr(f"{number:0100}", b"")
    assert "directory" in refused(path).detail


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_may_stand_once(path):
    with zipfile.ZipFile(path, "w") as archive:
        for _ in range(2):
            archive.writestr("vae.json", json.dumps(MANIFEST))
        archive.writestr("weights.safetensors", save(WEIGHTS))
    assert "more than once" in refused(path).detail


def test_symbolic_links_encryption_and_other_compression_are_refused(path):
    link = zipfile.ZipInfo("weights.safetensors")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("vae.json", json.dumps(MANIFEST))
        archive.writestr(link, "/etc/passwd")
    assert "symbolic link" in refused(path).detail

    content = bytearray(write(path).read_bytes())
    content[content.rfind(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    assert "encrypted" in refused(path).detail

    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("vae.json", json.dumps(MANIFEST))
    assert "compression method" in refused(path).detail


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"schema": 1, "schema": 1}', "same name twice"),
        (json.dumps(with_steps({**LINEAR, "id": "\ud800"})), "half of a character"),
        (json.dumps({**MANIFEST, "\udfff": 1}), "half of a character"),
        ('{"schema": NaN}', "NaN"),
        ("[]", "vae.json is wrong"),
        (json.dumps({**MANIFEST, "colour": "red"}), "/colour"),
        (json.dumps({**MANIFEST, "schema": 2}), "/schema"),
        (json.dumps({**MANIFEST, "latent": {"shape": []}}), "/latent/shape"),
        (json.dumps({**MANIFEST, "rows": {"kind": "tensor", "shape": [2**30]}}), "/rows"),
        (json.dumps({**MANIFEST, "engine": "onnx"}), "architecture belongs to the engine torch"),
        (json.dumps({**MANIFEST, "architecture": {"name": "os.system"}}), "no architecture 'os.system'"),
        (json.dumps({**MANIFEST, "architecture": None}), "architecture"),
    ],
)
def test_a_manifest_that_is_wrong_is_refused_by_its_field(path, text, says):
    assert says in refused(write(path, vae__json=text)).detail


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"rows": {"kind": "table", "columns": [{}] * 600_000}}, "/rows/table/columns/0"),
        ({f"x{number}": 0 for number in range(200_000)}, "200,010 names"),
    ],
)
def test_a_million_mistakes_take_no_longer_than_one(path, changes, says):
    write(path, {**MANIFEST, **changes, "description": "", "encoder": None, "labels": None, "prior": None})
    started = time.process_time()
    assert says in refused(path).detail
    assert time.process_time() - started < 10  # it was a minute, and gigabytes


def tensors_file(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(shape: list, start: int, end: int, dtype: str = "F32") -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


WEIGHT, BIAS = "decoder.out.weight", "decoder.out.bias"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not a safetensors file"),
        (pickle.dumps(WEIGHTS, protocol=4), "pickle"),
        (tensors_file({}, length=2**60), "not a safetensors file"),
        (tensors_file(b"{"), "not JSON"),
        (tensors_file(b"[" * 100_000), "not JSON"),
        (tensors_file(b'{"a": 1, "a": 2}'), "twice"),
        (tensors_file([]), "not a JSON object"),
        (tensors_file({}), "0 tensors"),
        (tensors_file({WEIGHT: 7}), "must have dtype"),
        (tensors_file({WEIGHT: entry([1], 0, 8, "I64")}, bytes(8)), "dtype 'I64'"),
        (tensors_file({WEIGHT: entry([1], 0, 8, "F64")}, bytes(8)), "dtype 'F64'"),
        (tensors_file({WEIGHT: entry([-1], 0, 4)}, bytes(4)), "no tensor has"),
        (tensors_file({WEIGHT: entry([2**40, 2**40], 0, 4)}, bytes(4)), "no tensor has"),
        (tensors_file({WEIGHT: entry("\ud800", 0, 4)}, bytes(4)), r"no tensor has: \ud800"),
        (tensors_file({WEIGHT: entry([True], 0, 4)}, bytes(4)), "no tensor has"),
        (tensors_file({WEIGHT: entry([3], 0, 4)}, bytes(4)), "says shape [3]"),
        (tensors_file({WEIGHT: entry([1], 0, 4), BIAS: entry([1], 2, 6)}, bytes(6)), "overlaps"),
        (tensors_file({WEIGHT: entry([1], 0, 4), BIAS: entry([1], 8, 12)}, bytes(12)), "hole"),
        (tensors_file({WEIGHT: entry([1], 0, 4)}, bytes(400)), "400 bytes of data"),
        (tensors_file({WEIGHT: entry([100], 0, 400)}, bytes(4)), "4 bytes of data"),
    ],
)
def test_every_claim_of_a_safetensors_header_is_checked(path, content, says):
    assert says in refused(write(path, weights__safetensors=content)).detail


def test_too_many_parameters_are_refused(path):
    assert "9 parameters" in refused(write(path), limits=BundleLimits(parameters=8)).detail
    assert "2 latent values" in refused(write(path), limits=BundleLimits(latent_size=1)).detail


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_numbers_are_named(path, value):
    weights = {**WEIGHTS, BIAS: torch.tensor([0.0, value, 0.0])}
    assert "'decoder.out.bias'" in refused(write(path, weights=weights)).detail


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ({WEIGHT: torch.ones(3, 2)}, "missing: 'decoder.out.bias'"),
        ({**WEIGHTS, "decoder.more": torch.ones(1)}, "not in the architecture: 'decoder.more'"),
        ({**WEIGHTS, WEIGHT: torch.ones(2, 3)}, "[2, 3], but the architecture has [3, 2]"),
    ],
)
def test_weights_must_be_those_of_the_architecture(path, weights, says):
    assert says in refused(write(path, weights=weights)).detail


@pytest.mark.parametrize(
    ("step", "pointer", "says"),
    [
        ({**LINEAR, "layer": "Lambda"}, "layer", "'Lambda'"),
        ({**LINEAR, "layer": "__class__"}, "layer", "'__class__'"),
        ({**LINEAR, "out_features": -3}, "out_features", "whole number from 1"),
        ({**LINEAR, "out_features": 3.0}, "out_features", "whole number"),
        ({**LINEAR, "out_features": True}, "out_features", "whole number"),
        ({**LINEAR, "out_features": 2**31}, "out_features", "16,777,216"),
        ({**LINEAR, "bias": 1}, "bias", "true or false"),
        ({**LINEAR, "device": "cuda"}, "device", "no number 'device'"),
        ({"layer": "Linear", "in_features": 2}, "out_features", "needs out_features"),
        ({**LINEAR, "inputs": ["later"]}, "inputs", "earlier steps"),
        ({**LINEAR, "inputs": ["z", "z"]}, "inputs", "takes 1 inputs"),
        ({**LINEAR, "id": "a.b"}, "id", "letters, digits"),
        ({**LINEAR, "id": "z"}, "id", "not used before"),
        ({"layer": "Softmax", "dim": 0}, "dim", "rows of a batch"),
        ({"layer": "Reshape", "shape": [2**40]}, "shape", "list of"),
        ({"layer": "Conv2d", "in_channels": 3, "out_channels": 4, "kernel_size": 3, "groups": 2}, "", "refuses"),
    ],
)
def test_steps_are_an_allow_list_with_checked_numbers(path, step, pointer, says):
    error = refused(write(path, with_steps(step)))
    assert says in error.detail
    assert error.errors[0].pointer == f"/architecture/decoder/steps/0/{pointer}".rstrip("/")


def test_a_step_cannot_take_a_name_of_torch(path):
    assert "reserves" in refused(write(path, with_steps({**LINEAR, "id": "forward"}))).detail


def test_a_million_layers_are_refused(path):
    many = [{"layer": "ReLU"}] * 1_000_000
    assert "4,194,304 are allowed" in refused(write(path, with_steps(*many))).detail
    assert "1 to 4,096 are allowed" in refused(write(path, with_steps(*many[:5000]))).detail


PICTURE = [LINEAR, {"layer": "Reshape", "shape": [1, 1, 3]}, {"layer": "Upsample", "size": [4096, 4096]}]


@pytest.mark.parametrize(
    "steps",
    [
        [*PICTURE, {"layer": "AvgPool2d", "kernel_size": 1024, "stride": 1, "padding": 512}],
        [*PICTURE, {"layer": "MaxPool2d", "kernel_size": [1024, 1000], "stride": 1, "padding": [512, 500]}],
        [*PICTURE, {"layer": "Conv2d", "in_channels": 1, "out_channels": 1, "kernel_size": 1023, "padding": "same"}],
        [*PICTURE, {"layer": "ConvTranspose2d", "in_channels": 1, "out_channels": 1, "kernel_size": 1000}],
        [
            {"layer": "ConstantPad1d", "padding": [0, 4094]},
            {"layer": "Linear", "in_features": 4096, "out_features": 2**24},
            {"layer": "Linear", "in_features": 2**24, "out_features": 2**17},
        ],
    ],
)
def test_a_row_that_would_take_hours_is_refused_unrun(path, steps):
    error = refused(write(path, with_steps(*steps)))
    assert "for one row" in error.detail
    assert error.errors[0].pointer == "/architecture/decoder"


@pytest.mark.parametrize(
    "steps",
    [
        [LINEAR, {"layer": "Reshape", "shape": [1, 1, 3]}, {"layer": "Upsample", "size": [16384, 16384]}],
        [{"layer": "Linear", "in_features": 2, "out_features": 2**24}, {"layer": "Concat", "inputs": ["0"] * 64}],
        [{"layer": "ConstantPad1d", "padding": 4096}] * 20 + [{"layer": "Linear", "in_features": 1, "out_features": 3}],
    ],
)
def test_a_row_that_would_fill_the_memory_is_refused_unrun(path, steps):
    assert refused(write(path, with_steps(*steps))).errors[0].pointer.startswith("/architecture")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"latent": {"shape": [5]}}, "in the step 'out'"),
        ({"rows": {"kind": "tensor", "shape": [4]}}, "rows of shape [3]"),
        ({"rows": {"kind": "image", "shape": [1, 1, 3]}}, "end the decoder with a Reshape"),
        ({"likelihood": {"kind": "gaussian", "std": "learned"}}, "not 2"),
        ({"encoder": {"scale": "log_variance"}}, "go together"),
    ],
)
def test_shapes_that_do_not_fit_are_named(path, changes, says):
    assert says in refused(write(path, {**MANIFEST, **changes})).detail


@pytest.mark.parametrize("mixing", [{"layer": "Flatten", "start_dim": -2}, {"layer": "Mean", "dims": [-2]}])
def test_steps_that_reach_the_axis_of_rows_are_refused(path, mixing):
    assert "not an axis within a row" in refused(write(path, with_steps(LINEAR, mixing))).detail


def encoder_of(*widths: int, **encoder) -> tuple[dict, dict]:
    """A manifest whose encoder has linear heads of these widths, and its weights."""
    steps = [
        {"id": f"head{n}", "layer": "Linear", "in_features": 3, "out_features": width, "inputs": ["x"]}
        for n, width in enumerate(widths)
    ]
    network = {"steps": steps, "outputs": [step["id"] for step in steps]}
    architecture = {"name": "sequential", "encoder": network, "decoder": [LINEAR]}
    weights = dict(WEIGHTS)
    for step, width in zip(steps, widths, strict=True):
        weights |= {
            f"encoder.{step['id']}.weight": torch.ones(width, 3),
            f"encoder.{step['id']}.bias": torch.ones(width),
        }
    return {**MANIFEST, "encoder": encoder, "architecture": architecture}, weights


@pytest.mark.parametrize(
    ("widths", "encoder", "says"),
    [
        ((4, 4), {"head": "pair"}, "encoder and decoder belong together"),
        ((2,), {"head": "pair"}, "needs 2"),
        ((2, 2), {"head": "chunked"}, "needs 1"),
        ((3,), {"head": "interleaved"}, "4 values per row"),
        ((2, 2), {"scale": "none"}, "needs 1"),
    ],
)
def test_heads_that_do_not_fit_the_latents_are_named(path, widths, encoder, says):
    manifest, weights = encoder_of(*widths, **encoder)
    assert says in refused(write(path, manifest, weights)).detail


PRIOR = {"weights": np.array([0.5, 0.5]), "means": np.zeros((2, 2)), "variances": np.ones((2, 2))}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"weights": np.array([0.5, 0.9])}, "add up to 1"),
        ({"means": np.zeros((2, 3))}, "[2, 3]"),
        ({"variances": np.zeros((2, 2))}, "above 0"),
        ({"variances": None}, "weights, means"),
        ({"weights": np.zeros(0), "means": np.zeros((0, 2)), "variances": np.zeros((0, 2))}, "no tensor has"),
        ({"covariances": np.array([[[1.0, 2.0], [2.0, 1.0]]] * 2), "variances": None}, "positive definite"),
        ({"covariances": np.array([[[1.0, 0.5], [0.0, 1.0]]] * 2), "variances": None}, "symmetric"),
    ],
)
def test_a_learned_prior_is_checked(path, changes, says):
    tensors = {name: torch.from_numpy(value) for name, value in (PRIOR | changes).items() if value is not None}
    manifest = {**MANIFEST, "prior": {"kind": "mixture"}}
    assert says in refused(write(path, manifest, prior__safetensors=save(tensors))).detail


def test_a_learned_prior_opens_and_belongs_to_its_manifest(path):
    tensors = save({name: torch.from_numpy(value) for name, value in PRIOR.items()})
    mixture = {**MANIFEST, "prior": {"kind": "mixture"}}
    vae = load_vae(open_bundle(write(path, mixture, prior__safetensors=tensors)))
    assert vae.prior_parameters["means"].dtype == np.float64
    assert "no prior.safetensors" in refused(write(path, mixture)).detail
    assert "needs no prior.safetensors" in refused(write(path, prior__safetensors=tensors)).detail


def test_a_decoder_that_gives_nan_is_refused_by_inspection(path):
    step = {"layer": "Affine", "scale": 1e30}
    weights = {name: 1e30 * tensor for name, tensor in WEIGHTS.items()}
    write(path, with_steps(LINEAR, step, {"layer": "Exp"}), weights)
    with pytest.raises(InvalidBundle, match="NaN or infinite"):
        inspect_bundle(path, devices=["cpu"], threads=1)


def test_half_precision_weights_are_widened_and_odd_offsets_are_read(path):
    header = {
        BIAS: entry([3], 0, 6, "F16"),
        WEIGHT: entry([3, 2], 6, 30, "F32"),
    }
    data = np.zeros(3, np.float16).tobytes() + np.ones(6, np.float32).tobytes()
    write(path, weights__safetensors=tensors_file(header, data))
    assert load_vae(open_bundle(path)).decode(torch.ones(1, 2)).tolist() == [[2.0, 2.0, 2.0]]


def test_a_bundle_must_be_the_one_that_was_uploaded(path):
    digest = hashlib.sha256(write(path).read_bytes()).hexdigest()
    assert open_bundle(path, sha256=digest).manifest.name == "small"
    write(path, weights={**WEIGHTS, BIAS: torch.ones(3)})
    with pytest.raises(DataError, match="changed or damaged in storage"):
        open_bundle(path, sha256=digest)


def test_a_truncated_file_is_refused(path):
    content = write(path).read_bytes()
    for length in range(0, len(content), max(1, len(content) // 40)):
        path.write_bytes(content[:length])
        refused(path)


def test_bytes_changed_at_random_open_or_are_refused(path):
    content = write(path).read_bytes()
    generator = np.random.default_rng(0)
    opened = 0
    for _ in range(300):
        changed = bytearray(content)
        for place in generator.integers(0, len(content), 4):
            changed[place] = generator.integers(256)
        path.write_bytes(changed)
        with contextlib.suppress(InvalidBundle):  # any other error fails this test
            load_vae(open_bundle(path))
            opened += 1
    assert opened < 300
