"""SCPI: against pyvisa's simulated instrument, and over a real wire to a little instrument with ngspice behind it."""

import contextlib
import re
import socket
import socketserver
import struct
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib import reload

import numpy as np
import pytest

import cosim
from cosim.crossbar import Protocol, program
from cosim.crossbar.wired import Wafer
from cosim.devices import VCM
from cosim.devices.stimuli import pund
from cosim.errors import InstrumentError
from cosim.instruments import AWG, SMU, Limits, Ngspice, Scpi, imposed, ramps, scpi, stairs

LIMITS = Limits(v=4.0, i=5e-3)
FILM = dict(drives={"v_cap": 1}, senses={"v_cap": 1, "i_cap": 2}, scales={"i_cap": 1e-3}, rate=1e6, limits=LIMITS)
SLOW = Protocol(t_edge=4e-9)
"""Edges that a clock of 1 GHz shows."""


# --- a little instrument: a socket, a parser, and physics behind it ----------------------------------------------


class Bench(socketserver.ThreadingTCPServer):
    """A generator and a digitiser: `channels` says which signal is where, and what a volt at the digitiser stands for.

    Errors are queued as SCPI wants it; `sent` keeps every command.
    """

    allow_reuse_address = daemon_threads = True
    block_on_close = False

    def __init__(self, device, source: str, channels: dict[int, tuple[str, float]], form: str = "ascii"):
        super().__init__(("127.0.0.1", 0), Line)
        self.device, self.source, self.channels, self.form = device, source, channels, form
        self.sent, self.errors, self.seen, self.cell, self.hears = [], [], None, 0, True
        self.rate = self.peak = self.limit = 0.0
        self.shares = np.zeros(2)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"TCPIP::127.0.0.1::{self.server_address[1]}::SOCKET"

    def outputs(self) -> list[str]:
        """What was switched, in order."""
        return [command for command in self.sent if command.startswith("OUTP")]

    def obey(self, command: str) -> bytes | None:
        """The answer to a query; None to a command."""
        self.sent.append(command[:60])
        words = {"*IDN?": "House,Little bench,1,0", "*OPC?": "1", "SYST:ERR?": '0,"No error"'}
        if command == "SYST:ERR?" and self.errors:
            return self.errors.pop(0).encode()
        if command in words:
            return words[command].encode() if self.hears or command != "*OPC?" else None
        if found := re.fullmatch(r"SOUR\d:(?:FUNC:ARB:(SRAT)|VOLT:(AMPL)|VOLT:LIM:(HIGH)) (.+)", command):
            name = {"SRAT": "rate", "AMPL": "peak", "HIGH": "limit"}[found[1] or found[2] or found[3]]
            setattr(self, name, float(found[4]))
        elif found := re.fullmatch(r"SOUR\d:DATA:ARB COSIM,(.+)", command):
            self.shares = np.array(found[1].split(","), float)
        elif found := re.fullmatch(r"ROUT:CLOS \(@(\d+)\)", command):
            self.cell = int(found[1])
        elif command == "*TRG":
            clock = np.arange(self.shares.size) / self.rate
            waves = self.device.apply(imposed(self.source, clock, self.peak * self.shares), self.cell)
            self.seen = {k: waves.at(name, clock) / scale for k, (name, scale) in self.channels.items()}
        elif found := re.fullmatch(r"FETC(\d)\?", command):
            x = self.seen[int(found[1])]
            if self.form == "ascii":
                return ",".join(f"{value:.12g}" for value in x).encode()
            head = f"{8 * x.size}"
            return f"#{len(head)}{head}".encode() + struct.pack(f"<{x.size}d", *x)
        elif not re.match(r"\*RST|\*CLS|INIT|OUTP\d|SOUR\d:|SENS\d:VOLT:RANG|SENS\d:SWE:(TINT|POIN) ", command):
            self.errors.append(f'-113,"Undefined header; {command[:20]}"')
        return None


class Line(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while line := self.rfile.readline():
            if b"COSIM,#" in line:  # a binary block, which may hold line feeds
                head, block = line.split(b"#", 1)
                digits = int(block[:1])
                size = int(block[1 : 1 + digits])
                while len(block) < 1 + digits + size + 1:
                    block += self.rfile.read(1 + digits + size + 1 - len(block))
                numbers = struct.unpack(f"<{size // 8}d", block[1 + digits : 1 + digits + size])
                line = head + ",".join(map(repr, numbers)).encode()
            answer = self.server.obey(line.decode().strip())
            if answer is not None:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # who asked may have given up
                    self.wfile.write(answer + b"\n")


@pytest.fixture
def film() -> Iterator[Bench]:
    """A ferroelectric film behind 50 Ohm, its current through 1 kOhm."""
    device = Ngspice(cosim.Netlist.load("bench_pund"), 1e-6, drives={"v_cap": "v_drive"}, fresh=True)
    with Bench(device, "v_cap", {1: ("v_cap", 1.0), 2: ("i_cap", 1e-3)}) as bench:
        yield bench
        bench.shutdown()


def test_a_film_is_calibrated_over_a_wire(film) -> None:
    stimulus = imposed("v_cap", *pund(3.0, 1e-4))
    with Scpi(film.address, **FILM) as bench:
        assert bench.origin == "House Little bench"
        found = cosim.calibrate("pund", stimulus, instrument=bench, form="bruno", vary=["p_sat", "field_act"])
    assert film.outputs() == ["OUTP1 ON", "OUTP1 OFF", "OUTP1 OFF"] and film.limit == 4.0
    assert found.card.data[0].name == "House" and found.data[0].name == "House Little bench"
    assert "measured under a stimulus of v_cap" in found.remarks[0]
    for name in found.card.varied:
        assert found.card.values[name] == pytest.approx(getattr(cosim.devices.FeCap(), name), rel=0.03), name


@pytest.mark.slow
def test_cells_are_programmed_over_a_wire() -> None:
    target, cells = np.array([55e-6, 75e-6]), cosim.devices.draw_cells(2, 3)
    dialect = replace(AWG, cell="ROUT:CLOS (@{cell})", fetch_as="d", upload_as="d")
    with Wafer(cells, 2, SLOW) as wafer, Bench(wafer, "v_cell", {1: ("i_cell", 1e-3)}, "d") as server:
        ask = dict(drives={"v_cell": 1}, senses={"i_cell": 1}, scales={"i_cell": 1e-3}, rate=1e9, limits=LIMITS)
        with Scpi(server.address, dialect=dialect, **ask) as bench:
            done = program(VCM(), target, SLOW, instrument=bench)
        server.shutdown()
    ours = program(cells, target, SLOW, cycles=None)
    assert not done.failed.any() and (done.pulses == ours.pulses).all()
    assert done.conductances == pytest.approx(ours.conductances, abs=0.5e-6)
    assert done.energy == pytest.approx(ours.energy, rel=0.02)


def test_errors_of_the_instrument_are_ours_with_its_words(film) -> None:
    stimulus = stairs("v_cap", [1.0], 1e-5, 1e-5)
    with pytest.raises(InstrumentError, match=r"complains of being set up[^\0]*-113,\"Undefined header; SENS2:GAIN 3"):
        with Scpi(film.address, dialect=replace(AWG, sense=("SENS{channel}:GAIN 3",)), **FILM) as bench:
            bench.apply(stimulus)
    assert film.outputs() and set(film.outputs()) == {"OUTP1 OFF"}
    film.hears = False
    with pytest.raises(InstrumentError, match="House Little bench: measuring failed: .*; is it there"):
        with Scpi(film.address, timeout=0.3, **FILM) as bench:
            bench.apply(stimulus)
    until = time.monotonic() + 30  # what was sent behind the trigger is heard when ngspice is done
    while film.outputs()[-1] != "OUTP1 OFF" and time.monotonic() < until:
        time.sleep(0.01)
    assert "OUTP1 ON" in film.outputs() and film.outputs()[-1] == "OUTP1 OFF"
    with pytest.raises(InstrumentError, match="the connection is closed"):
        bench.apply(stimulus)


def test_nothing_is_sent_beyond_the_limits(film) -> None:
    with Scpi(film.address, **FILM) as bench:
        before = len(film.sent)
        for words, stimulus in {
            "v_cap reaches -5 at t = .*beyond the limit of 4; nothing was sent": imposed("v_cap", [0, 1e-4], [0, -5]),
            "are 100001 samples, the limit is 65536": imposed("v_cap", [0, 0.1], [0, 1]),
            "samples/s are too few for v_cap, 1 off": imposed(
                "v_cap", [0, 1e-5, 1.025e-5, 1.05e-5, 2e-5], [0, 0, 1, 0, 0]
            ),
            "does not drive i_in, but v_cap": imposed("i_in", [0, 1e-4], [0, 1e-6]),
            "a stimulus begins at 0 s": imposed("v_cap", [1e-5, 1e-4], [0, 1]),
        }.items():
            with pytest.raises(ValueError, match=words):
                bench.apply(stimulus)
        with pytest.raises(ValueError, match="its dialect has no command for cell 3"):
            bench.apply(imposed("v_cap", [0, 1e-4], [0, 1]), 3)
        assert len(film.sent) == before


def test_readings_that_are_none_are_refused(film) -> None:
    stimulus = stairs("v_cap", [1.0], 1e-5, 1e-5)
    with Scpi(film.address, **FILM) as bench:
        film.channels = {1: ("v_cap", 1.0), 2: ("v_cap", 1e-38)}
        with pytest.raises(InstrumentError, match="i_cap has no valid reading at t = .*choose a larger range"):
            bench.apply(stimulus)
    with pytest.raises(InstrumentError, match="readings of v_cap, 31 were asked for"):
        with Scpi(film.address, dialect=replace(AWG, fetch="*OPC?"), **FILM) as bench:
            bench.apply(stimulus)
    with pytest.raises(InstrumentError, match="is no list of numbers"):
        with Scpi(film.address, dialect=replace(AWG, fetch="*IDN?"), **FILM) as bench:
            bench.apply(stimulus)


def test_nobody_there() -> None:
    """A socket that listens and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        with pytest.raises(InstrumentError, match="connecting failed"):
            Scpi(f"TCPIP::127.0.0.1::{deaf.getsockname()[1]}::SOCKET", timeout=0.3, **FILM)


# --- pyvisa's own simulated instrument, with answers of ngspice --------------------------------------------------


def test_a_source_meter_by_pyvisa_sim(tmp_path) -> None:
    """A list sweep on a cell; the currents are ngspice's, and so is what comes back."""
    device = Ngspice(cosim.Netlist.load("bench_vcm"), 0.02, drives={"v_cell": "v_drive"}, fresh=True)
    stimulus = ramps("v_cell", [-1.2], 1.0)
    truth = device.apply(stimulus)
    clock = np.arange(25) / 10
    amperes = truth.at("i_cell", clock)
    volts = ",".join(f"{v:.9g}" for v in stimulus.at("v_cell", clock))
    written = ["*RST", "*CLS", "SOUR1:FUNC:MODE VOLT", "SOUR1:VOLT:RANG 4", "SENS1:CURR:PROT 0.005",
               "SOUR1:VOLT:MODE LIST",
               f"SOUR1:LIST:VOLT {volts}", "TRIG1:TIM 0.1", "TRIG1:COUN 25", "SENS1:CURR:RANG 0.005", "OUTP1 ON",
               "INIT",
               "OUTP1 OFF"]  # fmt: skip
    asked = {"*IDN?": "House,Sim meter,1,0", "*OPC?": "1", "SYST:ERR?": '+0,"No error"',
             "FETC:ARR:CURR? (@1)": ",".join(f"{i:.12g}" for i in amperes)}  # fmt: skip
    rows = [f"      - q: {q!r}" for q in written] + [f"      - q: {q!r}\n        r: {r!r}" for q, r in asked.items()]
    text = "\n".join([
        'spec: "1.1"', "devices:", "  meter:", "    eom:", "      GPIB INSTR:", '        q: "\\n"', '        r: "\\n"',
        "    error: ERROR", "    dialogues:", *rows, "resources:", "  GPIB0::5::INSTR:", "    device: meter",
    ])  # fmt: skip
    path = tmp_path / "meter.yaml"
    path.write_text(text + "\n")
    ask = dict(drives={"v_cell": 1}, senses={"i_cell": 1}, rate=10.0, limits=LIMITS, dialect=SMU, visa=f"{path}@sim")
    with Scpi("GPIB0::5::INSTR", **ask) as bench:
        found = bench.apply(stimulus)
        assert bench.origin == "House Sim meter" and found.time == pytest.approx(clock)
        assert found["i_cell"] == pytest.approx(amperes, rel=1e-9) and np.ptp(amperes) > 1e-5
        with pytest.raises(InstrumentError, match="complains of|failed"):  # the simulator knows no other list
            bench.apply(ramps("v_cell", [-1.0], 1.0))


# --- bad input ---------------------------------------------------------------------------------------------------


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="limits must be above 0, and leave 2 samples"):
        Limits(v=0.0, i=1.0)
    with pytest.raises(ValueError, match="samples/s is not within the limit"):
        Scpi("TCPIP::127.0.0.1::1::SOCKET", **(FILM | {"rate": 1e10}))
    with pytest.raises(ValueError, match="drives and senses are channels by signal"):
        Scpi("TCPIP::127.0.0.1::1::SOCKET", **(FILM | {"drives": {"p_cap": 1}}))


def test_without_pyvisa(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pyvisa", None)
    try:
        with pytest.raises(ImportError, match=r"pyvisa is not installed: `pip install cosim\[visa\]`"):
            reload(scpi).Scpi("TCPIP::127.0.0.1::1::SOCKET", **FILM)
    finally:
        monkeypatch.undo()
        reload(scpi)
