"""How fast a run goes, and how long it will take."""

from __future__ import annotations

import time
from collections import deque

RECENT_BATCHES = 30
"""The last batches whose mean is shown."""


class Throughput:
    """Times batches.

    Attributes
    ----------
    validation_seconds : float or None
        How long the last validation took; None before the first.
    """

    def __init__(self) -> None:
        self.validation_seconds: float | None = None
        self._recent: deque[tuple[float, int]] = deque(maxlen=RECENT_BATCHES)
        self.start()

    def start(self) -> None:
        """Count the time from now on: what came before was no training."""
        self._last = self._lap = time.perf_counter()
        self._images = 0

    def tick(self, images: int) -> None:
        """Take note of a batch that is done."""
        now = time.perf_counter()
        self._recent.append((now - self._last, images))
        self._last, self._images = now, self._images + images

    def lap(self) -> float:
        """Return the images per second since the last call or `start`."""
        seconds, images = self._last - self._lap, self._images
        self._lap, self._images = self._last, 0
        return images / seconds if seconds > 0 else 0.0

    def images_per_second(self) -> float:
        """Return the recent rate; 0 before the first batch."""
        seconds = sum(s for s, _ in self._recent)
        return sum(n for _, n in self._recent) / seconds if seconds > 0 else 0.0

    def seconds_left(self, batches: int, validations: int) -> float | None:
        """Return how long so many batches and validations will take; None if that is unknown."""
        if not self._recent:
            return None
        a_batch = sum(s for s, _ in self._recent) / len(self._recent)
        return batches * a_batch + validations * (self.validation_seconds or 0.0)
