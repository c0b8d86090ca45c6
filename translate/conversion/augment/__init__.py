"""Augmentation of a labelled set by translations that keep its labels: `translate augment`."""
