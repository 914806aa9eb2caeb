"""What the memory knows of the places where the robot will be."""
