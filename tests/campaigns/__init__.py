"""What the suite tries a part of, whole.

``pytest tests/campaigns`` runs what CI runs, in ten minutes; ``python -m tests.campaigns`` lists
what has a count and a seed.
"""
