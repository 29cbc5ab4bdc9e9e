// One chart a figure: tools above, panels below; the static picture steps back once its chart stands.
class LiveChart {
  constructor(figure, spec) {
    this.spec = spec;
    this.off = new Set();
    this.at = 0;
    this.view = null;
    this.plots = [];
    this.box = element("div", "chart");
    this.box.append(...this.head());
    this.tip = element("div", "tip");
    this.tip.hidden = true;
    figure.querySelector("picture").before(this.box);
    this.build();
    this.box.append(this.tip);
    figure.classList.add("live");
    new ResizeObserver(() => this.resize()).observe(this.box);
  }

  mode() {
    return this.spec.modes[this.at];
  }

  // Choice of what runs along the bottom, legend, zoom: in two lines, or in one if there is no choice.
  head() {
    const bar = element("div", "tools"), keys = this.keys(), zoom = element("span", "zoom");
    let into = bar;
    const button = (text, title, act) => {
      const made = element("button", "", text);
      made.type = "button";
      made.title = title;
      made.addEventListener("click", () => act(made));
      into.append(made);
      return made;
    };
    if (this.spec.modes.length > 1) {
      const modes = this.spec.modes.map((mode, at) => button("by " + mode.short, mode.label, () => {
        this.at = at;
        this.view = null;
        modes.forEach((other, i) => other.setAttribute("aria-pressed", i === at));
        this.build();
      }));
      modes.forEach((made, i) => made.setAttribute("aria-pressed", i === 0));
    }
    bar.append(this.spec.modes.length > 1 ? element("span", "keys") : keys, zoom);
    into = zoom;
    button("−", "zoom out", () => this.magnify(2));
    button("+", "zoom in; or drag across the chart", () => this.magnify(0.5));
    button("whole", "show everything again; or click twice", () => this.zoom(null));
    return this.spec.modes.length > 1 ? [bar, keys] : [bar];
  }

  keys() {
    const keys = element("div", "keys");
    const seen = new Map();
    for (const panel of this.spec.panels)
      if (panel.series.length > 1 || panel.named) for (const s of panel.series) if (!seen.has(s.label)) seen.set(s.label, s);
    for (const [label, {colour: shade, dash}] of seen) {
      const key = element("button", "key");
      key.type = "button";
      key.title = "show or hide";
      key.setAttribute("aria-pressed", "true");
      const dot = element("span", "swatch");
      dot.style.background = dash ? `linear-gradient(90deg, var(--${shade}) 40%, transparent 40% 60%, var(--${shade}) 60%)` : `var(--${shade})`;
      key.append(dot, label);
      key.addEventListener("click", () => {
        if (!this.off.delete(label)) this.off.add(label);
        key.setAttribute("aria-pressed", !this.off.has(label));
        this.apply();
      });
      keys.append(key);
    }
    return keys;
  }

  build() {
    for (const {u, host} of this.plots) {
      u.destroy();
      host.remove();
    }
    this.tip.hidden = true;
    this.plots = this.spec.panels.map((panel, place) => this.plot(panel, place));
    this.apply();
  }

  plot(panel, place) {
    const kind = KINDS[panel.kind](panel, this), mode = this.mode();
    const host = element("div", "panel"), last = place === this.spec.panels.length - 1;
    this.box.insertBefore(host, this.tip.isConnected ? this.tip : null);
    const grid = show => ({show, stroke: () => colour("line"), width: 1}), tick = {show: false};
    const axis = {stroke: () => colour("soft"), font: FONT, labelFont: FONT, ticks: tick};
    const number = (u, splits) => splits.map(value => value === null ? "" : digits(value, 6));
    const x = {...axis, grid: grid(Boolean(kind.labels || kind.log)), size: 30, values: number};
    const y = {...axis, grid: grid(!kind.labels), size: 52, values: number};
    if (last) Object.assign(x, {label: panel.xlabel || mode.label, labelSize: 20});
    if (panel.ylabel) Object.assign(y, {label: panel.ylabel, labelSize: 20});
    if (kind.labels) Object.assign(y, {size: this.room(panel), values: () => [], splits: () => []});
    if (kind.log) for (const one of [x, y])
      Object.assign(one, {
        splits: (u, i, low, high) => logTicks(low, high), filter: (u, splits) => splits,
        values: (u, splits) => spaced(splits, one === x ? value => u.valToPos(value, "x") : null),
      });
    if (kind.log) y.size = 62;
    if (mode.log) Object.assign(x, {
      splits: (u, i, low, high) => timeTicks(low, high), values: (u, splits) => splits.map(at => FORMAT.s(10 ** at)),
    });
    if (panel.whole) Object.assign(x, {incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 1e5, 1e6]});
    const u = new uPlot({
      width: Math.max(host.clientWidth, 200), height: kind.height + (last ? 14 : 0),
      padding: [10, kind.log ? 24 : 14, 0, 0],
      legend: {show: false},
      cursor: {
        y: false, points: {show: false}, sync: {key: this.spec.name},
        drag: {x: true, y: Boolean(kind.log), setScale: false, dist: 6},
        bind: {dblclick: () => () => this.zoom(null)},
      },
      scales: {
        x: {time: false, auto: false, distr: kind.log ? 3 : 1},
        y: {auto: false, distr: kind.log ? 3 : 1, dir: kind.downward ? -1 : 1},
      },
      axes: [x, y],
      series: [{}, ...kind.series],
      hooks: {draw: [() => kind.draw(u)], setSelect: [() => this.selected(u, kind)]},
    }, kind.data, host);
    u.over.addEventListener("pointermove", event => this.hover(u, kind, event));
    u.over.addEventListener("pointerdown", event => this.hover(u, kind, event));
    for (const end of ["pointerleave", "pointercancel"])
      u.over.addEventListener(end, () => { this.tip.hidden = true; });
    return {u, kind, panel, host};
  }

  room(panel) {
    const ctx = element("canvas").getContext("2d");
    ctx.font = "bold " + FONT;
    const widest = Math.max(...panel.rows.map(row => ctx.measureText(row.label + (row.tag ? "  " + row.tag : "")).width)) + 16;
    return Math.min(widest, Math.max(90, this.box.clientWidth * 0.36));
  }

  // What is visible: the whole, or the view that was zoomed into.
  range() {
    const all = this.plots.map(({kind}) => kind.extent());
    return this.view || {x: [Math.min(...all.map(r => r[0])), Math.max(...all.map(r => r[1]))], y: null};
  }

  apply() {
    const {x, y} = this.range();
    this.tip.hidden = true;
    for (const {u, kind, panel} of this.plots) {
      const high = y || kind.yrange(x[0], x[1]);
      if (panel.kind === "lines") panel.series.forEach((s, i) => {
        if (u.series[i + 1].show === this.off.has(s.label)) u.setSeries(i + 1, {show: !this.off.has(s.label)});
      });
      u.batch(() => {
        u.setScale("x", {min: x[0], max: x[1]});
        u.setScale("y", {min: high[0], max: high[1]});
      });
      u.redraw();
    }
  }

  zoom(view) {
    this.view = view;
    this.apply();
  }

  magnify(factor) {
    const {x, y} = this.range(), log = Boolean(this.plots[0].kind.log);
    const around = ([low, high], whole) => {
      const into = log ? Math.log : v => v, back = log ? Math.exp : v => v;
      const middle = (into(low) + into(high)) / 2, half = (into(high) - into(low)) / 2 * factor;
      return [Math.max(whole[0], back(middle - half)), Math.min(whole[1], back(middle + half))];
    };
    this.view = null;
    const whole = this.range().x, kind = this.plots[0].kind;
    const all = kind.yrange(...whole);
    this.zoom({x: around(x, whole), y: log ? around(y || all, all) : null});
  }

  selected(u, kind) {
    const {left, top, width, height} = u.select;
    if (width < 4) return;
    const view = {x: [u.posToVal(left, "x"), u.posToVal(left + width, "x")], y: null};
    if (kind.log && height > 4) view.y = [u.posToVal(top + height, "y"), u.posToVal(top, "y")];
    u.setSelect({left: 0, top: 0, width: 0, height: 0}, false);
    this.zoom(view);
  }

  hover(u, kind, event) {
    const inside = u.over.getBoundingClientRect(), frame = this.box.getBoundingClientRect();
    const left = event.clientX - inside.left, top = event.clientY - inside.top;
    const told = kind.tip(u, u.posToVal(left, "x"), u.posToVal(top, "y"), left, top);
    this.tip.hidden = !told;
    if (!told) return;
    this.tip.replaceChildren();
    if (told.heading) this.tip.append(element("strong", "", told.heading));
    for (const [shade, text, aside] of told.lines) {
      const line = element("div", "", ""), dot = element("span", "swatch");
      dot.style.background = `var(--${shade})`;
      line.append(dot, text);
      if (aside) line.append(element("span", "aside", aside));
      this.tip.append(line);
    }
    const x = event.clientX - frame.left, y = event.clientY - frame.top, width = this.tip.offsetWidth;
    this.tip.style.left = Math.max(0, x + 14 + width > frame.width ? x - 14 - width : x + 14) + "px";
    this.tip.style.top = y + 14 + "px";
  }

  resize() {
    for (const {u, host} of this.plots)
      if (host.clientWidth && Math.abs(host.clientWidth - u.width) > 1) u.setSize({width: host.clientWidth, height: u.height});
  }
}

const specs = JSON.parse(document.getElementById("charts-data").textContent);
const charts = [];
for (const spec of specs) {
  const figure = document.getElementById(spec.name);
  charts.push(new LiveChart(figure, spec));
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.forEach(chart => chart.build()));
root.dataset.charts = charts.length;
root.dataset.readyMs = Math.round(performance.now());
