"""What generated messages need of ``rosidl_generator_py``, without what writes them."""

from __future__ import annotations

import sys
from importlib import import_module

_PACKAGE = "rosidl_generator_py"
_GENERATOR = f"{_PACKAGE}.generate_py_impl"


def import_message_support() -> None:
    """Imports the package as it is where its generator is not installed, which it provides for.

    Messages need one function of it. Its generator imports a parser of the interface language, with a grammar and
    regular expressions of its own: a twentieth of what a node's start takes. It can still be imported by its own name.
    """
    if _PACKAGE in sys.modules:
        return
    # None in the place of a module is Python's way to say that it cannot be imported.
    sys.modules[_GENERATOR] = None  # type: ignore[assignment]
    try:
        import_module(_PACKAGE)
    except ImportError:
        # A distribution whose messages need none of it, or that insists on its generator: imported when asked for.
        sys.modules.pop(_PACKAGE, None)
    finally:
        del sys.modules[_GENERATOR]
