// Upright bars on a numeric axis, stacked: each bar reaches from `from` to `to`. Where bars would be
// too thin to be seen, neighbours are drawn as one, at their mean.
KINDS.stack = function (panel, chart) {
  const mode = chart.mode(), by = mode.divisor || 1;
  const from = panel.from[mode.name].map(value => value / by), to = panel.to[mode.name].map(value => value / by);
  const unit = panel.divisor || 1;
  const shown = () => panel.series.filter(s => !chart.off.has(s.label) || panel.series.length === 1);
  const low = from[0], high = to[to.length - 1];

  // Edges on whole pixels of the screen, so that neighbours leave no seam.
  const whole = x => Math.round(x * uPlot.pxRatio) / uPlot.pxRatio;

  // The bars within left..right, as ranges first..last of positions.
  function pools(left, right) {
    const first = from.findIndex((_, at) => to[at] > left);
    let last = from.length - 1;
    while (last > first && from[last] >= right) last--;
    const step = Math.max(1, Math.ceil(2.5 * (last - first + 1) / Math.max(100, chart.box.clientWidth - 90)));
    const made = [];
    for (let at = Math.max(0, first); at <= last; at += step) made.push([at, Math.min(at + step - 1, last)]);
    return made;
  }

  function mean(s, [first, last]) {
    let sum = 0;
    for (let at = first; at <= last; at++) sum += s.y[at];
    return sum / (last - first + 1);
  }

  // The ends between which a pool's mean lies, if they are known; null if one is never reached.
  function ends(s, [first, last]) {
    if (!s.within) return null;
    const means = s.within.map(values => {
      const some = values.slice(first, last + 1);
      return some.includes(null) ? null : some.reduce((sum, value) => sum + value, 0) / some.length / unit;
    });
    return means.includes(null) ? null : means;
  }

  return {
    data: [[low, high], [null, null]],
    height: panel.height,
    series: [{}],
    extent: () => [low, high > low ? high : low + 1],
    yrange(left, right) {
      const sums = pools(left, right).map(pool => shown().reduce((sum, s) => sum + mean(s, pool), 0) / unit);
      const most = pools(left, right).flatMap(pool => shown().map(s => (ends(s, pool) || [0, 0])[1]));
      return [0, Math.max(...sums, ...most, 0) * 1.04 || 1];
    },
    draw(u) {
      paint(u, (ctx, at) => {
        for (const pool of pools(u.scales.x.min, u.scales.x.max)) {
          const left = whole(at.x(from[pool[0]])), width = whole(at.x(to[pool[1]])) - left;
          const gap = width > 5 ? Math.min(2, width * 0.12) : 0;
          let base = 0;
          for (const s of shown()) {
            const part = mean(s, pool) / unit;
            if (!part) continue;
            const y0 = at.y(base), y1 = at.y(base + part);
            ctx.fillStyle = colour(s.colour);
            ctx.fillRect(left + gap / 2, y1, Math.max(width - gap, 0.6), y0 - y1);
            base += part;
            const within = ends(s, pool);
            if (within) {
              ctx.globalAlpha = 0.25;
              ctx.fillStyle = colour("ink");
              ctx.fillRect(left + gap / 2, at.y(within[1]), Math.max(width - gap, 0.6), at.y(within[0]) - at.y(within[1]));
              ctx.globalAlpha = 1;
            }
          }
        }
        if (panel.line) dashed(ctx, at.x(panel.line.x), at.top, at.x(panel.line.x), at.top + at.height);
      });
    },
    tip(u, x) {
      const pool = pools(u.scales.x.min, u.scales.x.max).find(([first, last]) => x >= from[first] && x < to[last]);
      if (!pool) return null;
      const lines = shown().filter(s => mean(s, pool))
        .map(s => [s.colour, `${s.label}: ${FORMAT[panel.format](mean(s, pool))}`, ""]);
      const [first, last] = pool.map(at => panel.names[at]);
      return {heading: first === last ? first : `${first} to ${last} (mean)`, lines};
    },
  };
};
