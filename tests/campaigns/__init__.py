"""What the suite tries a part of, whole: ``pytest tests/campaigns``, two minutes; CI runs it."""
