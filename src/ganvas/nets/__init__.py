"""TODO nets"""
