// Keys that work on every page. Pages add theirs to `shopwright.keys`.
window.shopwright = {
  keys: {
    u: () => [...document.querySelectorAll(".toast-undo")].at(-1)?.click(),
  },
  openJump() {
    document.getElementById("jump-opener")?.click();
  },
};

document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
    event.preventDefault();
    shopwright.openJump();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const target = event.target;
  const isTyping = target.closest?.("input, textarea, select, [contenteditable=true], .q-dialog");
  // A dialog that is on its way out takes no keys any more.
  const isLeaving = target.closest?.(".q-dialog")?.querySelector(".q-dialog__inner[class*=leave]");
  if (isTyping && !isLeaving) return;
  const run = shopwright.keys[event.key];
  if (run) {
    event.preventDefault();
    run(event);
  }
});
