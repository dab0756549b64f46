"""What the suite tries a part of, whole: ``pytest tests/campaigns``, minutes, before a release."""
