"""A task: pieces to learn from, to choose by and to be judged by."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from cosim.tasks.loss import Chords, Goal


class Piece(NamedTuple):
    """One sequence and what should be said to it.

    Attributes:
        name: of the piece.
        inputs: (time, channel), or of pictures (time, channel, height, width).
        targets: (time, output); a single frame where the whole sequence has one answer.
    """

    name: str
    inputs: Tensor
    targets: Tensor


class Batch(NamedTuple):
    """Pieces side by side, shorter ones padded with zeros at their end.

    Attributes:
        inputs: (time, batch, channel), or of pictures (time, batch, channel, height, width).
        targets: (time, batch, output), as the pieces'.
        mask: 1 where a frame is real, 0 where it is padding, (time, batch).
    """

    inputs: Tensor
    targets: Tensor
    mask: Tensor


@dataclass(frozen=True, eq=False)
class Made(Sequence[Piece]):
    """Pieces of one length that are made when they are asked for, alike each time: sets too large to keep as frames.

    Attributes:
        names: of the pieces.
        numbers: that `make` knows them by.
        make: inputs of a piece by its number, (time, channel) or (time, channel, height, width).
        targets: of all pieces, (piece, time, output).
        frames: of every piece.
    """

    names: tuple[str, ...]
    numbers: tuple[int, ...]
    make: Callable[[int], Tensor]
    targets: Tensor
    frames: int

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, k: int | slice) -> "Piece | Made":
        if isinstance(k, slice):
            return replace(self, names=self.names[k], numbers=self.numbers[k], targets=self.targets[k])
        return Piece(self.names[k], self.make(self.numbers[k]), self.targets[k])


@dataclass(frozen=True)
class Task:
    """Real data under a name that says which.

    Attributes:
        name: of the data and its split; never shared by two sources.
        source: a sentence: where the data came from and how it was split.
        train, valid, test: the pieces of each part: tuples, or `Made` when asked for.
        goal: what is asked for, and so how it is trained and judged.
    """

    name: str
    source: str
    train: Sequence[Piece]
    valid: Sequence[Piece]
    test: Sequence[Piece]
    goal: Goal = Chords()

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a frame of the inputs: (channel), or of pictures (channel, height, width)."""
        return tuple(self.train[0].inputs.shape[1:])

    @property
    def channels(self) -> int:
        """Width of the inputs; of pictures, their planes."""
        return self.shape[0]

    @property
    def often(self) -> Tensor:
        """Share of the training part's targets in which each output is on, float64, (output)."""
        made = isinstance(self.train, Made)
        targets = list(self.train.targets) if made else [piece.targets for piece in self.train]
        return sum(x.sum(0, dtype=torch.float64) for x in targets) / sum(map(len, targets))

    def __str__(self) -> str:
        parts = ", ".join(f"{len(getattr(self, part))} {part}" for part in ("train", "valid", "test"))
        size = " x ".join(map(str, self.shape[1:]))
        return f"{self.name}: {parts}, {self.channels} channels{size and ' of ' + size}. {self.source}"


def batches(pieces: Sequence[Piece], size: int, generator: torch.Generator | None = None) -> Iterator[Batch]:
    """Pieces of similar length together, the groups in random order; each piece once.

    Args:
        pieces: of one task.
        size: most pieces in a batch.
        generator: of the order; torch's own if None.

    Raises:
        ValueError: if size is less than one.
    """
    if size < 1:
        raise ValueError(f"a batch has at least one piece, got size = {size}")
    mixed = torch.randperm(len(pieces), generator=generator).tolist()
    same = isinstance(pieces, Made)
    ordered = mixed if same else sorted(mixed, key=lambda k: len(pieces[k].inputs))
    groups = [ordered[k : k + size] for k in range(0, len(ordered), size)]
    for k in torch.randperm(len(groups), generator=generator).tolist():
        yield _side_by_side([pieces[j] for j in groups[k]])


def _side_by_side(pieces: list[Piece]) -> Batch:
    inputs, targets = (pad_sequence([piece[k] for piece in pieces]) for k in (1, 2))
    lengths = torch.tensor([len(piece.inputs) for piece in pieces])
    mask = torch.arange(len(inputs)).unsqueeze(1) < lengths
    return Batch(inputs, targets, mask.to(inputs.dtype))
