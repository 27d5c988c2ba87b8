"""The company's own transformations, which the platform finds because the settings name this package.

Of the platform they import `varve.transforms` and what it speaks of: scopes, code lists, errors.
"""
