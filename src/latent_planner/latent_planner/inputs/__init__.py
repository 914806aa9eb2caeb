"""What comes of the robot: where it is, what it is told, what it sees."""
