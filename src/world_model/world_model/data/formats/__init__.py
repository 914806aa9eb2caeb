"""Sources for training that are no recordings of ROS: video files with a table, and LeRobot data sets."""
