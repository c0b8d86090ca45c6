"""Metrics of translations: their values, their uncertainty and the record of how they were measured."""
