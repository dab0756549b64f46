"""What each warp of a kernel does and what it costs, from what the emulator records and counts."""
