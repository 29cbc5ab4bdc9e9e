// Footprint against available memory on logarithmic axes, with the zone in which it does not fit.
KINDS.points = function (panel, chart) {
  const shown = () => panel.series.filter(s => !chart.off.has(s.label));
  const floor = panel.floor;

  function cross(ctx, x, y, size) {
    ctx.beginPath();
    ctx.moveTo(x - size, y - size); ctx.lineTo(x + size, y + size);
    ctx.moveTo(x - size, y + size); ctx.lineTo(x + size, y - size);
    ctx.stroke();
  }

  return {
    data: [panel.x, [null, null]],
    height: panel.height,
    series: [{}],
    log: true,
    extent: () => panel.x,
    yrange: () => panel.y,
    draw(u) {
      paint(u, (ctx, at) => {
        const right = at.left + at.width, low = u.scales.x.min, high = u.scales.x.max;
        ctx.fillStyle = colour("alarm");
        ctx.globalAlpha = 0.14;
        ctx.beginPath();
        ctx.moveTo(at.left, at.y(low));
        ctx.lineTo(right, at.y(high));
        ctx.lineTo(right, at.top - 1e4);
        ctx.lineTo(at.left, at.top - 1e4);
        ctx.fill();
        ctx.globalAlpha = 1;
        ctx.strokeStyle = colour("alarm");
        ctx.lineWidth = 1.2;
        ctx.beginPath();
        ctx.moveTo(at.left, at.y(low)); ctx.lineTo(right, at.y(high));
        ctx.stroke();
        for (const s of shown()) {
          ctx.fillStyle = ctx.strokeStyle = colour(s.colour);
          ctx.lineWidth = 1.6;
          s.x.forEach((x, i) => {
            const px = at.x(Math.max(x, floor)), py = at.y(s.y[i]);
            if (s.oom[i]) {
              ctx.globalAlpha = 0.9;
              cross(ctx, px, py, 3.2);
            } else {
              ctx.globalAlpha = s.x.length > 200 ? 0.35 : 0.7;
              ctx.beginPath();
              ctx.arc(px, py, 2.6, 0, 6.2832);
              ctx.fill();
            }
          });
        }
        ctx.globalAlpha = 1;
        ctx.font = "bold " + FONT;
        ctx.fillStyle = colour("alarm");
        ctx.fillText("does not fit", at.left + 8, at.top + 12);
        ctx.fillStyle = colour("good");
        ctx.textAlign = "right";
        ctx.fillText("fits", right - 8, at.top + at.height - 12);
      });
    },
    tip(u, x, y, left, top) {
      let best = 14 ** 2, found = null;
      for (const s of shown()) s.x.forEach((value, i) => {
        const far = (u.valToPos(Math.max(value, floor), "x") - left) ** 2 + (u.valToPos(s.y[i], "y") - top) ** 2;
        if (far < best) [best, found] = [far, [s, i]];
      });
      if (!found) return null;
      const [s, i] = found;
      return {heading: s.label, lines: [
        [s.colour, "footprint: " + FORMAT.bytes(s.y[i]), ""],
        [s.colour, "available: " + FORMAT.bytes(Math.max(0, s.x[i])), s.oom[i] ? "ran out of memory" : ""],
      ]};
    },
  };
};
