"""Which rules can fire in a file at all, decided on its bytes: most files go no further.

In: the bytes of a file and the codes of the rules that are asked for. Out: those codes that may fire. A yes may be
wrong, a no may not. Single functions and classes are parsed where patterns do not settle it. May know of all of the
analysis.
"""
