"""`shopwright keys create|list|revoke`: who may speak to the server, and about what."""

from __future__ import annotations
