"""translate.dataset_check"""
