"""Objects as users write them: their shapes, defaults and field docs, and the reader of their YAML.

Nothing here looks a name up or knows what a configuration means; that is ``model``. The one I/O is reading
the files. Whatever a file holds, it ends as objects, as located problems, or as ``SourceError``.
"""
