// What hinders a reader of this page, one sentence each: an empty list is what a page should give.
(() => {
  const faults = [];
  const all = (what, within = document) => [...within.querySelectorAll(what)];
  const say = (words, node) => faults.push(`${words}: ${(node?.outerHTML ?? "").slice(0, 120)}`);
  const seen = (node) => node.checkVisibility({ visibilityProperty: true }) && node.getClientRects().length > 0;
  const hidden = (node) => node.closest(".readout, .skip, script, style, metadata") !== null;

  // colours
  const parse = (text) => {
    const parts = text.match(/[\d.]+/g)?.map(Number) ?? [0, 0, 0, 0];
    return { rgb: parts.slice(0, 3), alpha: text === "none" ? 0 : parts[3] ?? 1 };
  };
  const over = (front, back) => front.rgb.map((x, k) => x * front.alpha + back[k] * (1 - front.alpha));
  const behind = (node) => {
    const layers = [];
    for (let one = node; one; one = one.parentElement) layers.push(parse(getComputedStyle(one).backgroundColor));
    const dark = matchMedia("(prefers-color-scheme: dark)").matches && matchMedia("screen").matches;
    return layers.reverse().reduce((back, layer) => over(layer, back), dark ? [18, 18, 18] : [255, 255, 255]);
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((x) => (x /= 255) <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (front, back) => {
    const [high, low] = [light(over(front, back)), light(back)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
  };

  // text: large enough, told from its ground
  const texts = all("body *").filter((node) => [...node.childNodes].some((c) => c.nodeType === 3 && c.data.trim()));
  for (const node of texts.filter((one) => seen(one) && !hidden(one))) {
    const style = getComputedStyle(node);
    const drawn = node.closest("svg");
    const size = parseFloat(style.fontSize) * (drawn ? Math.hypot(node.getScreenCTM().a, node.getScreenCTM().b) : 1);
    if (size < 10.95 && !matchMedia("print").matches) say(`text of ${size.toFixed(1)} px`, node);
    const needed = size >= 24 || (size >= 18.6 && style.fontWeight >= 700) ? 3 : 4.5;
    const found = contrast(parse(drawn ? style.fill : style.color), behind(drawn?.parentElement ?? node));
    if (found < needed) say(`contrast ${found.toFixed(2)} of text`, node);
  }
  for (const node of all("svg g > path[clip-path], svg g > use").filter(seen)) {
    const style = getComputedStyle(node);
    const paint = parse(style.stroke).alpha ? style.stroke : style.fill;
    const quiet = (node.getAttribute("style") ?? "").match(/--(faint|void)/) || style.strokeOpacity < 1;
    const found = contrast(parse(paint), behind(node.closest("svg").parentElement));
    if (parse(paint).alpha === 1 && !quiet && style.fillOpacity === "1" && found < 3)
      say(`contrast ${found.toFixed(2)} of a curve`, node);
  }

  // width
  const wide = document.documentElement.scrollWidth;
  if (wide > innerWidth) say(`the page is ${wide} px wide in a window of ${innerWidth}`);
  const scrolls = (node) => node && (["auto", "scroll"].includes(getComputedStyle(node).overflowX) || scrolls(node.parentElement));
  for (const node of all("main *, header *, footer *").filter((one) => seen(one) && !hidden(one) && !one.closest("svg")))
    if (node.getBoundingClientRect().right > innerWidth + 1 && !scrolls(node.parentElement) && !scrolls(node))
      say("sticks out at the right", node);
  for (const svg of all("svg").filter(seen))
    if (matchMedia("print").matches && svg.getBoundingClientRect().right > innerWidth + 1) say("cut in print", svg);

  // order and names
  if (!document.documentElement.lang) say("no language");
  if (!document.title.trim()) say("no title");
  for (const [what, many] of [["h1", 1], ["main", 1], ["body > header", 1], ["body > footer", 1], ["nav[aria-label]", 1]])
    if (all(what).length !== many) say(`${all(what).length} of ${what}`);
  let level = 0;
  for (const head of all("h1, h2, h3, h4, h5, h6")) {
    const next = Number(head.tagName[1]);
    if (next > level + 1) say(`heading ${next} after heading ${level}`, head);
    if (!head.textContent.trim()) say("an empty heading", head);
    level = next;
  }
  const ids = all("[id]").map((node) => node.id);
  new Set(ids.filter((id, k) => ids.indexOf(id) !== k)).forEach((id) => say(`two elements are called ${id}`));
  for (const link of all("a")) {
    if (!link.textContent.trim()) say("a link without words", link);
    if (link.hash && !document.getElementById(link.hash.slice(1))) say("a link to nowhere", link);
  }
  const first = document.querySelector("a[href], button, [tabindex='0'], summary");
  if (first?.hash !== `#${document.querySelector("main")?.id}`) say("what has the focus first does not skip to the content");

  // pictures, tables, what takes the focus
  for (const svg of all("svg")) {
    if (svg.getAttribute("role") !== "img") say("a picture without the role", svg);
    if (!/\d/.test(svg.getAttribute("aria-label") ?? "")) say("a picture without numbers in words", svg);
    if (!svg.closest("figure")?.querySelector("[role=status]")) say("a picture without a place to read its values", svg);
  }
  for (const table of all("table")) {
    if (!table.caption?.textContent.trim()) say("a table without a caption", table);
    for (const head of all("th", table)) {
      if (!["row", "col"].includes(head.scope)) say("a heading of nothing", head);
      if (!head.textContent.trim()) say("an empty heading of a table", head);
    }
    for (const row of all("tr", table)) if (!row.querySelector("th")) say("a row without a heading", row);
  }
  for (const one of all("[tabindex]")) if (one.tabIndex > 0) say("a place of its own in the order of the focus", one);
  for (const one of all("[onclick]:not(button):not(a)")) say("no button, yet pressed like one", one);
  for (const one of all("details")) if (!one.querySelector(":scope > summary")?.textContent.trim()) say("no summary", one);
  for (const one of all(".wide, .sheet, pre").filter(seen))
    if (one.scrollWidth > one.clientWidth + 1 && one.tabIndex < 0 && !matchMedia("print").matches) say("scrolls by no key", one);
  for (const one of all("[tabindex='0']")) if (!one.getAttribute("aria-label")) say("takes the focus without a name", one);
  for (const one of all(".good, .bad")) if (!/[✓✗]/.test(one.textContent)) say("told by colour alone", one);
  return faults;
})();
