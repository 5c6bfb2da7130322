"""Models of other libraries -> bundles: their files are read without the code or the pickles that lie beside them."""
