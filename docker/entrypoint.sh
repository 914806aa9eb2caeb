#!/usr/bin/env bash
# Put ROS 2 and the workspace into the environment, then run what was asked for.
set -e
# shellcheck source=../scripts/env
source /opt/world_model/scripts/env
exec "$@"
