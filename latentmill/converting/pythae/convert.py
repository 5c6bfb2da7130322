"""`export_pythae`: a model that pythae trained -> a bundle."""

from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentmill.converting.naming import bundle_name
from latentmill.errors import InvalidBundle
from latentmill.export import ExportedBundle, export_vae
from latentmill.exporting.installed import check_installed

if TYPE_CHECKING:
    from torch import nn

    from latentmill.converting.pythae.source import Source


def export_pythae(
    path: "str | PathLike[str]",
    model: "str | PathLike[str] | nn.Module",
    *,
    name: str | None = None,
    rows: dict[str, Any] | None = None,
    likelihood: dict[str, Any] | None = None,
    encoder: "nn.Module | None" = None,
    decoder: "nn.Module | None" = None,
    decoder_only: bool = False,
    engine: str = "auto",
    description: str = "",
    examples: Any = None,
) -> ExportedBundle:
    """Write the bundle of a pythae `model` at `path`, after comparing it with the model's networks.

    model: the folder of pythae's `model.save(folder)`, or the live model. From a folder pythae is not needed: its
    default networks are rebuilt; networks of your own are given as `encoder` and `decoder`, and copies of them take
    their weights from the folder, whose pickles are never opened. rows: what a row is, of the model's input_dim;
    (C, H, W) with up to four channels is an image in [0, 1] unless told, everything else a tensor. likelihood: what
    the loss means unless told. decoder_only: without the encoder, the latents being what the decoder takes. The prior
    is the one that pythae trains against: of a VAMP the mixture of its pseudo-inputs; none for AE and RAE. Latents
    with a flow (VAE_LinNF, VAE_IAF) are those before it, and the bundle's decoder begins with the flow. Raises
    InvalidBundle for a class whose latents no gaussian describes, naming it and the way out, and NotFound when the
    folder lacks a file.
    """
    check_installed("export_pythae")
    from latentmill.converting.pythae.classes import likelihood_of
    from latentmill.converting.pythae.parts import parts_of
    from latentmill.converting.pythae.rows import checked_shape, proposed_rows

    source = _source(model, encoder, decoder, decoder_only)
    shape = checked_shape(rows, source.row_shape)
    parts = parts_of(source, shape, decoder_only=decoder_only)
    declared, row_note = (rows, "") if rows is not None else proposed_rows(shape)
    meant, loss_note = likelihood_of(source.name, source.config, own_loss=source.own_loss)
    made = export_vae(
        path,
        name=name or bundle_name(path),
        encoder=parts.encoder,
        decoder=parts.decoder,
        rows=declared,
        latent_shape=parts.latent_shape,
        scale=parts.scale,
        likelihood=meant if likelihood is None else likelihood,
        prior=parts.prior,
        engine=engine,
        description=description or f"A {source.name} trained with pythae.",
        examples=None if decoder_only else examples,
        decoder_returns="mean",
    )
    said = [row_note, *parts.notes, loss_note if likelihood is None else ""]
    return replace(made, notes=(*filter(None, said), *made.notes))


def _source(model: Any, encoder: "nn.Module | None", decoder: "nn.Module | None", decoder_only: bool) -> "Source":
    from torch import nn

    from latentmill.converting.pythae.source import of_model, open_folder

    if isinstance(model, str | PathLike):
        return open_folder(Path(model), encoder, decoder, decoder_only=decoder_only)
    if not isinstance(model, nn.Module):
        raise InvalidBundle(f"The model must be a folder or a model of pythae's, not {type(model).__name__}.")
    if encoder is not None or decoder is not None:
        raise InvalidBundle("encoder and decoder belong to a folder; the model that was given has its own.")
    return of_model(model)
