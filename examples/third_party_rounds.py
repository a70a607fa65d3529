"""A method that isn't ours, for agents that nobody tells their tasks: each finds out by trying, and keeps a notebook.

Row i of the env is agent i. ``meet`` is optional: it lets an agent recognise a task before it is measured there.
From this folder:
``lifelong benchmark --protocol rounds --envs LifelongChain-v0 --agents DQN,third_party_rounds:Notebooks``
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from rich.console import Console

from lifelong_gym.wrappers import steps_left


class Page:
    """Q-learning in one task, which is recognised by what was earned where."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.q, self.signature, self.n_steps = np.zeros(shape), np.full(shape[0], np.nan), 0

    def predict(self, observations: Any, deterministic: bool = True) -> Any:
        """The best actions."""
        return self.q[observations].argmax(axis=1)

    def learn(self, seen: int, action: int, reward: float, then: int) -> None:
        """From a step."""
        self.n_steps += 1
        self.signature[then] = max(reward, np.nan_to_num(self.signature[then]), key=abs)
        self.q[seen, action] += 0.2 * (reward + 0.95 * self.q[then].max() - self.q[seen, action])

    def is_like(self, other: "Page") -> bool:
        """Whether nothing tells two tasks apart."""
        return bool(np.nanmax(np.abs(self.signature - other.signature)) < 0.01)


class Notebooks:
    """An agent looks for 100 steps at the task of a round, and goes on at its page, or begins a new one."""

    look = 100

    def __init__(self, env: Any, seed: int = 0) -> None:
        self.env, self.rng = env, np.random.default_rng(seed)
        self.shape = int(env.observation_space.n), int(env.action_space.n)
        self.notebooks: list[list[Page]] = [[] for _ in range(env.num_envs)]
        self.pages = [Page(self.shape) for _ in range(env.num_envs)]

    def learn(self, total_timesteps: int) -> None:
        """Until there are no steps left; whoever has looked long enough acts by its page in four steps of five."""
        while steps_left(self.env):
            self._round(self.env, self.pages, steps_left(self.env) // self.env.num_envs)

    def on_task_start(self, info: dict[str, int]) -> None:
        """A round begins, in tasks that nobody knows."""
        self.pages[:] = [Page(self.shape) for _ in self.pages]

    def _round(self, env: Any, pages: list[Page], n_steps: int) -> None:
        seen = env.reset()
        for _ in range(n_steps):
            best = np.array([page.q[at].argmax() for page, at in zip(pages, seen, strict=True)])
            curious = np.array([page.n_steps < self.look for page in pages]) | (self.rng.random(len(pages)) < 0.2)
            actions = np.where(curious, self.rng.integers(self.shape[1], size=len(pages)), best)
            then, rewards, dones, infos = env.step(actions)
            for i, page in enumerate(pages):
                page.learn(seen[i], actions[i], rewards[i], infos[i]["terminal_observation"] if dones[i] else then[i])
                if page.n_steps == self.look and pages is self.pages:
                    pages[i] = self._found(i, page) or page
                    self.notebooks[i] += [page] if pages[i] is page else []
            seen = then

    def _found(self, agent: int, page: Page) -> Page | None:
        return next((known for known in self.notebooks[agent] if known.is_like(page)), None)

    def predict(self, observations: Any) -> Any:
        """Actions of all agents, by the pages of the tasks they were in last."""
        return np.array([page.q[at].argmax() for page, at in zip(self.pages, observations, strict=True)])

    def meet(self, env: Any, agent: int) -> Page | None:
        """The page of the task that this env is in; None: the agent has none."""
        page = Page(self.shape)
        self._round(env, [page], min(self.look, steps_left(env) or self.look))
        return self._found(agent, page)


if __name__ == "__main__":
    from lifelong_gym.benchmark import Experiment, read_runs, run_experiment

    content = {
        "learners": {"notebooks": {"class": "third_party_rounds:Notebooks"}, "DQN": {"class": "DQN"}},
        "families": {"LifelongChain-v0": {"n_tasks": 3, "horizon": 10}},
        "protocol": {"name": "rounds", "episodes_per_task": 120, "n_evaluations": 3, "rounds": "permutation"},
        "seeds": 1,
    }
    with TemporaryDirectory() as folder:
        run_experiment(Experiment.of_dict(content), Path(folder), Console())
        for run in read_runs(folder):
            steps = 0 if run.meeting_steps is None else run.meeting_steps[-1].mean()
            print(f"{run.learner}: {run.performance()[-1].mean():.2f} of the best, after {steps:.0f} steps to look")
