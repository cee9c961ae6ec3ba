"""cosim."""
