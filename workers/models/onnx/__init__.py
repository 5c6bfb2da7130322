"""The engine onnx: graphs that a stranger uploaded, run by onnxruntime. Nothing here is loaded before one is opened."""
