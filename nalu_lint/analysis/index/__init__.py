"""What can be said of a file from its tree without running anything: names, classes, how methods use attributes.

In: the text of a file, or its tree by `ast`. Out: an `Outline` of what names mean (with the files that it imports
from, as far as a question needs them: `Project`), the `Usage` of each function, and the classes whose construction is
worth a closer look (`Candidates`). May know of `knowledge`.
"""
