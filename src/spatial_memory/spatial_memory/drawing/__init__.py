"""What a memory looks like: cells, memories, the trail, the last retrieval, as shapes without ROS."""
