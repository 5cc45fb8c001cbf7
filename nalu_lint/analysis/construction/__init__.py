"""What the constructor of a class makes: run abstractly, since no code that is read is ever executed.

In: a class, and the files that its bases and helpers come from. Out: the `Heap` of the instance - which attribute
holds which Parameter, and which Parameters each value was computed from, and how - and what is not registered in
it. May know of `knowledge`, `index` and `facts`.
"""
