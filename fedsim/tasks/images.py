"""Images by class, from where they come: scikit-learn's digits, or a folder of images for each class."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fedsim import files
from fedsim.errors import CorpusError
from fedsim.options import Choice, kind, option
from fedsim.version import install
from fedsim.words import count, plural

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
"""By which a file in a folder of images counts as one; others are not looked at."""
MOST_FILE_BYTES = 64 * files.MB
MOST_PIXELS = 50_000_000
"""Of one image before it is made smaller: what a small file may blow up to."""
MOST_BYTES = 1000 * files.MB
"""Of all images in memory, at a byte a pixel and colour."""


def is_image(path: Path) -> bool:
    """Whether a file counts as an image, by its name."""
    return path.suffix.lower() in SUFFIXES


@dataclass(frozen=True, kw_only=True)
class Images(Choice):
    """The images that are learned from."""

    point = "source of images"

    held_out: float = option(0.1, "share of every class for validation, and for test", gt=0, lt=0.5)
    seed: int = option(0, "of what is held out, whatever the run's", ge=0)

    @property
    def planes(self) -> int:
        """1 of grey, or 3 of red, green and blue."""
        raise NotImplementedError

    @property
    def side(self) -> int:
        """Pixels on a side."""
        raise NotImplementedError

    def classes(self) -> list[str]:
        """The names of the classes, in the order of their numbers."""
        raise NotImplementedError

    def stamp(self) -> Hashable:
        """Changes whenever what would be read does."""
        return None

    def read(self) -> Pictures:
        """All images.

        Raises:
            CorpusError: they cannot be had.
        """
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Pictures:
    """Images and their classes.

    Attributes:
        names: of the classes.
        pixels: uint8[n, planes, side, side].
        labels: int64[n], the number of each one's class.
        white: the value of a pixel that is lit in full.
    """

    names: Sequence[str]
    pixels: NDArray[np.uint8]
    labels: Ints
    white: int

    @property
    def sha256(self) -> str:
        """Of classes, pixels and labels."""
        found = hashlib.sha256(repr([*self.names, self.pixels.shape]).encode())
        found.update(self.pixels.tobytes())
        found.update(self.labels.tobytes())
        return found.hexdigest()


@dataclass(frozen=True, kw_only=True)
class Digits(Images):
    """Handwritten digits that come with scikit-learn: 1,797 of 8 x 8 pixels in 17 shades of grey."""

    kind: Literal["digits"] = kind("digits")

    @property
    def planes(self) -> int:
        return 1

    @property
    def side(self) -> int:
        return 8

    def classes(self) -> list[str]:
        return [str(digit) for digit in range(10)]

    def read(self) -> Pictures:
        import numpy as np

        try:
            from sklearn.datasets import load_digits
        except ImportError as fault:
            raise CorpusError(
                f"the digits come with scikit-learn, which cannot be imported ({fault}); install it with: "
                f"{install('vision')}",
                key="learning.images",
            ) from None
        found = load_digits()
        pixels, labels = found.images.astype(np.uint8)[:, None], found.target.astype(np.int64)
        return Pictures(self.classes(), pixels, labels, 16)


@dataclass(frozen=True, kw_only=True)
class Folder(Images):
    """A folder with a folder of images for each class."""

    path: str = option(description="the folder; those in it are the classes, by name", min_length=1)
    pixels: int = option(32, "pixels on a side to which every image is brought", ge=4, le=512)
    colour: bool = option(True, "red, green and blue; or shades of grey")
    kind: Literal["folder"] = kind("folder")

    @property
    def planes(self) -> int:
        return 3 if self.colour else 1

    @property
    def side(self) -> int:
        return self.pixels

    def listed(self) -> dict[str, list[Path]]:
        """The image files of each class, both sorted by name.

        Raises:
            CorpusError: there is no such folder, no two classes, or a link that leads out of it.
        """
        root = Path(self.path)
        if not root.is_dir():
            why = "it is not a folder" if root.exists() else "there is no such folder"
            raise CorpusError(f"cannot be read: {why}", file=root)
        files.refuse_links(root, CorpusError)  # reads both levels of folders
        found: dict[str, list[Path]] = {}
        for folder in sorted(path for path in root.iterdir() if path.is_dir() and path.name[0] != "."):
            found[folder.name] = sorted(path for path in folder.iterdir() if is_image(path))
            if not found[folder.name]:
                raise CorpusError(f"holds no images; they end in {', '.join(SUFFIXES)}", file=folder)
        if len(found) < 2:
            raise CorpusError(
                f"has {plural(len(found), 'folder')} in it; give each class its own, at least two", file=root
            )
        return found

    def classes(self) -> list[str]:
        return list(self.listed())

    def stamp(self) -> Hashable:
        found = []
        for path in [path for paths in self.listed().values() for path in paths]:
            files.size_of(path, CorpusError, MOST_FILE_BYTES)
            found.append((str(path), (status := path.stat()).st_size, status.st_mtime_ns))
        return tuple(found)

    def read(self) -> Pictures:
        import numpy as np

        listed = self.listed()
        total = sum(map(len, listed.values()))
        if (wanted := total * self.planes * self.pixels**2) > MOST_BYTES:
            raise CorpusError(
                f"{count(total)} images of {self.pixels} x {self.pixels} pixels come to"
                f" {wanted / files.MB:,.0f} MB in memory, where {MOST_BYTES / files.MB:,.0f} MB is the most;"
                " make 'pixels' smaller",
                file=self.path,
            )
        pixels = [self._image(path) for paths in listed.values() for path in paths]
        labels = np.repeat(np.arange(len(listed)), [len(paths) for paths in listed.values()])
        return Pictures(list(listed), np.stack(pixels), labels.astype(np.int64), 255)

    def _image(self, path: Path) -> NDArray[np.uint8]:
        """uint8[planes, side, side]: an image, the middle of it if it is not square."""
        import numpy as np
        from PIL import Image, ImageOps

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what is odd about a file that can be read
                with Image.open(path) as image:
                    if image.width * image.height > MOST_PIXELS:
                        raise CorpusError(
                            f"is too large: {image.width} x {image.height} pixels, where"
                            f" {MOST_PIXELS / 1e6:g} million is the most",
                            file=path,
                        )
                    plain = ImageOps.exif_transpose(image).convert("RGB" if self.colour else "L")
                square = ImageOps.fit(plain, (self.pixels, self.pixels), Image.Resampling.BICUBIC)
        except CorpusError:
            raise
        except Exception as fault:  # whatever decoders of a dozen formats raise
            why = " ".join(str(fault).split()).removesuffix(f" {str(path)!r}")
            raise CorpusError(f"is not an image that can be read: {why}", file=path) from None
        return np.asarray(square, np.uint8).reshape(self.pixels, self.pixels, self.planes).transpose(2, 0, 1)


SOURCES = (Digits, Folder)


def pictures(images: Images) -> Pictures:
    """What is learned from, read once in a process.

    Raises:
        CorpusError: it cannot be had.
    """
    return _read(images, images.stamp())


@lru_cache(maxsize=1)
def _read(images: Images, _stamp: Hashable) -> Pictures:
    return images.read()
