"""Latent world models whose dynamics are conditioned on memories.

The light part, which nodes import and which needs numpy, OpenCV and torch only: ``artifacts``, ``alignment``,
``images``, ``predictor``, ``motion``, ``recording``, ``bank``, ``metrics``, ``errors``. The rest (``data``, ``models``,
``training``, ``evaluation``, ``export``) needs the training extra, ``requirements/train.txt``.
"""
