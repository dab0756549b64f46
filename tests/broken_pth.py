"""PyTorch's files read by a reader that executes what they say."""

import pickle
import zipfile

from minialex.errors import MinialexError
from tests.campaigns.pth import make

__all__ = ["make", "read"]


def read(path, made):
    try:
        with zipfile.ZipFile(path) as archive:
            pickle.loads(archive.read("archive/data.pkl"))
    except Exception as error:
        raise MinialexError(f"{path.name} is refused") from error
