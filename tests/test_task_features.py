"""What observations say of the task on the scale of a preset, and learners that normalise what they see."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import lifelong_gym
from lifelong_gym.benchmark.experiment import Experiment
from lifelong_gym.benchmark.families import FamilySpec
from lifelong_gym.benchmark.learners import LearnerSpec
from lifelong_gym.benchmark.protocol import Protocol
from lifelong_gym.benchmark.run import RunSpec
from lifelong_gym.envs.core import Core
from lifelong_gym.envs.settings import Settings
from lifelong_gym.envs.spaces import Bounded
from lifelong_gym.envs.task_features import TaskFeatures
from lifelong_gym.envs.vector import LifelongVectorEnv
from lifelong_gym.tasks.distributions import Uniform
from lifelong_gym.tasks.parameter_space import ParameterSpace, Preset
from lifelong_gym.tasks.parameters import Parameter

POLE = "LifelongCartPole-v0"
GENERALISE = {"name": "generalise", "episodes_per_task": 4, "n_evaluations": 1, "n_eval_episodes": 1}


class Drawn:
    """As much of a family as task features look at."""

    observations = Bounded((), ())
    parameters = ParameterSpace(
        [
            Parameter("mass", "kg", "of it", (0.1, 10.0), Uniform(3.0, 5.0)),
            Parameter("wind", "m/s", "may be anything", (-np.inf, np.inf), Uniform(-2.0, 6.0)),
            Parameter("cover", "1", "what it is made of", names=("wood", "tin", "straw")),
            Parameter("tilt", "rad", "always the same", (-1.0, 1.0), nominal=0.1),
        ],
        {"heavy": Preset({"mass": Uniform(8.0, 9.0)}, "heavy ones")},
    )


def features(tasks: Any, kind: str = "standardised") -> TaskFeatures:
    """Of tasks of that family."""
    return TaskFeatures.of(Drawn(), tasks, kind)  # type: ignore[arg-type]


def test_parameters_are_standardised_by_what_the_preset_draws() -> None:
    """Less its mean, over its deviation; names one-hot, what doesn't vary 0; bounds on the same scale."""
    space = Drawn.parameters
    shown = features(space.sample(4000, seed=3))
    assert shown.values.dtype == np.float32
    assert shown.values[:, :2].mean(axis=0) == pytest.approx([0, 0], abs=0.1)
    assert shown.values[:, :2].std(axis=0) == pytest.approx([1, 1], abs=0.1)
    np.testing.assert_array_equal(shown.values[:, 2:], np.tile([1, 0, 0, 0], (4000, 1)))
    drawn = space.sample(1024, seed=0).values
    given = space.tasks([{"mass": 10.0, "wind": 100.0, "cover": "tin", "tilt": -1.0}])
    wind = (100.0 - drawn[:, 1].mean()) / drawn[:, 1].std()
    mass = (np.array([0.1, 10.0]) - drawn[:, 0].mean()) / drawn[:, 0].std()
    assert features(given).values[0] == pytest.approx([mass[1], wind, 0, 1, 0, -1.1])
    assert shown.low == pytest.approx([mass[0], -np.inf, 0, 0, 0, -1.1])
    assert shown.high == pytest.approx([mass[1], np.inf, 1, 1, 1, 0.9])


def test_whose_scale_it_is() -> None:
    """That of the tasks' own preset, of `default` for tasks that were given, or of the one that is named."""
    space = Drawn.parameters
    heavy = space.sample(50, preset="heavy")
    assert abs(features(heavy).values[:, 0].mean()) < 0.5
    given = space.tasks([dict(task) for task in heavy])
    np.testing.assert_array_equal(features(given).values, features(heavy, "standardised:default").values)
    assert features(given).values[:, 0].min() > 5
    assert features(given, "standardised:heavy").values[:, 0] == pytest.approx(features(heavy).values[:, 0])
    np.testing.assert_array_equal(features(heavy[[7]]).values[0], features(heavy).values[7])
    with pytest.raises(ValueError, match=r"unknown preset 'hevy'\. Did you mean 'heavy'"):
        features(heavy, "standardised:hevy")
    with pytest.raises(ValueError, match=r"unknown task_observation 'standardized'\. Did you mean 'standardised'"):
        features(heavy, "standardized")
    with pytest.raises(ValueError, match=r'"append"`.*finite and apart. Received \'wind\''):
        features(heavy, "append")


def test_spaces_tell_the_truth() -> None:
    """Tasks at the bounds of all parameters lie in the space, behind what sensors say."""
    family = lifelong_gym.family(POLE)
    low, high = family.parameters.bounds
    tasks = [dict(zip(family.parameters.names, bound.tolist(), strict=True)) for bound in (low, high)]
    core = Core(family, 2, Settings(tasks=tasks, task_observation="standardised:hetero", backend="python"))
    core.seed(np.arange(2), [0, 1])
    observations = core.empty_observations()
    core.begin(np.arange(2), observations)
    space = core.single_observation_space
    assert isinstance(space, gym.spaces.Box)
    assert all(space.contains(row) for row in observations)
    np.testing.assert_array_equal(observations[:, 4:], np.stack([space.low, space.high])[:, 4:])


def test_a_learner_keeps_the_scale_that_it_was_trained_on() -> None:
    """In other sets of tasks, whatever these are drawn from; else networks would see one task as another."""
    table = {"preset": "hetero", "n_tasks": 2, "evaluate": {"wide": {"preset": "wide", "n_tasks": 3}}}
    content = {"learners": ["PPO+standardised"], "families": {POLE: table}, "protocol": GENERALISE, "seeds": 1}
    ((_, run),) = Experiment.of_dict(content).runs()
    run.check()
    own, there = run.evaluation.env(2), run.elsewhere["wide"].env(3)
    assert there.core.settings.task_observation == "standardised:hetero"
    assert there.single_observation_space == own.single_observation_space
    free = LifelongVectorEnv(POLE, 3, tasks=there.core.tasks, task_observation="standardised")
    assert free.single_observation_space != there.single_observation_space


def test_suffixes_of_learners() -> None:
    """Several in one name, a preset's too; nonsense is told before anything runs."""
    spec = LearnerSpec.of("stable_baselines3:PPO+standardised:hetero+norm")
    assert (spec.label, spec.kind) == ("PPO+standardised:hetero+norm", "stable_baselines3:PPO")
    assert (spec.task_observation, spec.norm, spec.alone) == ("standardised:hetero", True, False)
    assert LearnerSpec.of("PPO+norm+scratch").alone
    assert "norm" not in LearnerSpec.of("PPO").to_dict()  # whose files keep their names
    for name in ("PPO+append+one_hot", "PPO+norm+norm"):
        with pytest.raises(ValueError, match="each suffix once, and one at most that says what it sees"):
            LearnerSpec.of(name)
    for name in ("PGELLA+norm", "random+norm", "tests.toy_learners:Counter+norm"):
        with pytest.raises(ValueError, match="`norm` must be false, or the learner one of Stable-Baselines3's"):
            LearnerSpec.of(name)
    spec = LearnerSpec.of("PPO+norm")
    for family in (FamilySpec.of("LifelongGridWorld-v0", 2), FamilySpec.of("LifelongAllocation-v0", 2)):
        with pytest.raises(ValueError, match="`norm` must be false where observations are no plain vectors"):
            RunSpec(spec, family, family.tasks, Protocol(), 0, None).check()
