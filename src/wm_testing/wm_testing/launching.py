"""What the tests of the launch files share; needs ``launch`` and ``launch_pytest``."""

from __future__ import annotations

from pathlib import Path
from weakref import WeakKeyDictionary

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import IncludeLaunchDescription, RegisterEventHandler
from launch.event_handlers import OnProcessExit
from launch.events.process import ProcessExited
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_pytest.actions import ReadyToTest

_EXIT_CODES: WeakKeyDictionary[LaunchDescription, dict[str, int]] = WeakKeyDictionary()


def described(launch_file: str, **arguments: object) -> LaunchDescription:
    """Returns one of this package's launch files with arguments, ready to be tested."""
    path = Path(get_package_share_directory("wm_bringup")) / "launch" / f"{launch_file}.launch.py"
    codes: dict[str, int] = {}

    def note(event: ProcessExited, _context: LaunchContext) -> None:
        codes[event.process_name] = event.returncode

    description = LaunchDescription(
        [
            RegisterEventHandler(OnProcessExit(on_exit=note)),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(path)), launch_arguments=[(k, str(v)) for k, v in arguments.items()]
            ),
            ReadyToTest(),
        ]
    )
    _EXIT_CODES[description] = codes
    return description


def exit_codes(description: LaunchDescription) -> dict[str, int]:
    """Returns {process: exit code} of those that have ended."""
    return _EXIT_CODES[description]
