"""Tasks made by chance that ask for memory alone: what was the cue, and which of two came first.

Sources:
    [1] HYPR, arXiv 2506.14464: a cue, a delay of 1,000 to 10,000 steps, then the answer. Only a summary of its stimulus
        is known here, so rates, lengths and channels are ours.
    [2] Bellec et al., A solution to the learning dilemma for recurrent networks of spiking neurons, Nature
        Communications 11:3625 (2020): groups of channels for cues, recall and background.
"""

from collections.abc import Iterator

import numpy as np
import torch

from cosim.tasks.loss import Classes, Labels
from cosim.tasks.parts import PARTS
from cosim.tasks.task import Piece, Task

GROUP = 5
"""Channels of a group; the groups are cue A, cue B, recall, background."""
SHOWN = 30
"""Frames of a cue, and of the recall."""
RATE = 0.4
"""Share of the frames with an event, in a channel of a cue or of the recall."""
NOISE = 0.01
"""The same in a channel of the background, always."""
BURST = 3
"""Frames of one of the two events."""
WINDOW = 20
"""Frames at the end, in which neither event is."""


def cue(delay: int = 1000, pieces: int = 200, seed: int = 0) -> Task:
    """One of two groups of channels bursts; a delay later another group asks which one it was.

    Events come by chance in 30 frames of cue and 30 of recall, in two of five frames; in between there is only the
    background, in channels of its own, one event in a hundred frames. Only the frames of the recall have a label.

    Args:
        delay: frames from the end of the cue to the recall.
        pieces: to learn from, as many of each class; a quarter as many are for validation, and for testing.
        seed: of all of them.

    Returns:
        Pieces of float32 0 or 1, inputs (delay + 60, 20) and targets (delay + 60, 2).

    Raises:
        ValueError: for a negative delay, or pieces that cannot be shared out evenly.
    """
    if delay < 0:
        raise ValueError(f"a delay is a number of frames, got {delay}")
    frames = delay + 2 * SHOWN
    targets = torch.zeros(2, frames, 2)
    targets[:, -SHOWN:] = torch.eye(2)[:, None]

    def piece(name, one, draw):
        rate = np.zeros((frames, 4, GROUP), np.float32)
        rate[:SHOWN, one], rate[-SHOWN:, 2], rate[:, 3] = RATE, RATE, NOISE
        events = draw.random(rate.shape, np.float32) < rate
        return Piece(name, torch.from_numpy(events.reshape(frames, -1).astype(np.float32)), targets[one])

    source = f"Made by chance: a cue, {delay} frames of background, the recall; seed {seed}."
    return Task(f"cue-{delay}-{pieces}-seed{seed}", source, **_parts(piece, pieces, seed), goal=Labels())


def order(
    gap: tuple[int, int] = (5, 50), frames: int = 200, pieces: int = 400, seed: int = 0, framewise: bool = False
) -> Task:
    """Two channels, a burst of three frames in each: the class is the channel whose burst came first.

    Both times are by chance: the first, and how much later the second begins. The last 20 frames are silent.

    Args:
        gap: fewest and most frames from the beginning of one burst to that of the other.
        frames: of a piece.
        pieces: to learn from, as many of each class; a quarter as many are for validation, and for testing.
        seed: of all of them.
        framewise: ask for the class in each of the last 20 frames rather than once for the sequence.

    Returns:
        Pieces of float32 0 or 1, inputs (frames, 2) and targets (1, 2), or framewise (frames, 2).

    Raises:
        ValueError: if the gap is none, bursts do not fit into the frames, or pieces cannot be shared out evenly.
    """
    low, high = gap
    if not 1 <= low <= high:
        raise ValueError(f"gap is the fewest and the most frames between the two, at least 1, got {gap}")
    room = frames - WINDOW - BURST - high
    if room < 0:
        raise ValueError(f"{frames} frames are too few for a gap of {high}; take at least {frames - room}")
    targets = torch.eye(2)[:, None]
    if framewise:
        targets = torch.zeros(2, frames, 2)
        targets[:, -WINDOW:] = torch.eye(2)[:, None]

    def piece(name, one, draw):
        inputs = torch.zeros(frames, 2)
        first = int(draw.integers(room, endpoint=True))
        second = first + int(draw.integers(low, high, endpoint=True))
        inputs[first : first + BURST, one] = inputs[second : second + BURST, 1 - one] = 1
        return Piece(name, inputs, targets[one])

    name = f"order-{low}-{high}-{frames}-{pieces}-seed{seed}" + "-framewise" * framewise
    source = f"Made by chance: two bursts {low} to {high} frames apart, which was first; seed {seed}."
    return Task(name, source, **_parts(piece, pieces, seed), goal=Labels() if framewise else Classes())


def _parts(piece, pieces, seed) -> dict[str, tuple[Piece, ...]]:
    if pieces < 8 or pieces % 8:
        raise ValueError(f"pieces must be a multiple of 8, so that each part has as many of each class, got {pieces}")
    sizes = dict(zip(PARTS, (pieces, pieces // 4, pieces // 4)))
    return {part: tuple(_drawn(piece, part, sizes[part], (seed, k))) for k, part in enumerate(PARTS)}


def _drawn(piece, part, count, seed) -> Iterator[Piece]:
    draw = np.random.default_rng(seed)
    for k in range(count):
        yield piece(f"{part}-{'AB'[k % 2]}-{k:04d}", k % 2, draw)
