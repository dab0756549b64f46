"""Tests of the CUDA launch layer and of its emulator."""
