"""The replay of several tasks within so many bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lifelong_gym.agents.deep.replay.packing import StepForm
from lifelong_gym.agents.deep.replay.store import CHUNK, Store
from lifelong_gym.errors import CheckpointError


class Memory:
    """Replay by task; beyond its bytes, the largest one's older half is forgotten, again and again.

    Args:
        n_bytes: that it may have, packed.

    Attributes:
        form: of transitions; to be set before anything is added.
        stores: by task.
    """

    def __init__(self, n_bytes: int) -> None:
        """Empty."""
        self.limit = n_bytes
        self.form: StepForm | None = None
        self.stores: dict[int, Store] = {}

    @property
    def n_bytes(self) -> int:
        """Packed."""
        return sum(store.n_bytes for store in self.stores.values())

    def add(self, label: int, store: Store) -> None:
        """Put a task's transitions behind what is known of it."""
        if not len(store):
            return
        parts = [*([self.stores[label]] if label in self.stores else ()), store]
        made = parts[0]
        if len(parts) > 1:
            made = Store(store.form, sum(map(len, parts)))
            for part in parts:
                made.extend(part)
        self.stores[label] = made.newest(len(made))
        while self.n_bytes > self.limit and self._halve():
            pass

    def _halve(self) -> bool:
        """Forget the older half of the largest; False: none is left to halve."""
        label = max(self.stores, key=lambda one: (self.stores[one].n_bytes, -one), default=None)
        if label is None:
            return False
        store = self.stores[label]
        if len(store) <= CHUNK:
            del self.stores[label]
        else:
            self.stores[label] = store.newest(len(store) // 2)
        return True

    def free(self) -> None:
        """Keep nothing unpacked."""
        for store in self.stores.values():
            store.free()

    def state_dict(self) -> dict[str, Any]:
        """All of it."""
        return {str(label): store.state_dict() for label, store in self.stores.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`.

        Raises:
            CheckpointError: it is of other spaces or damaged; nothing has changed then.
        """
        if self.form is None:
            raise CheckpointError("there is no form of transitions yet")
        stores: dict[int, Store] = {}
        for label, told in state.items():
            stores[int(label)] = Store(self.form, int(told["capacity"]))
            stores[int(label)].load_state_dict(told)
        self.stores = stores
