"""Verifiable rewards: one module for training and evaluation alike."""
