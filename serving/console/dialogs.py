"""Dialogs that the browser closes by itself: the next key is the page's, however far the server."""

from __future__ import annotations

from nicegui import ui


class QuickDialog(ui.dialog):
    """A dialog that Escape, a click beside it and its button close at once; the server hears of it
    after that."""

    LOOPBACK = False

    def add_close(self, text: str) -> ui.button:
        """Add a button that closes the dialog without an answer."""
        button = ui.button(text).props("flat")
        close = f"mounted_app.elements[{self.id}].props['model-value'] = false"
        button.on("click", self.close, js_handler=f"() => {{ {close}; emit(); }}")
        return button
