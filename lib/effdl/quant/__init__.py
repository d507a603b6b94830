"""Quantization: numbers of few bits in place of floating point."""
