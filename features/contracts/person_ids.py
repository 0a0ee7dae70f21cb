"""The columns that hold ids of people, and the kind of each."""

from __future__ import annotations

USER, VISITOR, SESSION = "user", "visitor", "session"
ID_COLUMNS = {"user_id": USER, "visitor_id": VISITOR, "session_id": SESSION}
ID_KINDS = tuple(ID_COLUMNS.values())
