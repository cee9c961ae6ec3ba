"""The whole loop in fifteen lines: calibrate a neuron, train a network of it, meet it again in ngspice."""

import numpy as np

import cosim
from cosim.neurons import FeLIF
from cosim.report.canvas import BLUE, GREEN, RED, sheet
from cosim.training import History


def main(neurons: int = 16, epochs: int = 5, frames: int = 60, out: str = "closed_loop.png") -> cosim.Report:
    """Run the loop; few neurons, epochs and frames make it quick."""
    waves = cosim.simulate(cosim.Netlist.load("bench_felif"), stop=60e-3, step=10e-6)
    felif = cosim.fit(FeLIF(), waves)
    rram = cosim.Card.load("vcm")

    task = cosim.tasks.jsb(quick=True)
    net = cosim.Network([54, neurons, 54], neuron=felif, synapse=rram, levels=15)
    history = cosim.train(net, task, rule=cosim.Bruno(), epochs=epochs)

    report = cosim.validate(net, cosim.export(net), task.test[0].inputs[:frames])
    report.save(out.replace(".png", ".html"))
    draw(felif, history, report, out)
    return report


def draw(felif: cosim.Card, history: History, report: cosim.Report, out: str) -> None:
    """Three stations: the fit, the training, the circuit over the network."""
    figure, ((fit, learn, back),) = sheet(1, 3, height=3.4)
    time = 1e3 * felif.traces["time"]
    fit.plot(time, felif.traces["measured"], color=RED)
    fit.plot(time, felif.traces["fitted"], color=BLUE, linestyle="--")
    fit.set(title="calibrate", xlabel="time [ms]", ylabel="membrane [V]")
    epochs = [epoch.number for epoch in history.epochs]
    for name, color in (("train", BLUE), ("valid", GREEN)):
        learn.plot(epochs, [getattr(epoch, name) for epoch in history.epochs], "o-", color=color, label=name)
    learn.set(title="train", xlabel="epoch", ylabel="cross-entropy [nats]")
    torch, spice = (report.recordings[name] for name in ("torch", "ngspice"))
    one = int(np.argmax(torch.spikes.sum(0)))
    back.plot(1e3 * spice.time, spice.voltages[:, one], "o-", color=RED, markersize=4, label="ngspice")
    back.plot(1e3 * torch.time, torch.voltages[:, one], color=BLUE, linestyle="--", label="torch")
    back.set(title=f"validate: {report.verdict}", xlabel="time [ms]", ylabel=f"neuron {report.neurons[one]} [V]")
    back.set_xlim(0, 20)
    learn.legend()
    back.legend()
    figure.savefig(out, dpi=140)


if __name__ == "__main__":
    print(main())
