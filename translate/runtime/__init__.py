"""translate.runtime"""
