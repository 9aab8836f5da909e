"use strict";
// The charts over time once more, with a cursor that tells the values and a zoom. The page is complete without it.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const clock = (s) => {
    if (s == null) return "–";
    const whole = Math.floor(s + 1e-9), rest = s - whole, pad = (n) => String(n).padStart(2, "0");
    const tail = rest > 5e-4 ? rest.toFixed(2).slice(1) : "";
    const h = Math.floor(whole / 3600), m = Math.floor(whole / 60) % 60;
    return (h ? h + ":" + pad(m) : m) + ":" + pad(whole % 60) + tail;
  };
  const took = (s) => s == null ? "–" : s < 1 ? Number((s * 1000).toPrecision(3)) + " ms" : Number(s.toPrecision(3)) + " s";
  const axis = (more) => ({ stroke: colour("soft"), grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line") }, ...more });
  const time = () => axis({ values: (_, all) => all.map(clock), space: 70 });
  const whole = (more) => axis({ incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 1e6, 1e7], size: 56, ...more });
  const x = { label: "time", value: (_, s) => clock(s) };
  const fromZero = (_, low, high) => [0, Math.max(high * 1.05, 1)];
  const points = { show: true, size: 4 };  // or one between two gaps could not be seen
  const stepped = uPlot.paths.stepped({ align: 1 });

  const marks = (plot) => {
    const context = plot.ctx, ratio = devicePixelRatio;
    context.save();
    context.fillStyle = colour("text");
    context.font = 11 * ratio + "px system-ui";
    context.textAlign = "center";
    for (const [at, before, workers] of data.pool.marks) {
      const left = plot.valToPos(at, "x", true);
      if (left < plot.bbox.left || left > plot.bbox.left + plot.bbox.width) continue;
      context.fillText(workers > before ? "▲" : "▼", left, plot.bbox.top + plot.bbox.height - 3 * ratio);
    }
    context.restore();
  };

  const charts = {
    pool: () => ({
      scales: { x: { time: false }, backlog: { range: fromZero }, workers: { range: fromZero } },
      axes: [time(), whole({ scale: "backlog" }), whole({ scale: "workers", side: 1, grid: { show: false } })],
      series: [x,
        { label: "backlog", scale: "backlog", stroke: colour("blue"), fill: colour("blue-soft"), width: 1.2, paths: stepped, points: { show: false } },
        { label: "workers", scale: "workers", stroke: colour("orange"), width: 2, paths: stepped, points: { show: false } }],
      hooks: { draw: [marks] },
      data: [data.pool.x, data.pool.backlog, data.pool.workers],
    }),
    rate: () => ({
      scales: { x: { time: false, range: (_, low, high) => [low, high + data.rate.width] }, y: { range: fromZero } },
      axes: [time(), whole()],
      // The sum is drawn first, so that what is seen of it above the succeeded ones are the failed ones.
      series: [x,
        { label: "failed", stroke: colour("bad"), fill: colour("bad"), paths: uPlot.paths.bars({ size: [0.95, Infinity], align: 1 }), points: { show: false }, value: (_, __, ___, at) => at == null ? "–" : data.rate.failed[at] },
        { label: "succeeded", stroke: colour("good"), fill: colour("good"), paths: uPlot.paths.bars({ size: [0.95, Infinity], align: 1 }), points: { show: false } }],
      data: [data.rate.x, data.rate.ok.map((ok, at) => ok + data.rate.failed[at]), data.rate.ok],
    }),
    latency: () => ({
      scales: { x: { time: false }, y: { range: (_, low, high) => [0, (high || 1) * 1.05] } },
      axes: [time(), axis({ values: (_, all) => all.map(took), size: 70 })],
      series: [x,
        { label: "median", stroke: colour("blue"), width: 2, points, value: (_, s) => took(s) },
        { label: "95th percentile", stroke: colour("violet"), width: 2, dash: [6, 3], points, value: (_, s) => took(s) }],
      data: [data.latency.x, data.latency.p50, data.latency.p95],
    }),
  };

  const drawn = new Map();
  const draw = (figure) => {
    const options = charts[figure.dataset.chart](), shown = drawn.get(figure);
    if (shown) shown.destroy();
    const size = { width: figure.clientWidth, height: 260 };
    drawn.set(figure, new uPlot({ ...size, ...options, cursor: { y: false } }, options.data, figure));
    figure.classList.add("drawn");
  };
  const figures = [...document.querySelectorAll("[data-chart]")].filter((f) => data[f.dataset.chart].x.length > 1);
  figures.forEach(draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => figures.forEach(draw));
  addEventListener("resize", () => figures.forEach((f) => drawn.get(f).setSize({ width: f.clientWidth, height: 260 })));
})();
