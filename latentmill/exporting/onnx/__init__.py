"""Modules and foreign files as ONNX graphs of a bundle. Nothing here is loaded before one is made."""
