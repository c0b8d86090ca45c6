"""Trained models at work: one image, or a folder of any number."""
