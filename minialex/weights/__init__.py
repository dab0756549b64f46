"""Weights in files: checkpoints, safetensors, PyTorch's format, and what is loaded from them."""
