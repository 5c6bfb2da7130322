"""What `latentmill export` prints: how a checkpoint becomes a bundle, in brief; docs/bundles.md has all of it."""

HOW = """\
Usage: latentmill export [--help]
       latentmill export pythae|diffusers|onnx --help

From a checkpoint to a bundle
=============================

A bundle is one file, NAME.vae.zip: no code, no pickle. Make it where your own
classes are, with what trained them: pip install 'latentmill[export]'. All of
this with more detail, and what is refused: docs/bundles.md in the project.

1. A pair of PyTorch modules and its checkpoint:

    import torch
    from latentmill import export_vae
    from my_project import Decoder, Encoder

    encoder, decoder = Encoder(latent=10), Decoder(latent=10)
    state = torch.load("checkpoint.pt", map_location="cpu", weights_only=True)
    encoder.load_state_dict(state["encoder"])
    decoder.load_state_dict(state["decoder"])

    bundle = export_vae(
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
    print(*bundle.notes, sep="\\n")

2. Other heads, labels, rows:
   scale       what the second output means; none: there is no second one
   head        chunked: halves of axis 1; interleaved: view(N, D, 2)
   outputs     {"mean": 1, "scale": 2} where the modules return more
   labels      {"classes": ["0", ...], "encoding": "one_hot" or "index"}; the
               modules are then called with (x, y) and (z, y)
   rows        tables: table_rows(dataframe).rows; series:
               series_windows(data, steps=24).rows; {"kind": "tensor", ...}
   likelihood  bernoulli, categorical (logits are seen), gaussian with "std",
               which may be "learned": the decoder returns (x, std); point
   prior       {"kind": "mixture", "weights": ..., "means": ...,
               "variances": ...}, or {"kind": "none"}
   encoder     None for a decoder alone

3. A forward of your own (attention, einsum, ...): the same call. What the
   engine torch has no layer for becomes ONNX graphs, and the last note says
   why; engine="torch" or engine="onnx" insists.

4. Folders that pythae or diffusers (AutoencoderKL) saved:

    latentmill export pythae FOLDER mnist.vae.zip
    latentmill export diffusers FOLDER kl.vae.zip

5. Keras, TensorFlow and others: encoder and decoder as two ONNX files:

    latentmill export onnx keras.vae.zip --encoder encoder.onnx \\
        --decoder decoder.onnx --latent 2 --rows \\
        '{"kind": "image", "shape": [28, 28, 1], "layout": "HWC"}'

The exporter runs modules and bundle on the same inputs, and refuses a bundle
that differs by more than 1e-5. With examples=rows, some real rows as you would
upload them, it also notes when head or scale must be another. Then:

    latentmill models add mnist.vae.zip --name mnist
"""
