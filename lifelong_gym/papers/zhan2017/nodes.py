"""ePG-ELLA as its nodes run it: each has its own tasks, alone in its place, and tells its neighbours about L.

The same program runs on threads, where clocks tell what nodes and wires of their own would take, and in processes.
"""

from __future__ import annotations

import time
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, ThreadPoolExecutor, wait
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lifelong_gym.agents import CommonSettings, PolicySearch
from lifelong_gym.agents.linear.operating_point import OperatingPoint
from lifelong_gym.agents.linear.sharers import Record
from lifelong_gym.agents.shared_basis.distributed_basis import ConsensusSettings, DistributedBasis
from lifelong_gym.agents.shared_basis.nodes import default_channel
from lifelong_gym.agents.shared_basis.shards import Shards
from lifelong_gym.agents.shared_basis.sharers import BasisSettings, BasisSharer, InTurns
from lifelong_gym.benchmark.workers import process_context
from lifelong_gym.envs.backends.threads import set_num_threads
from lifelong_gym.numerics.arrays import FloatArray, IntArray
from lifelong_gym.papers import sweeps
from lifelong_gym.papers.code import Code
from lifelong_gym.papers.sweeps import Values
from lifelong_gym.wrappers import Channel, colouring
from lifelong_gym.wrappers.topology import Node

CODE = Code(str(Path(__file__).parent))


def with_arguments(settings: Values, **arguments: Any) -> dict[str, Any]:
    """The settings of the same learner with some other arguments."""
    own = settings["learner"]
    return {**settings, "learner": {**own, "arguments": own["arguments"] | arguments}}


class Wire(NamedTuple):
    """Between two nodes: a message's delay in seconds, and how many bits a second a node gets onto it."""

    latency: float
    bandwidth: float


GIGABIT = Wire(50e-6, 1e9)


class Link(Shards):
    """A node's end of its wires, and its clock; sums over nodes as it sees them have one row, its own.

    The clock goes with the processor time of the node's own work. It goes on while a message's bits leave, one message
    after another; whoever receives it goes on when it has arrived. So the latest clock is the critical path.
    """

    def __init__(self, node: int, channel: Channel, pipes: dict[Node, Connection], wire: Wire = GIGABIT) -> None:
        super().__init__(channel)  # for its graph: who is whose neighbour, colours, and the tree of sums
        self.node, self.pipes, self.wire = node, pipes, wire
        self.clock = self.worked = self.since = 0.0  # seconds; of the processor; of it when the node went on
        self.sent = self.n_tasks = 0  # bytes; of all nodes

    def work(self) -> None:
        """Count what was worked since the last message."""
        done = time.thread_time() - self.since
        self.clock, self.worked, self.since = self.clock + done, self.worked + done, self.since + done

    def send(self, values: FloatArray, *to: Node) -> None:
        """A message to each of these neighbours."""
        for node in to:
            self.work()
            self.sent += values.nbytes
            self.clock += 8 * values.nbytes / self.wire.bandwidth
            self.pipes[node].send((self.clock + self.wire.latency, values))
            self.since = time.thread_time()

    def receive(self, sender: Node) -> Any:
        """A neighbour's next message."""
        self.work()
        arrival, values = self.pipes[sender].recv()
        self.clock, self.since = max(self.clock, arrival), time.thread_time()
        return values

    def read(self) -> tuple[float, ...]:
        """The clock, that on the wall, bytes sent and seconds worked."""
        self.work()
        return self.clock, time.perf_counter(), self.sent, self.worked

    def close(self) -> None:
        """Nobody hears of this node any more."""
        for pipe in self.pipes.values():
            pipe.close()

    def reduced(self, parts: FloatArray) -> FloatArray:
        """Known to every node, up the channel's tree and down again, as `Channel.all_reduce` does it."""
        levels, total = self.channel.tree.levels, parts[0]
        up = [edge for level in reversed(levels) for edge in level]
        down = [(parent, child) for level in levels for child, parent in level]
        for hop, (sender, receiver) in enumerate(up + down):
            if self.node == sender:
                self.send(total, receiver)
            elif self.node == receiver:
                told = self.receive(sender)
                total = np.add(total, told) if hop < len(up) else told
        return total

    def told(self, owners: IntArray, values: FloatArray) -> FloatArray:
        """Of all nodes' tasks, in their order."""
        table = np.zeros((1, self.n_tasks, *values.shape[1:]))
        table[0, self.node :: self.n_nodes] = values
        return self.reduced(table)


class Turns(ConsensusSettings):
    """One node's part in `Consensus`, without losses."""

    def solve(
        self, shards: Shards, matrix: FloatArray, vector: FloatArray, total: FloatArray, start: FloatArray | None = None
    ) -> FloatArray:
        """The node's own solution, (1, n, k)."""
        if self.consensus == "all_reduce":
            return super().solve(shards, matrix, vector, total)[:1]
        assert isinstance(shards, Link)
        assert start is not None  # as it is for L
        link, near, x, metric = shards, [*shards.pipes], start[0], self.metric_of(total, shards.n_nodes)
        colours = colouring(link.channel.graph)
        turn = {node: number for number, colour in enumerate(colours) for node in colour}
        inverse = np.linalg.inv(matrix[0] + self.penalty * len(near) * metric)
        own, pull = (inverse @ vector[0][..., None])[..., 0], self.penalty * inverse @ metric
        link.send(x, *near)
        last = {other: link.receive(other) for other in near}
        mine, sums = np.zeros_like(x), dict.fromkeys(near, np.zeros_like(x))
        for colour in colours * self.admm_iterations:
            if link.node in colour:
                later = (last[other] for other in near if turn[other] > turn[link.node])
                heard = sum(later, sum(sums.values(), -len(near) * mine))
                x = own + (pull @ heard[..., None])[..., 0]
                mine = mine + x
                link.send(mine, *near)
            for teller in (each for each in colour if each in link.pipes):
                told = link.receive(teller)
                sums[teller], last[teller] = told, told - sums[teller]
        return x[None]


class OwnTasks(BasisSharer):
    """A basis of all nodes' tasks, as the node knows it that has these."""

    knowledge: DistributedBasis
    link: Link
    agreement: Turns

    def _empty(self, n_tasks: int, d: int) -> DistributedBasis:
        s = self._settings
        return DistributedBasis(1, n_tasks, d, s.n_basis, s.sparsity, s.ridge, s.mean_basis)

    def _learn(self, tasks: IntArray, point: OperatingPoint, rng: np.random.Generator, record: Record) -> None:
        self.knowledge.agree_on_first(self.link, tasks, point.target, rng)
        self._fit(self.knowledge, tasks, point, lambda: self.knowledge.agree(self.link, self.agreement, rng), record)


def a_sweep(ticks: FloatArray) -> dict[str, float]:
    """Medians over all sweeps but the first, in which things are compiled, of what links read.

    That is, by node, `Link.read` before all sweeps and after each, (n_nodes, n_sweeps + 1, 4).

    ``critical``: seconds along the critical path; ``wall``; ``busiest``: seconds that the node works that works most;
    ``bytes`` of all nodes.
    """
    critical, wall = np.median(np.diff(ticks[:, 1:, :2].max(axis=0), axis=0), axis=0).tolist()
    sent, worked = np.median(np.diff(ticks[:, 1:, 2:], axis=1), axis=1).T
    return {"critical": critical, "wall": wall, "busiest": float(worked.max()), "bytes": float(sent.sum())}


def node(link: Link, settings: Values, in_process: bool) -> tuple[FloatArray, FloatArray]:
    """One node's life: its policies, learned from its own tasks, and what its link reads before and after each sweep.

    Settings are those of a `ScalablePGELLA`.
    """
    try:
        set_num_threads(1)
        tasks = sweeps.drawn_tasks(settings)
        own, link.n_tasks = tasks[np.arange(link.node, len(tasks), link.n_nodes)], len(tasks)
        env = sweeps.environment({**settings, "nodes": 0}, own)
        like = sweeps.make_learner(CODE, settings, env)
        basis = BasisSettings(like.n_basis, like.sparsity, like.ridge, like.mean_basis)
        sharer = OwnTasks(basis, InTurns(like.alternations))
        sharer.link, sharer.agreement = link, Turns(like.consensus, like.admm_iterations, like.penalty)
        parts = (like.learning_rate, like._improver, sharer, like._sampler, CommonSettings(seed=settings["seed"]))
        run = sweeps.SweepRun(CODE, settings, own, PolicySearch("LinearGaussianPolicy", env, *parts))
        if in_process and len(link.pipes) == 1:
            link.wire = measured(link)
        link.clock, link.since, ticks = 0.0, time.thread_time(), list[tuple[float, ...]]()
        sweeps.sweep(run, progress=lambda done: ticks.append(link.read()))
        return run.theta.copy(), np.array(ticks)
    finally:  # or neighbours would wait for ever
        link.close()


def measured(link: Link) -> Wire:
    """The one between two nodes, by messages that go to and fro."""
    few, many, one_way = np.zeros(1), np.zeros(20_000), list[float]()
    for values in (few, many):
        begun = []
        for _ in range(101):
            begun.append(time.perf_counter())
            if link.node == 0:
                link.send(values, 1)
            link.receive(1 - link.node)
            if link.node == 1:
                link.send(values, 0)
        one_way.append(float(np.median(np.diff(begun))) / 2)
    return Wire(one_way[0], 8 * many.nbytes / max(one_way[1] - one_way[0], 1e-9))


def together(settings: Values, n_nodes: int, in_processes: bool = False) -> tuple[FloatArray, FloatArray]:
    """All nodes' lives: policies, (n_tasks, d), and what their links read, see `a_sweep`.

    On threads, or in processes of their own, where the wire between two is measured first.
    """
    channel = default_channel(n_nodes)
    links = [Link(i, channel, {}) for i in range(n_nodes)]
    for a, b in channel.graph.edges:
        links[a].pipes[b], links[b].pipes[a] = Pipe()
    with ProcessPoolExecutor(n_nodes, process_context()) if in_processes else ThreadPoolExecutor(n_nodes) as pool:
        lives = [pool.submit(node, link, settings, in_processes) for link in links]
        over, _ = wait(lives, return_when=FIRST_EXCEPTION)
        for link in links:
            link.close()
        for life in over:  # what failed, before its neighbours did for want of an answer
            life.result()
    thetas = np.zeros((settings["n_tasks"], lives[0].result()[0].shape[1]))
    for i, life in enumerate(lives):
        thetas[i::n_nodes] = life.result()[0]
    return thetas, np.array([life.result()[1] for life in lives])
