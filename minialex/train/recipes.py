"""Recipes: values of settings known to work together.

==============  ====================================================================
`digits`        the built-in digits with `alexnet-mini`: over 98 % in half a minute
`images`        a folder of images. From the article's section 3.1: 50 epochs, batches
                of 32, RMSprop at 0.001 with momentum 0.9 and weight decay 0.0005.
                Added, so that it learns: a warm-up, a falling rate, RMSprop's eps at
                0.03
`small-images`  a folder of images up to 64x64 pixels, with `alexnet-mini`: Adam, crops
                that keep half of an image or more, since less of 32 pixels shows
                nothing, and colours that change
`article`       the article's optimizer and schedule to the letter (sections 2.4 and
                2.5): no warm-up, 0.01, halved every 256 batches
==============  ====================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

RECIPES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "digits": {
            "variant": "alexnet-mini",
            "epochs": 12,
            "lr": 0.0003,
            "eps": 0.003,
            "label_smoothing": 0.1,
            "schedule": "cosine",
            "warmup": None,
            "dropout": 0.2,
            "min_crop_area": 0.7,
            "max_crop_aspect": 1.25,
            "flip": 0.0,
        },
        "images": {"eps": 0.03, "schedule": "cosine", "warmup": None},
        "small-images": {
            "variant": "alexnet-mini",
            "epochs": 56,
            "optimizer": "adam",
            "label_smoothing": 0.1,
            "schedule": "cosine",
            "warmup": None,
            "min_crop_area": 0.5,
            "brightness": 0.3,
            "contrast": 0.3,
            "saturation": 0.3,
            "hue": 0.05,
        },
        "article": {"lr": 0.01, "schedule": "article"},
    }
)
