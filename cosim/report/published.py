"""What others published, to hold our figures against."""

from typing import NamedTuple


class Published(NamedTuple):
    """A published result.

    Attributes:
        who: published it.
        neurons: of the hidden layer.
        epochs: it was trained for.
        data: it was trained and tested on.
        bce: mean binary cross-entropy [nats].
    """

    who: str
    neurons: int
    epochs: int
    data: str
    bce: float

    def __str__(self) -> str:
        return f"{self.who}: {self.neurons} neurons, {self.epochs} epochs, {self.data}: {self.bce:g}"


AUTHORS = Published("BRUNO's log", 150, 19, "published split", 0.178)
"""What BRUNO's code logged on the JSB chorales."""
