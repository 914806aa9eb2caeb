"""Exact search in RAM at the cost of what lies near: pages of records by cell."""
