"use strict";
// Reads values off the figures: by pointing, by touching, and by the arrow keys once a figure has the focus.
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const HELP = "left and right walk along a curve, up and down change the curve, Home and End go to its ends";
  const raised = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };

  const number = (x) => {
    if (x === null) return "not known";
    const far = x !== 0 && (Math.abs(x) >= 1e5 || Math.abs(x) < 1e-3);
    const [digits, power] = (far ? x.toExponential() : String(x)).split("e");
    const tail = power ? "×10" + [...String(Number(power))].map((c) => raised[c]).join("") : "";
    return digits.replace("-", "−") + tail;
  };
  const value = (axis, x) => axis.words[String(x)] ?? [axis.name, number(x), axis.unit].filter(Boolean).join(" ");
  const said = (...parts) => parts.filter(Boolean).join(": ");

  const ofCurve = (panel, curve) => ({
    size: curve.x.length,
    place: (k) => [curve.p[2 * k], curve.p[2 * k + 1]],
    words: (k) => {
      const [x, y] = [value(panel.x, curve.x[k]), value(panel.y, curve.y[k])];
      const named = panel.y.words[String(curve.y[k])];
      return said(panel.title, curve.name, named ? `${named}, ${x}` : `${y} at ${x}`);
    },
  });

  const ofRow = (panel, map, row) => ({
    size: map.columns,
    place: (k) => {
      const [left, top, right, bottom] = map.ends;
      return [left + ((k + 0.5) / map.columns) * (right - left), top + ((row + 0.5) / map.rows) * (bottom - top)];
    },
    words: (k) => {
      const where = `${panel.y.words[row] ?? `${panel.y.name || "row"} ${row}`}, ${panel.x.name || "column"} ${k}`;
      const across = panel.y.words[row] && panel.y.words[k] && map.rows === map.columns;
      const cell = across ? `${panel.y.words[row]} and ${panel.y.words[k]}` : where;
      return said(panel.title, cell, [map.name, number(map.v[row * map.columns + k]), map.unit].join(" ").trim());
    },
  });

  const curvesOf = (panel) => [
    ...panel.maps.flatMap((map) => Array.from({ length: map.rows }, (_, row) => ofRow(panel, map, row))),
    ...panel.curves.map((curve) => ofCurve(panel, curve)),
  ];

  const nearest = (curves, x, y) => {
    let best = { far: Infinity };
    curves.forEach((curve, c) => {
      for (let k = 0; k < curve.size; k += 1) {
        const [a, b] = curve.place(k);
        const far = (a - x) ** 2 + (b - y) ** 2;
        if (far < best.far) best = { far, c, k };
      }
    });
    return best;
  };

  const draw = (svg) => {
    const mark = document.createElementNS(SVG, "circle");
    mark.setAttribute("class", "mark");
    mark.setAttribute("r", "4.5");
    mark.style.display = "none";
    svg.append(mark);
    return mark;
  };

  const attach = (figure) => {
    const [sheet, svg, told] = [".sheet", "svg", ".readout"].map((name) => figure.querySelector(name));
    const held = svg?.querySelector("metadata");
    if (!held || !told) return;
    const curves = JSON.parse(held.textContent).flatMap(curvesOf);
    const [mark, tip] = [draw(svg), document.createElement("div")];
    tip.className = "tip";
    tip.hidden = true;
    tip.setAttribute("aria-hidden", "true");
    figure.append(tip);
    let at = null;

    const hide = () => {
      at = null;
      tip.hidden = true;
      mark.style.display = "none";
    };
    const show = (c, k, aloud) => {
      at = { c, k };
      const [x, y] = curves[c].place(k);
      mark.setAttribute("cx", x);
      mark.setAttribute("cy", y);
      mark.style.display = "";
      tip.textContent = curves[c].words(k);
      tip.hidden = false;
      if (aloud) {
        const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
        const seen = x * scale - sheet.scrollLeft;
        if (seen < 40 || seen > sheet.clientWidth - 40) sheet.scrollLeft = x * scale - sheet.clientWidth / 2;
        told.textContent = tip.textContent;
      }
      const [outer, spot] = [figure.getBoundingClientRect(), mark.getBoundingClientRect()];
      const left = Math.min(spot.left - outer.left + 12, outer.width - tip.offsetWidth - 8);
      const above = spot.top - outer.top - tip.offsetHeight - 8;
      tip.style.left = `${Math.max(left, 4)}px`;
      tip.style.top = `${above < 2 ? spot.bottom - outer.top + 8 : above}px`;
    };
    const find = (event) => {
      const spot = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      return nearest(curves, spot.x, spot.y);
    };

    sheet.tabIndex = 0;
    sheet.setAttribute("role", "application");
    sheet.setAttribute("aria-roledescription", "figure with values");
    sheet.setAttribute("aria-label", `Values of the figure; ${HELP}`);
    sheet.addEventListener("pointermove", (event) => {
      const found = find(event);
      if (event.pointerType === "mouse") found.far < 900 ? show(found.c, found.k, false) : hide();
    });
    sheet.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && hide());
    sheet.addEventListener("click", (event) => {
      const found = find(event);
      found.far < 2500 ? show(found.c, found.k, true) : hide();
    });
    sheet.addEventListener("blur", hide);
    sheet.addEventListener("scroll", () => at && show(at.c, at.k, false));
    sheet.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      if (event.key === "Escape") return hide();
      const [along, across] = [
        { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity }[event.key],
        { ArrowUp: -1, ArrowDown: 1 }[event.key],
      ];
      if (!along && !across) return;
      event.preventDefault();
      if (!at) return show(0, along === Infinity ? curves[0].size - 1 : 0, true);
      if (along) return show(at.c, Math.max(0, Math.min(curves[at.c].size - 1, at.k + along)), true);
      const c = (at.c + across + curves.length) % curves.length;
      show(c, nearest([curves[c]], ...curves[at.c].place(at.k)).k, true);
    });
  };

  const reach = () => {
    // what scrolls sideways can be scrolled by the keyboard; what does not is no stop on its way
    for (const box of document.querySelectorAll(".wide, pre")) {
      const name = box.querySelector("caption")?.textContent ?? "Text";
      if (box.scrollWidth > box.clientWidth + 1) {
        box.tabIndex = 0;
        box.setAttribute("role", "group");
        box.setAttribute("aria-label", `${name}, scrolls sideways`);
      } else ["tabindex", "role", "aria-label"].forEach((key) => box.removeAttribute(key));
    }
  };

  document.querySelectorAll("figure").forEach(attach);
  reach();
  addEventListener("resize", reach);
  document.addEventListener("toggle", reach, true);
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => (one.open = true)));
})();
