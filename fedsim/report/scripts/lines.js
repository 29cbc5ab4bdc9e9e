// Curves over time or rounds: each series has points of its own.
KINDS.lines = function (panel, chart) {
  const mode = chart.mode(), by = mode.divisor || 1;
  // On a logarithmic axis positions are powers of ten, and what is at 0 has no place.
  const tables = panel.series.map(s => {
    const xs = s.x[mode.name];
    if (!mode.log) return [xs.map(value => value / by), s.y, xs.map((_, at) => at)];
    const kept = xs.map((_, at) => at).filter(at => xs[at] > 0);
    return [kept.map(at => Math.log10(xs[at])), kept.map(at => s.y[at]), kept];
  });
  const data = uPlot.join(tables.map(([xs, ys]) => [xs, ys]));
  const shown = i => !chart.off.has(panel.series[i].label);
  // Between which times a curve's points lie, where it is not sure; null where one is never reached.
  const within = panel.series.map(s => mode.name === "time" && !mode.log && s.within
    ? s.within.map(ends => ends.map(value => value === null ? null : value / by)) : null);
  const all = [...tables.flatMap(t => t[0]), ...within.flatMap(ends => ends ? ends[1].filter(value => value !== null) : [])];
  const end = all.reduce((a, b) => Math.max(a, b), 0), start = all.reduce((a, b) => Math.min(a, b), end);

  return {
    data,
    height: panel.height,
    series: panel.series.map(s => ({
      stroke: () => colour(s.colour), width: s.width || 2, dash: s.dash, spanGaps: true,
      points: {show: s.x[mode.name].length <= 60 && !s.thin, size: 6, fill: () => colour(s.colour)},
    })),
    extent: () => mode.log ? [start - 0.05, end + 0.05] : [0, (end || 1) * 1.015],
    yrange(low, high) {
      let least = Infinity, most = -Infinity;
      panel.series.forEach((s, i) => {
        if (shown(i)) tables[i][0].forEach((x, at) => {
          if (x >= low && x <= high) {
            least = Math.min(least, tables[i][1][at]);
            most = Math.max(most, tables[i][1][at]);
          }
        });
      });
      if (panel.target && least < Infinity) {
        least = Math.min(least, panel.target.y);
        most = Math.max(most, panel.target.y);
      }
      if (least === Infinity) return [0, 1];
      const room = (most - least || Math.abs(most) || 1) * 0.08;
      return [panel.zero ? 0 : least - room, most + room];
    },
    draw(u) {
      paint(u, (ctx, at) => panel.series.forEach((s, i) => {
        if (!within[i] || !shown(i)) return;
        const [low, high] = within[i], [, ys, from] = tables[i];
        const kept = ys.map((_, place) => place).filter(place => low[from[place]] !== null && high[from[place]] !== null);
        ctx.beginPath();
        kept.forEach(place => ctx.lineTo(at.x(low[from[place]]), at.y(ys[place])));
        kept.reverse().forEach(place => ctx.lineTo(at.x(high[from[place]]), at.y(ys[place])));
        ctx.globalAlpha = 0.15;
        ctx.fillStyle = colour(s.colour);
        ctx.fill();
        ctx.globalAlpha = 1;
      }));
      if (panel.target) paint(u, (ctx, at) => {
        const y = at.y(panel.target.y);
        dashed(ctx, at.left, y, at.left + at.width, y);
        ctx.fillStyle = colour("soft");
        ctx.fillText(panel.target.label, at.left + 6, y - 8 < at.top + 6 ? y + 10 : y - 8);
      });
    },
    // Of every visible curve the point nearest to the pointer.
    tip(u, x) {
      const lines = [];
      panel.series.forEach((s, i) => {
        if (!shown(i) || !tables[i][0].length) return;
        const xs = tables[i][0];
        let near = 0;
        for (let at = 1; at < xs.length; at++) if (Math.abs(xs[at] - x) < Math.abs(xs[near] - x)) near = at;
        near = tables[i][2][near];
        const rounds = s.x.round ? s.x.round[near] : null, time = s.x.time ? s.x.time[near] : null;
        const where = [
          time === null ? "" : FORMAT.s(time),
          rounds === null ? "" : rounds === 0 ? "before round 0" : digits(rounds, 9) + (rounds === 1 ? " round" : " rounds"),
        ];
        lines.push([s.colour, `${s.label}: ${FORMAT[panel.format](s.y[near])}`, where.filter(Boolean).join(", ")]);
      });
      return lines.length ? {lines} : null;
    },
  };
};
