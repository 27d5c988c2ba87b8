"""PURE. Personal columns become pseudonyms."""
