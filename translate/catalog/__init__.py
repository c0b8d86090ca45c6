"""translate.catalog"""
