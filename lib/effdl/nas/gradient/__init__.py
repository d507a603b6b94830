"""Differentiable architecture search: DARTS, and what others changed in it."""
