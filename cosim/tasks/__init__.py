"""Tasks: real data as sequences of frames, the losses that belong to them, and batches."""

from cosim.tasks.chance import cue, order
from cosim.tasks.chorales import jsb
from cosim.tasks.cochlea import shd
from cosim.tasks.heart import ecg
from cosim.tasks.loss import (
    Chords,
    Classes,
    Framewise,
    Goal,
    Grade,
    Labels,
    Score,
    class_nll,
    frame_nll,
    label_nll,
    mean_bce,
)
from cosim.tasks.pictures import Shown, cifar10, digits, fashion, mnist
from cosim.tasks.retina import cifar10_dvs
from cosim.tasks.stimulus import read_frames
from cosim.tasks.tactile import Events, braille, encode
from cosim.tasks.task import Batch, Made, Piece, Task, batches

__all__ = [
    "Batch", "Chords", "Classes", "Events", "Framewise", "Goal", "Grade", "Labels", "Made", "Piece", "Score", "Shown",
    "Task", "batches", "braille", "cifar10", "cifar10_dvs", "class_nll", "cue", "digits", "ecg", "encode", "fashion",
    "frame_nll", "jsb", "label_nll", "mean_bce", "mnist", "order", "read_frames", "shd",
]  # fmt: skip
