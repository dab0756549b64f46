"""The CPU itself: its cores, its memory, and how array operations are shared out to them."""
