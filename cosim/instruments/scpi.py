"""Scpi: a generator and a digitiser, or a source-measure unit, over VISA: GPIB, USB, a serial line or a network.

    limits = Limits(v=4.0, i=1e-3)                # nothing beyond them is sent
    with Scpi("TCPIP::192.0.2.7::5025::SOCKET", drives={"v_cap": 1}, senses={"v_cap": 1, "i_cap": 2},
              scales={"i_cap": 1e-3}, rate=1e6, limits=limits) as bench:
        waves = bench.apply(imposed("v_cap", *pund(3.0, 1e-4)))

Needs the extra `visa`. Outputs are opened at the end of the `with` block, and whenever anything went wrong.
"""

import contextlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Self

import numpy as np

from cosim.errors import InstrumentError
from cosim.instruments.dialect import AWG, SMU, Dialect, Limits
from cosim.instruments.instrument import begins_at_zero
from cosim.table import OVERFLOW
from cosim.waves import Waves

try:
    import pyvisa
except ImportError:  # the extra `visa`
    pyvisa = None

__all__ = ["AWG", "SMU", "Dialect", "Limits", "Scpi"]

LOST = 0.02
"""How far the sampled stimulus may be from the one asked for, as a share of its largest magnitude."""
SOON = 500
"""How long a lost instrument is waited for [ms]."""
MOST = 20
"""Errors that are asked for at once."""
_NAMES = {"v": "VOLT", "i": "CURR"}


class Scpi:
    """An instrument that speaks SCPI; a `with` block ends the connection.

    Args:
        address: VISA resource, such as "TCPIP::192.0.2.7::5025::SOCKET".
        drives: channel by signal that it can impose, such as `{"v_cap": 1}`.
        senses: channel by signal that it reads, such as `{"i_cap": 2}`.
        rate: samples of stimulus and readings [1/s].
        limits: what is never passed.
        dialect: its commands.
        scales: what a reading of 1 stands for, by signal, such as `{"i_cap": 1e-3}` behind an amplifier of 1 kOhm.
        timeout: longest wait for an answer, beside the length of the stimulus [s].
        visa: which VISA: "@py" is pyvisa-py, "" the maker's.

    Attributes:
        origin: what it says it is.

    Raises:
        ImportError: without the extra `visa`.
        ValueError: for a rate beyond the limits, or signals that are neither voltages nor currents.
        InstrumentError: if it is not there, does not answer, or complains.
    """

    def __init__(
        self,
        address: str,
        *,
        drives: Mapping[str, int],
        senses: Mapping[str, int],
        rate: float,
        limits: Limits,
        dialect: Dialect = AWG,
        scales: Mapping[str, float] = MappingProxyType({}),
        timeout: float = 10.0,
        visa: str = "@py",
    ):
        if pyvisa is None:
            raise ImportError("pyvisa is not installed: `pip install cosim[visa]`")
        odd = [name for name in (*drives, *senses) if name[:1] not in _NAMES]
        if odd or not (drives and senses):
            raise ValueError(f"drives and senses are channels by signal, v_ or i_, one or more each; not {odd}")
        if not 0 < rate <= limits.rate:
            raise ValueError(f"a rate of {rate:g} samples/s is not within the limit, {limits.rate:g}")
        self.origin, self._timeout, self._rate, self._limits, self._dialect = address, timeout, rate, limits, dialect
        self._drives, self._senses, self._scales = dict(drives), dict(senses), dict(scales)
        self._manager = self._line = None
        try:
            self._begin(address, visa)
        except BaseException:
            self.close()
            raise

    def apply(self, stimulus: Waves, cell: int = 0) -> Waves:
        """Impose a stimulus on a cell; see `Instrument`.

        Raises:
            ValueError: for a stimulus beyond the limits, of signals that are not driven, or faster than the rate
                shows; nothing has been sent then.
            InstrumentError: if it is closed, was silent too long, complains, or answers what makes no sense.
        """
        begins_at_zero(stimulus, self.origin)
        sampled = self._sampled(stimulus, cell)
        if self._line is None:
            raise InstrumentError(f"{self.origin}: the connection is closed; open another")
        with self._guarded("measuring"):
            return self._run(sampled, cell)

    def close(self) -> None:
        """Open the outputs and end the connection."""
        if self._line is not None:
            self._off()
        for part in (self._line, self._manager):
            if part is not None:
                with contextlib.suppress(pyvisa.Error):
                    part.close()
        self._line = self._manager = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin(self, address: str, visa: str) -> None:
        with self._guarded("connecting"):
            self._manager = pyvisa.ResourceManager(visa)
            wait = {"open_timeout": int(1e3 * self._timeout), "timeout": 1e3 * self._timeout}
            ends = {"read_termination": "\n", "write_termination": "\n"}
            self._line = self._manager.open_resource(address, **wait, **ends)
            for command in self._dialect.reset:
                self._line.write(command)
            self.origin = " ".join(self._line.query("*IDN?").split(",")[:2]).strip() or address
            self._complain("reset")

    def _sampled(self, stimulus: Waves, cell: int) -> Waves:
        """The stimulus on the instrument's clock, found to be within its limits."""
        limits, most = self._limits, {"v": self._limits.v, "i": self._limits.i}
        if cell and not self._dialect.cell:
            raise ValueError(f"{self.origin}: its dialect has no command for cell {cell}; set Dialect.cell")
        for name, x in stimulus.signals.items():
            if name not in self._drives:
                raise ValueError(f"{self.origin} does not drive {name}, but {', '.join(self._drives)}; see drives")
            k = int(np.argmax(np.abs(x)))
            if abs(x[k]) > most[name[0]]:
                raise ValueError(
                    f"{self.origin}: {name} reaches {x[k]:.6g} at t = {stimulus.time[k]:.6g} s, beyond the limit of "
                    f"{most[name[0]]:g}; nothing was sent"
                )
        count = round(stimulus.time[-1] * self._rate) + 1
        if not 2 <= count <= limits.samples:
            raise ValueError(
                f"{self.origin}: {stimulus.time[-1]:g} s at {self._rate:g} samples/s are {count} samples, the limit is "
                f"{limits.samples}; nothing was sent"
            )
        time = np.arange(count) / self._rate
        sampled = Waves(time, {name: stimulus.at(name, time) for name in stimulus.signals}, stimulus.origin)
        for name, x in stimulus.signals.items():
            lost = np.abs(x - sampled.at(name, stimulus.time))
            k = int(np.argmax(lost))
            if lost[k] > LOST * np.abs(x).max():
                raise ValueError(
                    f"{self.origin}: {self._rate:g} samples/s are too few for {name}, {lost[k]:.3g} off at t = "
                    f"{stimulus.time[k]:.6g} s; raise rate or slow the stimulus; nothing was sent"
                )
        return sampled

    def _run(self, sampled: Waves, cell: int) -> Waves:
        say, line = self._dialect, self._line
        told = {"cell": cell, "rate": self._rate, "step": 1 / self._rate, "count": len(sampled)}
        if say.cell:
            line.write(say.cell.format(**told))
        for name, x in sampled.signals.items():
            self._load(x, told | self._about(name, self._drives[name]))
        for name, channel in self._senses.items():
            self._tell(say.sense, told | self._about(name, channel))
        self._complain("being set up")
        for name in sampled.signals:
            self._tell((say.on,), told | self._about(name, self._drives[name]))
        self._tell(say.trigger, told)
        line.timeout = 1e3 * (self._timeout + sampled.time[-1])
        if say.wait:
            line.query(say.wait)
        line.timeout = 1e3 * self._timeout
        seen = {name: self._fetched(name, told | self._about(name, channel)) for name, channel in self._senses.items()}
        for name in sampled.signals:  # the next waveform is loaded, and the next cell put on, with open outputs
            self._tell((say.off,), told | self._about(name, self._drives[name]))
        self._complain("the run")
        return Waves(sampled.time, dict(sampled.signals) | seen, self.origin)

    def _load(self, x: np.ndarray, told: dict[str, Any]) -> None:
        """Send a waveform to its channel."""
        say, peak = self._dialect, float(np.abs(x).max()) or told["limit"]
        told = told | {"peak": peak}
        self._tell(say.drive, told)
        values, head = (x / peak if say.scaled else x).tolist(), say.upload.format(**told)
        if say.upload_as == "ascii":
            self._line.write(head + ",".join(f"{value:.9g}" for value in values))
        else:
            self._line.write_binary_values(head, values, say.upload_as)
        self._tell(say.play, told)

    def _fetched(self, name: str, told: dict[str, Any]) -> np.ndarray:
        """The readings of a channel, looked at."""
        say, ask = self._dialect, self._dialect.fetch.format(**told)
        try:
            if say.fetch_as == "ascii":
                x = np.asarray(self._line.query_ascii_values(ask), float)
            else:
                x = np.asarray(self._line.query_binary_values(ask, say.fetch_as), float)
        except ValueError as error:
            raise InstrumentError(f"{self.origin}: {name} is no list of numbers ({error}); see Dialect.fetch") from None
        if x.size != told["count"]:
            raise InstrumentError(f"{self.origin}: {x.size} readings of {name}, {told['count']} were asked for")
        bad = ~(np.abs(x) < OVERFLOW)
        if bad.any():
            k = int(np.argmax(bad))
            raise InstrumentError(
                f"{self.origin}: {name} has no valid reading at t = {k * told['step']:.6g} s ({x[k]:g}), and "
                f"{bad.sum() - 1} more; choose a larger range: limits, scales"
            )
        return x * self._scales.get(name, 1.0)

    def _about(self, name: str, channel: int) -> dict[str, Any]:
        """What commands about a signal are filled with."""
        own, other = (self._limits.v, self._limits.i)[:: 1 if name[0] == "v" else -1]
        kinds = {"quantity": _NAMES[name[0]], "opposite": _NAMES["i" if name[0] == "v" else "v"]}
        return kinds | {
            "channel": channel,
            "limit": own,
            "other": other,
            "range": own / abs(self._scales.get(name, 1.0)),
        }

    def _tell(self, commands: tuple[str, ...], told: dict[str, Any]) -> None:
        for command in commands:
            if command:
                self._line.write(command.format(**told))

    def _complaints(self) -> Iterator[str]:
        """The instrument's errors, oldest first; none where its dialect cannot ask."""
        for _ in range(MOST * bool(self._dialect.error)):
            said = self._line.query(self._dialect.error).strip()
            if said.lstrip("+-").split(",")[0].strip("0 ") == "":
                return
            yield said

    def _complain(self, during: str) -> None:
        words = tuple(self._complaints())
        if words:
            raise InstrumentError(f"{self.origin} complains of {during}; see Dialect for what was sent", words)

    @contextlib.contextmanager
    def _guarded(self, during: str) -> Iterator[None]:
        """Whatever goes wrong inside: outputs open, and the house's error for VISA's."""
        try:
            yield
        except (pyvisa.Error, OSError) as error:
            words = self._off(lost=True)
            told = getattr(error, "description", "") or error
            raise InstrumentError(
                f"{self.origin}: {during} failed: {told}; is it there, and does it speak this dialect? timeout was "
                f"{self._timeout:g} s", words
            ) from error  # fmt: skip
        except BaseException:
            self._off()
            raise

    def _off(self, lost: bool = False) -> tuple[str, ...]:
        """Open all outputs, whatever state the line is in; what the instrument still says."""
        words: list[str] = []
        if self._line is not None:
            if lost:  # drop what is still under way, such as half an answer; not every VISA can
                with contextlib.suppress(Exception):
                    self._line.timeout = SOON
                    self._line.clear()
            for name, channel in self._drives.items():
                with contextlib.suppress(pyvisa.Error, OSError):
                    self._tell((self._dialect.off,), {"cell": 0} | self._about(name, channel))
            with contextlib.suppress(pyvisa.Error, OSError):
                words.extend(self._complaints())
        return tuple(words)
