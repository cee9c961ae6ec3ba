"""cosim closes the loop: SPICE waveforms, fitted compact models, trained spiking networks, and back into SPICE.

    bench = cosim.Netlist.load("bench_felif")
    card = cosim.fit(cosim.neurons.FeLIF(), cosim.simulate(bench, stop=60e-3, step=10e-6))
    net = cosim.Network([54, 16, 54], neuron=card, synapse=cosim.devices.VCM())
    cosim.train(net, cosim.tasks.jsb(), rule=cosim.Bruno(), epochs=20)
    print(cosim.validate(net, cosim.export(net), cosim.tasks.jsb().test))

Names are looked up when they are first used, so that `import cosim` costs nothing.
"""

import importlib

__version__ = "0.1.0"

_HOMES = {
    "Bruno": "cosim.learning",
    "Card": "cosim.card",
    "CosimError": "cosim.errors",
    "Deep": "cosim.deep",
    "Device": "cosim.device",
    "InSpice": "cosim.learning",
    "Netlist": "cosim.netlist",
    "Network": "cosim.network",
    "Report": "cosim.report",
    "Schedule": "cosim.training",
    "Task": "cosim.tasks",
    "Waves": "cosim.waves",
    "calibrate": "cosim.calibration.recipes",
    "capabilities": "cosim.spice",
    "cosimulate": "cosim.cosimulation",
    "evaluate": "cosim.training",
    "export": "cosim.deck",
    "fit": "cosim.calibration",
    "lockstep": "cosim.spice",
    "param": "cosim.device",
    "simulate": "cosim.spice",
    "simulate_many": "cosim.spice",
    "software": "cosim.card.card",
    "sweep": "cosim.sweeping",
    "train": "cosim.training",
    "validate": "cosim.report",
}
_ROOMS = ("analog", "devices", "exchange", "instruments", "learning", "neurons", "report", "sweeping", "tasks")

__all__ = sorted([*_HOMES, *_ROOMS, "__version__"])


def __getattr__(name: str) -> object:
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    elif name in _ROOMS:
        value = importlib.import_module(f"cosim.{name}")
    else:
        raise AttributeError(f"cosim has no {name!r}; it has {', '.join(__all__)}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
