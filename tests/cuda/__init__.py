"""Tests of the door to CUDA and of the emulator behind it."""
