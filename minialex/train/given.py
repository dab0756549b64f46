"""Settings from what is given: it comes before the recipe, and the recipe before the defaults."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from minialex.errors import MinialexError
from minialex.models import VARIANTS
from minialex.train.recipes import RECIPES
from minialex.train.settings import DECLARATIONS, DIGITS, Settings, check_names
from minialex.train.suited import suited_recipe

_ONLY_WITH: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "momentum": ("optimizer", ("rmsprop", "sgd")),
    "alpha": ("optimizer", ("rmsprop",)),
    "eps": ("optimizer", ("rmsprop", "adam")),
    "lr_step": ("schedule", ("step",)),
    "lr_gamma": ("schedule", ("step",)),
}
"""Settings that are used only where another one has one of these values."""


def check_used(settings: Settings, given: Mapping[str, Any]) -> None:
    """Raise MinialexError for what was given explicitly and would be ignored."""
    for name, (other, values) in _ONLY_WITH.items():
        now = getattr(settings, other)
        if name in given and now not in values:
            raise MinialexError(
                f"{name} is used with {other} {' or '.join(values)}, not with {now}: leave it out, "
                f"or choose another {other}"
            )
    if "max_crop_aspect" in given and settings.min_crop_area == 1:
        raise MinialexError(
            "max_crop_aspect is of random crops, and min_crop_area 1 shows whole images: leave out "
            "one of them"
        )


def make_settings(recipe: str | None = None, **options: Any) -> Settings:
    """Return settings from a recipe and what was given explicitly.

    Parameters
    ----------
    recipe : str, optional
        A key of `RECIPES`; without it "digits" for the digits, and for a folder the one that suits
        its images (`suited_recipe`).
    **options
        Attributes of `Settings`. One that is None counts as not given. Without `image_size`
        it is the one that the network is made for.

    Raises
    ------
    MinialexError
        If there is no such recipe, a value is not allowed, or one that is given would not be used;
        without a recipe, as `suited_recipe`.
    """
    given = {name: value for name, value in options.items() if value is not None}
    check_names(given)
    data = given.get("data", DIGITS)
    if recipe is None:
        recipe = DIGITS if data == DIGITS else suited_recipe(data, given.get("classes")).recipe
    DECLARATIONS["recipe"].checked(recipe)
    settings = Settings(**{"data": data, **RECIPES[recipe], **given, "recipe": recipe})
    check_used(settings, given)
    if "image_size" in given:
        return settings
    return dataclasses.replace(settings, image_size=VARIANTS[settings.variant].image_size)
