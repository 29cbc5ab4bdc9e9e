// Lying bars, one row each: stacked parts of a whole, or spans between two times.
KINDS.rows = function (panel, chart) {
  const by = panel.divisor || 1;
  const visible = bit => !chart.off.has(panel.series[bit[0]].label);
  // A row's bits as [series, from, to] in units of the axis; of stacked ones only the visible count.
  const laid = panel.rows.map(row => () => {
    if (!panel.stacked) return row.bits.filter(visible).map(([s, a, b]) => [s, a / by, b / by]);
    let base = 0;
    return row.bits.filter(visible).map(([s, size]) => [s, base, (base += size / by)]);
  });
  const most = Math.max(...panel.rows.flatMap(row =>
    panel.stacked ? [row.bits.reduce((sum, bit) => sum + bit[1], 0)] : [...row.bits.map(b => b[2]), ...(row.marks || []).map(m => m.x)]),
    panel.line ? panel.line.x : 0) / by || 1;
  const count = panel.rows.length;

  return {
    data: [[0, most], [null, null]],
    height: panel.height,
    series: [{}],
    downward: true,
    labels: true,
    extent: () => [0, most * (!panel.notes ? 1.02 : chart.box.clientWidth < 480 ? 1.55 : 1.25)],
    yrange: () => [-0.6, count - 0.4],
    draw(u) {
      paint(u, (ctx, at) => {
        panel.rows.forEach((row, place) => {
          const top = at.y(place - 0.34), height = at.y(place + 0.34) - top;
          let end = at.left;
          for (const [s, from, to] of laid[place]()) {
            const x0 = at.x(from), x1 = at.x(to), low = panel.series[s].low ? 0.28 : 1;
            ctx.fillStyle = colour(panel.series[s].colour);
            ctx.fillRect(x0, top + height * (1 - low) / 2, Math.max(x1 - x0, 0.5), height * low);
            end = Math.max(end, x1);
          }
          if (row.note) {
            ctx.fillStyle = colour("ink");
            ctx.fillText(row.note, end + 6, top + height / 2);
          }
        });
        if (panel.line) dashed(ctx, at.x(panel.line.x / by), at.top, at.x(panel.line.x / by), at.top + at.height);
        panel.rows.forEach((row, place) => (row.marks || []).forEach(mark => {
          const x = Math.min(at.x(mark.x / by), at.left + at.width - 6), y = at.y(place), size = 4;
          ctx.lineWidth = 2.4;
          ctx.strokeStyle = colour(mark.colour);
          ctx.beginPath();
          ctx.moveTo(x - size, y - size); ctx.lineTo(x + size, y + size);
          ctx.moveTo(x - size, y + size); ctx.lineTo(x + size, y - size);
          ctx.stroke();
          const width = ctx.measureText(mark.text).width, left = x > at.left + 0.7 * at.width;
          const start = left ? x - 9 - width : x + 9;
          ctx.fillStyle = colour("paper");
          ctx.globalAlpha = 0.85;
          ctx.fillRect(start - 2, y - 8, width + 4, 16);
          ctx.globalAlpha = 1;
          ctx.fillStyle = colour("ink");
          ctx.fillText(mark.text, start, y);
        }));
      });
      paint(u, (ctx, at) => {
        ctx.textAlign = "right";
        panel.rows.forEach((row, place) => {
          ctx.font = (row.strong ? "bold " : "") + FONT;
          ctx.fillStyle = colour(row.strong ? "alarm" : "ink");
          const tag = row.tag ? "  " + row.tag : "", room = at.left - 12 - ctx.measureText(tag).width;
          ctx.fillText(shorten(ctx, row.label, room) + tag, at.left - 8, at.y(place));
        });
      }, false);
    },
    tip(u, x, y) {
      const row = panel.rows[Math.round(y)];
      if (!row) return null;
      const lines = row.bits.filter(bit => visible(bit) && (panel.stacked ? bit[1] : bit[2] - bit[1]) > 0)
        .map(bit => [panel.series[bit[0]].colour,
          `${panel.series[bit[0]].label}: ${FORMAT[panel.format](panel.stacked ? bit[1] : bit[2] - bit[1])}`, ""]);
      for (const mark of row.marks || []) lines.push([mark.colour, mark.text + " after " + FORMAT[panel.format](mark.x), ""]);
      return {heading: row.tag ? `${row.label}, client ${row.tag}` : row.label, lines};
    },
  };
};
