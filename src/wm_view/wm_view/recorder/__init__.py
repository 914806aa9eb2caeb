"""Records what the graph says into one file that a viewer opens without ROS: rerun's .rrd, or MCAP for Foxglove."""
