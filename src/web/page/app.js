// Measures one WebSocket to the server this page came from, whose target is expected to echo.
//
// Two kinds of messages share the socket: probes of 64 bytes, sent ten times a second, that carry their time of sending,
// and bulk messages, of which a window is kept in flight. Each begins with a mark, so that a target which is no echo is
// noticed rather than measured.

const PROBE_BYTES = 64;
const PROBE_INTERVAL_MS = 100;
const PROBES_KEPT = 300;
const REFRESH_MS = 250;
const BULK_BYTES_IN_FLIGHT = 4 * 1024 * 1024;
const BULK_MESSAGES_IN_FLIGHT = 256;
const PROBE_MARK = 0x77737031;
const BULK_MARK = 0x77737032;

const at = (id) => document.getElementById(id);
const address = `${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}/`;

let socket = null;
let trips = [];
let bulk = null;
let runs = 0;

function connect() {
  trips = [];
  say("waiting", "Connecting");
  note("");
  socket = new WebSocket(address);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => {
    say("open", "Open");
    at("bulk").disabled = false;
  };
  socket.onmessage = (event) => receive(event.data);
  socket.onclose = (event) => {
    stopBulk();
    at("bulk").disabled = true;
    say("closed", `Closed: ${event.code}${event.reason ? ` ${event.reason}` : ""}`);
    if (event.code === 1006) {
      note("The connection ended without a close message: the server may be gone, or something between refused it.");
    }
    socket = null;
    show();
  };
}

function say(state, text) {
  at("light").dataset.state = state;
  at("state").textContent = text;
  at("toggle").textContent = state === "closed" ? "Reconnect" : "Disconnect";
}

function note(text) {
  at("note").textContent = text;
  at("note").hidden = text === "";
}

function receive(data) {
  const now = performance.now();
  const view = data instanceof ArrayBuffer && data.byteLength >= PROBE_BYTES ? new DataView(data) : null;
  const mark = view ? view.getUint32(0) : 0;
  if (mark === PROBE_MARK && data.byteLength === PROBE_BYTES) {
    trips.push(now - view.getFloat64(8));
    if (trips.length > PROBES_KEPT) trips.shift();
  } else if (mark === BULK_MARK) {
    // Messages of a run that was stopped still come back; they belong to no measurement.
    if (bulk?.run === view.getUint32(4)) {
      bulk.received += data.byteLength;
      bulk.inFlight -= 1;
      fill();
    }
  } else {
    note("The target answers with bytes of its own, so it is no echo: nothing can be measured here.");
    socket.close(1000, "Not an echo");
  }
}

function probe() {
  if (socket?.readyState !== WebSocket.OPEN) return;
  const view = new DataView(new ArrayBuffer(PROBE_BYTES));
  view.setUint32(0, PROBE_MARK);
  view.setFloat64(8, performance.now());
  socket.send(view);
}

function startBulk() {
  const size = Number(at("size").value);
  const message = new Uint8Array(size);
  for (let i = 0; i < size; i += 1) message[i] = i * 31;
  runs += 1;
  const view = new DataView(message.buffer);
  view.setUint32(0, BULK_MARK);
  view.setUint32(4, runs);
  const window = Math.min(BULK_MESSAGES_IN_FLIGHT, Math.max(4, BULK_BYTES_IN_FLIGHT / size));
  const marks = [{ time: performance.now(), sent: 0, received: 0 }];
  bulk = { run: runs, message, window, inFlight: 0, sent: 0, received: 0, marks };
  at("bulk").textContent = "Stop";
  fill();
}

function stopBulk() {
  bulk = null;
  at("bulk").textContent = "Start";
}

// Refills the window when half of it has come back: a few sends a call cost less than one call each.
function fill() {
  if (socket?.readyState !== WebSocket.OPEN || bulk.inFlight > bulk.window / 2) return;
  while (bulk.inFlight < bulk.window) {
    socket.send(bulk.message);
    bulk.sent += bulk.message.byteLength;
    bulk.inFlight += 1;
  }
}

function show() {
  showTrips();
  if (bulk) showBulk();
}

function showTrips() {
  const sorted = [...trips].sort((a, b) => a - b);
  const part = (share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
  const text = (ms, unit) => (ms === undefined ? "–" : `${ms.toFixed(ms < 10 ? 2 : 1)}${unit}`);
  at("trip-now").textContent = text(trips.at(-1), "");
  at("trip-min").textContent = text(sorted[0], " ms");
  at("trip-median").textContent = text(part(0.5), " ms");
  at("trip-p99").textContent = text(part(0.99), " ms");
  const top = Math.max(0.5, part(0.99) ?? 0) * 1.25;
  const step = 300 / (PROBES_KEPT - 1);
  const start = 300 - (trips.length - 1) * step;
  const point = (ms, i) => `${(start + i * step).toFixed(1)},${(62 - 60 * Math.min(1, ms / top)).toFixed(1)}`;
  at("trip-line").firstElementChild.setAttribute("points", trips.map(point).join(" "));
}

// Rates over about the last two seconds. What the browser still holds back does not count as sent.
function showBulk() {
  const now = { time: performance.now(), sent: bulk.sent - socket.bufferedAmount, received: bulk.received };
  const then = bulk.marks[0];
  bulk.marks.push(now);
  if (bulk.marks.length > 8) bulk.marks.shift();
  const seconds = (now.time - then.time) / 1000;
  const rate = (bytes) => bytes / seconds;
  const short = (number) => number.toFixed(number < 10 ? 2 : number < 100 ? 1 : 0);
  at("bulk-down").textContent = short(rate(now.received - then.received) / 1e6);
  at("bulk-up").textContent = `${short(rate(now.sent - then.sent) / 1e6)} MB/s`;
  at("bulk-rate").textContent = Math.round(rate(now.received - then.received) / bulk.message.byteLength).toLocaleString("en");
  at("bulk-total").textContent = `${short(now.received / 1e6)} MB`;
}

at("address").textContent = address;
at("toggle").addEventListener("click", () => (socket ? socket.close(1000) : connect()));
at("bulk").addEventListener("click", () => (bulk ? stopBulk() : startBulk()));
at("size").addEventListener("change", () => {
  if (bulk) startBulk();
});
setInterval(probe, PROBE_INTERVAL_MS);
setInterval(show, REFRESH_MS);
connect();
