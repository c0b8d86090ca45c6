"""Reading and writing of image files, and the mapping of their values to [-1, 1]; no other package opens image files."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
