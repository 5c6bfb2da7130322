"""Does the advice work? VAEs trained on MNIST, every way to draw their latents, judged on digits that nothing saw."""
