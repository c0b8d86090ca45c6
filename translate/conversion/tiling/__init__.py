"""Images larger than memory: exact tiling of generators that are chains of convolutions.

A norm with the statistics of the whole image makes every output depend on every input, so tiles that are translated by
themselves differ from the whole image, and from each other at their seams, however much they overlap. Here the statistics
are those of the whole: they are gathered layer by layer (`tiled_forward`), and every part is computed from all it depends on
(`partial_layers`). What comes out is the untiled result.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
