"""Images: folders, decoding, augmentation, batches, and the built-in digits."""

from minialex.data.colour import Jitter
from minialex.data.datasets import Dataset, ImageFolder, Subset
from minialex.data.decode import BadImageError, Picture, open_picture, read_image
from minialex.data.digits import Digits, write_digits
from minialex.data.folders import open_folder
from minialex.data.listing import PassedOver
from minialex.data.loader import Batch, Loader
from minialex.data.prepare import Crop, prepare
from minialex.data.splits import folds, split
from minialex.data.transforms import Transform, evaluation
from minialex.data.verify import UnreadableImage, drop_unreadable, find_bad

__all__ = [
    "BadImageError",
    "Batch",
    "Crop",
    "Dataset",
    "Digits",
    "ImageFolder",
    "Jitter",
    "Loader",
    "PassedOver",
    "Picture",
    "Subset",
    "Transform",
    "UnreadableImage",
    "drop_unreadable",
    "evaluation",
    "find_bad",
    "folds",
    "open_folder",
    "open_picture",
    "prepare",
    "read_image",
    "split",
    "write_digits",
]
