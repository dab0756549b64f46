"""Data in an HTML page: in one script element, from which no text of the data can get out."""

from __future__ import annotations

import json
from typing import Any

MARK = "/*DATA*/"
"""What stands in a page's template where its data goes."""


def embedded(data: Any) -> str:
    """Return `data` as the text of an element ``<script type="application/json">``."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    # "<" would let a text end the element; JSON reads it back from its escape
    return text.replace("<", "\\u003c")
