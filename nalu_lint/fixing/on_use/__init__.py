"""Values that are computed once, and are to be computed where they are used.

In: a finding of NAL001, NAL002 or NAL003. Out: a `Rewrite`. `plan` decides what becomes of the value; `value`: what it
needs, `arguments`: what of that can be stored, `repeatable`: whether it may run again, `uses`: what else is done with
the attribute. Knows of `common`.
"""
