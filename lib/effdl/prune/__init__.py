"""Pruning: which weights can go, and what is gained when they are gone."""
