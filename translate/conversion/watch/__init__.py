"""Conversion of a folder that fills: `convert --watch`."""
