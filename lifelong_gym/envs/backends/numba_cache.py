"""Numba's cache on disk may have no place, be full, damaged or shared: envs work all the same, compiling anew."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import warnings
from pathlib import Path
from typing import Any

from numba.core.caching import (
    CompileResultCacheImpl,
    FunctionCache,
    IndexDataCacheFile,
    _CacheLocator,
    _SourceFileBackedLocatorMixin,
)

REMEDY = "set the environment variable NUMBA_CACHE_DIR to a folder that can be written"
_said = False


def keep(dispatcher: Any) -> Any:
    """Let a function that numba compiles be read from disk, and written there, wherever there is a place for it."""
    try:
        dispatcher._cache = Cache(dispatcher.py_func)
    except RuntimeError as error:  # no place: numba's own words say for which function
        _say(f"compiled code isn't kept, every process compiles anew ({error}); {REMEDY}")
    return dispatcher


def _say(problem: str) -> None:
    """One warning a process."""
    global _said
    if not _said:
        _said = True
        warnings.warn(problem, stacklevel=2)


class TemporaryFolder(_SourceFileBackedLocatorMixin, _CacheLocator):
    """The place for when neither the package's folder nor the user's can be written: one of this user's own."""

    def __init__(self, py_func: Any, py_file: str) -> None:
        """Choose it; nothing is made."""
        user = f"-{os.getuid()}" if hasattr(os, "getuid") else ""
        self._folder = Path(tempfile.gettempdir()) / f"lifelong_gym-numba{user}"
        self._py_file, self._lineno = py_file, py_func.__code__.co_firstlineno

    def get_cache_path(self) -> str:
        """See numba."""
        return str(self._folder / self.get_suitable_cache_subpath(self._py_file))

    def ensure_cache_path(self) -> None:
        """Make the folder; raises `OSError` where that fails or where others may write, for numba unpickles from it."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        found = self._folder.lstat()
        if hasattr(os, "getuid") and (
            not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077
        ):
            raise PermissionError(f"{self._folder} belongs to somebody else, or others may write there")
        super().ensure_cache_path()


class Files(IndexDataCacheFile):
    """An index and the files it names, which several processes may write at once.

    Numba numbers the files by the index it finds. Two processes that find none would give the same number to the code
    of different argument types, and the index might name the one while the file holds the other. Named by what
    they hold, files are never wrong; of two indices written at once one is lost, and its code compiled anew.
    """

    def save(self, key: Any, data: Any) -> None:
        """Write the code first, so that whatever the index names is there."""
        name = self._data_name_pattern.format(number=int(hashlib.sha256(self._dump(data)).hexdigest()[:16], 16))
        self._save_data(name, data)
        self._save_index({**self._load_index(), key: name})


class _Impl(CompileResultCacheImpl):
    _locator_classes = [*CompileResultCacheImpl._locator_classes, TemporaryFolder]  # noqa: RUF012 (numba's own form)


class Cache(FunctionCache):
    """A function's cache that costs time when something is wrong with it, and nothing else."""

    _impl_class = _Impl

    def __init__(self, py_func: Any) -> None:
        """Find a place.

        Raises:
            RuntimeError: there is none.
        """
        super().__init__(py_func)
        stamp = self._impl.locator.get_source_stamp()
        self._cache_file = Files(self._cache_path, self._impl.filename_base, stamp)
        if isinstance(self._impl.locator, TemporaryFolder):
            _say(f"compiled code is kept in {self.cache_path}, which may be lost at any time; {REMEDY}")

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """What was compiled before, or None."""
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # a damaged file makes pickle raise anything
            self._begin_anew()
            return None

    def _begin_anew(self) -> None:
        try:
            self.flush()
        except OSError as error:
            self._give_up(error)

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what was compiled."""
        try:
            super().save_overload(sig, data)
        except OSError as error:  # a full disk, or a folder that can't be written any more
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self.disable()
        _say(f"compiled code can't be kept ({error}); {REMEDY}")
