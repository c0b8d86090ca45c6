"""Version of the package: of `translate --version`, model folders, checkpoints and outputs' metadata."""

__version__ = "0.1.0"
