"""Perform a method's updates; write, read and restore run folders."""
