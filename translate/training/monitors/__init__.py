"""Monitors of a training: checks of the samples and losses, computed with each sample grid. Imports no torch."""
