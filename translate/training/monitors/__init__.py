"""translate.training.monitors"""
