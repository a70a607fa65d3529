"""A paper's own functions: Python files of its folder, loaded by their path."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from lifelong_gym.benchmark.results import digest
from lifelong_gym.errors import unknown
from lifelong_gym.imports import load

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Code:
    """The Python files of a folder.

    They are modules of a package whose name no other folder has, so that they import each other by ``from . import``,
    two papers may both have a ``science.py``, and nothing of the folder stands in for a library: it never is on
    `sys.path`.
    """

    folder: str  # the paper's, absolute

    @property
    def name(self) -> str:
        """The paper's, as of its page."""
        return Path(self.folder).name

    @property
    def package(self) -> str:
        """The package's name, under which its modules can be imported from now on, in this process."""
        if Path(self.folder).parent == HERE:
            return f"{__package__}.{self.name}"
        name = f"lifelong_paper_{digest(self.folder.encode())}"
        package = sys.modules.setdefault(name, ModuleType(name, f"The paper in {self.folder}."))
        package.__path__ = [self.folder]
        return name

    def qualified(self, name: str) -> str:
        """``science:f`` with its package's name where the folder has a ``science.py``; else as it is."""
        module, colon, rest = name.partition(":")
        is_own = colon and module.isidentifier() and (Path(self.folder) / f"{module}.py").is_file()
        return f"{self.package}.{module}:{rest}" if is_own else name

    def load(self, name: str) -> Any:
        """What ``module:Name`` names, of a file of the folder or of an installed package.

        Raises:
            ValueError: not of that form, or there is no such module or name.
        """
        module, colon, attribute = name.partition(":")
        if not colon:
            raise ValueError(f"must be `module:name`. Received {name!r}")
        full = self.qualified(name)
        try:
            found = importlib.import_module(full.partition(":")[0])
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise
            raise unknown("module", module, sorted(path.stem for path in Path(self.folder).glob("*.py"))) from None
        if not hasattr(found, attribute.partition(".")[0]):
            own = [each for each, of in vars(found).items() if getattr(of, "__module__", None) == found.__name__]
            raise unknown(f"name in {module}", attribute, own)
        return load(full)
