"""What no shipped model uses: RSSM with its outcomes, a transformer as context, LPIPS, pretrained encoders.

Reached by their names in a configuration (``world_model.optional.extra``), never imported by the other rooms; what they
need is installed with ``pip install '.[extras]'``.
"""
