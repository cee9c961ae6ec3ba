// Search without a server: a browser starts no worker from a folder, so a hidden frame does its work.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(script) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.documentElement.append(frame);
      const inner = frame.contentWindow;
      inner.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      inner.importScripts = (...names) => Promise.all(names.map((name) => this.load(inner, name)));
      this.inner = inner;
      this.ready = this.load(inner, script);
    }
    load(inner, name) {
      return new Promise((done, failed) => {
        const tag = inner.document.createElement("script");
        tag.src = name;
        tag.onload = done;
        tag.onerror = failed;
        inner.document.head.append(tag);
      });
    }
    postMessage(data) {
      this.ready.then(() => this.inner.dispatchEvent(new MessageEvent("message", { data })));
    }
    terminate() {}
  };
}
