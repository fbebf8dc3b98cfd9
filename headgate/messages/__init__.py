"""Every message that can reach a Temporal history.

Rules: frozen, named for what it is, only ever gains optional fields; instants are integers in nanoseconds of the
server's clock and end in ``_at_ns``, spans end in ``_ns``; nothing bulky and nothing secret. ``extra="forbid"`` is for the
human edge alone (`headgate.apis.sheets.operations`, the command line), never here: a stored payload must stay readable.
The words are those of the design's glossary (`docs/glossary.md`). Each is imported from the module that has it.
"""
