"""What a kernel's launches ask of a GPU, line by line, and how long they would take."""
