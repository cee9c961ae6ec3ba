"""Tasks: real data as sequences of frames, the losses that belong to them, and batches."""

from cosim.tasks.chorales import jsb
from cosim.tasks.loss import Chords, Classes, Goal, Grade, Score, class_nll, frame_nll, mean_bce
from cosim.tasks.stimulus import read_frames
from cosim.tasks.tactile import Events, braille, encode
from cosim.tasks.task import Batch, Piece, Task, batches

__all__ = [
    "Batch", "Chords", "Classes", "Events", "Goal", "Grade", "Piece", "Score", "Task",
    "batches", "braille", "class_nll", "encode", "frame_nll", "jsb", "mean_bce", "read_frames",
]  # fmt: skip
