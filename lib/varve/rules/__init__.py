"""PURE. The rules of a contract and its code lists, applied to rows."""
