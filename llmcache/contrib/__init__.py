"""Ties to other packages that sites use. Each module is for one package and is imported by no other
module of ours: what a site does not name is never loaded.
"""
