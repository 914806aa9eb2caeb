"""What goes out: commands to the robot, plan and way to viewers."""
