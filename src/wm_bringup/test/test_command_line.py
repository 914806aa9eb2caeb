from __future__ import annotations

import pytest

from wm_ros.command_line import split_ros_args


@pytest.mark.parametrize(
    ("args", "own", "for_ros"),
    [
        ([], [], []),
        (["bag", "--topics", "/a:=/b"], ["bag", "--topics", "/a:=/b"], []),
        (["bag", "--ros-args", "-r", "x:=y"], ["bag"], ["--ros-args", "-r", "x:=y"]),
        (["--ros-args", "-p", "a:=1", "--", "bag"], ["bag"], ["--ros-args", "-p", "a:=1", "--"]),
    ],
)
def test_ros_arguments_are_told_from_our_own(args: list[str], own: list[str], for_ros: list[str]):
    assert split_ros_args(args) == (own, for_ros)
