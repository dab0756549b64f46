"""What the ops share on the way to their CUDA kernels."""
