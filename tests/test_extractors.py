"""Networks that see: their size, what they see, and what is too small for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticCnnPolicy

from lifelong_gym.agents import C3F2, DCPG, SmallCNN
from lifelong_gym.agents.decentralised.shared import CRITIC
from tests.test_multi_agent import PPO, agents_env, assert_same, families  # noqa: F401 (a fixture for this file)


def images(side: int, channels: int = 3) -> spaces.Box:
    """A space of images, channels first."""
    return spaces.Box(0, 255, (channels, side, side), np.uint8)


def test_the_papers_network_has_its_size() -> None:
    """1,280,025 parameters, counted layer by layer, for 103 x 103 x 3 and 25 actions."""
    made: Any = {
        "features_extractor_class": C3F2,
        "net_arch": [],
        "share_features_extractor": False,
        "ortho_init": False,
    }
    policy = ActorCriticCnnPolicy(images(103), spaces.Discrete(25), lambda _: 1e-4, **made)
    sizes = [p.numel() for name, p in policy.named_parameters() if not name.startswith(CRITIC)]
    layers = [7 * 7 * 3 * 96 + 96, 5 * 5 * 96 * 64 + 64, 3 * 3 * 64 * 64 + 64, 1024 * 1024 + 1024, 1024 * 25 + 25]
    assert sum(sizes) == sum(layers) == 1_280_025


@pytest.mark.parametrize(("kind", "side"), [(C3F2, 63), (SmallCNN, 17)])
def test_the_smallest_image(kind: Any, side: int) -> None:
    """That size works; one pixel less is refused with both sizes."""
    assert kind(images(side), features_dim=7)(th.zeros(2, 3, side, side)).shape == (2, 7)
    with pytest.raises(ValueError, match=rf"at least {side} pixels a side. Received {side - 1} x {side - 1}"):
        kind(images(side - 1))
    with pytest.raises(ValueError, match=r"must see images.* Received Box"):
        kind(spaces.Box(-1, 1, (3,)))
    with pytest.raises(ValueError, match="`standardise` must be True or False"):
        kind(images(side), standardise=1)


def test_standardised_images_hide_brightness_and_contrast() -> None:
    """Mean 0 and deviation 1 each; darker or paler pictures look the same, plain ones are 0."""
    seen = th.rand(2, 3, 20, 20)
    seen[1] = 0.5
    network, raw = (SmallCNN(images(20), standardise=flag) for flag in (True, False))
    shown = network.seen(seen)
    np.testing.assert_allclose([shown[0].mean(), shown[0].std(correction=0)], [0, 1], atol=1e-5)
    assert not shown[1].any()
    np.testing.assert_allclose(network(seen[:1]).detach(), network(0.3 * seen[:1] + 0.1).detach(), atol=1e-4)
    assert not th.allclose(raw(seen[:1]), raw(0.3 * seen[:1] + 0.1), atol=1e-3)


def test_agents_with_images_resume_to_the_bit(tmp_path: Path) -> None:
    """DCPG over cameras, its networks named in JSON; features are mixed, the critic's own ones aren't."""
    kwargs = {
        "features_extractor_class": "SmallCNN",
        "features_extractor_kwargs": {"features_dim": 8, "standardise": True},
        "net_arch": [],
        "share_features_extractor": False,
    }

    def env() -> Any:
        return agents_env("Camera-v0", topology="ring")

    def make() -> DCPG:
        return DCPG("CnnPolicy", env(), 0.01, base_kwargs=PPO, policy_kwargs=kwargs, share="features", seed=0)

    whole, half = make().learn(32), make().learn(16)
    half.save(tmp_path / "model")
    resumed = DCPG.load(tmp_path / "model", env=env(), device="cpu").learn(16, reset_num_timesteps=False)
    assert_same(resumed, whole)
    one, other = (agent.policy.state_dict() for agent in whole.agents)
    for name, equal in [
        ("features_extractor.convolutions.0.weight", True),
        ("vf_features_extractor.convolutions.0.weight", False),
        ("action_net.weight", False),
    ]:
        assert th.allclose(one[name], other[name], atol=1e-7) == equal, name
