"""Rounds of federated learning in NumPy: all clients at once, with gradients written out.

The network is that of the paper: a convolution 5 x 5, ReLU, and a linear layer with softmax. Images are unfolded into
their 5 x 5 patches, behind which stands a 1 for the bias, so that a convolution is a product of matrices.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lifelong_gym.numerics.arrays import FloatArray, IntArray

Float32Array = npt.NDArray[np.float32]

KERNEL = 5  # pixels
PATCH = KERNEL * KERNEL + 1  # with the bias
N_LABELS = 10
FIRST_RARE = 6  # the smallest digit that few clients know


class Network(NamedTuple):
    """The parameters of a network, float32, or those of n networks, with a first axis of length n.

    Attributes:
        kernel: of the convolution, the bias in its last row, shape (26, filters).
        linear: shape (positions * filters, 10).
        bias: shape (10,).
    """

    kernel: Float32Array
    linear: Float32Array
    bias: Float32Array


def n_positions(side: int, stride: int) -> int:
    """At how many places of an image the kernel is evaluated."""
    return ((side - KERNEL) // stride + 1) ** 2


def unfold(images: Float32Array, stride: int) -> Float32Array:
    """Images (n, side, side) as patches (n, positions, 26)."""
    windows = np.lib.stride_tricks.sliding_window_view(images, (KERNEL, KERNEL), axis=(1, 2))[:, ::stride, ::stride]
    patches = np.ones((len(images), windows.shape[1] * windows.shape[2], PATCH), np.float32)
    patches[..., :-1] = windows.reshape(*patches.shape[:2], PATCH - 1)
    return patches


def initial_network(rng: np.random.Generator, positions: int, filters: int) -> Network:
    """Uniform within one over the square root of the number of inputs, as PyTorch begins."""

    def draw(inputs: int, *shape: int) -> Float32Array:
        return rng.uniform(-(inputs**-0.5), inputs**-0.5, shape).astype(np.float32)

    inputs = positions * filters
    return Network(draw(PATCH - 1, PATCH, filters), draw(inputs, inputs, N_LABELS), draw(inputs, N_LABELS))


def gradients(models: Network, patches: Float32Array, labels: IntArray) -> Network:
    """Of each model's mean cross-entropy on images of its own.

    Args:
        models: n of them.
        patches: shape (n, batch, positions, 26).
        labels: shape (n, batch).
    """
    n, batch, positions, _ = patches.shape
    inputs = patches.reshape(n, batch * positions, PATCH)
    hidden = inputs @ models.kernel
    np.maximum(hidden, 0.0, out=hidden)
    features = hidden.reshape(n, batch, -1)
    errors = features @ models.linear + models.bias[:, None]
    errors -= errors.max(axis=-1, keepdims=True)
    np.exp(errors, out=errors)
    errors /= errors.sum(axis=-1, keepdims=True)
    errors[np.arange(n)[:, None], np.arange(batch), labels] -= 1.0
    errors /= batch
    back = (errors @ models.linear.transpose(0, 2, 1)).reshape(hidden.shape)
    back *= hidden > 0.0
    kernel: Any = inputs.transpose(0, 2, 1) @ back
    linear: Any = features.transpose(0, 2, 1) @ errors
    return Network(kernel, linear, errors.sum(axis=1))


def trained(model: Network, batches: Iterable[tuple[Float32Array, IntArray]], learning_rate: float) -> Network:
    """The models of n clients that all start from ``model`` and go down their own gradients, a batch a step.

    Args:
        model: the aggregate.
        batches: patches and labels of all clients, as `gradients` takes them.
        learning_rate: of gradient descent.
    """
    models: Network | None = None
    for patches, labels in batches:
        if models is None:
            models = Network(*(np.repeat(part[None], len(labels), axis=0) for part in model))
        for part, slope in zip(models, gradients(models, patches, labels), strict=True):
            slope *= np.float32(learning_rate)
            part -= slope
    assert models is not None
    return models


def accuracies(models: Network, patches: Float32Array, labels: IntArray) -> FloatArray:
    """The share of the images that each of n models tells right, shape (n,).

    Args:
        models: n of them.
        patches: shape (images, positions, 26).
        labels: shape (images,).
    """
    inputs = patches.reshape(-1, PATCH)
    hidden = np.empty((len(inputs), models.kernel.shape[-1]), np.float32)  # one for all: it stays in the cache
    found = np.empty(len(models.bias))
    for i, (kernel, linear, bias) in enumerate(zip(*models, strict=True)):
        np.matmul(inputs, kernel, out=hidden)
        np.maximum(hidden, 0.0, out=hidden)
        scores = hidden.reshape(len(labels), -1) @ linear + bias
        found[i] = np.mean(scores.argmax(axis=1) == labels)
    return found


def stacked(models: Sequence[Network]) -> Network:
    """Models of clients as one, with a first axis of clients.

    Raises:
        ValueError: no models, or one whose arrays have other shapes or types than the first one's.
    """
    if len(models) == 0:
        raise ValueError("`models` must hold at least one. Received none")
    first = _forms(models[0])
    for i, model in enumerate(models):
        for name, form in _forms(model).items():
            if form != first[name]:
                raise ValueError(
                    f"clients' models must be alike: `{name}` of client 0 is {first[name]}. Received {form} of client "
                    f"{i}"
                )
    return Network(*(np.stack(parts) for parts in zip(*models, strict=True)))


def _forms(model: Network) -> dict[str, str]:
    return {name: f"{part.dtype} of shape {part.shape}" for name, part in model._asdict().items()}


def average(models: Network, shares: npt.ArrayLike) -> Network:
    """The aggregate of n models.

    Args:
        models: n of them.
        shares: shape (n,), at least 0, with sum 1.

    Raises:
        ValueError: shares that aren't so.
    """
    weights = np.asarray(shares, np.float64)
    n = len(models.bias)
    if weights.shape != (n,) or not np.all(weights >= 0.0) or abs(weights.sum() - 1.0) > 1e-6:
        raise ValueError(f"`shares` must be {n} numbers of at least 0 with sum 1. Received {shares!r}")
    return Network(*(np.tensordot(weights.astype(np.float32), part, 1) for part in models))
