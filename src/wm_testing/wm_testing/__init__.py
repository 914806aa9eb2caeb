"""What only tests need: small artifacts, recordings, and a ROS of their own."""
