#!/usr/bin/env python3
"""Ends with 0 where an address answers with success within 3 s: for health checks, of images that hold no curl."""

import sys
import urllib.request

with urllib.request.urlopen(sys.argv[1], timeout=3.0) as answer:
    raise SystemExit(0 if answer.status < 300 else 1)
