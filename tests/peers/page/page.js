// Connects noVNC's library to the server that delivered this page, and shows its state where a test can see it:
// `data-state` of the body is idle, connected, disconnected or broken.

import RFB from "./core/rfb.js";

function connect() {
    const url = new URL("websockify", location.href);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    const rfb = new RFB(document.getElementById("screen"), url.href);
    rfb.resizeSession = true;
    rfb.addEventListener("connect", () => { document.body.dataset.state = "connected"; });
    rfb.addEventListener("disconnect", (event) => {
        document.body.dataset.state = event.detail.clean ? "disconnected" : "broken";
    });
    window.rfb = rfb;
}

window.connect = connect;
connect();
