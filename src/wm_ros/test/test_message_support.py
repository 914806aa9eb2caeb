"""Messages work without the generator that their package brings along, which still is there for who asks for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from wm_ros.message_support import import_message_support

USED = """
import sys
from wm_ros.message_support import import_message_support

import_message_support()
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import Float32MultiArray

print(list(deserialize_message(serialize_message(Float32MultiArray(data=[0.5, 2.0])), Float32MultiArray).data))
print([name for name in ("lark", "rosidl_parser.parser") if name in sys.modules])
try:
    from rosidl_generator_py.generate_py_impl import generate_py
except ModuleNotFoundError as error:  # a robot may come without what it is made of
    assert not error.name.startswith("rosidl_generator_py"), error
else:
    print(callable(generate_py))
"""


def test_a_message_goes_there_and_back_without_the_generator():
    done = subprocess.run([sys.executable, "-c", USED], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[:2] == ["[0.5, 2.0]", "[]"]
    assert lines[2:] in (["True"], []), "the generator is only left alone, not made useless"


def test_what_was_imported_before_stays(monkeypatch):
    package = pytest.importorskip("rosidl_generator_py")
    import_message_support()
    assert sys.modules["rosidl_generator_py"] is package


@pytest.mark.parametrize("source", ["from .generate_py_impl import generate_py\n", "raise ImportError\n"])
def test_a_package_that_insists_is_left_to_the_messages(source, tmp_path, monkeypatch):
    folder = tmp_path / "rosidl_generator_py"
    folder.mkdir()
    (folder / "__init__.py").write_text(source)
    (folder / "generate_py_impl.py").write_text("generate_py = print\n")
    for name in [each for each in sys.modules if each.startswith("rosidl_generator_py")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path))
    import_message_support()
    assert not [each for each in sys.modules if each.startswith("rosidl_generator_py")], "as if nothing had happened"
