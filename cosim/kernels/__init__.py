"""Fused loops: the same equations compiled, each held to its judge in torch by a test."""
