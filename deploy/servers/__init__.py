"""`make servers`: every production engine on loopback, from packages, for tests and for trying things out.

One module an engine, all of one shape (see `engine.py`); what runs lives in `.servers/`. Standard library only.
"""
