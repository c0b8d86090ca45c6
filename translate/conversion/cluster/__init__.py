"""Conversion on a Ray cluster: a driver that hands out items, and the workers that convert them."""
