"""Hardware in the loop, with ngspice on the bench: a film is measured, recorded and calibrated; cells are programmed.

Everything goes through `Instrument.apply`; put `Scpi(...)` in the place of `Ngspice(...)` and the bench is yours. The
recording gives the same card again, to the last digit.
"""

from pathlib import Path

import numpy as np

import cosim
from cosim.crossbar import Protocol, Wafer, program
from cosim.devices import VCM, draw_cells
from cosim.devices.stimuli import pund
from cosim.instruments import Ngspice, Recorded, Recorder, imposed
from cosim.report.canvas import BLUE, GREEN, GREY, RED, sheet


def main(cells: int = 4, vary: tuple = ("p_sat", "field_act"), folder: str = "", out: str = "hardware.png") -> dict:
    """{"card", "again": of the film, live and replayed; "cells": as they were programmed}."""
    folder = folder or out.replace(".png", "_film")
    stimulus = imposed("v_cap", *pund(3.0, 1e-4))
    film = Ngspice(cosim.Netlist.load("bench_pund"), 1e-6, drives={"v_cap": "v_drive"}, see=("i_cap",), fresh=True)
    ask = dict(form="bruno", vary=vary)
    live = cosim.calibrate("pund", stimulus, instrument=Recorder(film, folder), **ask)
    again = cosim.calibrate("pund", stimulus, instrument=Recorded(Path(folder)), **ask)
    print(live.card)

    target, drawn = np.linspace(40e-6, 120e-6, cells), draw_cells(cells, seed=1)
    with Wafer(drawn, cells, Protocol()) as wafer:
        done = program(VCM(), target, instrument=wafer)
    print(done)

    figure, ((left, middle, right),) = sheet(1, 3, height=3.4)
    traces, (waves,) = live.card.traces, live.waves
    left.plot(1e3 * waves.time, waves["v_cap"], color=GREY)
    left.set(xlabel="time [ms]", ylabel="stimulus on the film [V]")
    middle.plot(1e3 * traces["time"], 1e6 * traces["measured"], color=RED, linewidth=3, label="measured")
    middle.plot(1e3 * traces["time"], 1e6 * traces["fitted"], color=BLUE, label="one switching time")
    middle.set(xlabel="time [ms]", ylabel="current [uA]")
    right.plot(1e6 * target, 1e6 * target, color=GREY)
    right.plot(1e6 * target, 1e6 * done.conductances, "o", color=GREEN, label=f"{done.pulses.mean():.0f} pulses a cell")
    right.set(xlabel="target [uS]", ylabel="programmed cell [uS]")
    [ax.legend(fontsize=8.5) for ax in (middle, right)]
    figure.savefig(out, dpi=140)
    return {"card": live.card, "again": again.card, "cells": done}


if __name__ == "__main__":
    main()
