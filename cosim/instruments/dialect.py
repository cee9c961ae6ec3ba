"""What an instrument wants to be told: SCPI commands with holes, and the limits that guard what hangs at it.

Holes of a command, filled by `str.format`: {channel}, {cell}, {rate} [1/s], {step} [s], {count} samples, {peak} of the
waveform [V or A], {limit} of what is driven, {other} limit of the other quantity, {range} of a reading, {quantity} VOLT
or CURR and {opposite} the other one. Instruments differ: `replace(AWG, upload="DATA:DAC VOLATILE,")`.
"""

from dataclasses import dataclass
from typing import Literal

Form = Literal["ascii", "f", "d"]
"""How many numbers travel: as text, or in a binary block of 4 or 8 bytes each, little end first."""


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """Commands of an instrument; those left empty are not sent.

    Attributes:
        reset: before anything else.
        cell: puts a cell to the terminals; empty where there is but one.
        drive: of each channel that drives, before its waveform comes.
        upload: begins the command that carries a waveform; the numbers follow.
        play: of each channel that drives, behind its waveform.
        sense: of each channel that reads.
        on: closes an output.
        off: opens it; sent after each stimulus, at the end, and whenever anything went wrong.
        trigger: starts all of them.
        wait: answers when they are done.
        fetch: asks for the readings of a channel.
        error: asks for the oldest error.
        scaled: whether a waveform is sent as shares of its peak.
        upload_as: how a waveform travels.
        fetch_as: how readings travel.
    """

    reset: tuple[str, ...] = ("*RST", "*CLS")
    cell: str = ""
    drive: tuple[str, ...] = ()
    upload: str = ""
    play: tuple[str, ...] = ()
    sense: tuple[str, ...] = ()
    on: str = "OUTP{channel} ON"
    off: str = "OUTP{channel} OFF"
    trigger: tuple[str, ...] = ("INIT", "*TRG")
    wait: str = "*OPC?"
    fetch: str = "FETC{channel}?"
    error: str = "SYST:ERR?"
    scaled: bool = False
    upload_as: Form = "ascii"
    fetch_as: Form = "ascii"


AWG = Dialect(
    drive=("SOUR{channel}:DATA:VOL:CLE", "SOUR{channel}:VOLT:LIM:HIGH {limit:.9g}",
           "SOUR{channel}:VOLT:LIM:LOW -{limit:.9g}", "SOUR{channel}:VOLT:LIM:STAT ON"),
    upload="SOUR{channel}:DATA:ARB COSIM,",
    play=("SOUR{channel}:FUNC:ARB COSIM", "SOUR{channel}:FUNC ARB", "SOUR{channel}:FUNC:ARB:SRAT {rate:.9g}",
          "SOUR{channel}:VOLT:AMPL {peak:.9g}", "SOUR{channel}:BURS:NCYC 1", "SOUR{channel}:BURS:STAT ON"),
    sense=("SENS{channel}:VOLT:RANG {range:.9g}", "SENS{channel}:SWE:TINT {step:.9g}",
           "SENS{channel}:SWE:POIN {count}"),
    scaled=True,
)  # fmt: skip
"""A generator of arbitrary waveforms and a digitiser that one trigger starts."""

SMU = Dialect(
    drive=("SOUR{channel}:FUNC:MODE {quantity}", "SOUR{channel}:{quantity}:RANG {limit:.9g}",
           "SENS{channel}:{opposite}:PROT {other:.9g}", "SOUR{channel}:{quantity}:MODE LIST"),
    upload="SOUR{channel}:LIST:{quantity} ",
    play=("TRIG{channel}:TIM {step:.9g}", "TRIG{channel}:COUN {count}"),
    sense=("SENS{channel}:{quantity}:RANG {range:.9g}",),
    trigger=("INIT",),
    fetch="FETC:ARR:{quantity}? (@{channel})",
)  # fmt: skip
"""A source-measure unit that steps through a list and reads at every step: what it holds between is a stair."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What may not be passed; all of it is checked before anything is sent.

    Attributes:
        v: largest voltage, driven or allowed as compliance [V].
        i: largest current, driven or allowed as compliance [A].
        samples: most of a waveform.
        rate: fastest sampling [1/s].

    Raises:
        ValueError: for a limit that is not above 0.
    """

    v: float
    i: float
    samples: int = 65_536
    rate: float = 1e9

    def __post_init__(self):
        if not (self.v > 0 and self.i > 0 and self.samples > 1 and self.rate > 0):
            raise ValueError(f"limits must be above 0, and leave 2 samples or more, got {self}")
