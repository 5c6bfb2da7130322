"""What `latentmill export` prints: how a checkpoint becomes a bundle, with a worked example."""

HOW = """\
Usage: latentmill export [--help]
       latentmill export pythae|diffusers|onnx --help

From a checkpoint to a bundle
=============================

A bundle is one file, NAME.vae.zip: vae.json and weights.safetensors, no pickle.
Make it where your own classes are, with the torch that trained them
(pip install 'latentmill[export]'):

    import torch
    from latentmill import export_vae
    from my_project import Decoder, Encoder

    encoder, decoder = Encoder(latent=10), Decoder(latent=10)
    state = torch.load("checkpoint.pt", map_location="cpu", weights_only=True)
    encoder.load_state_dict(state["encoder"])
    decoder.load_state_dict(state["decoder"])

    export_vae(
        "mnist.vae.zip",
        name="mnist",
        encoder=encoder,        # x -> (mean, scale), or one tensor, see head
        decoder=decoder,        # z -> x
        rows={"kind": "image", "shape": [1, 28, 28], "range": [0, 1]},
        latent_shape=[10],
        scale="log_variance",   # log_variance, log_std, variance, std, none
        head="pair",            # pair; one tensor: chunked, interleaved
        likelihood={"kind": "bernoulli"},
    )

scale says what the encoder's second output means; none: there is no second one.
head says how one tensor holds both: chunked = halves of axis 1, interleaved =
view(N, D, 2). Other rows are series ({"kind": "series", "steps": 30,
"features": [...]}), tables and tensors ({"kind": "tensor", "shape": [...]}).
A conditional VAE takes labels={"classes": ["0", ...], "encoding": "one_hot"};
its modules are called with (x, y) and (z, y).

The exporter runs your modules and the bundle on the same inputs, and refuses a
bundle that differs. With examples=rows, some real rows as you would upload
them, it also decodes those and notes when head or scale must be another. Then:

    latentmill models add mnist.vae.zip --name mnist
"""
