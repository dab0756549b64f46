"""What the suite tries a part of, whole: ``pytest tests/campaigns``, some ten minutes; CI runs it."""
