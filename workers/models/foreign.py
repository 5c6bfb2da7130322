"""Files that are no bundles: what each is, why it cannot be one, and what its owner can do instead."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

EXPORTER = "make a bundle from your modules with latentmill.export_vae (see `latentmill export --help`)"
CONVERTER = "make a bundle of your ONNX files with latentmill.export_onnx_vae (see `latentmill export --help`)"
KERAS = (
    "save encoder and decoder as ONNX files of their own (Keras: model.export(path, format='onnx'), or tf2onnx), "
    "and make a bundle of the two with latentmill.export_onnx_vae (see `latentmill export --help`)"
)

HEAD_BYTES = 16  # of a file, enough for `foreign_file`


@dataclass(frozen=True)
class Foreign:
    """A file of somebody else's making: what it is, with a reason why it cannot be taken, and what to do."""

    what: str
    way_out: str

    def __str__(self) -> str:
        return f"The file is not a bundle but {self.what}; {self.way_out}."


_PICKLE = Foreign("a Python pickle, which can run code when it is opened", EXPORTER)
_WEIGHTS = Foreign("a safetensors file: weights alone do not say how they are computed with", EXPORTER)
_GRAPH = Foreign("an ONNX graph alone, which does not say what rows and latents are", CONVERTER)
_HEADS = (
    (b"\x80", _PICKLE),
    (b"\x89HDF", Foreign("an HDF5 file of Keras", KERAS)),
    (b"\x1f\x8b", Foreign("a gzip file", EXPORTER)),
    (b"PK", Foreign("a zip file", EXPORTER)),
    (b"GGUF", Foreign("a GGUF file: weights alone do not say how they are computed with", EXPORTER)),
)
_ONNX_FIELDS = b"\x12\x1a\x22\x28\x32\x3a\x42"  # what follows ir_version: producer, domain, version, text, graph, opset


def foreign_file(head: bytes) -> Foreign | None:
    """What a file that begins with `head` is; None if it is nothing we know."""
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**27:  # before pickles: 0x80 may be a length
        return _WEIGHTS
    if len(head) > 2 and head[0] == 8 and 0 < head[1] < 32 and head[2] in _ONNX_FIELDS:
        return _GRAPH
    return next((foreign for magic, foreign in _HEADS if head.startswith(magic)), None)


def foreign_archive(names: Sequence[str]) -> str | None:
    """What is to be said of a zip with members of these names, where they tell that it is no bundle; else None."""
    return next((say for belongs, say in _ARCHIVES if belongs(names)), None) or _pickled(names)


def _pickled(names: Sequence[str]) -> str | None:
    found = min((name for name in names if name.lower().endswith(_PICKLES)), default=None)
    return found and (
        f"The zip holds {found[-96:]!r}: pickles and checkpoints can run code when they are opened, so none is taken; "
        f"{EXPORTER}."
    )


def _has(*files: str) -> Callable[[Sequence[str]], bool]:
    """Whether all `files` are in a zip, in whatever folder."""
    return lambda names: all(any(f"/{name}".endswith(f"/{file}") for name in names) for file in files)


def _any_ends(*ends: str) -> Callable[[Sequence[str]], bool]:
    return lambda names: any(name.endswith(ends) for name in names)


_PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".bin", ".joblib", ".npy")
_PYTHAE = Foreign("a model folder of pythae", "where pythae is installed run `latentmill export pythae FOLDER OUT`")
_DIFFUSERS = Foreign(
    "a model folder of diffusers", "where diffusers is installed run `latentmill export diffusers FOLDER OUT`"
)
_ARCHIVES: tuple[tuple[Callable[[Sequence[str]], bool], str], ...] = (
    (
        lambda names: _has("constants.pkl")(names) or any("/code/" in name for name in names),
        str(Foreign("a TorchScript archive, which carries code", EXPORTER)),
    ),
    (
        lambda names: _has("archive_format")(names) or _any_ends(".pt2")(names),
        str(Foreign("a .pt2 archive of torch.export, which can carry pickles", EXPORTER)),
    ),
    (_any_ends(".weights.h5", "saved_model.pb"), str(Foreign("a saved model of Keras or TensorFlow", KERAS))),
    (_has("model_config.json", "model.pt"), str(_PYTHAE)),
    (lambda names: any("diffusion_pytorch_model" in name for name in names), str(_DIFFUSERS)),
    (
        _any_ends(".onnx.data", ".onnx_data"),
        "The zip holds external data of an ONNX graph, which could name any file of the machine: save the graph with "
        "its weights inside (torch.onnx.export(..., external_data=False), or onnx.save(model, path)).",
    ),
    (
        lambda names: _has("vae.json")(names) and "vae.json" not in names,
        "The zip holds a folder with a bundle in it: zip the files alone, without their folder.",
    ),
)
