"""Transitions in packed chunks: written at one end, read anywhere."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np

from lifelong_gym.agents.deep.replay.packing import Array, Bytes, StepForm, Transitions, Unpacked, pack, unpack
from lifelong_gym.errors import CheckpointError
from lifelong_gym.numerics.arrays import IntArray

CHUNK = 32  # transitions that are packed together
CACHE = 4_000_000  # bytes of chunks that stay unpacked


class Store:
    """A ring of transitions, in the order in which they came; what is full is packed.

    Args:
        form: of a transition.
        capacity: how many there may be; older ones are overwritten.
        cache: bytes of chunks that stay unpacked beside it, those that were read last.

    Attributes:
        form: as given.
        capacity: as given.
        pos: where the next one goes.
        full: whether it overwrites an older one.
    """

    def __init__(self, form: StepForm, capacity: int, cache: int = CACHE) -> None:
        """Empty."""
        self.form, self.capacity, self.pos, self.full = form, capacity, 0, False
        self._chunks: dict[int, Bytes] = {}
        self._open: Transitions | None = None  # the chunk that is being written
        self._unpacked: OrderedDict[int, Unpacked] = OrderedDict()
        self._cache = cache

    def __len__(self) -> int:
        return self.capacity if self.full else self.pos

    @property
    def n_bytes(self) -> int:
        """Packed, with the chunk that is being written."""
        begun = 0 if self._open is None else sum(array.nbytes for array in vars(self._open).values())
        return sum(chunk.nbytes for chunk in self._chunks.values()) + begun

    def add(self, transition: Transitions) -> None:
        """One more, of length 1."""
        place = self.pos % CHUNK
        if self._open is None:
            self._open = self.form.room(min(CHUNK, self.capacity))
        for name, array in vars(self._open).items():
            array[place] = getattr(transition, name)[0]
        self.pos += 1
        if self.pos % CHUNK == 0 or self.pos == self.capacity:
            self._close(place + 1)
        if self.pos == self.capacity:
            self.full, self.pos = True, 0

    def extend(self, other: Store, n: int | None = None) -> None:
        """The last n transitions of another, in their order; default: all."""
        n = len(other) if n is None else min(n, len(other))
        for start in range(0, n, CHUNK):
            part = other.read((other.pos - n + np.arange(start, min(start + CHUNK, n))) % other.capacity)
            for i in range(len(part)):
                self.add(part[i : i + 1])

    def _close(self, n: int) -> None:
        assert self._open is not None
        number = (self.pos - 1) // CHUNK
        self._chunks[number] = pack(self._open[:n], self.form)
        self._unpacked.pop(number, None)

    def read(self, places: IntArray) -> Transitions:
        """Those at these places, all below its length."""
        found = self.form.room(len(places))
        numbers = places // CHUNK
        for number in np.unique(numbers).tolist():
            at = numbers == number
            offsets = places[at] % CHUNK
            fresh = (number == self.pos // CHUNK) & (offsets < self.pos % CHUNK)
            if fresh.any():
                assert self._open is not None
                _write(found, at, fresh, self._open, offsets)
            if not fresh.all():
                _write(found, at, ~fresh, self._chunk(number), offsets)
        return found

    def _chunk(self, number: int) -> Unpacked:
        if number not in self._unpacked:
            self._unpacked[number] = unpack(self._chunks[number], self.form)
            while len(self._unpacked) > 1 and sum(chunk.n_bytes for chunk in self._unpacked.values()) > self._cache:
                self._unpacked.popitem(last=False)
        self._unpacked.move_to_end(number)
        return self._unpacked[number]

    def free(self) -> None:
        """Keep nothing unpacked."""
        self._unpacked.clear()

    def newest(self, n: int) -> Store:
        """A store of the last n transitions alone, or of all where there are fewer, without room for more."""
        n = min(n, len(self))
        made = Store(self.form, max(n, 1), self._cache)
        if n == len(self) and not (self.full and self.pos):
            made._chunks, made.full = dict(self._chunks), n > 0
            if self._open is not None and self.pos % CHUNK:
                made._chunks[self.pos // CHUNK] = pack(self._open[: self.pos % CHUNK], self.form)
            return made
        made.extend(self, n)
        made._open = None
        return made

    def sent(self) -> dict[str, Bytes]:
        """As a message: bytes by name."""
        closed = self.newest(len(self))
        return {str(number): closed._chunks[number] for number in sorted(closed._chunks)}

    @classmethod
    def received(cls, message: Mapping[str, Any], form: StepForm) -> Store:
        """From what `sent` gave.

        Raises:
            CheckpointError: it is damaged, or of other spaces.
        """
        chunks = {int(name): np.asarray(chunk) for name, chunk in message.items()}
        if sorted(chunks) != list(range(len(chunks))) or not chunks:
            raise CheckpointError(f"replay must be of chunks 0, 1, ... Received {sorted(chunks)}")
        sizes = [len(unpack(chunks[number], form)) for number in range(len(chunks))]
        if any(size != CHUNK for size in sizes[:-1]) or not 0 < sizes[-1] <= CHUNK:
            raise CheckpointError(f"replay must be of chunks of {CHUNK} transitions. Received {sizes}")
        made = cls(form, sum(sizes))
        made._chunks, made.full = chunks, True
        return made

    def state_dict(self) -> dict[str, Any]:
        """All of it."""
        begun = vars((self._open or self.form.room(0))[: self.pos % CHUNK])
        chunks = {str(number): chunk for number, chunk in self._chunks.items()}
        return {"capacity": self.capacity, "pos": self.pos, "full": self.full, "chunks": chunks, "begun": begun}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`.

        Raises:
            CheckpointError: it is of other spaces or another capacity, or damaged; nothing has changed then.
        """
        chunks, begun = _checked(state, self.form, self.capacity)
        self._chunks, self.pos, self.full = chunks, int(state["pos"]), bool(state["full"])
        self._unpacked.clear()
        self._open = self.form.room(min(CHUNK, self.capacity)) if self.pos % CHUNK else None
        for name, array in begun.items() if self._open is not None else ():
            getattr(self._open, name)[: len(array)] = array


def _checked(state: Mapping[str, Any], form: StepForm, capacity: int) -> tuple[dict[int, Bytes], dict[str, Array]]:
    if state.keys() != {"capacity", "pos", "full", "chunks", "begun"} or state["capacity"] != capacity:
        raise CheckpointError(f"replay must be for {capacity} transitions. Received {state.get('capacity')!r}")
    pos, full = state["pos"], state["full"]
    if not 0 <= pos < capacity:
        raise CheckpointError(f"'pos' of replay must be from 0 to {capacity - 1}. Received {pos!r}")
    chunks = {int(number): np.asarray(chunk, np.uint8) for number, chunk in state["chunks"].items()}
    n_chunks = -(-capacity // CHUNK) if full else pos // CHUNK
    if sorted(chunks) != list(range(n_chunks)):
        raise CheckpointError(f"replay must have {n_chunks} chunks. Received {sorted(chunks)}")
    for number, chunk in chunks.items():
        n = len(unpack(chunk, form))
        if n != min(CHUNK, capacity - number * CHUNK):
            raise CheckpointError(f"chunk {number} of replay must hold {CHUNK} transitions. Received {n}")
    room = form.room(pos % CHUNK)
    begun = dict(state["begun"])
    for name, like in vars(room).items():
        array = begun.get(name)
        if not isinstance(array, np.ndarray) or array.shape != like.shape or array.dtype != like.dtype:
            raise CheckpointError(f"{name} of replay must be {like.dtype} of shape {like.shape}")
    return chunks, begun


def _write(found: Transitions, at: Any, which: Any, source: Transitions | Unpacked, offsets: IntArray) -> None:
    rows, read = np.flatnonzero(at)[which], source[offsets[which]]
    for name, array in vars(found).items():
        array[rows] = getattr(read, name)
