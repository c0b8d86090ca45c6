"""Checks of a data folder before training."""
