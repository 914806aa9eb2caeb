"""The world model over HTTP: a library that serves an artifact and a memory without ROS, and a thin node beside it."""
