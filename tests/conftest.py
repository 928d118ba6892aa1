"""What holds for every test: no example of hypothesis fails because the machine was busy."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("without deadlines", deadline=None)
settings.load_profile("without deadlines")
