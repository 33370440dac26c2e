"""A slow machine is no failure: what hypothesis tries here has no time limit."""

from hypothesis import settings

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
