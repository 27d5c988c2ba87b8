"""Raw to bronze: rows with the types of their contract; what does not fit is kept beside them or rejected."""
