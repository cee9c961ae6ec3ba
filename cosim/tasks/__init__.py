"""Tasks: real data as sequences of frames, the losses that belong to them, and batches."""

from cosim.tasks.chorales import jsb
from cosim.tasks.loss import frame_nll, mean_bce
from cosim.tasks.stimulus import read_frames
from cosim.tasks.task import Batch, Piece, Task, batches

__all__ = ["Batch", "Piece", "Task", "batches", "frame_nll", "jsb", "mean_bce", "read_frames"]
