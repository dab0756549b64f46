"""What the suite tries a part of, whole: ``pytest tests/campaigns``, ten minutes. CI runs it."""
