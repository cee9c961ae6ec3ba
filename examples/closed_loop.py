"""The whole loop in fifteen lines: calibrate a neuron, train a network of it, meet it again in ngspice."""

from pathlib import Path

import cosim
from cosim.neurons import FeLIF


def main(neurons: int = 16, epochs: int = 5, frames: int = 60, out: Path = Path("closed_loop.html")) -> cosim.Report:
    """Run the loop; few neurons, epochs and frames make it quick."""
    waves = cosim.simulate(cosim.Netlist.load("bench_felif"), stop=60e-3, step=10e-6)
    felif = cosim.fit(FeLIF(), waves)
    rram = cosim.Card.load("vcm")

    task = cosim.tasks.jsb(quick=True)
    net = cosim.Network([54, neurons, 54], neuron=felif, synapse=rram, levels=15)
    cosim.train(net, task, rule=cosim.Bruno(), epochs=epochs)

    report = cosim.validate(net, cosim.export(net), task.test[0].inputs[:frames])
    report.save(out)
    return report


if __name__ == "__main__":
    print(main())
