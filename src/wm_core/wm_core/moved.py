"""Old names of modules that moved: importing one still works for a release, and says where it is now."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class _Alias(Loader):
    def __init__(self, new: str) -> None:
        self._new = new

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        warnings.warn(f"{spec.name} is now {self._new}; the old name goes with the next release", FutureWarning, 2)
        module = import_module(self._new)
        self._own_spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has just given it the old name's.
        module.__spec__ = self._own_spec


class _Finder(MetaPathFinder):
    def __init__(self) -> None:
        self.moved: dict[str, str] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        new = self.moved.get(fullname)
        return None if new is None else ModuleSpec(fullname, _Alias(new))


_FINDER = _Finder()


def moved(modules: Mapping[str, str]) -> None:
    """Let modules be imported by their old names as well.

    Args:
        modules: {old dotted name: new dotted name}.
    """
    if _FINDER not in sys.meta_path:
        # First: a module of the old package's new place may have the old module's name.
        sys.meta_path.insert(0, _FINDER)
    _FINDER.moved.update(modules)
