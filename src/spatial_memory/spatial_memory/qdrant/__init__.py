"""The same memory on a Qdrant server."""
