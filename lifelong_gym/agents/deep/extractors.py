"""Networks that see: features of images for policies of Stable-Baselines3."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import torch as th
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

from lifelong_gym.agents.contract.checks import count, flag

LEAST_DEVIATION = 1e-6  # of an image that is one colour all over


class _ConvolutionalExtractor(BaseFeaturesExtractor):
    """Convolutions, then one dense layer, of images with channels first."""

    convolutions: nn.Sequential
    smallest: int  # height and width that leave something behind the convolutions

    def __init__(
        self, observation_space: gym.Space[Any], features_dim: int, standardise: bool, normalized_image: bool
    ) -> None:
        """See the subclasses."""
        super().__init__(observation_space, count("features_dim", features_dim))
        name = type(self).__name__
        if not is_image_space(observation_space, check_channels=False, normalized_image=normalized_image):
            raise ValueError(f"`{name}` must see images, a Box of 3 axes and dtype uint8. Received {observation_space}")
        channels, height, width = observation_space.shape or ()
        if min(height, width) < self.smallest:
            raise ValueError(f"`{name}` must see at least {self.smallest} pixels a side. Received {height} x {width}")
        self.standardise = flag("standardise", standardise)
        self.convolutions = self._convolutions(channels)
        with th.no_grad():
            n_flat = self.convolutions(th.zeros(1, channels, height, width)).shape[1]
        self.dense = nn.Sequential(nn.Linear(n_flat, features_dim), nn.ReLU())

    def _convolutions(self, channels: int) -> nn.Sequential:
        raise NotImplementedError

    def forward(self, observations: th.Tensor) -> th.Tensor:
        """Features, (n, features_dim)."""
        features: th.Tensor = self.dense(self.convolutions(self.seen(observations)))
        return features

    def seen(self, observations: th.Tensor) -> th.Tensor:
        """Images as the convolutions get them."""
        return standardised(observations) if self.standardise else observations


def standardised(images: th.Tensor) -> th.Tensor:
    """Each image, (n, channels, height, width), with mean 0 and deviation 1: how bright it is can't be seen."""
    apart = images - images.mean(dim=(1, 2, 3), keepdim=True)
    deviation = apart.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()  # five times as fast as PyTorch's own
    return apart / deviation.clamp_min(LEAST_DEVIATION)


class C3F2(_ConvolutionalExtractor):
    """The network of Zeng et al. (2021) and PEDRA: three convolutions and, with a policy's last layer, two dense ones.

    7 x 7 with stride 4 and 96 channels, max-pooling 3 / 2; 5 x 5, 64, max-pooling 2 / 2; 3 x 3, 64, padded; dense. For
    images of 103 x 103 x 3 and 25 actions, with ``net_arch=[]`` and without a critic, that is 1,280,025 parameters.

    Args:
        observation_space: of images, channels first, at least 63 pixels a side.
        features_dim: width of the dense layer.
        standardise: whether each image is brought to mean 0 and deviation 1.
        normalized_image: whether pixels are in [0, 1] already; given by SB3.

    Raises:
        ValueError: no images, or too small ones.
    """

    smallest = 63

    def __init__(
        self,
        observation_space: gym.Space[Any],
        features_dim: int = 1024,
        standardise: bool = False,
        normalized_image: bool = False,
    ) -> None:
        """See the class."""
        super().__init__(observation_space, features_dim, standardise, normalized_image)

    def _convolutions(self, channels: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(channels, 96, 7, stride=4),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(96, 64, 5),
            nn.ReLU(),
            nn.MaxPool2d(2, stride=2),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
        )


class SmallCNN(_ConvolutionalExtractor):
    """A network for small images.

    5 x 5 with stride 2 and 16 channels; 3 x 3 with stride 2, 32; 3 x 3, 32; dense.

    Args:
        observation_space: of images, channels first, at least 17 pixels a side.
        features_dim: width of the dense layer.
        standardise: whether each image is brought to mean 0 and deviation 1.
        normalized_image: whether pixels are in [0, 1] already; given by SB3.

    Raises:
        ValueError: no images, or too small ones.
    """

    smallest = 17

    def __init__(
        self,
        observation_space: gym.Space[Any],
        features_dim: int = 128,
        standardise: bool = False,
        normalized_image: bool = False,
    ) -> None:
        """See the class."""
        super().__init__(observation_space, features_dim, standardise, normalized_image)

    def _convolutions(self, channels: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(channels, 16, 5, stride=2),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3),
            nn.ReLU(),
            nn.Flatten(),
        )
