"""What all packages must agree on: times, poses, pictures, recordings, and what a memory is. No ROS, no torch."""
