"""AudioHook version 2 without any I/O: no Twisted, no Autobahn, no clock, no files."""
