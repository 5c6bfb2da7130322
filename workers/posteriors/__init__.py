"""The aggregate posterior: encodings of rows, and densities fitted to them."""
