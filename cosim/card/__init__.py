"""Cards: fitted devices with their uncertainty and origin, and the file that keeps them."""

from cosim.card.card import Card, Datum, software

__all__ = ["Card", "Datum", "software"]
