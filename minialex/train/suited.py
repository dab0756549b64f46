"""The recipe that suits images: those too small for the usual one have their own."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass

from minialex.data.listing import read_classes
from minialex.data.sizes import Size, sample_sizes
from minialex.models import VARIANTS
from minialex.train.recipes import RECIPES

MAX_SMALL_PIXELS = VARIANTS[RECIPES["small-images"]["variant"]].image_size
"""Images up to so many pixels wide and high are small: that network sees all that is in them."""


@dataclass(frozen=True)
class SuitedRecipe:
    """A recipe, and why.

    Attributes
    ----------
    recipe : str
        A key of `RECIPES`.
    images : str
        A description of the images that it suits, such as "images of 32x32 pixels".
    """

    recipe: str
    images: str


def suited_recipe(data: str, classes: str | None = None) -> SuitedRecipe:
    """Return the recipe for a folder of images, of which some hundred are looked at.

    The median size decides: half of the images are no larger.

    Parameters
    ----------
    data : str
        The folder.
    classes : str, optional
        The file that names the class folders that are used, where not all are.

    Raises
    ------
    MinialexError
        If the folder is not as it must be (see `minialex.data.folders.find_dataset_folders`), or
        the file cannot be read.
    """
    # messages name the folder as those of a run do
    root = os.path.abspath(data)
    return recipe_for(sample_sizes(root, None if classes is None else read_classes(classes)))


def recipe_for(sizes: Collection[Size]) -> SuitedRecipe:
    """Return the recipe for images of these widths and heights; "images" where there are none."""
    if not sizes:
        return SuitedRecipe("images", "images of unknown size")
    ordered = sorted(sizes, key=lambda size: (max(size), size))
    width, height = ordered[(len(ordered) - 1) // 2]
    about = "" if len(set(sizes)) == 1 else "about "
    recipe = "small-images" if max(width, height) <= MAX_SMALL_PIXELS else "images"
    return SuitedRecipe(recipe, f"images of {about}{width}x{height} pixels")
