"""Images: folders, decoding, augmentation, batches, and the built-in digits."""

from minialex.data.batch import Batch
from minialex.data.colour import Jitter
from minialex.data.datasets import Dataset, ImageFolder, Subset
from minialex.data.decode import LazyImage, UnreadableImageError, open_image, read_image
from minialex.data.digits import Digits, write_digits
from minialex.data.folders import open_folder
from minialex.data.listing import IgnoredFiles
from minialex.data.loader import DataLoader
from minialex.data.pack import Packed, pack_images
from minialex.data.packed import PackedImages
from minialex.data.prepare import Crop, prepare
from minialex.data.splits import split
from minialex.data.transforms import Transform, eval_transform
from minialex.data.verify import UnreadableImage, drop_unreadable, find_unreadable

__all__ = [
    "Batch",
    "Crop",
    "DataLoader",
    "Dataset",
    "Digits",
    "IgnoredFiles",
    "ImageFolder",
    "Jitter",
    "LazyImage",
    "Packed",
    "PackedImages",
    "Subset",
    "Transform",
    "UnreadableImage",
    "UnreadableImageError",
    "drop_unreadable",
    "eval_transform",
    "find_unreadable",
    "open_folder",
    "open_image",
    "pack_images",
    "prepare",
    "read_image",
    "split",
    "write_digits",
]
