"""Bronze rows of one source -> rows of a silver entity: one file per entity, one function per source."""
